"""The jobs of the config file against those in the database: what has to change, or which names are taken. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scheduler.errors.setting_faults import ConfigError, Fault
from scheduler.jobs.definition import Job
from scheduler.jobs.outline import Outline


class StoredDefinition(Protocol):
    """What merging needs of a stored job."""

    @property
    def name(self) -> str:
        """The job's name."""

    @property
    def origin(self) -> str:
        """``file`` or ``cli``."""

    @property
    def definition(self) -> Mapping[str, Any]:
        """What :meth:`Job.to_dict` returned when it was stored."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """What makes the database's file jobs equal to the file: definitions to put by name, names to remove.

    ``replaced`` are those to put that are there already.
    """

    put: Mapping[str, Job]
    remove: frozenset[str]
    unchanged: frozenset[str]
    replaced: frozenset[str] = frozenset()


class NameConflicts(Exception):  # noqa: N818 - what it says, as ConfigError would not
    """Names that the file and the command line both claim, one line each; the file's jobs stay as they were.

    ``places`` say where in the config each of them stands, such as ``/etc/schedctl/config.toml:12``.
    """

    def __init__(self, names: Iterable[str], places: Mapping[str, str] | None = None) -> None:
        self.names = tuple(sorted(names))
        where = {name: f"{place}: " for name, place in (places or {}).items()}
        super().__init__(
            "\n".join(
                f"{where.get(name, '')}jobs.{name}: a job of that name was added by schedctl add: rename the one in "
                f"the file, or give the other up with schedctl remove {name}"
                for name in self.names
            )
        )


class LostParents(ConfigError):  # noqa: N818 - as NameConflicts
    """Jobs that left the file, by name, with those of the command line that run after them."""

    def __init__(self, lost: Mapping[str, Sequence[str]], *, name: str) -> None:
        self.followers = frozenset(follower for each in lost.values() for follower in each)
        super().__init__([_lost(parent, names) for parent, names in lost.items()], name=name)


def _lost(parent: str, names: Sequence[str]) -> Fault:
    verb, them = ("runs", "it") if len(names) == 1 else ("run", "them")
    way = f"leave it in the file, or first give {them} another after, or remove {them} (schedctl edit, schedctl remove)"
    message = f"it is gone, but {', '.join(names)}, added by schedctl add, {verb} after it: {way}"
    return Fault(keys=("jobs", parent), message=message)


MOST_NAMED = 10
"""Removed jobs that a message names; of the others it says how many there are."""


class UnconfirmedEdit(ConfigError):  # noqa: N818 - as NameConflicts
    """An edit that looks like a file that is not whole, and that nobody has confirmed.

    It removes every job of the config file, or more than half of them; or jobs lose keys, as
    :mod:`scheduler.config.cut_off` has it; or a file ends where it went on before. ``names`` are the jobs that it
    removes, in order, of the ``total`` that the file had, ``lost`` the keys that others lose, by name, and ``cuts``
    where files end, in words, with the jobs that this may change. ``removes_most``: the removals alone would have to be
    confirmed.
    """

    def __init__(
        self,
        names: Iterable[str],
        total: int,
        *,
        name: str,
        lost: Mapping[str, Sequence[str]] | None = None,
        cuts: Mapping[str, Collection[str]] | None = None,
    ) -> None:
        self.names = tuple(sorted(names))
        self.total = total
        self.lost = dict(sorted((lost or {}).items()))
        self.cuts = dict(cuts or {})
        self.removes_most = _is_large(self.names, total)
        does: list[str] = []
        if self.removes_most:
            count = f"{len(self.names)} of {total} jobs"
            if len(self.names) == total:
                count = "the only job" if total == 1 else f"all {total} jobs"
            does.append(f"removes {count} of the config file ({_first(self.names, ', ')})")
        if self.lost:
            jobs = [f"{job}: {', '.join(keys)}" for job, keys in self.lost.items()]
            does.append(f"takes keys away, as a file does that is cut short ({_first(jobs, '; ')})")
        if self.cuts:
            does.append(f"cuts the file off: {'; '.join(self.cuts)}")
        meant = 'write the value that is meant (such as mode = "append"), ' if self.lost else ""
        message = (
            f"this edit {' and '.join(does)}: put what is missing back, {meant}or confirm the edit with schedctl "
            "reload --confirm"
        )
        super().__init__([Fault(keys=(), file=name, message=message)], name=name)


def _first(things: Sequence[str], between: str) -> str:
    more = len(things) - MOST_NAMED
    return between.join(things[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _is_large(removed: Collection[str], total: int) -> bool:
    return 2 * len(removed) > total


def to_confirm(
    changes: Changes, lost: Mapping[str, Sequence[str]], cuts: Collection[str] = frozenset()
) -> frozenset[str]:
    """Return what a person agrees to who confirms an edit: names of removed jobs, ``JOB KEY`` of lost keys, cuts."""
    return changes.remove.union((f"{job} {key}" for job, keys in lost.items() for key in keys), cuts)


def check_whole(
    changes: Changes,
    stored: Iterable[StoredDefinition],
    *,
    name: str,
    lost: Mapping[str, Sequence[str]] | None = None,
    cuts: Mapping[str, Collection[str]] | None = None,
    confirmed: Collection[str] = (),
) -> None:
    """Raise UnconfirmedEdit if more than half of the file's jobs would go, or ``lost`` or ``cuts`` name a loss.

    What is ``confirmed``, as :func:`to_confirm` returned it, may go. A file that is cut short, or written in parts, is
    valid TOML more often than not, and then only lacks jobs, or keys of the last one. A job with a new name counts as
    removed: it begins without the state of the old one.
    """
    total = sum(each.origin == "file" for each in stored)
    doubtful = to_confirm(changes, lost or {}, cuts or {})
    if (lost or cuts or _is_large(changes.remove, total)) and not doubtful <= set(confirmed):
        raise UnconfirmedEdit(changes.remove, total, name=name, lost=lost, cuts=cuts)


def lost_parents(changes: Changes, stored: Iterable[StoredDefinition]) -> dict[str, list[str]]:
    """Return the jobs that leave the file although jobs of the command line run after them, with the names of those."""
    lost: dict[str, list[str]] = {}
    for each in stored:
        for parent in Outline(each.definition).after if each.origin == "cli" else ():
            if parent in changes.remove:
                lost.setdefault(parent, []).append(each.name)
    return lost


def merge(file_jobs: Mapping[str, Job], stored: Iterable[StoredDefinition]) -> Changes:
    """Compare by value, so that a definition that another version wrote differently is no change if it means the same.

    Jobs of the command line stay out of it, unless the file has their name: that raises NameConflicts with all of them.
    """
    by_origin: dict[str, dict[str, StoredDefinition]] = {"file": {}, "cli": {}}
    for each in stored:
        by_origin[each.origin][each.name] = each
    if taken := file_jobs.keys() & by_origin["cli"].keys():
        raise NameConflicts(taken)
    kept = by_origin["file"]
    unchanged = frozenset(
        name for name, job in file_jobs.items() if name in kept and _read(kept[name].definition) == job
    )
    return Changes(
        put={name: job for name, job in file_jobs.items() if name not in unchanged},
        remove=frozenset(kept.keys() - file_jobs.keys()),
        unchanged=unchanged,
        replaced=frozenset(file_jobs.keys() & kept.keys()) - unchanged,
    )


def _read(definition: Mapping[str, Any]) -> Job | None:
    """Return the stored job, or None if this version cannot read it: it is put anew."""
    try:
        return Job.from_dict(definition)
    except ValueError:
        return None
