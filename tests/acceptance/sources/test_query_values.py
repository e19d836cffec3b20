"""Values in queries, on the installed command: bound where they stand, on every engine that runs here."""

import csv
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from support.commands.command import Command

CONFIG = """
[connections.duckdb]
type = "duckdb"
[connections.sqlite]
type = "sqlite"
path = "shop.db"
[connections.postgresql]
type = "postgresql"
host = "{host}"
database = "{database}"
user = "postgres"
[connections.files]
type = "file"
directory = "out"
"""
JOB = """
[jobs.{engine}]
source = "{engine}"
params = {{ region = "EU'; drop table t; --", n = 7, share = 0.25, flag = true, odd = 'é😀 \\ "q" :n $n' }}
query = '''
-- it's :region, and TD_SCHEDULED_TIME()
select ':region TD_SCHEDULED_TIME() $n' as text, :region as region, :n as n, :share as share, :flag as flag,
  :odd as odd, TD_SCHEDULED_TIME() as slot, /* :n ' */ :last_scheduled_time as last, 1-:n as less,
  TD_TIME_FORMAT(TD_TIME_ADD(t, '1h'), 'yyyy-MM-dd HH:mm', 'JST') as local, region as "region :n"
from (select 1795402800 as t, 'it''s' as region) as x
where TD_TIME_RANGE(t, '2026-11-23', -- TD_INTERVAL(t)
  NULL, 'JST') and (:last_scheduled_time is null or :scheduled_time > :last_scheduled_time) limit:n
'''
[jobs.{engine}.export]
connection = "files"
file = "{engine}.csv"
[jobs.open-{engine}]
source = "{engine}"
params = {{ n = 7 }}
query = "select :n as n, 'its as m"
export = {{ connection = "files" }}
"""


@pytest.fixture
def schedctl(tmp_path: Path, postgresql_url: str) -> Command:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("create table t (a)")
    url = urlsplit(postgresql_url)
    place = CONFIG.format(host=parse_qs(url.query)["host"][0], database=url.path.strip("/"))
    return Command(tmp_path, place + "".join(JOB.format(engine=each) for each in ("duckdb", "sqlite", "postgresql")))


@pytest.mark.parametrize("engine", ["duckdb", "sqlite", "postgresql"])
def test_values_of_every_type_are_bound_and_text_is_left_alone(schedctl: Command, tmp_path: Path, engine: str) -> None:
    row = {
        "text": ":region TD_SCHEDULED_TIME() $n",
        "region": "EU'; drop table t; --",
        "n": "7",
        "share": "0.25",
        "flag": "1" if engine == "sqlite" else "true",
        "odd": 'é😀 \\ "q" :n $n',
        "less": "-6",
        "local": "2026-11-23 13:00",
        "region :n": "it's",
    }
    shown = schedctl("preview", engine, "--json").json["rows"][0]["values"]
    assert {name: shown[name] for name in row} == row
    assert shown["last"] is None
    for day, slot, last in (("23", "1795402800", ""), ("24", "1795489200", "2026-11-23")):
        assert schedctl("run", engine, "--at", f"2026-11-{day}T03:00Z", "--wait").out
        with (tmp_path / "out" / f"{engine}.csv").open(encoding="utf-8", newline="") as file:
            [sent] = csv.DictReader(file)
        assert sent == {**row, "slot": slot, "last": sent["last"]}
        assert sent["last"][:10] == last


def test_a_query_that_has_no_end_is_not_sent(schedctl: Command) -> None:
    told = schedctl("preview", "open-sqlite", code=1).err
    assert "QUERY_NOT_READ" in told
    assert "begins in line 1 and never ends" in told
