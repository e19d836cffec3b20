"""From any exception to the one line, the JSON object and the exit code that a user gets to see. Never a traceback."""

import os
import sys
import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import typer
from typer.exceptions import TyperException

from exporter.counted import counted
from scheduler.cli.printing.output import put_json, say, say_lines
from scheduler.errors.operation_error import ErrorKind, OperationError

EXIT_CODES = {
    ErrorKind.FAILED: 1,
    ErrorKind.INTERNAL: 1,
    ErrorKind.USAGE: 2,
    ErrorKind.NOT_FOUND: 3,
    ErrorKind.CONFIG: 4,
    ErrorKind.STORAGE: 5,
}
INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count it."""
TAKE_CRON = frozenset({"next", "explain", "add", "edit"})
"""The commands that a cron expression is typed for."""
DEBUG = "SCHEDCTL_DEBUG"
"""The environment variable that asks for tracebacks."""

_KINDS = {
    ("scheduler.errors.setting_faults", "ConfigError"): ErrorKind.CONFIG,
    ("scheduler.config.merge", "NameConflicts"): ErrorKind.CONFIG,
    ("scheduler.secrets.resolve", "SecretError"): ErrorKind.CONFIG,
    ("scheduler.schedules.expression", "CronError"): ErrorKind.USAGE,
    ("scheduler.schedules.schedule", "ScheduleError"): ErrorKind.USAGE,
    ("scheduler.nodes.process", "AlreadyRunningError"): ErrorKind.FAILED,
    ("storage.engine.errors", "StorageError"): ErrorKind.STORAGE,
    ("exporter.failures", "ExportError"): ErrorKind.FAILED,
    ("exporter.emulator.org.schema", "SchemaError"): ErrorKind.USAGE,
}
"""Errors by a module that has them and their name: who raised one has imported it, and nobody else should have to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """What went wrong, fit to be shown."""

    kind: ErrorKind
    message: str
    faults: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """The process's exit code."""
        return EXIT_CODES[self.kind]


def problem_of(error: Exception) -> Problem:
    """Say what an exception means to a user."""
    if isinstance(error, OperationError):
        return Problem(kind=error.kind, message=error.message, faults=error.faults)
    if _is_call_for_help(error):
        return Problem(kind=ErrorKind.USAGE, message="a command is missing; --help lists them")
    if isinstance(error, TyperException):
        return Problem(kind=ErrorKind.USAGE, message=_one_line(error.format_message()) + _hint(error))
    if isinstance(error, typer.Abort):
        return Problem(kind=ErrorKind.FAILED, message="aborted")
    for (module, name), kind in _KINDS.items():
        known = getattr(sys.modules.get(module), name, None)
        if known is not None and isinstance(error, known):
            return _known(kind, error)
    return Problem(kind=ErrorKind.INTERNAL, message=f"{_place(error)}; {DEBUG}=1 shows the traceback")


def report(error: Exception, *, as_json: bool) -> int:
    """Print a line per fault on stderr and, if asked for, the JSON object on stdout; return the exit code.

    Where stderr is systemd's journal, one event ``command.failed`` is logged instead: a bare line has no priority
    there, and `journalctl -p err` would not show why the daemon did not start.
    """
    if os.environ.get(DEBUG):
        say_lines(_masked("".join(traceback.format_exception(error))))
    problem = _without_secrets(problem_of(error))
    if _is_call_for_help(error) and isinstance(error, TyperException):
        say_lines(error.format_message())  # who types nothing but `schedctl` wants this
    if not _is_logged(problem):
        for line in problem.faults or (problem.message,):
            say(f"schedctl: {line}")
    if as_json:
        content = {"kind": problem.kind.value, "message": problem.message, "faults": list(problem.faults)}
        put_json({"error": content})
    return problem.exit_code


def _without_secrets(problem: Problem) -> Problem:
    """Hide secrets that another side's words hold. A process that has looked none up has nothing to hide."""
    return replace(problem, message=_masked(problem.message), faults=tuple(map(_masked, problem.faults)))


def _masked(text: str) -> str:
    secrets: Any = sys.modules.get("scheduler.secrets.resolve")
    return text if secrets is None else str(secrets.mask(text))


def _is_logged(problem: Problem) -> bool:
    """Log the problem if stderr is the journal, and say whether it is."""
    if not os.environ.get("JOURNAL_STREAM"):
        return False
    from scheduler.observability import logging_setup  # noqa: PLC0415 - structlog takes 80 ms, for services only

    if logging_setup.detect_mode(sys.stderr, os.environ) != "journal":
        return False
    logging_setup.configure()
    log = logging_setup.get_logger("schedctl.cli")
    log.error("command.failed", kind=problem.kind.value, message=problem.message, faults=list(problem.faults))
    return True


def _known(kind: ErrorKind, error: Exception) -> Problem:
    lines = tuple(filter(None, map(_one_line, str(error).split("\n"))))
    if len(lines) > 1:
        return Problem(kind=kind, message=f"{counted(len(lines), 'fault')}, the first: {lines[0]}", faults=lines)
    message = lines[0] if lines else type(error).__name__
    faults = lines if kind is ErrorKind.CONFIG else ()
    return Problem(kind=kind, message=message, faults=faults)


def _is_call_for_help(error: Exception) -> bool:
    """Whether no command was named; the error's message is then the whole help page."""
    return type(error).__name__ == "NoArgsIsHelpError"


def _hint(error: TyperException) -> str:
    """Tell what a shell may have made of an expression: several words, or the files that * stands for."""
    command = getattr(getattr(error, "ctx", None), "info_name", None)
    extra = command in TAKE_CRON and error.format_message().startswith("Got unexpected extra argument")
    return "; quote arguments that contain spaces or *, such as '0 3 * * *'" if extra else ""


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _place(error: Exception) -> str:
    """Name the kind of an unforeseen error and where it came up; its text may hold anything, so it is not shown."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return f"internal error: {type(error).__name__}{where}"
