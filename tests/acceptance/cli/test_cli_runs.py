"""Runs by the command line: asked for, waited for, listed, shown, canceled; their refused rows."""

import csv
import json
import signal
import sqlite3
import stat
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import CONFIG, NIGHTLY, SCHEDCTL, Command, QuickCommand

RUN_KEYS = [
    "id", "job", "scheduled_time", "kind", "state", "outcome", "failure", "attempt", "rows",
    "started_at", "finished_at",
]  # fmt: skip
ROW_COUNTS = ["read", "accepted", "rejected", "unchanged", "deleted"]
BY_HAND = NIGHTLY.replace("nightly", "by_hand").replace('cron = "0 3 * * mon-fri"', "")


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    return Command(tmp_path)


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    return QuickCommand(tmp_path, CONFIG + NIGHTLY + BY_HAND)


def run_rows(quick: Command, *arguments: str) -> list[dict[str, Any]]:
    return list(quick("run", *arguments, "--json").json["runs"])


def test_a_run_that_is_asked_for_waits_and_is_listed_with_the_keys_of_the_contract(schedctl: Command) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    [asked] = schedctl("run", "nightly", "--json").json["runs"]
    assert list(asked) == RUN_KEYS
    assert list(asked["rows"]) == ROW_COUNTS
    assert (asked["kind"], asked["state"], asked["outcome"], asked["failure"]) == ("manual", "waiting", None, None)
    assert before <= datetime.fromisoformat(asked["scheduled_time"]) <= datetime.now(UTC)
    assert schedctl("runs", "--json").json == {"runs": [asked]}
    assert schedctl("runs", "list", "nightly", "--json").json == {"runs": [asked]}


def test_without_a_daemon_somebody_who_does_not_wait_is_told(quick: QuickCommand) -> None:
    assert "no daemon is alive" in quick("run", "nightly").err


def test_two_manual_runs_in_one_second_are_two(quick: QuickCommand) -> None:
    first, second = run_rows(quick, "nightly")[0], run_rows(quick, "nightly")[0]
    assert first["id"] != second["id"]


def test_a_backfill_takes_the_first_slots_at_or_after_its_time(quick: QuickCommand) -> None:
    # 2026-11-20 was a Friday; 03:00 in New York is 08:00 UTC.
    found = run_rows(quick, "nightly", "--from", "2026-11-20T08:00:00Z", "--count", "2")
    assert [run["scheduled_time"] for run in found] == ["2026-11-20T08:00:00Z", "2026-11-23T08:00:00Z"]
    assert {run["kind"] for run in found} == {"backfill"}


def test_a_slot_of_the_past_is_run_once_however_often_it_is_asked_for(quick: QuickCommand) -> None:
    [first] = run_rows(quick, "nightly", "--from", "2026-11-19T00:00")
    answer = quick("run", "nightly", "--from", "2026-11-19T00:00", "--count", "2", "--json")
    again, new = answer.json["runs"]
    assert (again, answer.json["existing"]) == (first, [first["id"]])
    assert new["scheduled_time"] == "2026-11-20T08:00:00Z"
    assert f"run {first['id']} was asked for before and is not repeated" in answer.err


def test_a_time_without_a_zone_is_local_to_the_job_and_says_so(quick: QuickCommand) -> None:
    answer = quick("run", "nightly", "--at", "2026-11-19T03:00", "--json")
    assert "taken as America/New_York" in answer.err
    assert answer.json["runs"][0]["scheduled_time"] == "2026-11-19T08:00:00Z"


def test_at_takes_any_instant_of_the_past(quick: QuickCommand) -> None:
    assert run_rows(quick, "nightly", "--at", "2026-11-19T12:34:56Z")[0]["scheduled_time"] == "2026-11-19T12:34:56Z"
    assert run_rows(quick, "nightly", "--at", "now")[0]["kind"] == "backfill"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nightly", "--at", "2026-11-19", "--from", "2026-11-19"), "exclude each other"),
        (("nightly", "--count", "2"), "--count belongs to --from"),
        (("nightly", "--from", "2026-11-19", "--count", "0"), "use 1 to"),
        (("nightly", "--from", "2026-11-19", "--count", "100000"), "use 1 to"),
        (("nightly", "--from", "2199-01-01"), "in the future"),
        (("nightly", "--at", "2199-01-01"), "in the future"),
        (("nightly", "--at", "yesterday"), "is no time"),
        (("nightly", "--at", "2026-03-08T02:30"), "skips 2026-03-08T02:30:00"),
        (("by_hand", "--from", "2026-11-19", "--count", "2"), "has no cron, so --count must be 1"),
    ],
)
def test_a_run_that_makes_no_sense_is_refused(quick: QuickCommand, arguments: tuple[str, ...], says: str) -> None:
    quick.fails("run", *arguments, code=2, says=says)
    assert quick("runs", "--json").json == {"runs": []}


def test_a_job_without_a_schedule_can_be_backfilled_for_one_time(quick: QuickCommand) -> None:
    [found] = run_rows(quick, "by_hand", "--from", "2026-11-19T12:00:00Z")
    assert found["scheduled_time"] == "2026-11-19T12:00:00Z"


def test_more_slots_than_have_come_are_refused_as_a_whole(quick: QuickCommand) -> None:
    quick.fails("run", "nightly", "--from", "now", "--count", "1", code=2, says="in the future")
    assert quick("runs", "--json").json == {"runs": []}


def test_a_waiting_run_is_canceled_at_once_and_only_once(quick: QuickCommand) -> None:
    [asked] = run_rows(quick, "nightly")
    canceled = quick("cancel", str(asked["id"]), "--json").json["runs"][0]
    assert (canceled["state"], canceled["outcome"]) == ("finished", "canceled")
    quick.fails("cancel", str(asked["id"]), code=1, says="has ended already: canceled")


@pytest.mark.parametrize("command", [("runs", "show"), ("cancel",), ("rejected",)])
def test_a_run_that_is_not_there_is_exit_code_3(quick: QuickCommand, command: tuple[str, ...]) -> None:
    assert quick.fails(*command, "99", code=3, says="there is no run 99").error["kind"] == "not_found"
    quick.fails(*command, "x", code=2, says="a whole number")


def test_an_outcome_that_there_is_not_is_refused(quick: QuickCommand) -> None:
    quick.fails("runs", "--outcome", "great", code=2, says="use one of succeeded")


def test_a_run_shows_everything_about_it(quick: QuickCommand) -> None:
    [asked] = run_rows(quick, "nightly")
    shown = quick("runs", "show", str(asked["id"]), "--json").json["run"]
    assert {key: shown[key] for key in RUN_KEYS} == asked
    assert shown["definition"]["query"].startswith("select 1")
    assert (shown["attempts"], shown["ledger"], shown["rejected_kept"]) == ([], [], 0)
    assert "nightly (revision 1)" in quick("runs", "show", str(asked["id"])).out


def test_a_run_that_is_waited_for_is_executed_here_where_no_daemon_lives(schedctl: Command) -> None:
    answer = schedctl("run", "nightly", "--wait", "--json")
    [done] = answer.json["runs"]
    assert (done["state"], done["outcome"], done["attempt"]) == ("finished", "succeeded", 1)
    assert done["rows"] == {"read": 1, "accepted": 1, "rejected": 0, "unchanged": 0, "deleted": 0}
    with (schedctl.directory / "out" / "numbers.csv").open(encoding="utf-8", newline="") as lines:
        assert list(csv.reader(lines)) == [["number", "word"], ["1", "one"]]
    assert f"run {done['id']} (nightly): " in answer.err
    last = schedctl("list", "--json").json["jobs"][0]["last_run"]
    assert last == {key: done[key] for key in ("id", "outcome", "scheduled_time", "finished_at")}
    assert "succeeded" in schedctl("runs").out
    assert "succeeded" in schedctl("show", "nightly").out


def test_backfilled_slots_are_waited_for_one_after_the_other(schedctl: Command) -> None:
    answer = schedctl("run", "nightly", "--from", "2026-11-18T00:00Z", "--count", "3", "--wait", "--json")
    found = answer.json["runs"]
    assert [run["outcome"] for run in found] == ["succeeded"] * 3
    assert found == sorted(found, key=lambda run: (run["started_at"], run["scheduled_time"]))


@pytest.mark.parametrize(
    ("query", "says"),
    [("selec 1", "selec"), ("select * from nowhere", "nowhere"), ("select nothing from (select 1)", "nothing")],
)
def test_a_run_that_fails_is_exit_code_1_and_says_why(schedctl: Command, query: str, says: str) -> None:
    schedctl.write(CONFIG + NIGHTLY.replace("select 1 as number, 'one' as word", query))
    answer = schedctl("run", "nightly", "--wait", "--json", code=1)
    [failed] = answer.json["runs"]
    assert failed["outcome"] == "failed"
    assert list(failed["failure"]) == ["kind", "code", "message"]
    assert failed["failure"]["kind"] == "configuration"
    assert says in failed["failure"]["message"]
    assert "\n" not in failed["failure"]["message"]
    listed = schedctl("list", "--failing", "--json").json["jobs"][0]
    assert (listed["failure_streak"], listed["last_run"]["outcome"]) == (1, "failed")
    assert [run["id"] for run in schedctl("runs", "--outcome", "failed", "--json").json["runs"]] == [failed["id"]]


def test_failures_in_a_row_disable_the_job_until_it_is_enabled(schedctl: Command) -> None:
    broken = NIGHTLY.replace("select 1 as number, 'one' as word", "select * from nowhere")
    schedctl.write(CONFIG + "[defaults]\ndisable_after = 2\n" + broken)
    for _ in range(2):
        schedctl("run", "nightly", "--wait", code=1)
    job = schedctl("list", "--json").json["jobs"][0]
    assert (job["state"], job["failure_streak"], job["next_run_time"]) == ("auto_disabled", 2, None)
    assert "nowhere" in job["disabled_reason"]
    assert "disabled by failures" in schedctl("list").out
    refused = schedctl.fails("enable", "nightly", code=1, says="job nightly stays disabled: job nightly: ")
    assert "nowhere" in refused.error["message"]
    assert "--force" in refused.error["message"]
    assert schedctl("list", "--json").json["jobs"][0]["state"] == "auto_disabled"
    schedctl("enable", "nightly", "--force")
    job = schedctl("list", "--json").json["jobs"][0]
    assert (job["state"], job["failure_streak"]) == ("enabled", 0)


def test_a_job_whose_cause_is_mended_outside_is_enabled_once_it_was_tried(schedctl: Command) -> None:
    """Nothing of the job or its connections was edited, which would have lifted the disable by itself."""
    query = f"from read_csv('{schedctl.directory / 'late.csv'}')"
    schedctl.write(
        CONFIG + "[defaults]\ndisable_after = 1\n" + NIGHTLY.replace("select 1 as number, 'one' as word", query)
    )
    schedctl("run", "nightly", "--wait", code=1)
    schedctl("enable", "nightly", code=1)
    (schedctl.directory / "late.csv").write_text("a\n1\n", encoding="utf-8")
    answer = schedctl("enable", "nightly")
    assert answer.out.startswith("enabled nightly; next run ")
    assert "ok: job nightly: 1 column fits files" in answer.err
    schedctl("disable", "nightly")
    (schedctl.directory / "late.csv").unlink()
    assert schedctl("enable", "nightly").err == "", "what a person disabled is not tried"


def test_who_stops_waiting_leaves_the_run_to_the_daemon(schedctl: Command) -> None:
    endless = "select count(*) as n from range(100000000) a, range(100000000) b where a.range % 7 = b.range % 11"
    schedctl.write(CONFIG + NIGHTLY.replace("select 1 as number, 'one' as word", endless))
    with subprocess.Popen(
        [SCHEDCTL, "run", "nightly", "--wait"],
        env=schedctl.environment,
        cwd=schedctl.directory,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        limit = time.monotonic() + 60
        while not any(run["state"] == "running" for run in schedctl("runs", "--json").json["runs"]):
            assert time.monotonic() < limit
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1].startswith("schedctl: stopped waiting; what has not ended is left to the daemon")
    assert "Traceback" not in said
    [left] = schedctl("runs", "--json").json["runs"]
    assert (left["state"], left["attempt"]) == ("waiting", 0)
    shown = schedctl("runs", "show", str(left["id"]), "--json").json["run"]
    assert [attempt["ending"] for attempt in shown["attempts"]] == ["released"]


def test_a_secret_that_is_not_there_fails_the_run_and_names_the_connection(schedctl: Command) -> None:
    to_crm = NIGHTLY.replace('connection = "files"\nfile = "numbers.csv"', 'connection = "crm"\nobject = "Lead"')
    schedctl.write(CONFIG + to_crm)
    [failed] = schedctl("run", "nightly", "--wait", "--json", code=1).json["runs"]
    assert failed["failure"]["code"] == "SECRET_UNAVAILABLE"
    assert "crm" in failed["failure"]["message"]
    assert "CRM_SECRET" in failed["failure"]["message"]


def test_check_connections_names_who_refuses(schedctl: Command) -> None:
    answer = schedctl("check", "--connections", "--json", code=1)
    checks = {check["subject"]: check for check in answer.json["checks"]}
    assert checks["connection warehouse"]["ok"]
    assert checks["connection files"]["ok"]
    assert checks["job nightly"]["ok"]
    assert not checks["connection crm"]["ok"]
    assert "schedctl: connection crm: " in answer.err
    assert "CRM_SECRET" in answer.err
    assert schedctl("connections", "test", "warehouse").out.startswith("ok")
    refused = schedctl("connections", "test", "crm", code=1, environment={"CRM_SECRET": "hush-hush"})
    assert "hush-hush" not in refused.out + refused.err
    assert refused.err.startswith("schedctl: connection crm: ")


def refuse_rows(schedctl: Command, run_id: int, rows: list[tuple[int, dict[str, Any], str, str]]) -> None:
    with sqlite3.connect(schedctl.state / "state.db") as database:
        content = [(run_id, number, json.dumps(values), code, message) for number, values, code, message in rows]
        database.executemany("insert into rejected_row values (?, ?, ?, ?, ?)", content)
    database.close()


def test_refused_rows_are_shown_with_their_values_and_reasons(quick: QuickCommand, tmp_path: Path) -> None:
    [asked] = run_rows(quick, "nightly")
    assert quick("rejected", str(asked["id"]), "--json").json == {"rows": [], "without_values": []}
    rows: list[tuple[int, dict[str, Any], str, str]] = [
        (number, {"Email": f"x{number}", "Note": 'a,"b"\n', "Age": None}, "INVALID_EMAIL", "no such \x1b[31m address")
        for number in range(1, 2501)
    ]
    rows[1999][1]["Extra"] = "late"
    refuse_rows(quick, asked["id"], rows)
    found = quick("rejected", str(asked["id"]), "--json").json["rows"]
    assert len(found) == 2500
    assert list(found[0]) == ["number", "values", "code", "message"]
    assert found[2]["values"] == {"Email": "x3", "Note": 'a,"b"\n', "Age": None}
    table = quick("rejected", str(asked["id"]))
    assert len(table.out.splitlines()) == 51
    assert "\x1b" not in table.out
    assert "2,450 more" in table.err
    file = tmp_path / "refused.csv"
    assert "2,500 rejected rows" in quick("rejected", str(asked["id"]), "--csv", file).err
    with file.open(encoding="utf-8", newline="") as lines:
        written = list(csv.reader(lines))
    assert written[0] == ["number", "code", "message", "Email", "Note", "Age", "Extra"]
    assert written[1] == ["1", "INVALID_EMAIL", "no such \x1b[31m address", "x1", 'a,"b"\n', "", ""]
    assert written[2000][-1] == "late"
    assert len(written) == 2501
    to_stdout = quick("rejected", str(asked["id"]), "--csv", "-")
    assert to_stdout.out.startswith('"number","code","message","Email"')
    as_it_is = quick("rejected", str(asked["id"]), "--csv", "-", "--raw")
    assert as_it_is.out.startswith("number,code,message,Email")
    quick.fails("rejected", str(asked["id"]), "--raw", code=2, says="--raw belongs to --csv")
    both = quick("rejected", str(asked["id"]), "--csv", "-", "--json", code=2)
    assert "both write to stdout" in both.error["message"]
    assert len(quick("rejected", str(asked["id"]), "--csv", file, "--json").json["rows"]) == 2500
    quick.fails("rejected", str(asked["id"]), "--csv", str(tmp_path / "no" / "file.csv"), code=2, says="No such file")


@pytest.mark.parametrize("before", [None, 0o644])
def test_refused_rows_in_a_file_are_private_and_execute_nothing(
    quick: QuickCommand, tmp_path: Path, before: int | None
) -> None:
    [asked] = run_rows(quick, "nightly")
    values = {
        "=HEAD()": "=1+1",
        "Phone": "+49 30 1",
        "Sum": "-5.50",
        "At": "@x",
        "Tab": "\t=1",
        "Name": "Ann",
        "None": None,
    }
    refuse_rows(quick, asked["id"], [(1, values, "X", "-2+3 is wrong")])
    file = tmp_path / "refused.csv"
    if before is not None:
        file.write_text("longer than what comes\n" * 100, encoding="utf-8")
        file.chmod(before)
    said = quick("rejected", str(asked["id"]), "--csv", file)
    assert "a ' stands before 5 values" in said.err
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open(encoding="utf-8", newline="") as lines:
        head, row = list(csv.reader(lines))
    assert head[3:] == ["'=HEAD()", *list(values)[1:]]
    assert row == ["1", "X", "'-2+3 is wrong", "'=1+1", "'+49 30 1", "-5.50", "'@x", "'\t=1", "Ann", ""]
    quick("rejected", str(asked["id"]), "--csv", file, "--raw")
    with file.open(encoding="utf-8", newline="") as lines:
        raw = list(csv.reader(lines))
    assert raw == [
        ["number", "code", "message", *values],
        ["1", "X", "-2+3 is wrong", *("" if each is None else each for each in values.values())],
    ]


def test_status_without_a_daemon_is_exit_code_1(quick: QuickCommand) -> None:
    run_rows(quick, "nightly")
    answer = quick("status", "--json", code=1).json
    assert set(answer) >= {"daemon", "config", "queue", "jobs", "failures", "notices", "disk"}
    assert answer["daemon"] is None
    assert answer["queue"] == {"waiting": 1, "running": 0}
    assert answer["jobs"] == {"total": 2, "disabled": 0, "auto_disabled": 0}
    assert "not running" in quick("status", code=1).out
    quick.fails("reload", code=1, says="no daemon is alive")


def test_status_looks_past_a_broken_config_file_if_that_tells_where_the_state_is(quick: QuickCommand) -> None:
    run_rows(quick, "nightly")
    quick.write(CONFIG + NIGHTLY.replace("0 3 *", "0 33 *"))
    answer = quick("status", "--json", code=1).json
    assert answer["queue"] == {"waiting": 1, "running": 0}
    assert "jobs.nightly.cron" in answer["config"]["fault"]
    quick.write("[storage")
    quick.fails("status", code=4, says="not valid TOML")


def test_version_is_the_packages(quick: QuickCommand) -> None:
    number = quick("version", "--json").json["version"]
    assert quick("version").out == f"schedctl {number}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("runs", "show", "abc"), "Invalid value for 'ID': 'abc': write a whole number from 1 to 9223372036854775807"),
        (("runs", "show", "99999999999999999999"), "'99999999999999999999': write a whole number from 1 to"),
        (("cancel", "0"), "'0': write a whole number from 1"),
        (("retry", "9" * 5000), "write a whole number from 1"),
        (("rejected", "1.5"), "'1.5': write a whole number"),
        (("runs", "-n", "99999999999999999999"), "Invalid value for '-n' / '--limit': '99999999999999999999'"),
        (("forecast", "--days", "367"), "'367': write a whole number from 1 to 366"),
    ],
)
def test_a_number_that_is_none_or_too_large_is_named_with_its_bounds(
    quick: QuickCommand, arguments: tuple[str, ...], says: str
) -> None:
    assert quick.fails(*arguments, code=2, says=says).error["kind"] == "usage"


def test_the_largest_number_of_a_run_is_asked_for_in_vain(quick: QuickCommand) -> None:
    for command in (("runs", "show"), ("cancel",), ("rejected",), ("retry",)):
        quick.fails(*command, str(2**63 - 1), code=3, says="there is no run 9223372036854775807")
    assert quick("runs", "-n", str(2**63 - 1), "--json").json == {"runs": []}


def test_runs_at_80_columns_break_no_word_of_a_slot(quick: QuickCommand) -> None:
    for hour in (3, 4):
        quick("run", "nightly", "--at", f"2026-11-02T{hour:02}:00:00-05:00")
    quick("cancel", "1")
    shown = quick("runs", environment={"COLUMNS": "80"}).out
    assert all(len(line) <= 80 for line in shown.splitlines())
    assert {"2026-11-02", "08:00:00Z", "09:00:00Z", "backfill", "canceled", "accepted", "rejected"} <= set(
        shown.split()
    )
    assert "2026-11-02T08:00:00Z" in quick("runs").out, "a line of its own has room for it"
