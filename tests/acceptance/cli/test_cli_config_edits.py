"""`add --to-file` and `connections add`: a table more in the user's file, or nothing."""

import os
import stat
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, QuickCommand

from scheduler.errors.operation_error import OperationError
from scheduler.operations import edit_config_file

FLAGS = ["--cron", "0 5 * * mon", "--source", "warehouse", "--query", "select 1 as a", "--connection", "files"]
WEEKLY = ["add", "weekly", *FLAGS]


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    return QuickCommand(tmp_path, "# ours, see the wiki\n" + CONFIG + NIGHTLY + "# the end")


def test_a_job_is_added_to_the_file_and_belongs_to_it(quick: QuickCommand) -> None:
    before = quick.config.read_text(encoding="utf-8")
    quick.config.chmod(0o640)
    (quick.directory / "a.sql").write_text("select 2 as b", encoding="utf-8")
    command = ["add", "w.2", "--cron", "@daily", "--delay", "10m", "--source", "warehouse", "--query-file", "a.sql"]
    out = quick(*command, "--connection", "files", "--column", "X=b", "--to-file").out
    after = quick.config.read_text(encoding="utf-8")
    assert after.startswith(before + "\n\n")
    line = 1 + after[: after.index('[jobs."w.2"]')].count("\n")
    assert out.startswith(f"{quick.config}:{line}: added w.2; next run ")
    assert 'query_file = "a.sql"' in after
    assert stat.S_IMODE(quick.config.stat().st_mode) == 0o640
    job = quick("show", "w.2", "--json").json["job"]
    assert (job["origin"], job["delay"], job["definition"]["query"]) == ("file", 600, "select 2 as b")
    assert [path.name for path in quick.directory.iterdir() if path.name.startswith(".")] == [".config.toml.state"]


def test_a_file_that_begins_with_a_byte_order_mark_keeps_it(quick: QuickCommand) -> None:
    text = quick.config.read_text(encoding="utf-8")
    quick.config.write_text(text, encoding="utf-8-sig")
    out = quick(*WEEKLY, "--to-file").out
    quick("connections", "add", "more", "--type", "duckdb")
    after = quick.config.read_bytes()
    assert after.startswith(b"\xef\xbb\xbf" + text.encode() + b"\n\n[jobs.weekly]\n")
    assert after.count(b"\xef\xbb\xbf") == 1
    line = 2 + text.count("\n") + 1
    assert out.startswith(f"{quick.config}:{line}: added weekly; ")
    assert "2 jobs, 4 connections, 0 faults" in quick("check").out
    assert f"remove [jobs.weekly] in {quick.config}:{line}" in quick("remove", "weekly", code=2).err


def test_a_dry_run_shows_the_change_and_writes_nothing(quick: QuickCommand) -> None:
    before = quick.config.read_bytes()
    shown = quick(*WEEKLY, "--to-file", "--dry-run").out
    assert "\n # the end\n+\n+[jobs.weekly]\n" in shown
    assert set(quick(*WEEKLY, "--to-file", "--dry-run", "--json").json) == {"definition", "fires"}
    added = quick("connections", "add", "more", "--type", "duckdb", "--dry-run").out
    assert added.endswith('+[connections.more]\n+type = "duckdb"\n')
    drafted = quick("connections", "add", "more", "--type", "duckdb", "--dry-run", "--json").json
    assert (drafted["name"], drafted["config"], drafted["diff"] + "\n") == ("more", str(quick.config), added)
    assert drafted["line"] == len(before.splitlines()) + 2
    assert quick.config.read_bytes() == before


def test_a_draft_shows_no_secret_that_stands_beside_it(quick: QuickCommand) -> None:
    last = CONFIG.partition("[connections.crm]")[2].replace('{ env = "CRM_SECRET" }', '"hunter2-hunter2"')
    with quick.config.open("a", encoding="utf-8") as file:
        file.write(f"\n[connections.last]{last}")
    for command in (["connections", "add", "more", "--type", "duckdb"], [*WEEKLY, "--to-file"]):
        answer = quick(*command, "--dry-run")
        assert " client_secret = " in answer.out
        assert "hunter2" not in answer.out + answer.err


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--cron", "@dayly"], 4, "did you mean @daily?"),
        (["--connection", "nowhere"], 4, "nowhere"),
        (["--mode", "append"], 4, "mode"),
    ],
)
def test_a_faulty_job_changes_nothing(quick: QuickCommand, arguments: list[str], code: int, says: str) -> None:
    before = quick.config.read_bytes()
    quick.fails(*WEEKLY, *arguments, "--to-file", code=code, says=says)
    assert quick.config.read_bytes() == before


def test_names_that_are_taken_are_refused_wherever_they_are(quick: QuickCommand) -> None:
    quick(*WEEKLY)
    quick.fails(*WEEKLY, "--to-file", code=2, says="there is a job weekly already")
    quick.fails("add", "nightly", *FLAGS, "--to-file", code=2, says="taken by a job of the config file")
    quick.fails("connections", "add", "crm", "--type", "duckdb", code=2, says="there is a connection crm already")


def test_a_link_stays_a_link_and_a_file_that_was_changed_meanwhile_is_left_alone(quick: QuickCommand) -> None:
    real = quick.directory / "real.toml"
    quick.config.rename(real)
    quick.config.symlink_to(real)
    quick(*WEEKLY, "--to-file")
    assert quick.config.is_symlink()
    draft = edit_config_file.draft(quick.config, "connections", "more", {"type": "duckdb"})
    with real.open("a", encoding="utf-8") as file:
        file.write("# an editor was here\n")
    with pytest.raises(OperationError, match="somebody else changed"):
        edit_config_file.store(draft)
    assert real.read_text(encoding="utf-8").endswith("# an editor was here\n")


def test_a_file_without_room_for_another_table_says_so(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path, "jobs = {}\n" + CONFIG)
    before = quick.config.read_bytes()
    quick.fails(*WEEKLY, "--to-file", code=1, says="[jobs.weekly] cannot be put at the end of")
    assert quick.config.read_bytes() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_file_that_may_not_be_written_says_so(quick: QuickCommand) -> None:
    quick.directory.chmod(0o500)
    quick.fails(*WEEKLY, "--to-file", code=1, says="cannot be written: Permission denied")


def test_a_connection_is_added_with_its_secrets_by_reference(quick: QuickCommand) -> None:
    keys = ["login_url=https://x.my.salesforce.com", "client_id=3MVG", "client_secret=credential:crm", "retry_limit=7"]
    answer = quick("connections", "add", "other", "--type", "salesforce", *keys, "--json").json
    assert (answer["added"], answer["config"]) == ("other", str(quick.config))
    text = quick.config.read_text(encoding="utf-8")
    assert text.splitlines()[answer["line"] - 1] == "[connections.other]"
    assert 'client_secret = {credential = "crm"}' in text
    assert "retry_limit = 7" in text
    quick("connections", "add", "pg", "--type", "postgresql", "url=postgresql://me@localhost/db")
    options = ["options.username=me", "options.password=env:PW", "options.adbc.connection.catalog=main"]
    quick("connections", "add", "lake", "--type", "adbc", "driver=flightsql", "uri=grpc://127.0.0.1:1", *options)
    text = quick.config.read_text(encoding="utf-8")
    assert 'options = {username = "me", password = {env = "PW"}, "adbc.connection.catalog" = "main"}' in text
    listed = {each["name"]: each["type"] for each in quick("connections", "--json").json["connections"]}
    assert (listed["other"], listed["pg"]) == ("salesforce", "postgresql")


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--type", "pigeon"], 2, "the types are adbc, duckdb,"),
        (["--type", "salesforce", "client_secret=hunter2-hunter2"], 2, "client_secret is a secret"),
        (["--type", "salesforce", "client_secret=env:"], 2, "client_secret is a secret"),
        (["--type", "postgresql", "url=postgresql://me:hunter2-hunter2@h/db"], 2, "url is a secret"),
        (["--type", "adbc", "driver=x", "options.token=hunter2-hunter2"], 2, "options.token is a secret"),
        (["--type", "adbc", "driver=x", "options.a=1", "options.a=2"], 2, "options.a: it is given twice"),
        (["--type", "adbc", "driver=x", "options=1"], 2, "write options.NAME=VALUE"),
        (["--type", "adbc", "driver=x", "uri=sc://h/;token=hunter2"], 2, "uri is a secret"),
        (["--type", "duckdb", "path"], 2, "path: write KEY=VALUE"),
        (["--type", "duckdb", "path=a", "path=b"], 2, "path: it is given twice"),
        (["--type", "duckdb", "type=sqlite"], 2, "type: it is given by --type"),
        (["--type", "duckdb", "paht=a"], 4, "paht"),
        (["--type", "salesforce", "login_url=http://example.com"], 4, "login_url"),
        (["--type", "file", "directory=~/out"], 4, "write the whole path"),
    ],
)
def test_a_faulty_connection_changes_nothing_and_shows_no_secret(
    quick: QuickCommand, arguments: list[str], code: int, says: str
) -> None:
    before = quick.config.read_bytes()
    answer = quick.fails("connections", "add", "new", *arguments, code=code, says=says)
    assert "hunter2" not in answer.out + answer.err
    assert quick.config.read_bytes() == before


def test_a_connection_that_does_not_work_is_not_written_where_that_is_asked_for(quick: QuickCommand) -> None:
    before = quick.config.read_bytes()
    command = ["connections", "add", "new", "--type", "sqlite", "--test"]
    quick.fails(*command, "path=nowhere.db", code=1, says="nothing was written: connection new: ")
    assert quick.config.read_bytes() == before
    assert "ok: connection new: " in quick("connections", "add", "new", "--type", "duckdb", "--test").err


def test_nothing_is_written_behind_a_file_that_is_cut_short(quick: QuickCommand) -> None:
    quick("reload", "--confirm")
    cut = (CONFIG + NIGHTLY).removesuffix('file = "numbers.csv"\n')
    quick.write(cut)
    told = "takes keys away, as a file does that is cut short (nightly: export.file)"
    quick.fails("connections", "add", "more", "--type", "duckdb", code=4, says=told)
    quick.fails(*WEEKLY, "--to-file", code=4, says=told)
    assert quick.config.read_text(encoding="utf-8") == cut
