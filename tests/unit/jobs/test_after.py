"""Jobs that run after others: which slots they share, what is said of them, and what is wrong with a definition."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from scheduler.config.diff import edits_of
from scheduler.config.merge import Changes, lost_parents, merge
from scheduler.errors.setting_faults import ConfigError
from scheduler.jobs.definition import Job, parse_job
from scheduler.jobs.dependencies import graph_faults
from scheduler.jobs.dependent_slots import common_slots, idle, join, when
from scheduler.planning.forecast import runs_by_hour

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
TABLE = {"source": "warehouse", "query": "select 1", "export": {"connection": "files"}}
TYPES = {"warehouse": "duckdb", "files": "file"}


def job(name: str, *after: str, defaults: Mapping[str, object] | None = None, **keys: Any) -> Job:
    table = {**TABLE, **({"after": list(after)} if after else {}), **keys}
    return parse_job(name, table, connections=TYPES, defaults=defaults)


def jobs(*made: Job) -> dict[str, Job]:
    return {each.name: each for each in made}


def faults_of(name: str, *after: str, **keys: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        job(name, *after, **keys)
    return [str(fault) for fault in caught.value.faults]


def test_a_follower_has_no_schedule_and_comes_back_from_json_as_it_was() -> None:
    follower = job("journey", "segment", delay="5m", ends_on="2027-03-31")
    assert follower.schedule is None
    assert (follower.after, follower.delay) == (("segment",), 300)
    assert Job.from_dict(follower.to_dict()) == follower
    assert Job.from_dict({key: value for key, value in follower.to_dict().items() if key != "after"}).after == ()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cron", "0 3 * * *"),
        ("starts_at", "2026-12-01T09:00"),
        ("step", "offset"),
        ("day_match", "and"),
        ("dst", "wallclock"),
        ("gap", "skip"),
        ("fold", "both"),
        ("catch_up_window", "1d"),
    ],
)
def test_what_a_schedule_has_and_after_exclude_each_other_by_key(key: str, value: str) -> None:
    (fault,) = faults_of("journey", "segment", **{key: value})
    assert fault.startswith(f'jobs.journey.{key}: {key} = "{value}" and after exclude each other')


def test_defaults_of_schedules_do_not_concern_a_follower_and_those_of_policies_do() -> None:
    follower = job("journey", "segment", defaults={"cron": "0 3 * * *", "step": "offset", "overlap": "skip"})
    assert (follower.cron, follower.step, follower.overlap) == ("", "multiples", "skip")


def test_a_parent_that_is_named_twice_or_is_no_text_is_a_fault() -> None:
    assert faults_of("journey", "a", "a") == ["jobs.journey.after: after names a twice: remove one"]
    assert faults_of("journey", after="a") == ['jobs.journey.after: after = "a": write a list in [ ]']
    assert faults_of("journey", after=[1]) == ["jobs.journey.after[0]: after = 1: write text in quotes"]


def test_circles_and_unknown_parents_are_faults_of_each_job_that_is_part_of_them() -> None:
    parents = {"a": ("b",), "b": ("c",), "c": ("a",), "d": ("a", "nowhere"), "e": ("e",)}
    faults = graph_faults(parents, {"a", "b", "c", "d", "e"}, names=parents)
    told = {fault.path: fault.message for fault in faults}
    assert told["jobs.a.after"].startswith("a dependency cycle: a after b after c after a;")
    assert told["jobs.b.after"].startswith("a dependency cycle: b after c after a after b;")
    assert told["jobs.d.after"].startswith('after "nowhere": job not found;')
    assert told["jobs.e.after"].startswith("it cannot run after itself;")
    assert set(told) == {f"jobs.{name}.after" for name in "abcde"}


def test_the_slots_of_a_follower_are_those_that_all_its_parents_have_over_chains() -> None:
    known = jobs(
        job("early", cron="0 */2 * * *", delay=60),
        job("late", cron="0 */3 * * *"),
        job("both", "early", "late", delay=10, ends_on="2026-11-27"),
        job("last", "both", delay=5),
    )
    common = common_slots("last", known)
    assert common is not None
    hours = [(slot - NOW) / timedelta(hours=1) for slot in common.first(NOW, 20)]
    assert hours == [6, 12, 18, 24, 30, 36, 42, 48, 54]
    assert max(common.first(NOW, 20)) < datetime(2026, 11, 28, tzinfo=UTC)
    assert common.delay == 75
    begin = int(NOW.timestamp())
    assert common.epochs_between(begin, begin + 86_400) == [begin + 3600 * n for n in (6, 12, 18, 24)]
    assert runs_by_hour(common, begin, 24) == {0: 1, 6: 1, 12: 1, 18: 1}


def test_the_load_of_one_parent_is_that_of_its_schedule() -> None:
    known = jobs(job("parent", cron="30 * * * *"), job("child", "parent", delay="45m"))
    common = common_slots("child", known)
    assert common is not None
    assert runs_by_hour(common, int(NOW.timestamp()), 3) == {0: 1, 1: 1, 2: 1}


@pytest.mark.parametrize(
    ("parents", "says"),
    [
        ((job("a", cron="0 3 * * *"),), None),
        ((job("a"),), "a has no schedule"),
        ((), "a has no schedule that can be read, or is disabled or gone"),
        ((job("a", cron="0 3 * * *", ends_on="2026-01-01"),), "a is over"),
    ],
)
def test_it_is_said_why_a_follower_never_runs_by_itself(parents: tuple[Job, ...], says: str | None) -> None:
    told = idle("child", jobs(*parents, job("child", "a")), NOW)
    assert (told is None) if says is None else (told is not None and says in told)


def test_schedules_that_share_no_slot_are_told_soon() -> None:
    known = jobs(job("a", cron="1-59/2 * * * *"), job("b", cron="*/2 * * * *"), job("child", "a", "b"))
    assert idle("child", known, NOW) == (
        "it does not run automatically: the schedules of a and b share no slot that is in sight"
    )
    assert idle("a", known, NOW) is None


def test_parents_in_words() -> None:
    assert [join(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert [when(names) for names in (["a"], ["a", "b"])] == ["when a has succeeded", "when a and b have succeeded"]


class Stored:
    """A stored job as merging and comparing see it."""

    def __init__(self, made: Job, origin: str = "file", disabled_by: str | None = None) -> None:
        self.name, self.origin, self.definition = made.name, origin, made.to_dict()
        self.disabled_by, self.high_water = disabled_by, None


def test_an_edit_tells_the_slots_that_a_follower_gains_and_loses() -> None:
    before = [Stored(job("segment", cron="0 3 * * *")), Stored(job("journey", cron="0 4 * * *"))]
    changed = job("journey", "segment", delay=60)
    changes = merge(jobs(job("segment", cron="0 3 * * *"), changed), before)
    (edit,) = edits_of(changes, before, NOW).jobs
    assert (edit.keys, edit.added, edit.dropped, edit.moved) == (("after", "cron", "delay"), 7, 7, 0)
    assert (edit.next_after, edit.after) == (None, ("segment",))
    later = [Stored(job("segment", cron="0 3 * * *")), Stored(changed)]
    changes = merge(jobs(job("segment", cron="0 3 * * *"), job("journey", "segment")), later)
    (edit,) = edits_of(changes, later, NOW).jobs
    assert (edit.added, edit.moved, edit.dropped) == (0, 7, 0)


def test_a_job_that_leaves_the_file_may_not_be_one_that_others_run_after() -> None:
    stored = [Stored(job("segment", cron="0 3 * * *")), Stored(job("journey", "segment"), origin="cli")]
    changes = merge({}, stored)
    assert lost_parents(changes, stored) == {"segment": ["journey"]}
    assert lost_parents(Changes(put={}, remove=frozenset(), unchanged=frozenset()), stored) == {}
