"""Log lines: their form for each reader, their levels, other libraries' lines, and no secret in any."""

import io
import json
import logging
import os
import pty
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from scheduler.observability.logging_setup import configure, detect_mode, get_logger
from scheduler.secrets.resolve import register

EVENT = 'an event with logged\n"s3cret"\\ in it'
SECRET = 'logged\n"s3cret"\\'


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    """Leave the process's logging as it was found."""
    root = logging.getLogger()
    names = ("schedctl", "apscheduler", "apscheduler.scheduler", "urllib3", "alembic", "sqlalchemy")
    levels = {name: logging.getLogger(name).level for name in names}
    logging.getLogger("apscheduler.scheduler").setLevel(logging.NOTSET)  # a daemon in this process has it say less
    level, show = root.level, warnings.showwarning
    yield
    for handler in [each for each in root.handlers if each.get_name() == "schedctl"]:
        root.removeHandler(handler)
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)
    logging.captureWarnings(capture=False)
    warnings.showwarning = show


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


def fail(message: str) -> None:
    row = "a row's value"
    raise ValueError(message[: len(row) * 100])


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_json_line_has_time_level_logger_event_and_fields(stream: io.StringIO) -> None:
    configure(stream, mode="json")
    with structlog.contextvars.bound_contextvars(job="contacts", run=7):
        get_logger("runner").info("run.claimed", attempt=1)
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "logger": "schedctl.runner", "event": "run.claimed", "attempt": 1, "job": "contacts", "run": 7
    }  # fmt: skip
    assert stream.getvalue().startswith('{"timestamp": ')


@pytest.mark.parametrize(
    ("name", "full"), [("tick", "schedctl.tick"), ("schedctl.x", "schedctl.x"), ("schedctl", "schedctl")]
)
def test_loggers_are_ours_by_name(stream: io.StringIO, name: str, full: str) -> None:
    configure(stream, mode="json")
    get_logger(name).error("x")
    assert lines(stream)[0]["logger"] == full


def test_other_libraries_speak_through_the_same_pipeline_from_warnings_on(stream: io.StringIO) -> None:
    configure(stream, level="debug", mode="json")
    for name in ("apscheduler.scheduler", "sqlalchemy.engine", "urllib3.connectionpool", "alembic", "anything"):
        logging.getLogger(name).info("not %s", "this")
        logging.getLogger(name).warning("but %s", "this")
    assert [(line["logger"], line["event"], line["level"]) for line in lines(stream)] == [
        (name, "but this", "warning")
        for name in ("apscheduler.scheduler", "sqlalchemy.engine", "urllib3.connectionpool", "alembic", "anything")
    ]


def test_python_warnings_are_log_lines(stream: io.StringIO) -> None:
    configure(stream, mode="json")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)
    assert lines(stream)[0]["logger"] == "py.warnings"


@pytest.mark.parametrize(("level", "count"), [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)])
def test_lines_below_the_level_are_left_out(stream: io.StringIO, level: str, count: int) -> None:
    configure(stream, level=level, mode="json")
    log = get_logger("x")
    for each in (log.debug, log.info, log.warning, log.error):
        each("event")
    assert len(lines(stream)) == count


def test_the_journal_gets_a_priority_before_each_single_line(stream: io.StringIO) -> None:
    configure(stream, level="debug", mode="journal")
    log = get_logger("x")
    log.debug("a")
    log.info("a", text="two\nlines")
    log.warning("a")
    try:
        fail("two\nlines")
    except ValueError:
        log.exception("a")
    log.critical("a")
    assert [line[:3] for line in stream.getvalue().splitlines()] == ["<7>", "<6>", "<4>", "<3>", "<2>"]
    line = json.loads(stream.getvalue().splitlines()[3][3:])
    assert "ValueError: two\nlines" in line["exception"]


def test_the_console_shows_events_and_plain_tracebacks_without_local_variables(stream: io.StringIO) -> None:
    configure(stream, mode="console")
    try:
        fail("boom")
    except ValueError:
        get_logger("x").exception("run.failed", job="contacts")
    text = stream.getvalue()
    assert "run.failed" in text
    assert "job=contacts" in text
    assert "ValueError: boom" in text
    assert "\x1b" not in text  # no terminal, no colors
    assert "message = " not in text
    assert "a row's value" not in text


@pytest.mark.parametrize("mode", ["console", "json", "journal"])
def test_no_line_holds_what_a_terminal_obeys(stream: io.StringIO, mode: Any) -> None:
    odd = "\x1b]0;owned\x07\x9b2J\u202eexe\u2028\u200f\x85\x7f\r\nend"
    configure(stream, mode=mode)
    try:
        raise ValueError(odd)
    except ValueError:
        get_logger("x").exception(f"run.{odd}", message=odd, parts=[odd, {odd: odd}], **{odd: odd})
    logging.getLogger("urllib3").warning("from %s", odd)
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200f\u2028\u202e]", stream.getvalue())
    if mode == "json":
        assert json.loads(stream.getvalue().splitlines()[0])["message"] == odd


def test_what_others_sent_cannot_pass_for_a_line_or_steer_the_terminal(stream: io.StringIO) -> None:
    configure(stream, mode="console")
    logging.getLogger("urllib3").warning("answer: \x1b[2Jgone\n2026 [info] fake")
    get_logger("x").warning("call.failed", message="\x1b[2Jgone\nfake")
    assert stream.getvalue().count("\n") == 2
    assert "\x1b[2J" not in stream.getvalue()


@pytest.mark.parametrize("mode", ["console", "json", "journal"])
def test_a_planted_secret_is_in_no_line(stream: io.StringIO, mode: Any) -> None:
    register([SECRET])
    configure(stream, level="debug", mode=mode)
    log = get_logger("x")

    class Holder:
        def __repr__(self) -> str:
            return f"Holder({SECRET!r})"

        __str__ = __repr__

    log.info(EVENT, field=SECRET, inner={"deep": [SECRET, {"more": (SECRET, repr(SECRET))}]}, other=Holder())
    logging.getLogger("urllib3").warning("POST %s", SECRET)
    logging.getLogger("urllib3").warning("POST %s", {"client_secret": SECRET})
    try:
        fail(f"refused: {SECRET} in { {'quoted': SECRET} }")
    except ValueError:
        log.exception("failed")
        logging.getLogger("apscheduler").exception("failed %r", SECRET)
    with structlog.contextvars.bound_contextvars(run=SECRET):
        log.info("bound")
    text = stream.getvalue()
    assert "s3cret" not in text
    assert text.count("***") >= 9


def test_a_line_that_cannot_be_made_shows_nothing_of_it(
    stream: io.StringIO, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(stream, mode="json")
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [each for each in root.handlers if each.get_name() == "schedctl"])

    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("in str")

        __repr__ = __str__

    get_logger("x").info("event", broken=Broken(), other="row-value")
    logging.getLogger("urllib3").warning("%d row-value", "no number")
    assert stream.getvalue().count("could not be written") == 2
    assert "row-value" not in stream.getvalue() + capsys.readouterr().err


def test_a_closed_stream_is_no_error_of_the_caller() -> None:
    stream = io.StringIO()
    configure(stream, mode="json")
    stream.close()
    get_logger("x").info("event")


def test_configuring_again_replaces_the_stream(stream: io.StringIO) -> None:
    first = io.StringIO()
    configure(first, mode="json")
    configure(stream, mode="json")
    get_logger("x").info("event")
    assert (first.getvalue(), len(lines(stream))) == ("", 1)


def test_the_mode_is_console_on_a_terminal_and_json_elsewhere(tmp_path: Path) -> None:
    leader, follower = pty.openpty()
    with os.fdopen(leader), os.fdopen(follower, "w") as terminal, (tmp_path / "log").open("w") as file:
        assert detect_mode(terminal, {}) == "console"
        assert detect_mode(file, {}) == "json"
        assert detect_mode(io.StringIO(), {}) == "json"


def test_the_mode_is_journal_only_if_the_stream_is_the_journals(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as stream, (tmp_path / "b").open("w") as other:
        status = os.fstat(stream.fileno())
        environ = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert detect_mode(stream, environ) == "journal"
        assert detect_mode(other, environ) == "json"  # a shell started from a unit inherits the variable


def test_nothing_goes_to_stdout_even_before_logging_is_configured() -> None:
    code = """
from scheduler.observability.logging_setup import configure, get_logger
log = get_logger("x")
log.error("a")
configure()
log.info("b")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == ""
    assert "'a'" in done.stderr
    assert '"event": "b"' in done.stderr


@pytest.mark.parametrize(
    ("environ", "codes"), [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colors_are_for_terminals_that_want_them(environ: dict[str, str], codes: object) -> None:
    leader, follower = pty.openpty()
    home = "scheduler.observability.logging_setup"
    code = f"from {home} import get_logger, configure; configure(); get_logger('x').info('event')"
    environ = {"PATH": os.environ["PATH"], **environ}
    with os.fdopen(follower, "w") as terminal:
        subprocess.run([sys.executable, "-c", code], stderr=terminal, env=environ, check=True, timeout=60)
    with os.fdopen(leader, "rb") as file:
        assert (b"\x1b[" in os.read(file.fileno(), 4096)) is codes
