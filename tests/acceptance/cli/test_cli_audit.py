"""`schedctl audit` as it is typed."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import QuickCommand

from scheduler.config.build import load
from scheduler.operations.jobs import sync_file_jobs
from scheduler.runs.due_slots import settle_owed
from storage.database import open_database


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    """Have a job that is three weeks old, whose slots were all passed over, one row for each week."""
    quick = QuickCommand(tmp_path)
    quick("reload", "--confirm")
    database = open_database(f"sqlite:///{quick.state / 'state.db'}")
    now = datetime.now(UTC)
    quick.write(quick.config.read_text(encoding="utf-8").replace("[jobs.nightly", "[jobs.weekly"))
    sync_file_jobs(database, load(quick.config), now - timedelta(days=21), confirmed={"nightly"})
    for days in (14, 7, 0):
        with database.write() as session:
            settle_owed(session, ["weekly"], "nobody was there", now - timedelta(days=days))
    database.close()
    return quick


def test_a_sound_record_says_so_and_ends_with_0(quick: QuickCommand) -> None:
    answer = quick("audit")
    assert answer.out == "2 jobs, 15 slots expected: each has exactly one run\n"
    assert quick("audit", "nightly", "--json").json == {"jobs": 1, "owed": 0, "sound": 0, "findings": []}


def test_a_hole_is_listed_and_ends_with_1(quick: QuickCommand) -> None:
    with sqlite3.connect(quick.state / "state.db") as state:
        first, last = state.execute("SELECT first_slot, scheduled_time FROM run WHERE id = 2").fetchone()
        state.execute("DELETE FROM run WHERE id = 2")
    answer = quick("audit", code=1)
    assert answer.out == f"weekly: {first[:19]}Z to {last[:19]}Z: no run and no reason why for 5 slots\n"
    assert "15 slots expected, 10 of them with exactly one run" in answer.err
    (finding,) = quick("audit", "weekly", "--since", "2020-01-01", "--json", code=1).json["findings"]
    assert (finding["kind"], finding["job"], finding["count"], finding["runs"]) == ("hole", "weekly", 5, [])
    quick("audit", "--since", "now")


def test_slips_are_told(quick: QuickCommand) -> None:
    quick.fails("audit", "nobody", code=3, says="there is and was no job 'nobody'")
    quick.fails("audit", "--since", "soon", code=2, says="--since 'soon' is no time")
