"""What :mod:`storage.fast_read` shares with the rest: values that need no SQLAlchemy to be made."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

HEAD = "0007"
"""The newest migration: what :mod:`storage.schema` raises a database to, and what the queries here are written for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredJob:
    """A job: its definition and its state. Times are UTC.

    Slots at or before ``anchored_at`` are not owed, nor are those at or before ``high_water``. ``disabled_by`` is
    ``person`` or ``daemon``. ``last_success`` is the slot of the newest run that succeeded.
    """

    name: str
    origin: str
    definition: dict[str, Any]
    revision: int
    created_at: datetime
    updated_at: datetime
    anchored_at: datetime
    high_water: datetime | None
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_reason: str | None
    failure_streak: int
    last_success: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredRun:
    """A run as it is stored. Times are UTC.

    ``attempt`` counts from 1 and is 0 before the first. ``phase`` is the last one reached, also after the end.
    ``owner``, ``token`` and ``claim_expires_at`` are set while it is ``running``, and only then. ``spool_place`` says,
    from the first entry of its ledger on, which spool directory (of which host) its rows are in.
    """

    id: int
    job: str
    scheduled_time: datetime
    run_time: datetime
    kind: str
    repeat: int
    retry_of: int | None
    state: str
    phase: str | None
    outcome: str | None
    reason: str | None
    failure_kind: str | None
    failure_code: str | None
    failure_message: str | None
    attempt: int
    rows_read: int
    rows_accepted: int
    rows_rejected: int
    rows_unchanged: int
    skipped: int
    first_slot: datetime | None
    definition: dict[str, Any]
    revision: int
    owner: str | None
    token: str | None
    claim_expires_at: datetime | None
    cancel_requested_at: datetime | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    progress: dict[str, Any]
    spool_place: str | None = None

    @property
    def rows_deleted(self) -> int:
        """Records of the target that were deleted to make room for the rows."""
        return int(self.progress.get("deleted", 0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A process: ``id`` is random and owns its claims; host, boot, pid and its start tell whether it still lives."""

    id: str
    host: str
    boot_id: str
    pid: int
    pid_started: str
    version: str
    started_at: datetime
    seen_at: datetime
    kind: Literal["daemon", "cli"]
    info: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Actor:
    """Who does something: the login name (the number of a user without one), and the command that was typed.

    ``sudo_user`` is the user who typed ``sudo``, if any. ``command`` is without its arguments.
    """

    user: str
    sudo_user: str | None
    host: str
    command: str

    @property
    def name(self) -> str:
        """Name the user, and who typed ``sudo``."""
        return self.user if self.sudo_user is None else f"{self.user} (sudo by {self.sudo_user})"

    def __str__(self) -> str:
        """Name the user and the command."""
        return f"{self.name} with {self.command}"


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredAction:
    """What somebody did to a job or a run. ``change`` is a verb, such as ``disabled``; ``at`` is UTC."""

    id: int
    at: datetime
    by: Actor
    change: str
    job: str | None
    run_id: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outbox:
    """How sending does: ``pending`` notices, since when, and what the last try of one of them met."""

    pending: int
    oldest: datetime | None
    error: str | None


def sqlite_time(instant: datetime) -> str:
    """Write an aware instant as SQLite keeps it: UTC text of one width, which sorts as the instants do."""
    return instant.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
