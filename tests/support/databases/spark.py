"""Spark Connect for the slow tests: Apache Spark itself on a loopback port, where pyspark and Java are installed."""

import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import adbc_driver_manager
from support.databases.sail import execute
from support.loopback.receivers import free_port

_DEADLINE = 180.0
_LOOK_AGAIN = 0.5
_SERVER = "org.apache.spark.sql.connect.service.SparkConnectServer"


class NoSparkError(Exception):
    """The server cannot be started here."""


@contextmanager
def spark_server(directory: Path, *, memory: str = "1g") -> Iterator[str]:
    """Start a server with two cores whose files are in ``directory``, and give its address; it is killed at the end.

    Raises NoSparkError.
    """
    found = importlib.util.find_spec("pyspark")
    if found is None or found.origin is None or importlib.util.find_spec("adbc_driver_spark") is None:
        raise NoSparkError("no Spark: make spark installs it (740 MB)")
    if shutil.which("java") is None:
        raise NoSparkError("no Java: Spark needs 17 or newer")
    home, port = Path(found.origin).parent, free_port()
    settings = {
        "spark.master": "local[2]",
        "spark.driver.memory": memory,
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.connect.grpc.binding.address": "127.0.0.1",
        "spark.connect.grpc.binding.port": str(port),
        "spark.sql.warehouse.dir": str(directory / "warehouse"),
        "spark.sql.session.timeZone": "UTC",
        "spark.ui.enabled": "false",
    }
    options = [each for key, value in settings.items() for each in ("--conf", f"{key}={value}")]
    with (directory / "spark.log").open("wb") as log:
        process = subprocess.Popen(
            [home / "bin" / "spark-submit", *options, "--class", _SERVER, "spark-internal"],
            env={**os.environ, "SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1"},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    uri = f"sc://127.0.0.1:{port}"
    try:
        limit = time.monotonic() + _DEADLINE
        while not _answers(uri):
            if process.poll() is not None or time.monotonic() > limit:
                text = (directory / "spark.log").read_text(errors="replace")
                raise NoSparkError(f"Spark does not start:\n{text[-3000:]}")
            time.sleep(_LOOK_AGAIN)
        yield uri
    finally:
        process.kill()  # spark-submit has become the server by exec
        process.wait()


def _answers(uri: str) -> bool:
    try:
        execute("adbc_driver_spark", uri, "select 1 as x")
    except adbc_driver_manager.OperationalError:  # nobody listens yet
        return False
    return True
