"""The console script `schedctl`: every command, and the one place where errors become lines and exit codes."""

import os
import re
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from scheduler.cli.arguments.groups import Group
from scheduler.cli.errors import INTERRUPTED, problem_of, report
from scheduler.cli.printing import streams
from scheduler.cli.printing.output import put
from scheduler.errors.operation_error import OperationError, usage

EXIT_CODES = (
    """Exit codes: 0 done; 1 it ran and failed; 2 usage; 3 no such thing; 4 config faults; 5 storage unreachable."""
)

PARTS = {
    "commands.edit_job": ("add", "edit", "remove", "disable", "enable"),
    "commands.list_jobs": ("list", "show"),
    "commands.runs": ("run", "runs", "cancel", "retry", "rejected"),
    "commands.preview": ("preview",),
    "commands.next_explain": ("next", "explain"),
    "commands.forecast_import": ("forecast", "import"),
    "commands.audit": ("audit",),
    "commands.check": ("check", "connections"),
    "commands.resync": ("resync",),
    "connections.login": ("login",),
    "commands.notify": ("notify",),
    "commands.install_units": ("install-units",),
    "commands.db": ("db",),
    "commands.service": ("status", "reload", "daemon", "emulator", "demo", "version"),
}
"""The modules of this package that have commands, and which: `explain` need not import what `run` does."""

_UNHEARD = {
    "daemon": (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2),
    "emulator": (signal.SIGUSR1, signal.SIGUSR2),
}
"""Signals that must not end a process that has no handler for them yet; a reload that is asked for before the config
file is read is met by that."""
_EXPRESSION = re.compile(r"-[0-9*][^ \t]*[ \t]")


def application(command: str | None = None) -> typer.Typer:
    """Put the command line together: the part that has ``command``, or all of it."""
    app = typer.Typer(
        name="schedctl",
        cls=Group,
        help="Run SQL on cron schedules and export every row to Salesforce.",
        epilog=f"Example: schedctl explain '0 3 * * mon-fri'\n\n{EXIT_CODES}",
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help: the same on a terminal, in a pipe, in the docs, and 50 ms faster
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    )
    app.callback()(root)
    having = [part for part, commands in PARTS.items() if command in commands]
    for part in having or PARTS:
        import_module(f"scheduler.cli.{part}").register(app)
    return app


def _put_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    """Show the version and end, if that is ``wanted``."""
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 - 20 ms, for this option only

        put(f"schedctl {version('schedctl')}")
        raise typer.Exit


def root(
    *,
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config file, for whichever command follows.")
    ] = None,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_put_version, is_eager=True)
    ] = False,
) -> None:
    """Run SQL on cron schedules and export every row to Salesforce."""
    del show_version
    if config is not None:
        os.environ["SCHEDCTL_CONFIG"] = str(config)  # where every command looks next after its own --config


def _command(arguments: Sequence[str]) -> str | None:
    """Return the command that is named; None where that takes a proper look, or all of them are to be shown."""
    rest = list(arguments)
    while rest and rest[0].startswith("--config"):
        del rest[: 1 if "=" in rest[0] else 2]
    return None if not rest else "version" if rest[0] == "--version" else rest[0]


def _in_order(arguments: Sequence[str]) -> list[str]:
    """Put an expression that begins like an option, such as ``-*/15 * * * *``, to the end, behind ``--``."""
    expressions = [each for each in arguments if _EXPRESSION.match(each)]
    if not expressions or "--" in arguments or _command(arguments) not in ("next", "explain"):
        return list(arguments)
    return [*(each for each in arguments if each not in expressions), "--", *expressions]


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code."""
    try:
        _check_text(arguments)
        code = get_command(application(_command(arguments)))(
            args=_in_order(arguments), prog_name="schedctl", standalone_mode=False
        )
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read stdout has enough
        streams.drop_stdout()
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outer frame: whatever it is, a user gets one line
        return _report(error, arguments)
    return code if isinstance(code, int) else 0


def _report(error: Exception, arguments: Sequence[str]) -> int:
    try:
        code = report(error, as_json="--json" in arguments)
        sys.stdout.flush()
    except (OSError, OperationError):  # stdout takes nothing; the line on stderr is out
        streams.drop_stdout()
        return problem_of(error).exit_code
    return code


def _check_text(arguments: Sequence[str]) -> None:
    """Refuse what is not valid UTF-8: Python reads it as halves of characters, which no database and no file takes."""
    for position, argument in enumerate(arguments):
        try:
            argument.encode()
        except UnicodeEncodeError as error:
            option, equals, _ = argument.partition("=")
            before = arguments[position - 1] if position else ""
            name = option if equals and option.startswith("--") else before if before.startswith("-") else ""
            where = f"the value of {name}" if name else f"argument {position + 1}"
            raise usage(f"{where} is not valid UTF-8: type it in a terminal that is set to UTF-8") from error


def main() -> None:
    """Run the command line of this process; the console script."""
    command = _command(sys.argv[1:])
    for number in _UNHEARD.get(command or "", ()):
        signal.signal(number, signal.SIG_IGN)
    streams.prepare()
    code = run(sys.argv[1:])
    for number in (signal.SIGTERM, signal.SIGINT) if command in _UNHEARD else ():
        signal.signal(number, signal.SIG_IGN)  # one more while Python finishes must not make a failure of its end
    streams.drop_stderr_if_broken()
    sys.exit(code)
