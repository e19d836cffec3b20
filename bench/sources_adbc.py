"""Rows per second and peak memory of a source over ADBC: 8 columns from Sail, a distributed SQL engine, by Flight SQL.

``python bench/sources_adbc.py [--spark] [ROWS …]``: each number of rows is read by a process of its own; default
1,000,000 and 4,000,000. With ``--spark``, from Apache Spark too (``make spark`` installs it). Exits 1 if a row is
missing or the peak is over the limit.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from support.databases.sail import sail_server
from support.databases.spark import spark_server

from exporter.settings.adbc import AdbcConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Query

LIMIT_MB = 300
QUERY = """select id, concat('user', id, '@example.org') as email, concat('First', id % 5000) as first_name,
  concat('Last', md5(cast(id as string))) as last_name, cast(id * 1.37 as decimal(18, 2)) as amount,
  timestamp_seconds(1767225600 + id % 10000000) as updated_at, id % 2 = 0 as active,
  date_add(date '2020-01-01', cast(id % 2000 as int)) as born
from range({rows})"""


@contextmanager
def server(engine: str) -> Iterator[tuple[str, str]]:
    """Start an engine on a loopback port; give its driver and its address."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-", ignore_cleanup_errors=True) as name:
        if engine == "spark":
            with spark_server(Path(name), memory="4g") as uri:
                yield "spark", uri
        else:
            with sail_server(Path(name)) as sail:
                yield "flightsql", sail.uri


def read(driver: str, uri: str, rows: int) -> dict[str, float]:
    """Stream that many rows through the source and return the figures; the memory is this process's."""
    source = open_source(AdbcConnection.model_validate({"type": "adbc", "driver": driver, "uri": uri}))
    started = time.perf_counter()
    seen = largest = size = 0
    with source.read(Query(sql=QUERY.format(rows=rows)), batch_rows=10_000) as reader:
        for batch in reader:
            seen, largest, size = seen + batch.num_rows, max(largest, batch.num_rows), size + batch.nbytes
    seconds = time.perf_counter() - started
    return {
        "rows": seen,
        "largest_batch": largest,
        "megabytes": size / 1e6,
        "seconds": seconds,
        "rows_per_second": seen / seconds,
        "peak_megabytes": peak_megabytes(),
    }


def peak_megabytes() -> float:
    """Return this process's highest resident size so far, in MB."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


def measure(rows: int, *, engine: str = "sail") -> dict[str, float]:
    """Return the figures of one number of rows, read by a process of its own from a server of its own."""
    with server(engine) as (driver, uri):
        command = [sys.executable, __file__, "--child", driver, uri, str(rows)]
        return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def main(arguments: list[str]) -> int:
    """Measure each number of rows, or, as the child that is measured, print the figures of one."""
    if arguments[:1] == ["--child"]:
        print(json.dumps(read(arguments[1], arguments[2], int(arguments[3]))))
        return 0
    engines = ["sail", "spark"] if "--spark" in arguments else ["sail"]
    sizes = [int(argument) for argument in arguments if argument != "--spark"] or [1_000_000, 4_000_000]
    print("| engine | rows | largest batch | MB of Arrow | seconds | rows/s | peak MB | |")
    print("|---|---|---|---|---|---|---|---|")
    held = True
    for engine in engines:
        for rows in sizes:
            found = measure(rows, engine=engine)
            good = found["rows"] == rows and found["peak_megabytes"] <= LIMIT_MB
            held = held and good
            print(
                f"| {engine} | {found['rows']:,} | {found['largest_batch']:,} | {found['megabytes']:.0f} "
                f"| {found['seconds']:.2f} | {found['rows_per_second']:,.0f} | {found['peak_megabytes']:.0f} "
                f"| {'held' if good else 'MISSED'} |",
                flush=True,
            )
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
