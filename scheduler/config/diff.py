"""What an edit of the config file changes: jobs, their keys, and their fires of the coming days. Pure."""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol

from scheduler.config.merge import Changes
from scheduler.jobs.definition import Job
from scheduler.jobs.dependent_slots import common_slots
from scheduler.schedules.schedule import Schedule

DAYS = 7
"""How many days of fires are compared."""
EDITS = "config_edits"
"""The key in ``setting`` of what the last edit that changed jobs did, as :meth:`Edits.record` gives it."""
MOST_TOLD = 100
"""So many jobs of one edit are told one by one."""
UNTOLD = ("name", "query_file")
"""Keys of a stored definition that are no edit of their own: a query's text is in ``query``."""


class StoredState(Protocol):
    """What comparing needs of a stored job."""

    @property
    def name(self) -> str:
        """The job's name."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """What :meth:`Job.to_dict` returned when it was stored."""

    @property
    def disabled_by(self) -> str | None:
        """``person``, ``daemon``, or None while it is enabled."""

    @property
    def high_water(self) -> datetime | None:
        """The newest slot that fired: no slot up to it ever fires again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEdit:
    """How one job changes. ``keys`` are the paths of its changed keys, such as ``export.object``; none if it is new.

    ``restored``: it was there before, and what was kept of its state comes back. ``enabled_again``: its failures had
    disabled it, and the edit lifts that.

    Of its fires in the coming DAYS days, ``added`` are slots that were none before, ``dropped`` slots that are none any
    more, and ``moved`` slots that stay but run at another time, since the delay changed. ``next_before`` and
    ``next_after`` are the next run times, UTC; None where nothing fires, or only ``after`` others have succeeded: those
    that it runs after from now on. The fires of such a job are the slots that it can come to run for.
    """

    job: str
    change: Literal["added", "changed", "removed"]
    keys: tuple[str, ...] = ()
    added: int = 0
    moved: int = 0
    dropped: int = 0
    next_before: datetime | None = None
    next_after: datetime | None = None
    after: tuple[str, ...] = ()
    restored: bool = False
    enabled_again: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON: times ISO 8601 in UTC with Z."""
        return {
            "job": self.job,
            "change": self.change,
            "keys": list(self.keys),
            "fires": {"added": self.added, "moved": self.moved, "dropped": self.dropped},
            "next_before": _iso(self.next_before),
            "next_after": _iso(self.next_after),
            "after": list(self.after),
            "restored": self.restored,
            "enabled_again": self.enabled_again,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Edits:
    """How all jobs change, by name; those that stay as they are are left out."""

    jobs: tuple[JobEdit, ...] = ()

    def to_dict(self, *, most: int | None = None) -> dict[str, Any]:
        """Return it as JSON, with ``most`` jobs at most; the sums are of all of them."""
        sums = {name: sum(getattr(edit, name) for edit in self.jobs) for name in ("added", "moved", "dropped")}
        return {"jobs": [edit.to_dict() for edit in self.jobs[:most]], "changed": len(self.jobs), "fires": sums}

    def record(self, now: datetime) -> str:
        """Return what is kept of them, as JSON: ``at``, when they were applied, and the first MOST_TOLD jobs."""
        return json.dumps({"at": _iso(now), **self.to_dict(most=MOST_TOLD)})


def edits_of(
    changes: Changes, stored: Iterable[StoredState], now: datetime, *, kept: Iterable[StoredState] = ()
) -> Edits:
    """Compare the jobs that ``changes`` puts and removes with those that are ``stored``, from ``now`` on.

    ``kept`` are removed jobs, whose state comes back with their names.
    """
    known, gone = {each.name: each for each in stored}, {each.name: each for each in kept}
    all_ = _Jobs(known, {}, frozenset(), gone), _Jobs(known, changes.put, changes.remove, gone)
    found = [_edit(name, known.get(name), job, now, all_, kept=gone.get(name)) for name, job in changes.put.items()]
    found += [_edit(name, known[name], None, now, all_) for name in changes.remove]
    return Edits(jobs=tuple(sorted(found, key=lambda edit: edit.job)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Known:
    """A job with what decides whether it fires."""

    schedule: Schedule | None
    after: tuple[str, ...]
    delay: int
    ends: int | None
    is_enabled: bool


class _Jobs(Mapping[str, _Known]):
    """All jobs before or after an edit, each read when it is asked for: there may be thousands."""

    def __init__(
        self,
        stored: Mapping[str, StoredState],
        put: Mapping[str, Job],
        removed: Collection[str],
        kept: Mapping[str, StoredState],
    ) -> None:
        self._stored, self._put, self._removed, self._kept = stored, put, removed, kept

    def __getitem__(self, name: str) -> _Known:
        stored = self._stored.get(name)
        job = self._put.get(name) or (_read(stored) if name not in self._removed else None)
        if job is None:
            raise KeyError(name)
        state = stored or self._kept.get(name)
        is_enabled = _is_on(state, job) if name in self._put else state is None or state.disabled_by is None
        return _Known(schedule=job.schedule, after=job.after, delay=job.delay, ends=job.ends, is_enabled=is_enabled)

    def __iter__(self) -> Iterator[str]:
        return iter((self._stored.keys() | self._put.keys()) - set(self._removed))

    def __len__(self) -> int:
        return len(list(iter(self)))


def _edit(
    name: str,
    stored: StoredState | None,
    job: Job | None,
    now: datetime,
    all_: tuple[_Jobs, _Jobs],
    *,
    kept: StoredState | None = None,
) -> JobEdit:
    before, state = _read(stored), stored or kept
    was_on = stored is not None and stored.disabled_by is None
    is_on = _is_on(state, job)
    since = now if state is None or state.high_water is None else max(now, state.high_water)
    old = _slots(before, since, all_[0]) if was_on else {}
    new = _slots(job, since, all_[1]) if is_on else {}
    both = old.keys() & new.keys()
    return JobEdit(
        job=name,
        change="added" if stored is None else "removed" if job is None else "changed",
        keys=_changed_keys(stored.definition, job.to_dict()) if stored is not None and job is not None else (),
        added=len(new.keys() - both),
        moved=sum(old[slot] != new[slot] for slot in both),
        dropped=len(old.keys() - both),
        next_before=_next(before, since) if was_on else None,
        next_after=_next(job, since) if is_on else None,
        after=job.after if job is not None and is_on else (),
        restored=stored is None and kept is not None,
        enabled_again=is_on and job is not None and state is not None and state.disabled_by == "daemon",
    )


def _is_on(state: StoredState | None, job: Job | None) -> bool:
    """Whether a job that is put is enabled from then on: an edit lifts what the daemon disabled, but not a person."""
    if state is None or state.disabled_by is None:
        return True
    return state.disabled_by == "daemon" and _read(state) != job


def _read(stored: StoredState | None) -> Job | None:
    """Return the job as it is stored; None if there is none, or another version wrote it."""
    try:
        return Job.from_dict(stored.definition) if stored is not None else None
    except ValueError:
        return None


def _slots(job: Job | None, since: datetime, jobs: _Jobs) -> dict[int, int]:
    """Return the slots of the coming days, each with its delay in seconds."""
    begin = int(since.timestamp())
    until = begin + int(timedelta(days=DAYS).total_seconds())
    if job is not None and job.after:
        common = common_slots(job.name, jobs)
        return {} if common is None else dict.fromkeys(common.epochs_between(begin, until), common.delay)
    schedule = job.schedule if job is not None else None
    if schedule is None:
        return {}
    return dict.fromkeys(schedule.epochs_between(begin, until), schedule.delay)


def _next(job: Job | None, since: datetime) -> datetime | None:
    schedule = job.schedule if job is not None else None
    fire = schedule.next_after(since) if schedule is not None else None
    return fire.run_time if fire is not None else None


def _changed_keys(before: Mapping[str, Any], after: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the paths of the keys whose values differ; a key that an older version did not know counts as unset."""
    old, new = _flat(before), _flat(after)
    return tuple(sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key)))


def _flat(definition: Mapping[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in definition.items():
        if key == "export" and isinstance(value, Mapping):
            flat |= {f"export.{inner}": each for inner, each in value.items() if inner != "type"}
        elif key not in UNTOLD:
            flat[key] = value
    return flat


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
