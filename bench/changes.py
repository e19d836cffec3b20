"""A run that sends only what changed: whole runs of the installed command on many keys, of which few changed.

Per size: a first run that sends every row and leaves the snapshot, one in which 1 % of the rows differ, and one in
which none does; beside them an ordinary run of a job that sends every row. Exits 1 if another number of rows is sent,
or a process takes more than 300 MB. Usage: changes.py [--target file|crm] [KEYS …]
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from memory import emulated, run

LIMIT_MB = 300
CONFIG = """
[connections.warehouse]
type = "duckdb"
[connections.out]
type = "file"
directory = "out"
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
{changes}
[jobs.rows.export]
{export}
"""
QUERY = """select 'e' || i as "Ext_Id__c", case when i % 100 = {changed} then 'New' else 'Name' end || i as "Name__c",
  i || '@example.com' as "Email__c", 'City ' || (i % 997) as "City__c", (i / 100)::decimal(12, 2) as "Amount__c",
  i % 2 = 0 as "Active__c", date '2026-01-01' + (i % 365)::int as "Day__c",
  timestamptz '2026-01-01 00:00:00+00' + to_seconds(i) as "Changed__c"
from range({keys}) as numbers(i)"""
EXPORTS = {
    "file": ('connection = "out"\nfile = "rows.csv"', 'changes = "changed"\nchanges_key = "Ext_Id__c"'),
    "crm": (
        'connection = "crm"\nobject = "Row__c"\nmode = "update"\nkey = "Ext_Id__c"\nupsert = true',
        'changes = "changed"',
    ),
}


def measure(target: str, keys: int) -> bool:
    """Run the four runs of a size and print their rows of the table; return whether they held."""
    with tempfile.TemporaryDirectory(prefix="schedctl-bench-") as name:
        directory = Path(name)
        environment = {
            **os.environ,
            "BENCH_SECRET": "secret",
            "XDG_STATE_HOME": name,
            "SCHEDCTL_CONFIG": str(directory / "config.toml"),
        }
        with emulated(directory, environment) as url:
            held = [
                _measured(directory, environment, url, target, keys, *form)
                for form in (
                    ("every row, without `changes`", "", 0, keys),
                    ("every row, the first time", "changed", 0, keys),
                    ("1 % changed", "changed", 1, 2 * (keys // 100)),
                    ("nothing changed", "changed", 1, 0),
                )
            ]
    return all(held)


def _measured(  # noqa: PLR0917 - one row of the table
    directory: Path,
    environment: dict[str, str],
    url: str,
    target: str,
    keys: int,
    form: str,
    mode: str,
    part: int,
    sent: int,
) -> bool:
    export, changes = EXPORTS[target]
    config = directory / "config.toml"
    text = CONFIG.format(
        url=url, query=QUERY.format(keys=keys, changed=part), changes=changes if mode else "", export=export
    )
    config.write_text(text, encoding="utf-8")
    config.chmod(0o600)
    answer, seconds, peak = run(directory, environment)
    counts = answer["rows"]
    figures = f"{keys:,} | {counts['accepted']:,} | {seconds:.1f} | {keys / seconds:,.0f} | {peak:.0f}"
    print(f"| {target} | {form} | {figures} |", flush=True)
    whole = answer["outcome"] == "succeeded" and counts["accepted"] == sent
    return whole and counts["read"] == keys and peak < LIMIT_MB


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", nargs="*", type=int, default=[2_000_000])
    parser.add_argument("--target", choices=sorted(EXPORTS), default="file")
    given = parser.parse_args()
    print("| target | run | rows read | rows sent | seconds | rows read/s | peak MB of the run's process |")
    print("|---|---|---|---|---|---|---|")
    results = [measure(given.target, keys) for keys in given.keys]
    sys.exit(0 if all(results) else 1)
