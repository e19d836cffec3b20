"""The command line over odd streams and odd text: full, closed, without UTF-8; it ends with data or with one line."""

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, SCHEDCTL, Answer, Command, QuickCommand

WORDS = "größte 日本 😀"
ESCAPED = r"gr\xf6\xdfte \u65e5\u672c \U0001f600"
JOB = NIGHTLY.replace("'one'", f"'{WORDS}'").replace("[jobs.nightly]", f'[jobs.nightly]\ndescription = "{WORDS}"')


@pytest.fixture
def schedctl(tmp_path: Path) -> Command:
    command = Command(tmp_path, CONFIG + JOB)
    command.afresh = True
    return command


def shell(schedctl: Command, arguments: str, streams: str) -> Answer:
    """Run a command by a shell, which can close streams."""
    line = f"exec {shlex.quote(str(SCHEDCTL))} {arguments} {streams}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=schedctl.environment, capture_output=True, text=True, timeout=60, check=False
    )
    return Answer(code=done.returncode, out=done.stdout, err=done.stderr)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_what_an_encoding_lacks_is_escaped_and_json_stays_json(schedctl: Command, encoding: str) -> None:
    schedctl.environment["PYTHONIOENCODING"] = encoding

    def out(*arguments: str) -> str:
        command = [SCHEDCTL, *arguments]
        return subprocess.run(command, env=schedctl.environment, capture_output=True, check=True).stdout.decode(
            encoding
        )

    shown = WORDS.encode(encoding, "backslashreplace").decode(encoding)
    assert encoding != "ascii" or shown == ESCAPED
    assert f"description  {shown}\n" in out("show", "nightly")
    assert shown in out("preview", "nightly")
    assert json.loads(out("show", "nightly", "--json"))["job"]["definition"]["description"] == WORDS
    assert json.loads(out("preview", "nightly", "--json"))["rows"][0]["values"]["word"] == WORDS


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
@pytest.mark.parametrize("arguments", ["list", "list --json", "--help", "explain @daily", "run nightly --wait"])
@pytest.mark.parametrize(
    ("streams", "why"), [(">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")]
)
def test_a_stdout_that_takes_nothing_is_one_line_and_exit_code_1(
    schedctl: Command, arguments: str, streams: str, why: str
) -> None:
    answer = shell(schedctl, arguments, streams)
    assert answer.code == 1
    assert answer.err.splitlines()[-1] == f"schedctl: stdout cannot be written: {why}"
    talk = [line for line in answer.err.splitlines() if not line.startswith("run 1 ")]
    assert len(talk) == 1, answer.err


def test_a_closed_stderr_is_not_taken_for_stdout(schedctl: Command) -> None:
    answer = shell(schedctl, "next '0 0 30 2 *' --json", "2>&-")
    assert json.loads(answer.out)["fires"] == []
    assert shell(schedctl, "show nobody", "2>&-") == Answer(code=3, out="", err="")
    assert shell(schedctl, "list", ">&- 2>&- <&-").code == 1


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        (
            ["add", "bad", "--source", "warehouse", "--to", "files", "--query", "select '\udcff'"],
            "the value of --query",
        ),
        (["add", "bad", "--source", "warehouse", "--to", "files", "--query=select '\udcff'"], "the value of --query"),
        (["add", "bad", "--column", "A=\udcff"], "the value of --column"),
        (["disable", "nightly", "--reason", "\udcff"], "the value of --reason"),
        (["runs", "\udcff"], "argument 2"),
        (["\udcff"], "argument 1"),
    ],
)
def test_what_is_typed_and_no_utf_8_is_refused_at_the_door(tmp_path: Path, arguments: list[str], where: str) -> None:
    QuickCommand(tmp_path).fails(*arguments, code=2, says=f"{where} is not valid UTF-8")


def test_bytes_that_are_no_utf_8_are_refused_as_the_shell_gives_them(schedctl: Command) -> None:
    done = subprocess.run(
        [os.fsencode(SCHEDCTL), b"add", b"bad", b"--query", b"select '\xff' as a"],
        env=schedctl.environment,
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(b"schedctl: the value of --query is not valid UTF-8")


def test_an_import_with_half_characters_carries_the_rest_over(schedctl: Command) -> None:
    result = {"type": "sfdc_v2", "object": "Lead"}
    good = {"name": "good", "cron": "@daily", "query": "select 1", "database": "d", "result": result}
    listed = [good, good | {"name": "a\ud800"}, good | {"name": "q", "query": "\ud800"}, 7, good | {"x\ud800": 1}]
    (schedctl.directory / "td.json").write_text("\ufeff" + json.dumps(listed), encoding="utf-8")
    answer = schedctl("import", "td", "td.json", "--json", code=1)
    assert [job["name"] for job in answer.json["jobs"]] == ["good", "a", "good-2"]
    assert [fault["schedule"] for fault in answer.json["faults"]] == ["q", "schedule 4 of 5"]
    plain = schedctl("import", "td", "-", stdin="\ufeff" + json.dumps(listed), code=1)
    assert "[jobs.good-2]" in plain.out
    assert "schedctl: q: not carried over: query: this holds half a character" in plain.err
    assert "good: x\\ud800 is left out: schedctl has nothing like it" in plain.err
