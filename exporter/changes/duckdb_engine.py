"""DuckDB as what compares large sets on disk in little memory: for changes only; as a source it is elsewhere."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from exporter.failures import ExportError, internal, transient
from exporter.host.durable_files import disk_fault

MEMORY_LIMIT = "48MiB"
"""What it may hold: the parts that it is given (:mod:`exporter.changes.parts`) take less, however many they are."""


@contextmanager
def comparing(directory: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """Give an engine that spills to ``directory``. Within the block, what goes wrong is an ExportError."""
    with faults(directory):
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": MEMORY_LIMIT,
                "threads": "1",
                "temp_directory": str(directory / "spill"),
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
            },
        )
        with closing(connection):
            yield connection


@contextmanager
def faults(directory: Path) -> Iterator[None]:
    """Turn what the engine, Arrow and the disk raise into an ExportError; values that they quote are not shown."""
    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise transient("OUT_OF_MEMORY", "There is not enough memory to compare the rows with the snapshot") from error
    except duckdb.IOException as error:
        raise transient("DISK_ERROR", f"Cannot use {directory} to compare the rows with the snapshot") from error
    except (duckdb.Error, pa.ArrowException) as error:
        if isinstance(error.__cause__, ExportError):
            raise error.__cause__ from error
        raise internal("CHANGES_FAILED", f"The rows cannot be compared ({type(error).__name__})") from error
    except OSError as error:
        raise disk_fault(error, directory) from error
