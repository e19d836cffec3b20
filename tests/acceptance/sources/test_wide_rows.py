"""Rows of long texts under the installed command: bounded memory, and a way out where DuckDB cannot."""

import csv
import hashlib
import json
import re
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command

CONFIG = """
[connections.warehouse]
type = "duckdb"
{memory}
[connections.shop]
type = "sqlite"
path = "shop.db"
[connections.files]
type = "file"
directory = "out"
[jobs.late]
source = "warehouse"
retry_limit = 0
query = "select i, case when i < 14336 then 'x' else repeat(md5(i::varchar), 2000) end as t from range(16384) t(i)"
export = {{ connection = "files", file = "late.csv" }}
[jobs.long]
source = "shop"
query = "select n, body from texts"
export = {{ connection = "files", file = "long.csv" }}
[jobs.changed]
source = "shop"
query = "select n, body from texts"
changes = "changed"
changes_key = ["n"]
export = {{ connection = "files", file = "changed.csv" }}
"""
WIDTH = 131_072
ROWS = 2_000
"""262 MB of text: with all of a result, or 10,000 rows of it, in memory a run took a gigabyte."""


def command_in(directory: Path, memory: str = "") -> Command:
    return Command(directory, CONFIG.format(memory=memory))


def test_wide_rows_in_the_middle_of_a_duckdb_result_need_no_second_attempt(tmp_path: Path) -> None:
    answer = command_in(tmp_path)("run", "late", "--wait", "--json")
    assert "succeeded" in answer.err
    assert max(int(count.replace(",", "")) for count in re.findall(r"([\d,]+) read", answer.err)) <= 16_384
    run = answer.json["runs"][0]
    assert (run["outcome"], run["attempt"]) == ("succeeded", 1)
    assert (run["rows"]["read"], run["rows"]["accepted"]) == (16_384, 16_384)
    with (tmp_path / "out" / "late.csv").open(newline="", encoding="utf-8") as file:
        assert [len(row["t"]) for row in csv.DictReader(file)] == [1] * 14_336 + [64_000] * 2048


def test_what_memory_limit_forbids_is_a_configuration_failure_that_names_the_key(tmp_path: Path) -> None:
    answer = command_in(tmp_path, 'memory_limit = "64MB"')("run", "late", "--wait", "--json", code=1)
    failure = answer.json["runs"][0]["failure"]
    assert (failure["kind"], failure["code"]) == ("configuration", "OUT_OF_MEMORY")
    assert "set memory_limit of the connection to more" in failure["message"]


def test_a_preview_reads_rows_that_become_wide_too(tmp_path: Path) -> None:
    query = "select i, case when i < 2100 then 'x' else repeat(md5(i::varchar), 2000) end as t from range(3000) t(i)"
    command = command_in(tmp_path)
    command.write(re.sub(r'query = "select i, .*"', f'query = "{query}"', command.config.read_text(encoding="utf-8")))
    rows = command("preview", "late", "-n", "5000", "--json").json["rows"]
    assert [len(row["values"]["t"]) for row in rows] == [1] * 2100 + [64_000] * 900


def test_a_memory_limit_that_is_too_small_is_a_fault_of_the_file(tmp_path: Path) -> None:
    command_in(tmp_path, 'memory_limit = "1MB"').fails("check", code=4, says="use at least 64MB")


@pytest.mark.parametrize("job", ["long", "changed"])
def test_a_run_over_long_texts_takes_little_memory(tmp_path: Path, job: str) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection, connection:
        connection.execute("create table texts (n integer, body text)")
        rows = ((n, hashlib.sha256(str(n).encode()).hexdigest() * (WIDTH // 64)) for n in range(ROWS))
        connection.executemany("insert into texts values (?, ?)", rows)
    command = command_in(tmp_path)
    done = subprocess.Popen(
        [SCHEDCTL, "run", job, "--wait", "--json"], env=command.environment, cwd=tmp_path, stdout=subprocess.PIPE
    )
    peak = 0
    with done:
        while done.poll() is None:
            peak = max(peak, resident(done.pid))
            time.sleep(0.02)
        answer = json.loads(done.stdout.read() if done.stdout else b"")
    assert answer["runs"][0]["rows"]["accepted"] == ROWS
    assert 0 < peak < 300 * 10**6


def resident(pid: int) -> int:
    """Return the most bytes of memory that a process has had so far; 0 once it has ended."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
