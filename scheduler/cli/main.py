"""The console script `schedctl`: every command, and the one place where errors become lines and exit codes."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from typer.main import get_command

from scheduler.cli import (
    auditing,
    checking,
    editing,
    listing,
    load,
    login,
    notifying,
    previewing,
    running,
    schedules,
    service,
)
from scheduler.cli.groups import Group
from scheduler.cli.problems import INTERRUPTED, report

EXIT_CODES = (
    """Exit codes: 0 done; 1 it ran and failed; 2 usage; 3 no such thing; 4 config faults; 5 storage unreachable."""
)

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
for part in (editing, listing, running, previewing, schedules, load, auditing, checking, login, notifying, service):
    part.register(app)


@app.callback()
def root(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="FILE", help="The config file, for whichever command follows.")
    ] = None,
) -> None:
    """Run SQL on cron schedules and export every row to Salesforce."""
    if config is not None:
        os.environ["SCHEDCTL_CONFIG"] = str(config)  # where every command looks next after its own --config


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return the exit code."""
    try:
        code = get_command(app)(args=list(arguments), prog_name="schedctl", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read stdout has enough. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the outer frame: whatever it is, a user gets one line
        return report(error, as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command line of this process; the console script."""
    sys.exit(run(sys.argv[1:]))
