"""Peak memory and speed of whole runs: DuckDB to the local Salesforce over HTTP, by the installed command.

Prints one row per size; exits 1 if a row is lost or the peak is over the limit. Usage: memory.py [ROWS …]
"""

import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

SCHEDCTL = Path(sysconfig.get_path("scripts")) / "schedctl"
LIMIT_MB = 250
SCHEMA = {
    "objects": {
        "Row__c": {
            "label": "Row",
            "fields": {
                "Number__c": {"type": "double", "precision": 12, "scale": 0},
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
select i as "Number__c", 'Name ' || i as "Name__c", i || '@example.com' as "Email__c",
  'City ' || (i % 997) as "City__c",
  (i / 100)::decimal(12, 2) as "Amount__c", i % 2 = 0 as "Active__c", date '2026-01-01' + (i % 365)::int as "Day__c",
  timestamptz '2026-01-01 00:00:00+00' + to_seconds(i) as "Changed__c"
from range({rows}) as numbers(i)
'''
[jobs.rows.export]
connection = "crm"
object = "Row__c"
"""


def measure(rows: int) -> bool:
    """Run one export of that many rows and print its row of the table; return whether it held."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as name:
        directory = Path(name)
        environment = {
            **os.environ,
            "BENCH_SECRET": "secret",
            "XDG_STATE_HOME": name,
            "SCHEDCTL_CONFIG": str(directory / "config.toml"),
        }
        schema = directory / "schema.json"
        schema.write_text(json.dumps(SCHEMA), encoding="utf-8")
        emulator = subprocess.Popen(
            [SCHEDCTL, "emulator", "--schema", schema, "--state", directory / "org.db"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        try:
            url = emulator.stdout.readline().strip() if emulator.stdout else ""
            config = directory / "config.toml"
            config.write_text(CONFIG.format(url=url, rows=rows), encoding="utf-8")
            config.chmod(0o600)
            answer, seconds, peak = run(directory, environment)
        finally:
            emulator.terminate()
            emulator.wait()
    counts = answer["rows"]
    whole = answer["outcome"] == "succeeded" and counts["accepted"] == rows
    print(
        f"| {rows:>9,} | {counts['accepted']:>9,} | {seconds:>6.1f} | {rows / seconds:>8,.0f} | {peak:>4.0f} |",
        flush=True,
    )
    return whole and peak < LIMIT_MB


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
    print("| rows read | accepted | seconds | rows/s | peak MB of the run's process |")
    print("|---|---|---|---|---|")
    sizes = [int(argument) for argument in sys.argv[1:]] or [1_000_000, 4_000_000]
    held = [measure(size) for size in sizes]
    sys.exit(0 if all(held) else 1)
