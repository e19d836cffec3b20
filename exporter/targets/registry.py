"""From settings to an open target; only the one asked for is imported."""

from exporter.failures import configuration
from exporter.settings.connection import Connection, ExportOptions, SalesforceConnection, SalesforceExport
from exporter.settings.file import FileConnection, FileExport
from exporter.targets.target import Target


def open_target(connection: Connection, options: ExportOptions, *, mirror: bool = False) -> Target:
    """Return the target of a connection whose secrets are looked up. Opens and sends nothing yet.

    ``mirror`` tells that records are deleted whose keys leave the result.

    Raises configuration ``NOT_A_TARGET`` if the two do not belong together, or what the target says of its settings.
    """
    match connection, options:
        case SalesforceConnection(), SalesforceExport():
            from exporter.targets.salesforce.target import SalesforceTarget  # noqa: PLC0415 - requests takes 0.3 s

            return SalesforceTarget(connection, options, mirror=mirror)
        case FileConnection(), FileExport():
            from exporter.targets.file.target import FileTarget  # noqa: PLC0415 - pyarrow takes 0.2 s

            return FileTarget(connection, options)
        case _:
            raise configuration("NOT_A_TARGET", f"a connection of type {connection.type} cannot take this export")
