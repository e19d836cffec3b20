"""Rows per second and peak memory from a DuckDB file to a durable spool of Salesforce CSV.

``python bench/spool.py [ROWS …]``: each number of rows in a process of its own; default 1,000,000 and 4,000,000 rows
of 8 columns.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb

from exporter.settings.databases import DuckdbConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Query
from exporter.spool.csv_batches import spool_csv
from exporter.spool.spool import Spool

COLUMNS = """
    i::bigint as id,
    'user' || i || '@example.org' as email,
    'First' || (i % 5000) as first_name,
    'Last' || md5(i::varchar) as last_name,
    (i * 1.37)::decimal(18, 2) as amount,
    timestamptz '2026-01-01 00:00:00+00' + interval 1 second * (i % 10000000) as updated_at,
    i % 2 = 0 as active,
    date '2020-01-01' + (i % 2000)::int as born
"""


class Onward:
    """A control that never stops a run."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Go on."""


def make_database(path: Path, rows: int) -> None:
    """Write a table of ``rows`` rows of bigint, three texts, decimal, timestamp, boolean and date."""
    with duckdb.connect(str(path)) as connection:
        connection.execute(f"create table contacts as select {COLUMNS} from range({rows}) t(i)")  # noqa: S608 - our own numbers


def peak_megabytes() -> float:
    """Return this process's highest resident size so far, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def run(database: Path, directory: Path) -> dict[str, float]:
    """Spool the whole table and return the figures."""
    source = open_source(DuckdbConnection(type="duckdb", path=str(database)))
    started = time.perf_counter()
    with source.read(Query(sql="from contacts"), batch_rows=10_000) as rows:
        manifest = spool_csv(rows, Spool(directory), control=Onward(), listen=lambda _: None)
    seconds = time.perf_counter() - started
    return {
        "rows": manifest.rows,
        "batches": len(manifest.batches),
        "megabytes": sum(batch.bytes for batch in manifest.batches) / 1e6,
        "seconds": seconds,
        "rows_per_second": manifest.rows / seconds,
        "peak_megabytes": peak_megabytes(),
    }


def main(arguments: list[str]) -> None:
    """Measure each number of rows, or, as the child that is measured, print the figures of one."""
    if arguments[:1] == ["--child"]:
        print(json.dumps(run(Path(arguments[1]), Path(arguments[2]))))
        return
    print(f"{'rows':>10} {'batches':>8} {'MB':>6} {'seconds':>8} {'rows/s':>9} {'peak MB':>8}")
    for rows in [int(argument) for argument in arguments] or [1_000_000, 4_000_000]:
        with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as directory:
            database = Path(directory) / "bench.duckdb"
            make_database(database, rows)
            command = [sys.executable, __file__, "--child", str(database), str(Path(directory) / "spool")]
            figures = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"{figures['rows']:>10,} {figures['batches']:>8,} {figures['megabytes']:>6.0f} {figures['seconds']:>8.2f} "
            f"{figures['rows_per_second']:>9,.0f} {figures['peak_megabytes']:>8.0f}"
        )


if __name__ == "__main__":
    main(sys.argv[1:])
