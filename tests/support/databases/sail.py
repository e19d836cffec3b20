"""Sail for the tests: a distributed SQL engine from the wheel pysail, behind Arrow Flight SQL on a loopback port."""

import importlib.util
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import adbc_driver_manager
import pyarrow as pa
from support.loopback.receivers import free_port

_DEADLINE = 60.0
_TRIES = 3
_LOOK_AGAIN = 0.05


class NoSailError(Exception):
    """The server cannot be started here."""


@dataclass(frozen=True, kw_only=True)
class Sail:
    """A running server."""

    port: int
    pid: int

    @property
    def uri(self) -> str:
        return f"grpc://127.0.0.1:{self.port}"

    def execute(self, sql: str) -> None:
        """Run a statement of any kind."""
        execute("adbc_driver_flightsql", self.uri, sql)


def execute(package: str, uri: str, sql: str) -> None:
    """Run a statement of any kind by the driver of a package; servers of Spark's dialect answer all with rows."""
    spec = importlib.util.find_spec(package)
    assert spec is not None
    library = Path(str(spec.origin)).with_name(f"lib{package}.so")
    with (
        adbc_driver_manager.AdbcDatabase(driver=library, uri=uri) as database,
        adbc_driver_manager.AdbcConnection(database) as connection,
        adbc_driver_manager.AdbcStatement(connection) as statement,
    ):
        statement.set_sql_query(sql)
        rows, _ = statement.execute_query()
        pa.RecordBatchReader.from_stream(rows).read_all()


@contextmanager
def sail_server(directory: Path) -> Iterator[Sail]:
    """Start a server whose files are in ``directory``, and kill it at the end. Raises NoSailError."""
    command = Path(sys.executable).with_name("sail")
    if not command.exists():
        raise NoSailError("no Sail server: pip install pysail")
    for _ in range(_TRIES):  # another process may take the port first
        port = free_port()
        with (directory / "sail.log").open("ab") as log:
            process = subprocess.Popen(
                [str(command), "flight", "server", "--port", str(port), "--directory", str(directory)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            if _answers(process, port):
                yield Sail(port=port, pid=process.pid)
                return
        finally:
            process.kill()
            process.wait()
    raise NoSailError(f"Sail does not start:\n{(directory / 'sail.log').read_text(errors='replace')[-3000:]}")


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    limit = time.monotonic() + _DEADLINE
    while process.poll() is None and time.monotonic() < limit:
        try:
            Sail(port=port, pid=process.pid).execute("select 1 as x")
        except adbc_driver_manager.OperationalError:  # nobody listens yet
            time.sleep(_LOOK_AGAIN)
        else:
            return True
    return False
