"""How long the quick commands take, beside `python -c pass` in the same run; `--write-docs` writes the page."""

import argparse
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DOCS = Path(__file__).parent.parent / "docs" / "benchmarks-commands.md"
SCHEDCTL = Path(sys.executable).with_name("schedctl")
JOBS = 1_000
ROUNDS = 10
TARGETS = {"list": 250.0, "list --json": 250.0, "explain '0 3 * * mon-fri'": 150.0}
"""Milliseconds of processor time, from issue and design; the others are shown beside them."""
COMMANDS = {
    "explain '0 3 * * mon-fri'": ["explain", "0 3 * * mon-fri"],
    "next '0 3 * * mon-fri'": ["next", "0 3 * * mon-fri"],
    "next job7": ["next", "job7"],
    "list": ["list"],
    "list --json": ["list", "--json"],
    "status": ["status"],
    "--help": ["--help"],
    "--version": ["--version"],
}
HEAD = """
[storage]
url = "sqlite:///state.db"
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
"""
JOB = """
[jobs.job{number}]
cron = "{minute} {hour} * * *"
timezone = "America/New_York"
source = "warehouse"
query = "select {number} as a"
export = {{ connection = "files" }}
"""


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """Return the least processor time and the least elapsed time of a command, in milliseconds."""
    used, elapsed = [], []
    for _ in range(ROUNDS):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, env=environment, capture_output=True, check=False)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        elapsed.append(time.perf_counter() - start)
        used.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return 1000 * min(used), 1000 * min(elapsed)


def main() -> int:
    """Measure every command; return 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write-docs", action="store_true", help=f"write the table to docs/{DOCS.name}")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory, "config.toml")
        jobs = [JOB.format(number=number, minute=number % 60, hour=number % 24) for number in range(JOBS)]
        config.write_text(HEAD + "".join(jobs), encoding="utf-8")
        environment = {**os.environ, "SCHEDCTL_CONFIG": str(config)}
        time.sleep(2.5)  # a file that was written just now is not trusted to stay as it is
        subprocess.run([SCHEDCTL, "list"], env=environment, capture_output=True, check=True)
        bare, bare_elapsed = measure([sys.executable, "-c", "pass"], environment)
        rows: list[tuple[str, float, float, float | None]] = [("`python -c pass`", bare, bare_elapsed, None)]
        for name, words in COMMANDS.items():
            used, took = measure([str(SCHEDCTL), *words], environment)
            rows.append((f"`schedctl {name}`", used, took, TARGETS.get(name)))
    lines = [
        "# How quick the commands are",
        "",
        f"Written by `python bench/commands.py --write-docs`: Python {platform.python_version()},",
        f"{os.cpu_count()} cores, {JOBS:,} jobs in the config file, best of {ROUNDS}.",
        "Processor time is what the targets are about: elapsed time tells as much of",
        "what else ran on the machine. Times are this machine's; the ratios are what to look at.",
        "",
        "| command | processor ms | elapsed ms | x `python -c pass` | target, ms | |",
        "|---|---|---|---|---|---|",
    ]
    missed = []
    for name, used, took, target in rows:
        verdict = ("met" if used < target else "missed") if target is not None else ""
        missed += [name] if verdict == "missed" else []
        shown = "" if target is None else f"{target:.0f}"
        lines.append(f"| {name} | {used:.0f} | {took:.0f} | {used / bare:.1f} | {shown} | {verdict} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if arguments.write_docs:
        DOCS.write_text(text, encoding="utf-8")
    for name in missed:
        print(f"missed: {name}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
