"""The options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="The config file; else $SCHEDCTL_CONFIG, ~/.config/schedctl/config.toml, /etc/schedctl/config.toml.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def job_names(incomplete: str) -> list[str]:
    """Complete a job's name from the state file, without a look at the config file; nothing where that cannot be."""
    from scheduler.cli.state.fast_path import glanced  # noqa: PLC0415 - for those who press the tab key only

    return glanced(lambda found: found.job_names(incomplete)) or []


def connection_names(incomplete: str) -> list[str]:
    """Complete a connection's name from the config files, without checking them."""
    from scheduler.cli.state import fast_path  # noqa: PLC0415 - for those who press the tab key only

    return [name for name in fast_path.connection_names() if name.startswith(incomplete)]


Name = Annotated[str, typer.Argument(metavar="NAME", help="The job's name.", autocompletion=job_names)]
RunId = Annotated[int, typer.Argument(metavar="ID", help="The run's number, as `schedctl runs` shows it.", min=1)]
Timezone = Annotated[
    str, typer.Option("--timezone", metavar="ZONE", help="The schedule's time zone, such as America/New_York.")
]
Delay = Annotated[str, typer.Option("--delay", metavar="TIME", help="How long after its slot a run starts.")]
Step = Annotated[
    str, typer.Option("--step", metavar="multiples|offset", help="What */n means in day of month and month.")
]
DayMatch = Annotated[
    str, typer.Option("--day-match", metavar="or|more-often|and", help="What two restricted day fields mean.")
]
Dst = Annotated[
    str,
    typer.Option("--dst", metavar="once|wallclock", help="How daylight saving changes are handled; sets gap and fold."),
]
Gap = Annotated[
    str | None, typer.Option("--gap", metavar="after|skip", help="A slot that the clock leaves out: after it, or not.")
]
Fold = Annotated[
    str | None, typer.Option("--fold", metavar="first|second|both", help="A slot that the clock shows twice: when.")
]
