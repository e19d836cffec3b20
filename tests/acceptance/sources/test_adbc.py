"""Queries over ADBC under the installed command: Sail behind Flight SQL, its address and parameters by the config."""

import csv
from pathlib import Path

from support.commands.command import Command
from support.databases.sail import sail_server

CONFIG = """
[connections.lake]
type = "adbc"
driver = "flightsql"
uri = { env = "LAKE_URI" }
options = { "adbc.flight.sql.rpc.call_header.x-team" = { env = "LAKE_TEAM" } }
[connections.files]
type = "file"
directory = "out"
[jobs.rows]
cron = "@daily"
source = "lake"
query = '''
select id as n, TD_SCHEDULED_TIME() as slot, :scheduled_time as at, :region as region, array(id, id + 1) as both
from range(20000) where TD_TIME_RANGE(1767225600 + id, '2026-01-01 00:00:05') order by id
'''
params = { region = "it's -- \\"EU\\"" }
[jobs.rows.export]
connection = "files"
file = "rows.csv"
"""


def test_a_job_reads_from_sail_with_bound_slot_and_parameters(tmp_path: Path) -> None:
    command = Command(tmp_path, CONFIG)
    with sail_server(tmp_path) as server:
        command.environment |= {"LAKE_URI": server.uri, "LAKE_TEAM": "sales-s3cret"}
        command("check", "--connections")
        command("run", "rows", "--at", "2026-11-23T00:00:00Z", "--wait")
    with (tmp_path / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 19_995
    assert rows[0] == {
        "n": "5",
        "slot": "1795392000",
        "at": "2026-11-23T00:00:00.000Z",
        "region": 'it\'s -- "EU"',
        "both": "[5,6]",
    }
    assert rows[-1]["n"] == "19999"


def test_a_server_that_is_down_fails_the_run_for_a_passing_reason(tmp_path: Path) -> None:
    command = Command(tmp_path, CONFIG.replace('cron = "@daily"', 'cron = "@daily"\nretry_limit = 0'))
    command.environment |= {"LAKE_URI": "grpc://127.0.0.1:1", "LAKE_TEAM": "sales-s3cret"}
    answer = command("run", "rows", "--at", "2026-11-23T00:00:00Z", "--wait", "--json", code=1)
    failure = answer.json["runs"][0]["failure"]
    assert failure["kind"] == "transient"
    assert "connection refused" in failure["message"]
    assert "s3cret" not in answer.out + answer.err
