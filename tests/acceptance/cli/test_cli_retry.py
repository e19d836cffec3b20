"""`retry`, on the installed command: a slot once more, or only its refused rows, each of them once."""

import csv
import os
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command

SCHEMA = """
[objects.Thing__c]
label = "Thing"
[objects.Thing__c.fields.Name]
type = "string"
length = 80
[objects.Thing__c.fields.Note__c]
type = "string"
length = 30
[objects.Thing__c.fields.Ext_Id__c]
type = "string"
length = 20
external_id = true
unique = true
[objects.Thing__c.fields.Score__c]
type = "double"
precision = 12
scale = 2
"""
JOB = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "CRM_SECRET" }}
retry_limit = 0
[jobs.things]
source = "warehouse"
retry_limit = 0
query = '''
select case when i % 100 = 7 then repeat('x', 81) else 'Thing ' || i end as "Name",
  'e' || i as "Ext_Id__c", case when i % 2 = 0 then 'a "note", {quoted}' end as "Note__c",
  case when i = 55 then 'nan'::double else i / 4 end as "Score__c"
from range(1, {rows}) as numbers(i)
'''
[jobs.things.export]
connection = "crm"
object = "Thing__c"
batch_size = 200
{options}
"""


class Org:
    """A local Salesforce in a process of its own, whose state can be looked into."""

    def __init__(self, directory: Path) -> None:
        schema = directory / "schema.toml"
        schema.write_text(SCHEMA, encoding="utf-8")
        self._state = directory / "org.db"
        self.process = subprocess.Popen(
            [SCHEDCTL, "emulator", "--state", self._state, "--schema", schema, "--client-secret", "hush-hush"],
            env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()

    def records(self) -> list[tuple[str, str, str | None]]:
        connection = sqlite3.connect(self._state)
        try:
            return connection.execute(
                'SELECT "Name", "Ext_Id__c", "Note__c" FROM "Thing__c" WHERE "IsDeleted" = 0 ORDER BY "Id"'
            ).fetchall()
        finally:
            connection.close()


@pytest.fixture
def org(tmp_path: Path) -> Iterator[Org]:
    served = Org(tmp_path)
    with served.process:
        yield served
        served.process.terminate()
        assert served.process.wait(timeout=30) == 0


def command(org: Org, directory: Path, *, rows: int = 301, options: str = "") -> Command:
    (directory / "client").mkdir()
    made = Command(directory / "client", JOB.format(url=org.url, rows=rows, options=options, quoted="ü"))
    made.environment["CRM_SECRET"] = "hush-hush"
    return made


def test_refused_rows_are_sent_once_more_and_only_they(org: Org, tmp_path: Path) -> None:
    schedctl = command(org, tmp_path, options='mode = "update"\nupsert = true\nkey = "Ext_Id__c"')
    [first] = schedctl("run", "things", "--wait", "--json").json["runs"]
    assert (first["outcome"], first["rows"]["accepted"], first["rows"]["rejected"]) == ("partial", 296, 4)
    answer = schedctl("retry", str(first["id"]), "--rejected", "--wait", "--json", code=1)
    [again] = answer.json["runs"]
    assert "1 of the rejected rows have values that have no text form" in answer.err
    assert (again["kind"], again["rows"]["read"], again["rows"]["rejected"]) == ("retry", 3, 3)
    rows = schedctl("rejected", str(again["id"]), "--json").json["rows"]
    assert [(row["values"]["Ext_Id__c"], row["code"]) for row in rows] == [
        (f"e{number}", "STRING_TOO_LONG") for number in (7, 107, 207)
    ]
    assert len(org.records()) == 296
    waiting = schedctl("retry", str(first["id"]), "--rejected", "--json").json["runs"][0]["id"]
    twice = schedctl("retry", str(first["id"]), "--rejected", code=1)
    assert f"were sent again by run {waiting}" in twice.err


def test_what_was_refused_for_a_reason_that_is_gone_is_in_afterwards_with_its_values(org: Org, tmp_path: Path) -> None:
    schedctl = command(org, tmp_path, rows=41, options='mode = "update"\nkey = "Ext_Id__c"')
    [first] = schedctl("run", "things", "--wait", "--json", code=1).json["runs"]
    assert (first["failure"]["kind"], first["rows"]["rejected"]) == ("data", 40)
    text = schedctl.config.read_text(encoding="utf-8")
    schedctl.write(text.replace('key = "Ext_Id__c"', 'key = "Ext_Id__c"\nupsert = true'))
    [done] = schedctl("retry", str(first["id"]), "--rejected", "--wait", "--json").json["runs"]
    assert (done["kind"], done["outcome"], done["rows"]["accepted"]) == ("retry", "partial", 39)
    assert f"were sent again by run {done['id']}" in schedctl("retry", str(first["id"]), "--rejected", code=1).err
    assert "sent only the rejected rows of run 1" in schedctl("retry", str(done["id"]), "--again", code=1).err
    [last] = schedctl("retry", str(done["id"]), "--rejected", "--wait", "--json", code=1).json["runs"]
    assert (last["rows"]["read"], last["rows"]["accepted"]) == (1, 0)
    assert ("Thing 2", "e2", 'a "note", ü') in org.records()
    assert ("Thing 3", "e3", None) in org.records()


def test_a_bad_row_that_is_sent_again_and_again_disables_no_job(org: Org, tmp_path: Path) -> None:
    schedctl = command(org, tmp_path, rows=41)
    text = schedctl.config.read_text(encoding="utf-8")
    schedctl.write(text.replace("[jobs.things]", "[jobs.things]\ndisable_after = 2"))
    [run] = schedctl("run", "things", "--wait", "--json").json["runs"]
    assert (run["outcome"], run["rows"]["rejected"]) == ("partial", 1)
    for _ in range(2):
        [run] = schedctl("retry", str(run["id"]), "--rejected", "--wait", "--json", code=1).json["runs"]
        assert (run["failure"]["kind"], run["failure"]["code"]) == ("data", "STRING_TOO_LONG")
    job = schedctl("show", "things", "--json").json["job"]
    assert (job["failure_streak"], job["disabled_reason"]) == (0, None)


def test_an_append_is_not_repeated_by_accident(org: Org, tmp_path: Path) -> None:
    schedctl = command(org, tmp_path, rows=41)
    [first] = schedctl("run", "things", "--wait", "--json").json["runs"]
    refused = schedctl("retry", str(first["id"]), code=1)
    assert "has 39 rows in Thing__c already" in refused.err
    assert "--rejected" in refused.err
    assert len(org.records()) == 39
    assert schedctl("retry", str(first["id"]), "--again", "--rejected", code=2).err


@pytest.mark.parametrize(
    ("options", "words"),
    [('mode = "truncate"', "would delete the accepted rows"), ("", "has no rejected rows")],
)
def test_a_retry_of_rejected_rows_that_makes_no_sense_says_why(
    org: Org, tmp_path: Path, options: str, words: str
) -> None:
    schedctl = command(org, tmp_path, rows=4, options=options)
    [first] = schedctl("run", "things", "--wait", "--json").json["runs"]
    code = 2 if options else 1
    assert words in schedctl("retry", str(first["id"]), "--rejected", code=code).err
    assert schedctl("retry", "99", "--rejected", code=3).err
    assert len(org.records()) == 3


def test_the_refused_rows_of_a_large_run_come_back_in_order_as_csv(org: Org, tmp_path: Path) -> None:
    schedctl = command(org, tmp_path, rows=100_001)
    [done] = schedctl("run", "things", "--wait", "--json").json["runs"]
    assert (done["rows"]["read"], done["rows"]["rejected"]) == (100_000, 1_001)
    schedctl("rejected", str(done["id"]), "--csv", "refused.csv")
    with (schedctl.directory / "refused.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(row["number"]) for row in rows]
    assert numbers == sorted([*range(7, 100_001, 100), 55])
    assert {(row["code"], row["Name"]) for row in rows if row["number"] != "55"} == {("STRING_TOO_LONG", "x" * 81)}
    assert all("max length=80" in row["message"] for row in rows if row["number"] != "55")
