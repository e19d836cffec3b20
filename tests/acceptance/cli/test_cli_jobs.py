"""Jobs by the command line: add, edit, list, show, disable, enable, remove, next; and the config file's part in it."""

import json
import re
import shlex
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import CONFIG, NIGHTLY, Command, QuickCommand

LIST_KEYS = [
    "name", "origin", "cron", "timezone", "delay", "after", "state", "fault", "disabled_reason", "failure_streak",
    "next_scheduled_time", "next_run_time", "last_run",
]  # fmt: skip
ADD = ("add", "leads", "--source", "warehouse", "--query", "select 1 as a", "--connection", "crm", "--object", "Lead")


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    return QuickCommand(tmp_path)


def jobs(schedctl: Command) -> dict[str, dict[str, Any]]:
    return {job["name"]: job for job in schedctl("list", "--json").json["jobs"]}


def definition(schedctl: Command, name: str) -> dict[str, Any]:
    return dict(schedctl("show", name, "--json").json["job"]["definition"])


def test_list_has_the_files_jobs_although_no_daemon_ever_ran(schedctl: Command) -> None:
    job = jobs(schedctl)["nightly"]
    assert list(job) == LIST_KEYS
    slot = datetime.fromisoformat(job.pop("next_scheduled_time"))
    start = datetime.fromisoformat(job.pop("next_run_time"))
    assert slot > datetime.now(UTC)
    assert (start - slot).total_seconds() == 600
    assert job == {
        "name": "nightly",
        "origin": "file",
        "cron": "0 3 * * mon-fri",
        "timezone": "America/New_York",
        "delay": 600,
        "after": [],
        "state": "enabled",
        "fault": None,
        "disabled_reason": None,
        "failure_streak": 0,
        "last_run": None,
    }


def test_list_reads_at_80_columns_and_says_it_in_words(schedctl: Command) -> None:
    schedctl(*ADD, "--cron", "*/15 9-17 * * mon-fri", "--timezone", "America/Argentina/ComodRivadavia")
    answer = schedctl("list", environment={"COLUMNS": "80"})
    assert all(len(line) <= 80 for line in answer.out.splitlines())
    assert "03:00 from" in answer.out
    assert "\x1b" not in answer.out
    assert len(schedctl("list").out.splitlines()) == 3, "a row is one line where nobody says how wide lines may be"


def test_next_and_list_agree(schedctl: Command) -> None:
    fires = schedctl("next", "nightly", "-n", "1", "--json").json["fires"]
    listed = jobs(schedctl)["nightly"]
    assert fires[0]["scheduled_time"] == listed["next_scheduled_time"]
    assert fires[0]["run_time"] == listed["next_run_time"]


def test_an_added_job_is_listed_with_what_was_typed(schedctl: Command) -> None:
    answer = schedctl(
        *ADD, "--cron", "0 5 * * *", "--mode", "update", "--key", "Ext_Id__c", "--upsert", "--delay", "90s",
        "--max-rejected", "5%", "--batch-size", "200", "--column", "Email=a", "--json",
    )  # fmt: skip
    assert answer.json["job"]["name"] == "leads"
    assert jobs(schedctl)["leads"]["origin"] == "cli"
    stored = definition(schedctl, "leads")
    assert (stored["cron"], stored["delay"], stored["max_rejected"]) == ("0 5 * * *", 90, "5%")
    assert stored["export"]["connection"] == "crm"
    assert (stored["export"]["mode"], stored["export"]["key"], stored["export"]["upsert"]) == (
        "update",
        "Ext_Id__c",
        True,
    )
    assert stored["export"]["batch_size"] == 200
    assert stored["mapping"]["columns"][0]["column"] == "Email"


def test_the_defaults_of_the_file_hold_for_added_jobs(quick: QuickCommand) -> None:
    quick.write(CONFIG + '[daemon]\ntimezone = "Asia/Tokyo"\n[defaults]\ndisable_after = 9\n')
    quick(*ADD)
    stored = definition(quick, "leads")
    assert (stored["timezone"], stored["disable_after"]) == ("Asia/Tokyo", 9)
    assert jobs(quick)["leads"]["state"] == "unscheduled"


def test_a_dry_run_shows_everything_and_stores_nothing(quick: QuickCommand) -> None:
    answer = quick(*ADD, "--cron", "0 5 * * *", "--dry-run")
    assert "export.object" in answer.out
    assert "next slots" in answer.out
    as_json = quick(*ADD, "--cron", "0 5 * * *", "--dry-run", "--json").json
    assert as_json["definition"]["export"]["object"] == "Lead"
    assert len(as_json["fires"]) == 3
    assert set(jobs(quick)) == {"nightly"}


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (("--cron", "60 * * * *"), "60 is not from 0 to 59; the next full hour is 0 (column 1)"),
        (("--cron", "0 3 * *"), "4 fields"),
        (("--timezone", "EST"), "America/New_York"),
        (("--delay", "soon"), "a duration is"),
        (("--mode", "merge"), 'use "append", "truncate" or "update"'),
        (("--mode", "update"), "--key is missing: with update: the field that identifies the record"),
        (("--key", "Id"), 'key belongs to mode = "update"'),
        (("--batch-size", "20000"), "use at most 10000"),
        (("--batch-size", "many"), "batch-size"),
        (("--connection", "nowhere"), "connection not found"),
        (("--connection", "warehouse"), "rows cannot be written to it"),
        (("--source", "crm"), "rows cannot be read from it"),
        (("--source", "nowhere"), "connection not found"),
        (("--query", " "), "query is empty"),
        (("--query-file", "missing.sql"), "--query-file missing.sql: No such file"),
        (("--file", "x.csv"), '"file" is an unknown key'),
        (("--max-rejected", "150%"), "max_rejected"),
        (("--object", "Lead; drop"), "API name"),
        (("--column", "Email"), "write NAME=SOURCE"),
    ],
)
def test_a_faulty_job_is_refused_and_nothing_is_written(quick: QuickCommand, flags: tuple[str, ...], says: str) -> None:
    error = quick.fails(*ADD, *flags, code=2, says=says).error
    assert error["kind"] == "usage"
    assert set(jobs(quick)) == {"nightly"}


def test_every_fault_is_told_at_once(quick: QuickCommand) -> None:
    answer = quick("add", "x", "--cron", "bad", "--dst", "maybe", "--connection", "nowhere", code=2)
    assert len(answer.err.splitlines()) == 5
    for key in ("--cron: ", "--dst: ", "--connection: ", "--source is missing: ", "--query is missing: "):
        assert f"schedctl: {key}" in answer.err


def test_what_is_missing_is_told_by_the_flags_that_it_takes(quick: QuickCommand) -> None:
    assert quick("add", "x", "--cron", "* * * * *", code=2).err.splitlines() == [
        "schedctl: --connection is missing: connection to send the rows to",
        "schedctl: --source is missing: connection to query",
        "schedctl: --query is missing: the SQL",
    ]


@pytest.mark.parametrize("name", ["", "a b", "-x", "é", "a/b", "x" * 65])
def test_a_name_that_is_none_is_refused(quick: QuickCommand, name: str) -> None:
    assert " is no name for a job: use 1 to 64 letters, digits, _, - and . " in quick("add", "--", name, code=2).err


def test_a_name_that_is_taken_is_refused_by_whom(quick: QuickCommand) -> None:
    quick(*ADD)
    quick.fails(*ADD, code=2, says="there is a job leads already")
    quick.fails("add", "nightly", *ADD[2:], code=2, says="is taken by a job of the config file")


def test_advice_on_a_schedule_is_given_on_stderr(quick: QuickCommand) -> None:
    answer = quick(*ADD, "--cron", "0 0 30 2 *")
    assert "schedctl: warning: '0 0 30 2 *' never fires" in answer.err
    assert "no run is to come" in answer.out


def test_an_edit_changes_only_what_it_names(quick: QuickCommand) -> None:
    quick(*ADD, "--cron", "0 5 * * *", "--gap", "skip", "--retry-limit", "7")
    before = definition(quick, "leads")
    quick("edit", "leads", "--cron", "0 6 * * *", "--gap", "", "--object", "Contact")
    after = definition(quick, "leads")
    changed = {key for key in after if after[key] != before[key]}
    assert changed == {"cron", "gap", "export"}
    assert (after["cron"], after["gap"], after["retry_limit"]) == ("0 6 * * *", None, 7)
    assert after["export"] == before["export"] | {"object": "Contact"}


def test_an_edit_that_is_refused_changes_nothing(quick: QuickCommand) -> None:
    quick(*ADD, "--cron", "0 5 * * *")
    before = definition(quick, "leads")
    quick.fails("edit", "leads", "--cron", "0 99 * * *", code=2, says="99 is not from 0 to 23")
    quick.fails("edit", "leads", code=2, says="nothing to change")
    assert definition(quick, "leads") == before


def test_a_job_of_the_file_is_edited_and_removed_there(quick: QuickCommand) -> None:
    line = quick.config.read_text(encoding="utf-8").splitlines().index("[jobs.nightly]") + 1
    place = f"[jobs.nightly] in {quick.config}:{line}"
    quick.fails("edit", "nightly", "--cron", "0 5 * * *", code=2, says=f"edit {place}")
    quick.fails("remove", "nightly", code=2, says=f"remove {place}")
    assert "nightly" in jobs(quick)


def test_disable_and_enable(quick: QuickCommand) -> None:
    quick("disable", "nightly", "--reason", "moving house")
    job = jobs(quick)["nightly"]
    assert (job["state"], job["disabled_reason"]) == ("disabled", "moving house")
    assert (job["next_scheduled_time"], job["next_run_time"]) == (None, None)
    assert [row["name"] for row in quick("list", "--disabled", "--json").json["jobs"]] == ["nightly"]
    assert "was disabled already" in quick("disable", "nightly").out
    assert "is disabled" in quick("next", "nightly").err
    quick("enable", "nightly")
    assert jobs(quick)["nightly"]["state"] == "enabled"
    assert quick("list", "--disabled", "--json").json == {"jobs": []}


def test_state_survives_a_change_of_the_file(quick: QuickCommand) -> None:
    quick("disable", "nightly")
    quick.write(CONFIG + NIGHTLY.replace("0 3 * *", "0 4 * *"))
    job = jobs(quick)["nightly"]
    assert (job["cron"], job["state"]) == ("0 4 * * mon-fri", "disabled")


def test_a_job_taken_out_of_the_file_is_gone_but_not_its_runs(quick: QuickCommand) -> None:
    quick("run", "nightly", "--json")
    quick.write(CONFIG)
    quick("reload", "--confirm")
    assert jobs(quick) == {}
    assert [run["job"] for run in quick("runs", "nightly", "--json").json["runs"]] == ["nightly"]


def test_a_removed_job_is_gone_but_not_its_runs(quick: QuickCommand) -> None:
    quick(*ADD)
    quick("run", "leads")
    assert quick("remove", "leads", "--json").json == {"removed": "leads", "forgotten": False, "going_on": []}
    assert "leads" not in jobs(quick)
    assert quick("runs", "leads", "--json").json["runs"]


@pytest.mark.parametrize(
    "arguments",
    [("show",), ("edit", "--cron", ""), ("remove",), ("disable",), ("enable",), ("run",), ("next",), ("runs",)],
)
def test_a_job_that_is_not_there_is_exit_code_3(quick: QuickCommand, arguments: tuple[str, ...]) -> None:
    command, *flags = arguments
    answer = quick.fails(command, "nightl", *flags, code=3, says="there is no job 'nightl'")
    assert answer.error["kind"] == "not_found"


def test_the_nearest_name_is_suggested(quick: QuickCommand) -> None:
    assert "did you mean nightly?" in quick("show", "nighly", code=3).err


def test_a_name_in_file_and_database_is_a_config_fault(quick: QuickCommand) -> None:
    quick(*ADD)
    quick.write(CONFIG + NIGHTLY.replace("nightly", "leads") + NIGHTLY)
    for command in (["check"], ["check", "--diff"], ["daemon"]):
        told = quick(*command, code=4).err
        assert f"{quick.config}:13: jobs.leads: a job of that name was added by schedctl add" in told
    error = quick.fails("run", "leads", code=4, says="schedctl remove leads").error
    assert (error["kind"], len(error["faults"])) == ("config", 1)
    quick("remove", "leads")
    assert "0 faults" in quick("check").out
    assert jobs(quick)["leads"]["origin"] == "file"


def test_a_name_that_a_fragment_and_the_database_share_is_told_with_the_fragments_line(quick: QuickCommand) -> None:
    quick(*ADD)
    quick(*ADD[:1], "more", *ADD[2:])
    quick.write('include = ["jobs.d/*.toml"]\n' + CONFIG)
    fragment = quick.directory / "jobs.d" / "mine.toml"
    fragment.parent.mkdir()
    fragment.write_text("# ours\n" + NIGHTLY.replace("nightly", "leads") + NIGHTLY.replace("nightly", "more"))
    error = quick.fails("check", code=4, says=f"{fragment}:3: jobs.leads: a job of that name was added").error
    assert [fault.partition(": a job")[0] for fault in error["faults"]] == [
        f"{fragment}:3: jobs.leads",
        f"{fragment}:13: jobs.more",
    ]


def test_a_job_of_a_fragment_is_edited_where_it_stands(quick: QuickCommand) -> None:
    fragment = quick.directory / "mine.toml"
    fragment.write_text(NIGHTLY, encoding="utf-8")
    quick.write('include = ["mine.toml"]\n' + CONFIG)
    says = f"job nightly belongs to the config file: edit [jobs.nightly] in {fragment}:2"
    quick.fails("edit", "nightly", "--delay", "5m", code=2, says=says)


@pytest.mark.parametrize(
    "url", ["postgresql+psycopg://me:hush-hush@127.0.0.1:9/d", "sqlite:///broken.db", f"sqlite:///{'x' * 300}.db"]
)
def test_a_check_says_where_the_stored_names_cannot_be_asked(quick: QuickCommand, url: str) -> None:
    (quick.directory / "broken.db").write_bytes(b"no database" * 100)
    quick.write(f'[storage]\nurl = "{url}"\n' + CONFIG + NIGHTLY)
    answer = quick("check", "--json")
    assert "schedctl: warning: it is unknown whether a name is used by a job of schedctl add: " in answer.err
    assert any("it is unknown whether" in warning for warning in answer.json["warnings"])
    assert "hush-hush" not in answer.out + answer.err


@pytest.mark.parametrize("command", ["check", "list", "daemon"])
def test_an_address_of_the_state_that_is_none_is_a_config_fault(quick: QuickCommand, command: str) -> None:
    quick.write('[storage]\nurl="postgresql+psycopg://u@127.0.0.1:notaport/d"\n' + CONFIG)
    says = f"schedctl: {quick.config}:2: storage.url: "
    assert quick(command, code=4).err.startswith(says)


def test_a_broken_config_file_is_exit_code_4_with_every_fault_and_line(schedctl: Command) -> None:
    schedctl.write(CONFIG + NIGHTLY.replace("0 3 *", "0 33 *").replace('"warehouse"\nquery', '"ware"\nquery'))
    for command in (["list"], ["check"], ["daemon"]):
        answer = schedctl(*command, code=4)
        assert answer.out == ""
        first, second = answer.err.splitlines()
        assert first.startswith(f"schedctl: {schedctl.config}:")
        assert "jobs.nightly.cron" in first + second
        assert "jobs.nightly.source" in first + second
    error = schedctl("list", "--json", code=4).error
    assert (error["kind"], len(error["faults"])) == ("config", 2)


@pytest.mark.parametrize(
    ("content", "says"),
    [("[jobs", "not valid TOML"), ("colour = 1", '"colour" is an unknown key'), ("\x00", "not valid TOML")],
)
def test_what_is_no_config_is_exit_code_4(quick: QuickCommand, content: str, says: str) -> None:
    quick.write(content)
    assert says in quick.fails("list", code=4, says=":1").err


def test_a_missing_config_file_is_named(quick: QuickCommand) -> None:
    quick.fails("list", "--config", "nowhere.toml", code=4, says="nowhere.toml: cannot be read")
    missing = {"SCHEDCTL_CONFIG": ""}
    assert "/etc/schedctl/config.toml" in quick("list", code=4, environment=missing).err


def test_a_missing_config_file_is_made_of_an_example_that_is_there(quick: QuickCommand) -> None:
    told = quick("list", "--config", "new.toml", code=4).err
    place = re.search(r": copy (/.+\.toml) there, or name another file", told)
    assert place is not None, told
    (quick.directory / "new.toml").write_bytes(Path(place[1]).read_bytes())
    (quick.directory / "orders.sql").write_text("select 1 as a", encoding="utf-8")  # which the example names
    assert "0 faults" in quick("check", "--config", "new.toml").out


def test_the_config_option_goes_before_or_after_the_command(quick: QuickCommand, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(CONFIG + NIGHTLY.replace("nightly", "other"), encoding="utf-8")
    for arguments in (("--config", str(other), "list"), ("list", "--config", str(other))):
        assert "other" in quick(*arguments).out


def test_check_passes_a_good_file_and_warns_of_what_people_get_wrong(quick: QuickCommand) -> None:
    quick.write(CONFIG + NIGHTLY.replace("0 3 * * mon-fri", "0 3 30 2 *"))
    answer = quick("check", "--json")
    assert answer.json["ok"] is True
    assert (answer.json["jobs"], answer.json["connections"]) == (1, 3)
    assert any("never fires" in warning for warning in answer.json["warnings"])
    assert not quick.state.exists(), "a check touches no state"


def test_connections_are_listed_without_their_secrets(quick: QuickCommand) -> None:
    quick.write(CONFIG.replace('{ env = "CRM_SECRET" }', '"hush-hush"') + NIGHTLY)
    rows = {row["name"]: row for row in quick("connections", "--json").json["connections"]}
    assert rows["files"]["target_of"] == ["nightly"]
    assert rows["crm"]["address"] == "http://127.0.0.1:9"
    assert quick("connections", "test", "nowhere", code=3).err.startswith("schedctl: there is no connection")


def test_connections_say_where_they_lead_and_nothing_of_what_a_url_holds(quick: QuickCommand) -> None:
    quick.write(
        CONFIG
        + '[connections.td]\ntype = "treasure_data"\napi_key = { env = "K" }\ndatabase = "sales"\n'
        + '[connections.pg]\ntype = "postgresql"\nhost = "db.example.com"\nport = 6432\ndatabase = "shop"\n'
        + '[connections.url]\ntype = "postgresql"\nurl = "postgresql://u:hush-hush@h/shop"\n'
        + '[connections.local]\ntype = "postgresql"\ndatabase = "shop"\n'
    )
    rows = {row["name"]: row["address"] for row in quick("connections", "--json").json["connections"]}
    assert rows["td"] == "https://api.treasuredata.com, sales"
    assert rows["pg"] == "db.example.com:6432, shop"
    assert rows["url"] == "as its url says"
    assert rows["local"] == "the default, shop"
    assert rows["warehouse"] == "in memory"


def test_no_secret_gets_into_the_state_or_out_of_any_command(quick: QuickCommand) -> None:
    quick.write(CONFIG.replace('{ env = "CRM_SECRET" }', '"hush-hush"') + NIGHTLY)
    quick(*ADD)
    said = ""
    for command in (["list"], ["show", "leads"], ["show", "leads", "--json"], ["connections"], ["check"], ["status"]):
        answer = quick(*command, code=None, environment={"SCHEDCTL_DEBUG": "1"})
        said += answer.out + answer.err
    assert "hush-hush" not in said
    for file in quick.state.iterdir():
        assert b"hush-hush" not in file.read_bytes()


def test_an_unreachable_database_is_exit_code_5(quick: QuickCommand) -> None:
    quick.write('[storage]\nurl = "sqlite:////proc/nowhere/state.db"\n')
    assert quick.fails("list", code=5, says="state").error["kind"] == "storage"


def test_a_database_of_a_newer_version_is_exit_code_5(quick: QuickCommand) -> None:
    quick("reload", "--confirm")
    with sqlite3.connect(quick.state / "state.db") as database:
        database.execute("update schedctl_schema set version_num = '9999'")
    database.close()
    quick.fails("list", code=5, says="newer")


def test_a_file_that_is_no_database_is_exit_code_5(quick: QuickCommand) -> None:
    quick.state.mkdir(parents=True)
    (quick.state / "state.db").write_bytes(b"this is no database, but it is long enough to be taken for one" * 100)
    quick.fails("list", code=5, says="state.db")


def test_a_terminal_gets_colours_only_if_it_wants_them(schedctl: Command) -> None:
    assert "\x1b[1m" in schedctl.on_terminal("list")
    assert "\x1b[" not in schedctl.on_terminal("list", environment={"NO_COLOR": "1", "TERM": "dumb"})
    assert "\x1b[3" not in schedctl.on_terminal("list", environment={"NO_COLOR": "1"})


def test_forecast_counts_every_schedule(quick: QuickCommand) -> None:
    quick(*ADD, "--cron", "*/10 * * * *")
    answer = quick("forecast", "--days", "2", "--json").json
    assert set(answer) == {
        "from",
        "days",
        "runs",
        "bulk_jobs",
        "api_calls",
        "hours",
        "peaks",
        "jobs",
        "unreadable",
        "how",
    }
    by_name = {job["name"]: job for job in answer["jobs"]}
    assert by_name["leads"]["runs"] == by_name["leads"]["bulk_jobs"] == 288
    assert by_name["nightly"]["bulk_jobs"] is None
    assert len(answer["hours"]) == 48
    assert sum(hour["runs"] for hour in answer["hours"]) == answer["runs"] >= 288
    assert "last run" in quick("forecast").err


def test_output_for_scripts_is_valid_json_whatever_the_names(quick: QuickCommand) -> None:
    quick(*ADD, "--description", 'ünïcode "quotes" and \\ backslashes')
    raw = quick("show", "leads", "--json").out
    assert json.loads(raw)["job"]["definition"]["description"].startswith("ünïcode")
    assert "ünïcode" in raw


@pytest.mark.parametrize(
    "line",
    [
        "list",
        "runs",
        "runs show 1",
        "show nightly",
        "explain '0 0 5,*/10,25 * *'",
        "next nightly",
        "preview nightly",
        "forecast",
        "connections",
        "add --help",
    ],
)
def test_eighty_columns_hold_every_row(tmp_path: Path, line: str) -> None:
    """Tables and sheets, that is: sentences are left to the terminal, which does not break what is copied from it."""
    long = "a-job-with-a-rather-long-name-such-as-people-give-them"
    broken = NIGHTLY.replace("nightly", long).replace("select 1 as number", "select * from nowhere_to_be_found -- ")
    files = CONFIG.partition("[connections.crm]")[0]
    schedctl = Command(tmp_path, files + NIGHTLY + broken)
    quick = QuickCommand(tmp_path, files + NIGHTLY + broken)
    quick("run", "nightly", "--wait")
    quick("run", long, "--wait", code=1)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", schedctl.on_terminal(*shlex.split(line), code=None))
    assert shown.strip()
    rows = [text for text in shown.replace("\r", "").splitlines() if "  " in text.strip()]
    assert rows
    assert [row for row in rows if len(row) > 80] == []


def test_flags_that_have_another_name_now_are_still_understood(quick: QuickCommand) -> None:
    old = ("--to", "crm", "--call-retry-limit", "2", "--call-initial-retry-delay", "3s")
    quick("add", "old", "--source", "warehouse", "--query", "select 1 as a", "--object", "Lead", *old)
    export = quick("show", "old", "--json").json["job"]["definition"]["export"]
    assert (export["connection"], export["retry_limit"], export["initial_retry_delay"]) == ("crm", 2, 3)
    for old_name, name in (("--to", "--connection"), ("--call-retry-limit", "--export-retry-limit")):
        says = f"{old_name} is the old name of {name}: give one of them"
        quick.fails("edit", "old", old_name, "2", name, "2", code=2, says=says)
    assert "--to " not in quick("add", "--help").out
