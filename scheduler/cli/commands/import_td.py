"""`import td`: Treasure Data's schedules as jobs for the config file."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put_json, put_lines, say
from scheduler.cli.printing.streams import read_text
from scheduler.errors.operation_error import usage

if TYPE_CHECKING:
    from scheduler.config import writer
    from scheduler.jobs import import_treasure_data
    from scheduler.jobs.import_treasure_data import Carried
else:
    writer = Late("scheduler.config.writer")
    import_treasure_data = Late("scheduler.jobs.import_treasure_data")

API_KEY = {"env": "TD_API_KEY"}


def import_td(
    *,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="The answer of schedule/list (JSON); - for stdin.", allow_dash=True)
    ],
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Run the queries on this connection, not on Treasure Data.",
            autocompletion=options.connection_names,
        ),
    ] = None,
    connection: Annotated[
        str,
        typer.Option(
            "--connection",
            metavar="NAME",
            help="The Salesforce connection that results go to.",
            autocompletion=options.connection_names,
        ),
    ] = "salesforce",
    to: Annotated[str | None, typer.Option("--to", help="The old name of --connection.", hidden=True)] = None,
    to_file: Annotated[
        Path | None, typer.Option("--to-file", metavar="FILE", help="Write them to this file, which must be new.")
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Turn Treasure Data's schedules into jobs for the config file.

    The jobs fire, query and export as they did there. Queries still run in Treasure Data, by a connection for each
    database and engine, unless --source names another one. What cannot be carried over is reported on stderr; the exit
    code is 1 if a whole schedule cannot. Nothing is stored: append the output to the config file, or write it to a file
    that its include names.
    """
    try:
        schedules = import_treasure_data.read_schedules(read_text(file))
    except ValueError as error:
        raise usage(f"{file}: {error}") from error
    connection = to or connection
    carried = import_treasure_data.carry_over(schedules, source=source, target=connection)
    good = [each for each in carried if each.fault is None]
    if to_file is not None:
        _write(to_file, _toml(good))
    if as_json:
        put_json(_json(carried))
    elif to_file is None and good:
        put_lines(_toml(good).rstrip("\n"))
    for each in carried:
        if each.fault is not None:
            say(f"schedctl: {each.schedule}: not carried over: {each.fault}")
        for lost in each.not_carried if each.fault is None else ():
            shown = "" if lost.value is None else f" = {lost.value}"
            say(f"{each.schedule}: {lost.key}{shown} is left out: {lost.reason}")
    say(
        f"{len(good)} of {len(carried)} schedules; [connections.{connection}] is for you to add, secrets are never "
        "carried over"
    )
    return 1 if len(good) < len(carried) else 0


def _write(path: Path, text: str) -> None:
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise usage(f"--to-file {path} is there already: name a new file") from error
    except OSError as error:
        raise usage(f"--to-file {path}: {error.strerror}") from error


def _connections(good: "list[Carried]") -> dict[str, dict[str, Any]]:
    return {each.table["source"]: {**each.source, "api_key": API_KEY} for each in good if each.source}


def _toml(good: "list[Carried]") -> str:
    """Write connections and jobs as a part of a config file."""
    return writer.sections({"connections": _connections(good), "jobs": {each.name: each.table for each in good}})


def _json(carried: "list[Carried]") -> dict[str, Any]:
    good = [each for each in carried if each.fault is None]
    return {
        "jobs": [{"schedule": each.schedule, "name": each.name, "table": each.table} for each in good],
        "connections": _connections(good),
        "not_carried": [
            {"schedule": lost.schedule, "key": lost.key, "value": lost.value, "reason": lost.reason}
            for each in good
            for lost in each.not_carried
        ],
        "faults": [{"schedule": each.schedule, "message": each.fault} for each in carried if each.fault is not None],
    }
