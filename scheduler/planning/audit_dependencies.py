"""For which slots the parents of a follower had all succeeded, and when: what an audit holds its rows against. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

MARGIN = timedelta(seconds=60)
"""What completed so near to a change of the job is not held against it: clocks differ, and commands take a moment."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Success:
    """A run of a job for ``slot``, a Unix time, that succeeded, and when it ended."""

    job: str
    slot: int
    at: datetime


class Following(Protocol):
    """What happened to a job, and what it ran after from then on."""

    @property
    def change(self) -> Literal["put", "removed", "disabled", "enabled"]:
        """What happened."""

    @property
    def valid_from(self) -> datetime:
        """When."""

    @property
    def after(self) -> tuple[str, ...]:
        """What it ran after from then on; empty if after none."""

    @property
    def ends(self) -> int | None:
        """The Unix time from which on it had no slots."""


def owed_slots(changes: Sequence[Following], successes: Mapping[str, Sequence[Success]]) -> set[int]:
    """Return the slots that a follower owes a row for: the last of its parents succeeded while it followed them."""
    owed: set[int] = set()
    known: dict[tuple[tuple[str, ...], int | None], dict[int, list[datetime]]] = {}
    for change, until in _stretches(changes):
        key = (change.after, change.ends)  # most changes of a job are of something else
        if key not in known:
            known[key] = _chances(*key, successes)
        for slot, chances in known[key].items():
            if any(change.valid_from + MARGIN < at and (until is None or at < until - MARGIN) for at in chances):
                owed.add(slot)
    return owed


def complete_slots(changes: Sequence[Following], successes: Mapping[str, Sequence[Success]]) -> set[int]:
    """Return the slots that it may have a row for: those for which all parents of one of its times succeeded."""
    keys = {(change.after, change.ends) for change in changes if change.after}
    return {slot for after, ends in keys for slot in _chances(after, ends, successes)}


def _stretches(changes: Sequence[Following]) -> Iterator[tuple[Following, datetime | None]]:
    """Yield each change from which on the job was to follow others, and until when."""
    disabled = False
    for index, change in enumerate(changes):
        disabled = change.change == "disabled" or (disabled and change.change == "put")
        if change.after and not disabled and change.change != "removed":
            yield change, changes[index + 1].valid_from if index + 1 < len(changes) else None


def _chances(
    after: tuple[str, ...], ends: int | None, successes: Mapping[str, Sequence[Success]]
) -> dict[int, list[datetime]]:
    """Return, by slot, the times at which a parent succeeded and the others had, or did so then."""
    by_slot: dict[int, list[Success]] = {}
    for parent in after:
        for success in successes.get(parent, ()):
            if ends is None or success.slot < ends:
                by_slot.setdefault(success.slot, []).append(success)
    chances: dict[int, list[datetime]] = {}
    for slot, found in by_slot.items():
        missing = set(after)
        for success in sorted(found, key=lambda each: each.at):
            missing.discard(success.job)
            if not missing:
                chances.setdefault(slot, []).append(success.at)
    return chances
