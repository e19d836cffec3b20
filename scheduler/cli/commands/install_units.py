"""`install-units`: the systemd unit of this installation."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, put_lines, say, warn
from scheduler.environment.paths import SYSTEM_CONFIG, config_path

if TYPE_CHECKING:
    from scheduler.operations import systemd_units
else:
    systemd_units = Late("scheduler.operations.systemd_units")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "install-units", install_units, example="schedctl install-units --user --dry-run")


def install_units(
    *,
    user: Annotated[bool, typer.Option("--user", help="Write a unit for systemctl --user, without root.")] = False,
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory",
            metavar="DIR",
            help="Directory to write to; default: /etc/systemd/system, or ~/.config/systemd/user.",
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a unit file that differs.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit; write nothing.")] = False,
    as_json: options.Json = False,
    config: options.Config = None,
) -> None:
    """Write the systemd unit that runs this installation's daemon.

    The unit starts this command with the present config file, and needs no users or directories made beforehand.
    Nothing is started: the next commands are shown.
    """
    unit = systemd_units.make_unit(
        command=systemd_units.this_command(),
        config=_config(config, user=user),
        directory=directory or systemd_units.unit_directory(os.environ, user=user),
        user=user,
    )
    doubts = systemd_units.doubts(unit)
    for doubt in doubts:
        warn(doubt)
    written = False if dry_run else systemd_units.install(unit, force=force)
    if not dry_run and (reason := systemd_units.note_state(unit)):
        warn(f"commands of other users find the state of {unit.config} only while the daemon runs: {reason}")
    if as_json:
        put_json(
            {
                "path": str(unit.path),
                "written": written,
                "user": user,
                "command": str(unit.command),
                "config": str(unit.config),
                "text": unit.text,
                "warnings": doubts,
                "steps": list(unit.steps),
            }
        )
    elif dry_run:
        put_lines(unit.text.rstrip("\n"))
    else:
        put(f"{unit.path}: {'written' if written else 'unchanged'}")
        say("next:")
        for step in unit.steps:
            say(f"  {step}")


def _config(given: Path | None, *, user: bool) -> Path:
    """Return the config file for the unit: as every command finds it, but a system's unit never takes a user's own."""
    if given is None and not user and not os.environ.get("SCHEDCTL_CONFIG"):
        return SYSTEM_CONFIG
    found = config_path(given, os.environ)
    if found == SYSTEM_CONFIG and user and given is None:
        found = systemd_units.unit_directory(os.environ, user=True).parents[1] / "schedctl" / "config.toml"
    return found.absolute()
