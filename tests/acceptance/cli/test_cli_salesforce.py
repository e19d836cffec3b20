"""Runs and checks against the local Salesforce, both as installed; and what each kind of refusal says."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command

JOB = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
retry_limit = 0
[jobs.leads]
source = "warehouse"
retry_limit = 0
query = '''
select 'Lead ' || i as "LastName", 'Acme' as "Company",
       case when i % 10 = 0 then 'nobody' else i || '@example.com' end as "Email"
from range(1, 41) as numbers(i)
'''
[jobs.leads.export]
connection = "crm"
object = "Lead"
"""


@pytest.fixture(scope="module")
def org(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start a local Salesforce for the tests of this file; give its address."""
    with subprocess.Popen(
        [
            SCHEDCTL,
            "emulator",
            "--state",
            str(tmp_path_factory.mktemp("org") / "org.db"),
            "--client-secret",
            "hush-hush",
        ],
        env={"PATH": os.environ["PATH"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()
        assert process.wait(timeout=30) == 0


@pytest.fixture
def schedctl(tmp_path: Path, org: str) -> Command:
    command = Command(tmp_path, JOB.format(url=org))
    command.environment["CRM_SECRET"] = "hush-hush"
    return command


def test_rows_that_are_refused_make_a_run_partial_and_are_kept(schedctl: Command) -> None:
    answer = schedctl("run", "leads", "--wait", "--json")
    [done] = answer.json["runs"]
    assert (done["outcome"], done["rows"]) == (
        "partial",
        {"read": 40, "accepted": 36, "rejected": 4, "unchanged": 0, "deleted": 0},
    )
    assert (done["failure"]["kind"], done["failure"]["code"]) == ("data", "INVALID_EMAIL_ADDRESS")
    rows = schedctl("rejected", str(done["id"]), "--json").json["rows"]
    assert [row["number"] for row in rows] == [10, 20, 30, 40]
    assert rows[0]["values"] == {"LastName": "Lead 10", "Company": "Acme", "Email": "nobody"}
    shown = schedctl("runs", "show", str(done["id"]), "--json").json["run"]
    assert [attempt["ending"] for attempt in shown["attempts"]] == ["partial"]
    assert {"job.create", "batch.send", "batch.settled"} <= {entry["step"] for entry in shown["ledger"]}
    forecast = schedctl("forecast", "--json").json
    assert forecast["runs"] == 0, "a job without a schedule adds nothing to the coming load"


def test_a_check_logs_in_and_asks_whether_the_columns_fit(schedctl: Command) -> None:
    answer = schedctl("check", "--connections")
    assert "ok     job leads: 3 columns fit crm" in answer.out
    assert "logged in" in schedctl("connections", "test", "crm").out


def test_a_login_can_be_tried_before_any_job_uses_it(schedctl: Command, org: str) -> None:
    schedctl.write(JOB.format(url=org).partition("[jobs.leads]")[0])
    assert "logged in" in schedctl("connections", "test", "crm").out
    add = ("add", "mine", "--source", "warehouse", "--to", "crm", "--check")
    good = schedctl(*add, "--query", """select 'x' as "LastName", 'y' as "Company" """, "--object", "Lead")
    assert "added mine" in good.out
    assert "2 columns fit crm" in good.err
    bad = schedctl(
        "add", "bad", *add[2:], "--query", "select 1 as nonsense", "--object", "Lead", code=1
    )  # fmt: skip
    assert "nothing was stored" in bad.err
    assert "nonsense" in bad.err
    schedctl("show", "bad", code=3)


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('object = "Lead"', 'object = "Leed"', "nearest: Lead"),
        ('as "Company"', 'as "Companie"', "Company"),
        ('client_id = "emulator"', 'client_id = "other"', "check client_id"),
        ("as numbers(i)", "as numbers(j)", '"i"'),
    ],
)
def test_what_source_or_target_refuse_is_one_line_that_names_it(
    schedctl: Command, org: str, before: str, after: str, says: str
) -> None:
    schedctl.write(JOB.format(url=org).replace(before, after))
    [failed] = schedctl("run", "leads", "--wait", "--json", code=1).json["runs"]
    assert failed["outcome"] == "failed"
    assert failed["failure"]["kind"] == "configuration"
    assert says in failed["failure"]["message"]
    assert failed["rows"]["accepted"] == 0
    checked = schedctl("check", "--connections", code=1)
    assert says in checked.err
    assert "hush-hush" not in checked.err + checked.out


def test_a_wrong_secret_and_a_host_that_is_not_there_are_told_apart(schedctl: Command) -> None:
    wrong = schedctl("connections", "test", "crm", code=1, environment={"CRM_SECRET": "guess-guess"})
    assert "check client_id and client_secret" in wrong.err
    assert "guess-guess" not in wrong.err
    schedctl.write(JOB.format(url="http://127.0.0.1:9"))
    [failed] = schedctl("run", "leads", "--wait", "--json", code=1).json["runs"]
    assert (failed["failure"]["kind"], failed["failure"]["code"]) == ("transient", "CONNECTION_REFUSED")
    assert schedctl("list", "--json").json["jobs"][0]["failure_streak"] == 0, "it may pass by itself"


def test_an_emulator_that_cannot_start_says_why(schedctl: Command, tmp_path: Path) -> None:
    port = schedctl.config.read_text(encoding="utf-8").partition("http://127.0.0.1:")[2].partition('"')[0]
    assert "cannot start" in schedctl("emulator", "--port", port, code=1).err
    schema = tmp_path / "schema.toml"
    schema.write_text("nonsense = 1", encoding="utf-8")
    assert schedctl("emulator", "--schema", schema, code=2).err.splitlines()[-1].startswith("schedctl: ")
