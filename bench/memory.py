"""Peak memory and speed of whole runs: DuckDB to the local Salesforce over HTTP, by the installed command.

Prints one row per mode and size; exits 1 if a row is lost or the peak is over the limit. Modes other than an append
find as many records there as they bring rows. Usage: memory.py [--modes "append;upsert"] [ROWS …]
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SCHEDCTL = Path(sysconfig.get_path("scripts")) / "schedctl"
LIMIT_MB = 250
SCHEMA = {
    "objects": {
        "Row__c": {
            "label": "Row",
            "fields": {
                "Number__c": {"type": "double", "precision": 12, "scale": 0},
                "Ext_Id__c": {"type": "string", "length": 20, "external_id": True, "unique": True},
                "Name__c": {"type": "string", "length": 80},
                "Email__c": {"type": "email"},
                "City__c": {"type": "string", "length": 80},
                "Amount__c": {"type": "double", "precision": 12, "scale": 2},
                "Active__c": {"type": "boolean"},
                "Day__c": {"type": "date"},
                "Changed__c": {"type": "datetime"},
            },
        }
    }
}
CONFIG = """
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "{url}"
client_id = "emulator"
client_secret = {{ env = "BENCH_SECRET" }}
[jobs.rows]
source = "warehouse"
query = '''
{query}
'''
[jobs.rows.export]
connection = "crm"
object = "Row__c"
{options}
"""
QUERY = """select i as "Number__c", 'e' || i as "Ext_Id__c", 'Name ' || i as "Name__c",
  i || '@example.com' as "Email__c", 'City ' || (i % 997) as "City__c",
  (i / 100)::decimal(12, 2) as "Amount__c", i % 2 = 0 as "Active__c", date '2026-01-01' + (i % 365)::int as "Day__c",
  timestamptz '2026-01-01 00:00:00+00' + to_seconds(i) as "Changed__c"
from range({rows}) as numbers(i)"""
BY_ID = """select "Id", 'New ' || "Ext_Id__c" as "Name__c", "Ext_Id__c" || '@example.com' as "Email__c",
  'City' as "City__c", 1.25 as "Amount__c", true as "Active__c", date '2026-02-01' as "Day__c",
  timestamptz '2026-01-01 00:00:00+00' as "Changed__c"
from read_parquet('ids.parquet')"""
MODES = {
    "append": "",
    "append, Bulk 2.0": 'bulk_api = "2"',
    "upsert": 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true',
    "update by Id": 'mode = "update"\nkey = "Id"',
    "update by another key": 'mode = "update"\nkey = "Ext_Id__c"',
    "truncate": 'mode = "truncate"',
}


def measure(mode: str, rows: int) -> bool:
    """Run one export of that many rows and print its row of the table; return whether it held."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as name:
        directory = Path(name)
        environment = {
            **os.environ,
            "BENCH_SECRET": "secret",
            "XDG_STATE_HOME": name,
            "SCHEDCTL_CONFIG": str(directory / "config.toml"),
        }
        with emulated(directory, environment) as url:
            if not mode.startswith("append"):
                configure(directory, url, "append", rows)
                run(directory, environment)
                if mode == "update by Id":
                    write_ids(directory)
            configure(directory, url, mode, rows)
            answer, seconds, peak = run(directory, environment)
    counts = answer["rows"]
    whole = answer["outcome"] == "succeeded" and counts["accepted"] == rows
    figures = f"{rows:>9,} | {counts['accepted']:>9,} | {seconds:>6.1f} | {rows / seconds:>8,.0f} | {peak:>4.0f}"
    print(f"| {mode} | {figures} |", flush=True)
    return whole and peak < LIMIT_MB


@contextmanager
def emulated(directory: Path, environment: dict[str, str], schema: Mapping[str, object] = SCHEMA) -> Iterator[str]:
    """Serve a local Salesforce with an empty org and give its URL."""
    file = directory / "schema.json"
    file.write_text(json.dumps(schema), encoding="utf-8")
    emulator = subprocess.Popen(
        [SCHEDCTL, "emulator", "--schema", file, "--state", directory / "org.db"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        yield emulator.stdout.readline().strip() if emulator.stdout else ""
    finally:
        emulator.terminate()
        emulator.wait()


def configure(directory: Path, url: str, mode: str, rows: int) -> None:
    """Write the config file of a mode."""
    query = BY_ID if mode == "update by Id" else QUERY.format(rows=rows)
    config = directory / "config.toml"
    config.write_text(CONFIG.format(url=url, query=query, options=MODES[mode]), encoding="utf-8")
    config.chmod(0o600)


def write_ids(directory: Path) -> None:
    """Write the Ids that the org gave its records to where the query finds them."""
    rows = sqlite3.connect(directory / "org.db").execute('SELECT "Id", "Ext_Id__c" FROM "Row__c"')
    schema = pa.schema([("Id", pa.string()), ("Ext_Id__c", pa.string())])
    with pq.ParquetWriter(directory / "ids.parquet", schema) as writer:
        while some := rows.fetchmany(100_000):
            ids, keys = zip(*some, strict=True)
            writer.write_table(pa.table({"Id": ids, "Ext_Id__c": keys}, schema=schema))


def run(directory: Path, environment: dict[str, str]) -> tuple[dict[str, object], float, float]:
    """Run the job and return its JSON, the seconds it took, and the peak memory of the process in MB."""
    began = time.perf_counter()
    output = directory / "run.json"
    with output.open("wb") as out, (directory / "run.log").open("wb") as log:
        process = subprocess.Popen(
            [SCHEDCTL, "run", "rows", "--wait", "--json"], env=environment, stdout=out, stderr=log, cwd=directory
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    if process.returncode:
        sys.exit((directory / "run.log").read_text(encoding="utf-8") + output.read_text(encoding="utf-8"))
    return json.loads(output.read_text(encoding="utf-8"))["runs"][0], seconds, usage.ru_maxrss / 1024


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", type=int, default=[1_000_000, 4_000_000])
    parser.add_argument("--modes", default=";".join(MODES), help="names of modes, with semicolons between them")
    given = parser.parse_args()
    print("| mode | rows read | accepted | seconds | rows/s | peak MB of the run's process |")
    print("|---|---|---|---|---|---|")
    held = [measure(mode, size) for mode in given.modes.split(";") for size in given.rows]
    sys.exit(0 if all(held) else 1)
