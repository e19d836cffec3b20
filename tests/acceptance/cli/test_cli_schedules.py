"""`next`, `explain` and `import crontab`: what needs neither config nor state. And help, completion, speed of start."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command, QuickCommand

from scheduler.environment.paths import SYSTEM_CONFIG

HEAVY = ("sqlmodel", "sqlalchemy", "pyarrow", "duckdb", "simple_salesforce", "pydantic", "rich", "croniter", "alembic")
FIRE_KEYS = {"scheduled_time", "run_time", "local", "note"}
SCHEDULE_KEYS = {"cron", "timezone", "fires", "fields", "words", "warnings", "after", "slots"}


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    command = Command(tmp_path)
    command.config.unlink()
    return command


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    command = QuickCommand(tmp_path)
    command.config.unlink()
    return command


def test_next_gives_the_fires_of_an_expression_with_the_keys_of_the_contract(schedctl: Command) -> None:
    answer = schedctl(
        "next", "0 3 * * mon-fri", "--timezone", "America/New_York", "--delay", "10m",
        "--from", "2026-11-27T00:00", "-n", "2", "--json",
    ).json  # fmt: skip
    assert set(answer) == SCHEDULE_KEYS
    assert (answer["cron"], answer["timezone"]) == ("0 3 * * mon-fri", "America/New_York")
    assert answer["fires"] == [
        {
            "scheduled_time": "2026-11-27T08:00:00Z",
            "run_time": "2026-11-27T08:10:00Z",
            "local": "2026-11-27T03:00:00-05:00",
            "note": "",
        },
        {
            "scheduled_time": "2026-11-30T08:00:00Z",
            "run_time": "2026-11-30T08:10:00Z",
            "local": "2026-11-30T03:00:00-05:00",
            "note": "",
        },
    ]


def test_next_is_strictly_after_the_time_given(schedctl: Command) -> None:
    fires = schedctl("next", "0 3 * * *", "--from", "2026-11-24T03:00:00Z", "-n", "1", "--json").json["fires"]
    assert fires[0]["scheduled_time"] == "2026-11-25T03:00:00Z"


def test_next_says_which_zone_a_time_without_one_is_taken_in(schedctl: Command) -> None:
    answer = schedctl("next", "0 3 * * *", "--from", "2026-11-24T03:00", "--timezone", "Asia/Tokyo", "-n", "1")
    assert "taken as Asia/Tokyo" in answer.err
    assert "2026-11-24T18:00:00Z" in answer.out


def test_next_notes_changes_of_the_clock(schedctl: Command) -> None:
    answer = schedctl("next", "30 2 * * *", "--timezone", "America/New_York", "--from", "2027-03-13", "-n", "2")
    assert "UTC-05:00 became UTC-04:00" in answer.out
    assert "fires once, right after the gap" in answer.out


def test_next_tells_a_change_of_the_clock_once(quick: QuickCommand) -> None:
    arguments = ["next", "30 2 * * *", "--timezone", "America/New_York", "-n", "200"]
    shown = quick(*arguments)
    for line in shown.err.splitlines():
        if "the clock goes" in line:
            assert line.partition("warning: ")[2].partition(" in ")[0] not in shown.out
    assert "the clock goes forward" in shown.out


def test_explain_says_what_the_clock_does_to_an_interval(quick: QuickCommand) -> None:
    shown = quick("explain", "*/15 * * * *", "--timezone", "America/New_York")
    assert "forward over 4 times of this schedule: those do not exist" in shown.out
    assert "back over 4 times of this schedule: fires in both passes" in shown.out
    told = quick("explain", "*/15 * * * *", "--timezone", "America/New_York", "--json").json["clock_changes"]
    assert {each["kind"] for each in told} == {"dst_gap", "dst_fold"}
    assert quick("explain", "*/15 * * * *", "--json").json["clock_changes"] == []


def test_explain_tells_of_a_job_with_its_own_zone_and_policies(tmp_path: Path) -> None:
    command = Command(tmp_path)
    job = '[jobs.nightly]\ncron = "30 2 * * *"\ntimezone = "America/New_York"\ndst = "wallclock"\ndelay = "10m"\n'
    command.config.write_text(
        '[connections.here]\ntype = "duckdb"\npath = "w.duckdb"\n[connections.out]\ntype = "file"\ndirectory = "out"\n'
        + job
        + 'source = "here"\nquery = "select 1"\nexport = { connection = "out", file = "rows.csv" }\n',
        encoding="utf-8",
    )
    shown = command("explain", "nightly").out
    assert "at 02:30 every day (America/New_York)" in shown
    assert "skipped (gap = skip)" in shown
    assert "each runs 10 min later" in shown
    assert command("explain", "nightly", "--json").json["timezone"] == "America/New_York"
    assert command("explain", "nigthly", code=3).err.startswith("schedctl: ")


def test_a_fault_of_an_expression_says_where_it_is(quick: QuickCommand) -> None:
    answer = quick("explain", "0 3 1,32 * *", code=2)
    assert answer.err == "schedctl: day of month: '32': 32 is not from 1 to 31 (column 7)\n"


def test_what_never_fires_is_not_said_to_have_stopped(quick: QuickCommand) -> None:
    assert quick("next", "0 0 31 2 *").out == "it never fires\n"
    assert quick("next", "0 0 * * *", "--from", "9999-01-01T00:00Z").out == "it does not fire any more\n"
    assert "\n\n\n" not in quick("explain", "0 0 31 2 *").out


def test_the_switches_of_the_dialect_are_options(quick: QuickCommand) -> None:
    def days(*options: str) -> list[int]:
        return list(quick("explain", "0 0 */10 * 1", *options, "--json").json["fields"]["day_of_month"])

    assert days() == [10, 20, 30]
    assert days("--step", "offset") == [1, 11, 21, 31]
    skip = quick(
        "next",
        "30 2 * * *",
        "--timezone",
        "America/New_York",
        "--dst",
        "wallclock",
        "--from",
        "2027-03-14T00:00",
        "-n",
        "1",
        "--json",
    )
    assert skip.json["fires"][0]["local"].startswith("2027-03-15")


def test_explain_tells_words_fields_warnings_and_differences(schedctl: Command) -> None:
    answer = schedctl("explain", "0 0 5,*/10,25 * *")
    assert "5,10,20,25,30" in answer.out
    assert "at 00:00 on the 5th, 10th, 20th, 25th and 30th of the month" in answer.out
    assert "Vixie" in answer.out
    assert answer.err == ""
    as_json = schedctl("explain", "0 0 5,*/10,25 * *", "--json").json
    assert set(as_json) == SCHEDULE_KEYS | {"clock_changes", "differences"}
    assert all(set(fire) == FIRE_KEYS for fire in as_json["fires"])
    assert as_json["fields"]["day_of_month"] == [5, 10, 20, 25, 30]
    assert as_json["warnings"]
    assert {other["rule"] for other in as_json["differences"]} == {"step = offset"}


def test_an_impossible_date_and_no_schedule_are_explained_too(quick: QuickCommand) -> None:
    assert "never fires" in quick("explain", "0 0 30 2 *").out
    assert quick("next", "0 0 30 2 *", "--json").json["fires"] == []
    assert "no schedule" in quick("explain", "").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("explain", "60 * * * *"), "minute: '60': 60 is not from 0 to 59"),
        (("explain", "*/0 * * * *"), "the step must be from 1 to 59"),
        (("explain", "0 22-2 * * *"), "write 22-23,0-2"),
        (("explain", "0 0 * *"), "4 fields instead of 5"),
        (("explain", "@reboot"), "schedctl run NAME runs a job by hand"),
        (("explain", "-*/15 * * * *"), "minute: '-*/15': write */15"),
        (("next", "-5 3 * * *", "-n", "2"), "minute: '-5': a range has a first value: write 0-5, or 5 (column 1)"),
        (("explain", "٣ * * * *"), "use a number from 0 to 59"),
        (("explain", "\x1b[31m * * * *"), "minute"),
        (("explain", "x" * 5000), "at most 1,000"),
        (("explain", "0 3 * * *", "--timezone", "EST"), "write America/New_York"),
        (("explain", "0 3 * * *", "--step", "vixie"), "use one of multiples, offset"),
        (("explain", "0 3 * * *", "--gap", "x"), "use one of after, skip"),
        (("next", "0 3 * * *", "--from", "soon"), "--from 'soon' is no time"),
        (("next", "0 3 * * *", "--delay", "ten"), "--delay 'ten'"),
        (("next", "0 3 * * *", "-n", "0"), "'-n' / '--count'"),
        (("explain",), "Missing argument 'NAME|CRON'"),
        (("explain", "0", "3", "*", "*", "*"), "unexpected extra argument"),
        (("nonsense",), "No such command 'nonsense'"),
        (("connections", "bogus"), "No such command 'bogus'"),
        (("list", "--nonsense"), "No such option: --nonsense"),
    ],
)
def test_what_makes_no_sense_is_one_line_and_exit_code_2(
    quick: QuickCommand, arguments: tuple[str, ...], says: str
) -> None:
    answer = quick.fails(*arguments, code=2, says=says)
    assert answer.error["kind"] == "usage"
    assert all(line.isprintable() for line in answer.err.splitlines())
    assert max(map(len, answer.err.splitlines())) < 400


@pytest.mark.parametrize("command", ["next", "explain"])
@pytest.mark.parametrize(("text", "says"), [("x", "1 field"), ("daily", "write @daily"), ("5m", "*/5 * *")])
def test_without_a_config_file_they_speak_of_the_expression(tmp_path: Path, command: str, text: str, says: str) -> None:
    quick = QuickCommand(tmp_path)
    del quick.environment["SCHEDCTL_CONFIG"]
    if not SYSTEM_CONFIG.exists():
        answer = quick.fails(command, text, code=2, says=f"'{text}' is no cron expression: ")
        assert says in answer.error["message"]
        assert "there is no config file /etc/schedctl/config.toml" in answer.error["message"]
    quick.environment["SCHEDCTL_CONFIG"] = str(tmp_path / "none.toml")
    quick.fails(command, text, code=4, says="none.toml: cannot be read")


def test_an_unquoted_expression_is_told_to_be_quoted(schedctl: Command) -> None:
    assert "quote arguments" in schedctl("explain", "0", "3", "*", "*", "*", code=2).err
    assert "quote arguments" not in schedctl("show", "a", "b", code=2).err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["explain", "0 3 * * *", "--timezone", "America/New_York"],
        ["next", "*/5 * * * *", "-n", "3", "--json"],
    ],
)
def test_what_needs_no_database_does_not_import_one(arguments: list[str]) -> None:
    script = (
        "import sys\nfrom scheduler.cli.main import run\n"
        f"code = run({arguments!r})\n"
        f"print(code, sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    environment = {key: value for key, value in os.environ.items() if key != "COLUMNS"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr.strip() == "0 []"


def test_every_command_has_help_with_an_example_in_80_columns(quick: QuickCommand) -> None:
    groups = {"runs", "connections", "import", "notify", "db"}
    commands = re.findall(r"^  ([a-z]+)  +\S", quick("--help").out.partition("Commands:")[2], re.MULTILINE)
    assert {"add", "list", "run", "explain", "daemon", *groups} <= set(commands)
    for command in commands:
        text = quick(command, "--help").out
        assert f"Example: schedctl {command} " in text.replace("\n", " ") + " " or "| schedctl import" in text
        assert all(len(line) <= 80 for line in text.splitlines()), command
        assert (command in groups) == ("Commands:" in text)
        if command not in groups | {"demo", "daemon", "emulator"}:
            assert "--json" in text, command


def test_no_command_is_a_call_for_help(schedctl: Command) -> None:
    answer = schedctl(code=2)
    assert "Commands:" in answer.err
    assert answer.err.endswith("schedctl: a command is missing; --help lists them\n")
    assert answer.out == ""


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(schedctl: Command, shell: str) -> None:
    variables = {"_SCHEDCTL_COMPLETE": f"complete_{shell}", "COMP_WORDS": "schedctl ex", "COMP_CWORD": "1"}
    variables |= {"_TYPER_COMPLETE_ARGS": "schedctl ex", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "explain" in schedctl(environment=variables, code=None).out


def test_a_reader_that_has_enough_is_no_reason_to_complain() -> None:
    script = f"'{SCHEDCTL}' next '* * * * *' -n 10000 | head -1"
    done = subprocess.run(["/bin/bash", "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("UTC")
    assert done.stderr == ""


CRONTAB = """
# m h dom mon dow command
MAILTO=ops@example.com
0 3 * * 1-5 /usr/local/bin/export-contacts --full
CRON_TZ=Asia/Tokyo
0 0 */2 * 1 cd /srv && ./sync "leads"
@daily /usr/local/bin/export-contacts
61 * * * * /bin/broken
@reboot /bin/once
"""


def test_a_crontab_becomes_jobs_that_fire_when_its_lines_did(schedctl: Command, tmp_path: Path) -> None:
    file = tmp_path / "crontab"
    file.write_text(CRONTAB, encoding="utf-8")
    answer = schedctl("import", "crontab", file, "--timezone", "Europe/Berlin", "--json", code=1)
    jobs = {job["name"]: job for job in answer.json["jobs"]}
    assert set(jobs) == {"export-contacts", "sync", "export-contacts-2"}
    assert jobs["export-contacts"]["timezone"] == "Europe/Berlin"
    assert jobs["export-contacts-2"]["cron"] == "0 0 * * *"
    every_other = jobs["sync"]
    assert every_other["cron"] == "0 0 */2 * 1"
    assert (every_other["step"], every_other["day_match"], every_other["timezone"]) == ("offset", "and", "Asia/Tokyo")
    assert [fault["line"] for fault in answer.json["faults"]] == [8, 9]
    assert f"schedctl: {file}:8: " in answer.err


def test_the_printed_jobs_are_config_once_source_query_and_target_are_filled_in(schedctl: Command) -> None:
    command = ("import", "crontab", "-", "--source", "warehouse", "--to", "files")
    snippets = schedctl(*command, stdin=CRONTAB, code=1).out
    filled = snippets.replace('# query = "…"', 'query = "select 1" #')
    config = Command(schedctl.directory)
    config.write(config.config.read_text(encoding="utf-8").partition("[jobs.")[0] + filled)
    assert "3 jobs" in config("check").out
    assert "query is missing" in snippets or "# query" in snippets


def test_an_empty_crontab_and_a_missing_one_are_told(quick: QuickCommand) -> None:
    assert "has no crontab lines" in quick("import", "crontab", "-", stdin="# nothing\n", code=1).err
    assert "No such file" in quick("import", "crontab", "missing", code=2).err
