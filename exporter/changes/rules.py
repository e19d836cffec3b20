"""Change-only exports: which rows of a result go out beside what the target is known to hold. Values only, and pure.

A snapshot is the record of that: per key of a row, a digest of the row as the target accepted it last. A result is
staged on disk, compared with the snapshot, and only the rows that differ are spooled. When the run has ended, what
became of each row makes the next snapshot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from exporter.failures import ExportError, FailureKind, configuration
from exporter.rows.key_forms import Form

Mode = Literal["new", "changed", "mirror"]
"""``new``: a key that the target is not known to hold; ``changed``: also one whose row differs; ``mirror``: the same,
and records whose keys left the result are deleted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeRules:
    """How rows are told apart and compared.

    ``key`` names the columns, as they go out, that together tell a row from all others. ``passing`` are columns that
    only say when a row goes out: they are sent, but make no change. Keys of the form ``exact`` have to be unique in a
    result; for the others that is the target's to judge, row by row.
    """

    mode: Mode
    key: tuple[str, ...]
    form: Form = "exact"
    passing: frozenset[str] = frozenset()

    @property
    def must_be_unique(self) -> bool:
        """Whether a result with two rows of one key, or a row without one, cannot be exported."""
        return self.form == "exact"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeCounts:
    """Rows of a result beside a snapshot: ``new`` and ``changed`` are sent; ``gone`` are keys that left the result."""

    new: int = 0
    changed: int = 0
    unchanged: int = 0
    gone: int = 0
    known: int = 0
    """Keys that the target was known to hold."""


class Fate(IntEnum):
    """What became of a row of a staged result."""

    UNCHANGED = 0
    """It was not to be sent."""
    ACCEPTED = 1
    """The target has it."""
    UNSENT = 2
    """It was refused, or never handed over: the target holds what it held before."""
    UNKNOWN = 3
    """It was handed over, and nobody knows what became of it."""


def check_deletions(counts: ChangeCounts, max_deletes: int | str) -> None:
    """Raise data ``TOO_MANY_GONE`` if a mirror would delete more than ``max_deletes``: a number, or a share (``5%``).

    The share is of the keys that the target is known to hold.
    """
    if isinstance(max_deletes, str):
        allowed = counts.gone * 100 <= float(max_deletes.rstrip("% ")) * counts.known
    else:
        allowed = counts.gone <= max_deletes
    if not allowed:
        raise ExportError(
            FailureKind.DATA,
            "TOO_MANY_GONE",
            f"{counts.gone:,} of {counts.known:,} rows left the result, whose records would be deleted, and "
            f"max_deletes = {max_deletes}: nothing was sent or deleted. Look at the query, or raise max_deletes",
        )


def find_columns(key: Sequence[str], names: Sequence[str], *, any_case: bool) -> list[int]:
    """Return the places of the key's columns among ``names``. Raises configuration ``CHANGES_KEY_MISSING``."""
    places = {name.lower() if any_case else name: place for place, name in enumerate(names)}
    found = [places.get(name.lower() if any_case else name) for name in key]
    if missing := [name for name, place in zip(key, found, strict=True) if place is None]:
        raise configuration(
            "CHANGES_KEY_MISSING",
            f"rows are identified by {', '.join(missing)}, which is not among the columns that go out: "
            f"{', '.join(names)}",
        )
    return [place for place in found if place is not None]


def not_unique(key: Sequence[str], *, shared: int, without: int) -> ExportError:
    """Make the error of a result whose rows cannot be told apart."""
    counted = [f"{shared:,} rows share theirs with another"] * bool(shared) + [f"{without:,} rows have none"] * bool(
        without
    )
    return ExportError(
        FailureKind.DATA,
        "CHANGES_KEY_NOT_UNIQUE",
        f"changes go by the key {', '.join(key)}, but {' and '.join(counted)}: nothing was sent. Make it unique in the "
        "query, or name more columns under changes_key",
    )
