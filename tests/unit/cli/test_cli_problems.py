"""From exceptions to lines, JSON and exit codes."""

import importlib
import json
import os
from pathlib import Path

import pytest
import typer
from support.commands.command import logging_as_it_was

from scheduler.cli.errors import _KINDS, EXIT_CODES, problem_of, report
from scheduler.errors.operation_error import ErrorKind, OperationError, failed, not_found, usage
from scheduler.secrets.resolve import register


@pytest.mark.parametrize(("module", "name"), list(_KINDS))
def test_every_error_that_is_known_by_name_is_there(module: str, name: str) -> None:
    assert issubclass(getattr(importlib.import_module(module), name), Exception)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (failed("x"), ErrorKind.FAILED, 1),
        (usage("x"), ErrorKind.USAGE, 2),
        (not_found("x"), ErrorKind.NOT_FOUND, 3),
        (OperationError(ErrorKind.CONFIG, "x"), ErrorKind.CONFIG, 4),
        (OperationError(ErrorKind.STORAGE, "x"), ErrorKind.STORAGE, 5),
        (typer.BadParameter("x"), ErrorKind.USAGE, 2),
        (typer.Abort(), ErrorKind.FAILED, 1),
        (KeyError("x"), ErrorKind.INTERNAL, 1),
    ],
)
def test_each_kind_has_its_exit_code(error: Exception, kind: ErrorKind, code: int) -> None:
    problem = problem_of(error)
    assert (problem.kind, problem.exit_code) == (kind, code)
    assert set(EXIT_CODES) == set(ErrorKind)


def test_errors_of_other_modules_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    from exporter.failures import configuration  # noqa: PLC0415 - whoever raises one has imported it
    from scheduler.errors.setting_faults import ConfigError, Fault  # noqa: PLC0415 - the same
    from storage.engine.errors import StorageError  # noqa: PLC0415 - the same

    faults = [Fault(keys=("jobs", "a"), message="one", line=3), Fault(keys=("jobs", "b"), message="two", line=9)]
    assert report(ConfigError(faults, name="c.toml"), as_json=True) == 4
    told = capsys.readouterr()
    assert told.err == "schedctl: c.toml:3: jobs.a: one\nschedctl: c.toml:9: jobs.b: two\n"
    assert json.loads(told.out) == {
        "error": {
            "kind": "config",
            "message": "2 faults, the first: c.toml:3: jobs.a: one",
            "faults": ["c.toml:3: jobs.a: one", "c.toml:9: jobs.b: two"],
        }
    }
    assert problem_of(StorageError("FULL", "no room")).exit_code == 5
    assert problem_of(configuration("X", "no")).message == "X: no"


def test_a_secret_in_another_sides_words_is_hidden(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    register(["never-told-to-anybody"])
    monkeypatch.setenv("SCHEDCTL_DEBUG", "1")
    report(
        OperationError(ErrorKind.CONFIG, "x never-told-to-anybody", faults=["never-told-to-anybody y"]), as_json=True
    )
    told = capsys.readouterr()
    assert "never-told" not in told.err + told.out
    assert "schedctl: *** y" in told.err


def test_in_the_journal_a_problem_is_one_event_with_a_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "journal").open("w+", encoding="utf-8") as journal, logging_as_it_was():
        monkeypatch.setattr("sys.stderr", journal)
        monkeypatch.setenv("JOURNAL_STREAM", "1:2")
        assert report(usage("elsewhere"), as_json=False) == 2
        status = os.fstat(journal.fileno())
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        problem = OperationError(ErrorKind.CONFIG, "2 faults", faults=["c.toml:3: one", "c.toml:4: two"])
        assert report(problem, as_json=False) == 4
        journal.seek(0)
        plain, logged = journal.read().splitlines()
    assert plain == "schedctl: elsewhere"
    assert logged.startswith("<3>{")
    event = json.loads(logged.removeprefix("<3>"))
    assert (event["event"], event["level"], event["kind"]) == ("command.failed", "error", "config")
    assert (event["message"], event["faults"]) == ("2 faults", ["c.toml:3: one", "c.toml:4: two"])


def test_what_nobody_foresaw_tells_its_place_but_not_its_text(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail() -> None:
        raise ZeroDivisionError("hush-hush")

    with pytest.raises(ZeroDivisionError) as caught:
        fail()
    monkeypatch.delenv("SCHEDCTL_DEBUG", raising=False)
    assert report(caught.value, as_json=False) == 1
    told = capsys.readouterr()
    assert told.err.startswith("schedctl: internal error: ZeroDivisionError in test_cli_problems.py, line ")
    assert "SCHEDCTL_DEBUG=1 shows the traceback" in told.err
    assert "hush-hush" not in told.err
    assert told.out == ""
    monkeypatch.setenv("SCHEDCTL_DEBUG", "1")
    report(caught.value, as_json=False)
    assert "Traceback" in capsys.readouterr().err


def test_a_message_of_several_lines_becomes_one() -> None:
    assert usage("a\n  b\tc").message == "a b c"
