"""What an edit of the config file changes: values in, the jobs, keys and fires out."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from scheduler.config.diff import Edits, JobEdit, edits_of
from scheduler.config.merge import merge
from scheduler.jobs.definition import Job, parse_job

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
"""A Tuesday."""
TYPES = {"warehouse": "duckdb", "files": "file", "others": "file"}


@dataclass(frozen=True, kw_only=True)
class Stored:
    name: str
    definition: dict[str, Any]
    origin: str = "file"
    disabled_by: str | None = None
    high_water: datetime | None = None


def job(name: str = "a", **keys: Any) -> Job:
    table = {"source": "warehouse", "query": "select 1", "export": {"connection": "files"}, **keys}
    return parse_job(name, table, connections=TYPES)


def edit(before: Job | None, after: Job | None, **state: Any) -> JobEdit:
    stored = [] if before is None else [Stored(name=before.name, definition=before.to_dict(), **state)]
    edits = edits_of(merge({} if after is None else {after.name: after}, stored), stored, NOW)
    (only,) = edits.jobs
    return only


def fires(found: JobEdit) -> tuple[int, int, int]:
    return found.added, found.moved, found.dropped


def test_a_new_job_brings_its_fires_of_a_week() -> None:
    found = edit(None, job(cron="0 3 * * mon-fri", delay=600))
    assert (found.change, found.keys, fires(found)) == ("added", (), (5, 0, 0))
    assert (found.next_before, found.next_after) == (None, datetime(2026, 11, 25, 3, 10, tzinfo=UTC))


def test_a_job_that_goes_drops_them() -> None:
    found = edit(job(cron="0 3 * * mon-fri"), None)
    assert (found.change, fires(found), found.next_after) == ("removed", (0, 0, 5), None)


def test_another_delay_moves_every_fire_and_another_cron_drops_some_and_adds_some() -> None:
    daily = job(cron="0 3 * * *")
    later = edit(daily, job(cron="0 3 * * *", delay="1h"))
    assert (later.keys, fires(later)) == (("delay",), (0, 7, 0))
    other = edit(daily, job(cron="0 */3 * * *"))
    assert (other.keys, fires(other)) == (("cron",), (7 * 7, 0, 0))
    both = edit(daily, job(cron="0 4,3 * * *", delay=60))
    assert (both.keys, fires(both)) == (("cron", "delay"), (7, 7, 0))


def test_a_zone_that_means_the_same_times_changes_the_key_and_no_fire() -> None:
    found = edit(job(cron="0 3 * * *", timezone="Etc/UTC"), job(cron="0 3 * * *"))
    assert (found.keys, fires(found)) == (("timezone",), (0, 0, 0))


def test_keys_of_the_export_are_named_by_their_path_and_what_does_not_bear_on_fires_changes_none() -> None:
    before = job(cron="@daily", query="select 1")
    after = job(cron="@daily", query="select 2", export={"connection": "others", "file": "x.csv"}, retry_limit=9)
    found = edit(before, after)
    assert found.keys == ("export.connection", "export.file", "query", "retry_limit")
    assert (fires(found), found.next_before) == ((0, 0, 0), found.next_after)


def test_what_a_person_disabled_stays_so_and_what_the_daemon_disabled_an_edit_lifts() -> None:
    daily, other = job(cron="0 3 * * *"), job(cron="0 3 * * *", query="select 2")
    assert fires(edit(daily, other, disabled_by="person")) == (0, 0, 0)
    lifted = edit(daily, other, disabled_by="daemon")
    assert (fires(lifted), lifted.next_before) == ((7, 0, 0), None)
    assert fires(edit(daily, None, disabled_by="person")) == (0, 0, 0)


def test_slots_up_to_one_that_fired_ahead_of_the_clock_are_not_counted() -> None:
    found = edit(job(cron="0 3 * * *"), None, high_water=NOW + timedelta(days=30))
    assert found.next_before == datetime(2026, 12, 25, 3, 0, tzinfo=UTC)


def test_a_definition_of_another_version_counts_as_changed_from_no_fires() -> None:
    stored = [Stored(name="a", definition={"name": "a", "export": {"type": "pigeon", "connection": "loft"}})]
    (found,) = edits_of(merge({"a": job(cron="0 3 * * *")}, stored), stored, NOW).jobs
    assert (found.change, fires(found)) == ("changed", (7, 0, 0))
    assert "export.connection" in found.keys


def test_the_sums_are_of_all_jobs_however_many_are_told() -> None:
    edits = Edits(jobs=tuple(JobEdit(job=str(number), change="added", added=2, moved=1) for number in range(5)))
    told = edits.to_dict(most=2)
    assert (len(told["jobs"]), told["changed"]) == (2, 5)
    assert told["fires"] == {"added": 10, "moved": 5, "dropped": 0}
    assert json.loads(edits.record(NOW)) == {"at": "2026-11-24T12:00:00Z", **edits.to_dict()}


def test_it_is_told_in_utc() -> None:
    told = edit(None, job(cron="0 3 * * *", timezone="America/New_York")).to_dict()
    assert told == {
        "job": "a",
        "change": "added",
        "keys": [],
        "fires": {"added": 7, "moved": 0, "dropped": 0},
        "next_before": None,
        "next_after": "2026-11-25T08:00:00Z",
        "after": [],
        "restored": False,
        "enabled_again": False,
    }
