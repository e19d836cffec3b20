"""The data mover: reads a query's result and accounts for every row of it in the target.

It knows no job and no schedule. Its face are the names below, each imported when it is first used:
``export`` moves the rows of one query, and docs/library.md shows how.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.events import Event
    from exporter.failures import ExportError, FailureKind
    from exporter.ledger import Ledger, MemoryLedger
    from exporter.report import ExportReport, RejectedRow
    from exporter.script import export
    from exporter.settings.connection import (
        AdbcConnection,
        MysqlConnection,
        SalesforceConnection,
        SalesforceExport,
        SqlalchemyConnection,
        TreasureDataConnection,
        TrinoConnection,
    )
    from exporter.settings.databases import DuckdbConnection, PostgresqlConnection, SqliteConnection
    from exporter.settings.file import FileConnection, FileExport
    from exporter.settings.mapping import OutputMapping

__all__ = [
    "AdbcConnection",
    "DuckdbConnection",
    "Event",
    "ExportError",
    "ExportReport",
    "FailureKind",
    "FileConnection",
    "FileExport",
    "Ledger",
    "MemoryLedger",
    "MysqlConnection",
    "OutputMapping",
    "PostgresqlConnection",
    "RejectedRow",
    "SalesforceConnection",
    "SalesforceExport",
    "SqlalchemyConnection",
    "SqliteConnection",
    "TreasureDataConnection",
    "TrinoConnection",
    "export",
]

_HOMES = {
    "exporter.events": ("Event",),
    "exporter.failures": ("ExportError", "FailureKind"),
    "exporter.ledger": ("Ledger", "MemoryLedger"),
    "exporter.report": ("ExportReport", "RejectedRow"),
    "exporter.script": ("export",),
    "exporter.settings.databases": ("DuckdbConnection", "PostgresqlConnection", "SqliteConnection"),
    "exporter.settings.file": ("FileConnection", "FileExport"),
    "exporter.settings.mapping": ("OutputMapping",),
}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = next((home for home, names in _HOMES.items() if name in names), "exporter.settings.connection")
    return getattr(import_module(home), name)
