"""The outbox: claimed by one, written by the claimer alone, found again when the claimer is gone."""

import shutil
from datetime import timedelta
from pathlib import Path

from sqlalchemy import text
from support.storage import all_at_once, at, claimed, token_of

from storage import nodes, notices
from storage.database import Database, open_database
from storage.nodes import Node
from storage.notices import StoredNotice
from storage.runs.runs import settle
from storage.schema import SCHEMA, Schema

CLAIMER = """
import sys
from datetime import datetime, UTC
from storage import notices
from storage.database import open_database
database = open_database(sys.argv[1])
taken = []
#go
while True:
    with database.write() as session:
        claimed = notices.claim(session, owner=sys.argv[2], now=datetime.now(UTC), lease_seconds=60, limit=7)
        for notice in claimed:
            assert notices.close(session, notice, owner=sys.argv[2], ending="sent", now=datetime.now(UTC))
    if not claimed:
        break
    taken += [str(notice.id) for notice in claimed]
print(" ".join(taken))
"""


def add(database: Database, subject: str = "s", minutes: float = 0, run: int | None = None) -> None:
    with database.write() as session:
        about = {"job": "nightly", "run_id": run, "kind": "failed", "body": "line 1\nline 2"}
        notices.add(session, subject=subject, now=at(minutes), **about)  # type: ignore[arg-type] # one dict


def claim(database: Database, minutes: float, owner: str = "a", limit: int = 9) -> list[StoredNotice]:
    with database.write() as session:
        return notices.claim(session, owner=owner, now=at(minutes), lease_seconds=60, limit=limit)


def test_a_notice_is_written_with_the_outcome_claimed_sent_and_closed(database: Database) -> None:
    run = claimed(database)
    with database.write() as session:
        about = {"kind": "failed", "body": "line 1\nline 2", "now": at(1)}
        notices.add(session, job="nightly", run_id=run.id, subject="first", **about)  # type: ignore[arg-type] # one dict
        notices.add(session, job=None, run_id=None, subject="second", **about)  # type: ignore[arg-type] # one dict
        settle(session, run.id, token_of(run), now=at(1), outcome="failed")
    assert claim(database, 0.5) == []
    first, second = claim(database, 1)
    assert (first.job, first.run_id, first.kind, first.subject) == ("nightly", run.id, "failed", "first")
    assert (first.body, first.created_at, second.job, second.run_id) == ("line 1\nline 2", at(1), None, None)
    with database.write() as session:
        assert notices.mark_sent(session, first, owner="a", sent_to=["mail"], digest=None, now=at(2))
        assert notices.close(session, first, owner="a", ending="sent", now=at(2))
        assert not notices.close(session, first, owner="a", ending="sent", now=at(3))
        assert notices.outbox(session).pending == 1


def test_a_claimed_notice_is_nobody_elses_until_the_claim_runs_out_and_the_late_one_writes_nothing(
    database: Database,
) -> None:
    add(database)
    (notice,) = claim(database, 0)
    assert claim(database, 0.9, "b") == []
    (again,) = claim(database, 1, "b")
    assert again == notice
    with database.write() as session:
        assert not notices.mark_sent(session, notice, owner="a", sent_to=["mail"], digest=None, now=at(2))
        assert not notices.postpone(session, notice, owner="a", until=at(9), attempt=1, error="e")
        assert notices.mark_sent(session, again, owner="b", sent_to=["mail"], digest=None, now=at(2))


def test_a_postponed_notice_keeps_when_why_how_often_and_who_has_it(database: Database) -> None:
    add(database)
    (notice,) = claim(database, 0)
    with database.write() as session:
        notices.mark_sent(session, notice, owner="a", sent_to=["mail"], digest=None, now=at(0))
        assert notices.postpone(session, notice, owner="a", until=at(5), attempt=1, error="refused")
        assert notices.outbox(session) == notices.Outbox(pending=1, oldest=at(0), error="refused")
    assert claim(database, 4) == []
    (again,) = claim(database, 5, "b")
    assert (again.attempt, again.sent_to) == (1, ("mail",))


def test_what_a_process_held_that_is_gone_is_given_back_and_what_a_living_one_holds_is_not(database: Database) -> None:
    add(database)
    add(database)
    node = Node(
        id="alive",
        host="h",
        boot_id="b",
        pid=1,
        pid_started="1",
        version="1",
        started_at=at(0),
        seen_at=at(0),
        kind="cli",
    )
    with database.write() as session:
        nodes.register(session, node)
    claim(database, 0, "alive", limit=1)
    (lost,) = claim(database, 0, "gone", limit=1)
    with database.write() as session:
        assert notices.release_lost(session) == 1
    assert [notice.id for notice in claim(database, 0, "b")] == [lost.id]


def test_a_digest_counts_as_one_message_and_only_the_last_minute_counts(database: Database) -> None:
    for number in range(8):
        add(database, str(number))
    taken = claim(database, 0)
    with database.write() as session:
        for notice, minutes, digest in zip(
            taken, (0, 1, 1.5, 1.5, 1.5, 1.6), (None, None, 3, 3, 3, None), strict=False
        ):
            notices.mark_sent(session, notice, owner="a", sent_to=["m"], digest=digest, now=at(minutes))
            notices.close(session, notice, owner="a", ending="sent", now=at(minutes))
        found = notices.traffic(session, now=at(2), within=timedelta(minutes=1))
    assert found == notices.Traffic(due=2, recently=2, last_digest=at(1.5))


def test_old_notices_are_pruned_and_open_ones_are_not(database: Database) -> None:
    for number in range(5):
        add(database, str(number))
    with database.write() as session:
        for notice in notices.claim(session, owner="a", now=at(0), lease_seconds=60, limit=4):
            notices.close(session, notice, owner="a", ending="sent", now=at(notice.id))
    with database.write() as session:
        assert notices.prune(session, before=at(4), limit=2) == 2
        assert notices.prune(session, before=at(4), limit=2) == 1
        assert notices.prune(session, before=at(4), limit=2) == 0
        assert session.execute(text("SELECT count(*) FROM notice")).scalar() == 2


def test_processes_that_empty_one_outbox_together_get_each_notice_once(url: str) -> None:
    database = open_database(url)
    for number in range(60):
        add(database, str(number))
    database.close()
    taken = " ".join(all_at_once(CLAIMER, [[url, f"node-{number}"] for number in range(3)])).split()
    assert sorted(map(int, taken)) == list(range(1, 61))


def test_what_an_older_version_wrote_and_never_sent_is_not_sent_by_this_one(empty_url: str, tmp_path: Path) -> None:
    scripts = tmp_path / "migrations"
    shutil.copytree(
        SCHEMA.scripts, scripts, ignore=lambda _, names: [name for name in names if "0001" < name[:4] < "9999"]
    )
    database = open_database(empty_url, schema=Schema(scripts=scripts, head="0001"))
    with database.write() as session:
        session.execute(
            text(
                "INSERT INTO notice (job, kind, subject, body, created_at)"
                " VALUES ('nightly', 'disabled', 'old', 'b', '2026-03-08T12:00:00.000000Z')"
            )
        )
    database.close()
    database = open_database(empty_url)
    add(database, "new")
    assert [notice.subject for notice in claim(database, 9)] == ["new"]
    with database.read() as session:
        found = session.execute(text("SELECT subject, run_id, ending FROM notice ORDER BY id")).all()
    assert [tuple(row) for row in found] == [("old", None, "nobody"), ("new", None, None)]
    database.close()
