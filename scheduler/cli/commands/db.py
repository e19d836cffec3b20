"""`db`: the state database as a whole, looked into and copied."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from scheduler.cli.arguments import options
from scheduler.cli.arguments.groups import add_command, add_group
from scheduler.cli.arguments.lazy_module import Late
from scheduler.cli.printing.output import put, put_json, put_sheet, say
from scheduler.errors.operation_error import failed

if TYPE_CHECKING:
    from scheduler.cli.state import session
    from storage import maintenance
else:
    session = Late("scheduler.cli.state.session")
    maintenance = Late("storage.maintenance")

Copy = Annotated[
    Path, typer.Argument(metavar="PATH", help="File of the copy, or a directory, in which it is named state-TIME.db.")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    example = "schedctl db backup /var/backups/schedctl.db"
    group = add_group(app, "db", help_="Check the state database, or copy it.", example=example)
    add_command(group, "check", check, example="schedctl db check --json")
    add_command(group, "backup", backup, example=example)


def check(*, as_json: options.Json = False, config: options.Config = None) -> int:
    """Check the state database.

    Checks the schema and, in a SQLite file, every page, index and reference. Nothing is changed, and a daemon may run
    meanwhile. The exit code is 1 if something is wrong.
    """
    found = maintenance.inspect(session.storage_url(config))
    if as_json:
        put_json(
            {
                "database": found.name,
                "kind": found.kind,
                "sound": found.sound,
                "schema": found.schema,
                "current_schema": found.current,
                "written_by": found.written_by,
                "faults": list(found.faults),
            }
        )
    else:
        sheet = (
            ("database", f"{found.name} ({found.kind})"),
            ("schema", f"{found.schema or 'none'}; this schedctl's is {found.current}"),
            ("made by", found.written_by and f"schedctl {found.written_by}"),
            (
                "verdict",
                "sound" if found.sound else f"{len(found.faults)} fault{'s' if len(found.faults) != 1 else ''}",
            ),
        )
        put_sheet(sheet)
    for fault in found.faults:
        say(f"schedctl: {fault}")
    return 0 if found.sound else 1


def backup(*, path: Copy, as_json: options.Json = False, config: options.Config = None) -> None:
    """Copy the state database to a file.

    The copy is consistent, also while a daemon works, and is verified. An existing file is never overwritten. For
    PostgreSQL, use pg_dump.
    """
    if path.is_dir():
        path /= f"state-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.db"
    url = session.storage_url(config)
    try:
        size = maintenance.copy_to(url, path.absolute())
    except maintenance.CopyRefused as refused:
        raise failed(str(refused)) from refused
    if as_json:
        put_json({"copy": str(path.absolute()), "bytes": size})
    else:
        put(f"{path.absolute()}: {size:,} bytes")
