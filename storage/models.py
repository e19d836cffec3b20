"""The tables. Rows never leave this package: each module turns them into frozen values.

The schema is changed by a migration in ``migrations/versions``, never by this file alone; a test compares the two.
Definitions of jobs are kept once each in :class:`Definition`, however many runs carry a snapshot of them.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    Index,
    Integer,
    Table,
    Text,
    UniqueConstraint,
    literal_column,
    text,
)
from sqlmodel import Field, SQLModel

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

SQLModel.metadata.naming_convention = {
    "pk": "%(table_name)s_pkey",
    "fk": "%(table_name)s_%(column_0_name)s_fkey",
    "uq": "%(table_name)s_%(column_0_name)s_key",
}
"""Every constraint has a name, the same on both databases: a later migration can only drop what it can name."""

WAITING: ColumnElement[str] = literal_column("'waiting'", Text())
"""The state as the partial indexes spell it: a bound parameter would not let the planner use them."""
RUNNING: ColumnElement[str] = literal_column("'running'", Text())


def _id() -> Any:  # noqa: ANN401 - what SQLModel's Field takes and gives
    return Field(default=None, sa_column=Column("id", ROW_ID, primary_key=True, autoincrement=True))


def _reference(target: str, *, ondelete: str | None = None, nullable: bool = False, primary_key: bool = False) -> Any:  # noqa: ANN401 - what SQLModel's Field takes and gives
    name = target.replace(".", "_")
    key = ForeignKey(target, ondelete=ondelete)
    return Field(sa_column=Column(name, ROW_ID, key, nullable=nullable, primary_key=primary_key))


def _default(name: str, kind: Any, value: str) -> Any:  # noqa: ANN401 - what SQLModel's Field takes and gives
    # The default is the database's alone: one of Python's would be sent along with each of 10,000 rows.
    return Field(sa_column=Column(name, kind, server_default=text(value), nullable=False))


class Definition(SQLModel, table=True):
    """One definition of a job, whoever refers to it: the JSON document and the SHA-256 of its canonical form."""

    __tablename__ = "definition"

    id: int | None = _id()
    digest: str = Field(sa_type=CleanText, unique=True)
    body: dict[str, Any] = Field(sa_type=JSON)


class Job(SQLModel, table=True):
    """A job and its state. When it is removed, its state moves to :class:`RemovedJob`; its changes and runs stay."""

    __tablename__ = "job"

    name: str = Field(primary_key=True, sa_type=CleanText)
    origin: str = Field(sa_type=CleanText)
    definition_id: int = _reference("definition.id")
    revision: int
    created_at: datetime = Field(sa_type=UtcDateTime)
    updated_at: datetime = Field(sa_type=UtcDateTime)
    anchored_at: datetime = Field(sa_type=UtcDateTime)
    high_water: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_by: str | None = Field(default=None, sa_type=CleanText)
    disabled_reason: str | None = Field(default=None, sa_type=CleanText)
    failure_streak: int = 0
    last_success: datetime | None = Field(default=None, sa_type=UtcDateTime)


class RemovedJob(SQLModel, table=True):
    """The state of a job that is gone, for the one of its name that comes back; kept until a person forgets it."""

    __tablename__ = "removed_job"

    name: str = Field(primary_key=True, sa_type=CleanText)
    origin: str = Field(sa_type=CleanText)
    definition_id: int = _reference("definition.id")
    high_water: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    disabled_by: str | None = Field(default=None, sa_type=CleanText)
    disabled_reason: str | None = Field(default=None, sa_type=CleanText)
    failure_streak: int = 0
    last_success: datetime | None = Field(default=None, sa_type=UtcDateTime)
    removed_at: datetime = Field(sa_type=UtcDateTime)


class JobChange(SQLModel, table=True):
    """What a job was from when on: the history from which an audit recomputes which slots were owed."""

    __tablename__ = "job_change"
    __table_args__ = (Index("job_change_job", "job", "id"), {"sqlite_autoincrement": True})

    id: int | None = _id()
    job: str = Field(sa_type=CleanText)
    revision: int
    change: str = Field(sa_type=CleanText)
    definition_id: int = _reference("definition.id")
    valid_from: datetime = Field(sa_type=UtcDateTime)
    anchored_at: datetime = Field(sa_type=UtcDateTime)


class JobParent(SQLModel, table=True):
    """That a job runs after another: its definition's ``after``, as rows, to look up by parent."""

    __tablename__ = "job_parent"
    __table_args__ = (Index("job_parent_parent", "parent", "job"),)

    job: str = Field(primary_key=True, sa_type=CleanText)
    parent: str = Field(primary_key=True, sa_type=CleanText)


class Run(SQLModel, table=True):
    """One execution of a job for one slot, or the record of why there is none. Names its job without needing it."""

    __tablename__ = "run"
    __table_args__ = (
        UniqueConstraint("job", "scheduled_time", "kind", "repeat", name="run_slot"),
        CheckConstraint("state IN ('waiting', 'running', 'finished')", name="run_state"),
        CheckConstraint("(state = 'running') = (token IS NOT NULL)", name="run_claim"),
        CheckConstraint("(state = 'finished') = (outcome IS NOT NULL)", name="run_outcome"),
        # The database itself keeps two runs of one job apart, unless the job allows overlap.
        Index(
            "run_running",
            "job",
            unique=True,
            sqlite_where=text("state = 'running' AND alone"),
            postgresql_where=text("state = 'running' AND alone"),
        ),
        Index(
            "run_due",
            "run_time",
            "id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        Index(
            "run_queue",
            "job",
            "state",
            "run_time",
            "id",
            sqlite_where=text("state = 'waiting'"),
            postgresql_where=text("state = 'waiting'"),
        ),
        # The state, although always the same, is a column too: otherwise SQLite, which knows no sizes, takes an index
        # over all that the job ever did.
        Index(
            "run_claimed",
            "job",
            "state",
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index(
            "run_owner",
            "owner",
            sqlite_where=text("state = 'running'"),
            postgresql_where=text("state = 'running'"),
        ),
        Index("run_job", "job", "id"),
        Index(
            "run_last",
            "job",
            "finished_at",
            sqlite_where=text("outcome <> 'skipped'"),
            postgresql_where=text("outcome <> 'skipped'"),
        ),
        {"sqlite_autoincrement": True},
    )

    id: int | None = _id()
    job: str = Field(sa_type=CleanText)
    scheduled_time: datetime = Field(sa_type=UtcDateTime)
    run_time: datetime = Field(sa_type=UtcDateTime)
    kind: str = Field(sa_type=CleanText)
    repeat: int = _default("repeat", Integer, "0")
    retry_of: int | None = Field(default=None, sa_type=ROW_ID)
    definition_id: int = _reference("definition.id")
    revision: int
    alone: bool
    state: str = Field(sa_type=CleanText)
    phase: str | None = Field(default=None, sa_type=CleanText)
    outcome: str | None = Field(default=None, sa_type=CleanText)
    reason: str | None = Field(default=None, sa_type=CleanText)
    failure_kind: str | None = Field(default=None, sa_type=CleanText)
    failure_code: str | None = Field(default=None, sa_type=CleanText)
    failure_message: str | None = Field(default=None, sa_type=CleanText)
    attempt: int = _default("attempt", Integer, "0")
    rows_read: int = _default("rows_read", ROW_ID, "0")
    rows_accepted: int = _default("rows_accepted", ROW_ID, "0")
    rows_rejected: int = _default("rows_rejected", ROW_ID, "0")
    rows_unchanged: int = _default("rows_unchanged", ROW_ID, "0")
    skipped: int = _default("skipped", ROW_ID, "0")
    first_slot: datetime | None = Field(default=None, sa_type=UtcDateTime)
    owner: str | None = Field(default=None, sa_type=CleanText)
    token: str | None = Field(default=None, sa_type=CleanText)
    claim_expires_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    cancel_requested_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    created_at: datetime = Field(sa_type=UtcDateTime)
    started_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    finished_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    progress: dict[str, Any] = _default("progress", JSON, "'{}'")
    spool_place: str | None = Field(default=None, sa_type=CleanText)


class Attempt(SQLModel, table=True):
    """One try of a run: who, when, and how it ended."""

    __tablename__ = "attempt"
    __table_args__ = (Index("attempt_run", "run_id", "id"),)

    id: int | None = _id()
    run_id: int = _reference("run.id", ondelete="CASCADE")
    number: int
    owner: str = Field(sa_type=CleanText)
    started_at: datetime = Field(sa_type=UtcDateTime)
    ended_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ending: str | None = Field(default=None, sa_type=CleanText)
    failure_kind: str | None = Field(default=None, sa_type=CleanText)
    failure_code: str | None = Field(default=None, sa_type=CleanText)
    failure_message: str | None = Field(default=None, sa_type=CleanText)


class LedgerEntry(SQLModel, table=True):
    """An effect of a run on the outside, before or after it. Written once, never changed."""

    __tablename__ = "ledger"
    __table_args__ = (Index("ledger_run", "run_id", "id"),)

    id: int | None = _id()
    run_id: int = _reference("run.id", ondelete="CASCADE")
    step: str = Field(sa_type=CleanText)
    mark: str = Field(sa_type=CleanText)
    batch: int | None = None
    data: dict[str, Any] = Field(sa_type=JSON)
    at: datetime = Field(sa_type=UtcDateTime)


class RejectedRow(SQLModel, table=True):
    """A row that the target refused: its number in the run, the values as sent, and why."""

    __tablename__ = "rejected_row"

    run_id: int = _reference("run.id", ondelete="CASCADE", primary_key=True)
    number: int = Field(sa_column=Column("number", ROW_ID, primary_key=True, autoincrement=False))
    row_values: dict[str, Any] = Field(sa_column=Column("row_values", JSON, nullable=False))
    code: str = Field(sa_type=CleanText)
    message: str = Field(sa_type=CleanText)


class Node(SQLModel, table=True):
    """A process that may own claims, and what is needed to tell whether it still lives."""

    __tablename__ = "node"

    id: str = Field(primary_key=True, sa_type=CleanText)
    kind: str = Field(sa_type=CleanText)
    host: str = Field(sa_type=CleanText)
    boot_id: str = Field(sa_type=CleanText)
    pid: int = Field(sa_type=ROW_ID)
    pid_started: str = Field(sa_type=CleanText)
    version: str = Field(sa_type=CleanText)
    started_at: datetime = Field(sa_type=UtcDateTime)
    seen_at: datetime = Field(sa_type=UtcDateTime)
    info: dict[str, Any] = Field(sa_type=JSON)


class Setting(SQLModel, table=True):
    """A small fact by its key. This table keeps its form for ever: an older schedctl reads the version from it."""

    __tablename__ = "setting"

    key: str = Field(primary_key=True, sa_type=CleanText)
    value: str = Field(sa_type=CleanText)


class Notice(SQLModel, table=True):
    """A thing to tell a person, written in the transaction that made it true; open until it is sent or dropped."""

    __tablename__ = "notice"
    __table_args__ = (
        Index(
            "notice_open",
            "due_at",
            "id",
            sqlite_where=text("closed_at IS NULL"),
            postgresql_where=text("closed_at IS NULL"),
        ),
        Index("notice_run", "run_id"),
        Index("notice_sent", "sent_at"),
        {"sqlite_autoincrement": True},
    )

    id: int | None = _id()
    job: str | None = Field(default=None, sa_type=CleanText)
    run_id: int | None = _reference("run.id", ondelete="SET NULL", nullable=True)
    kind: str = Field(sa_type=CleanText)
    subject: str = Field(sa_type=CleanText)
    body: str = Field(sa_type=CleanText)
    created_at: datetime = Field(sa_type=UtcDateTime)
    due_at: datetime = Field(sa_type=UtcDateTime)
    attempt: int = _default("attempt", Integer, "0")
    owner: str | None = Field(default=None, sa_type=CleanText)
    claimed_until: datetime | None = Field(default=None, sa_type=UtcDateTime)
    sent_to: list[str] = _default("sent_to", JSON, "'[]'")
    sent_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    digest_id: int | None = Field(default=None, sa_type=ROW_ID)
    closed_at: datetime | None = Field(default=None, sa_type=UtcDateTime)
    ending: str | None = Field(default=None, sa_type=CleanText)
    error: str | None = Field(default=None, sa_type=CleanText)
    recipients: list[str] = _default("recipients", JSON, "'[]'")


class Snapshot(SQLModel, table=True):
    """What a job's target is known to hold of its rows: the file that says so, and how far it can be relied on.

    The file follows from runs, each of which replaces the row of the ``revision`` that it began with. ``scope`` says in
    words which target it is of; empty: whichever the job has. ``decision`` is what a person said of the ``doubtful``
    rows: ``sent`` or ``unsent``. ``resend`` has the next run send every row. ``lost_run_id`` is a run whose accepted
    rows are not in the file.
    """

    __tablename__ = "snapshot"

    job: str = Field(primary_key=True, sa_type=CleanText)
    revision: int
    file: str | None = Field(default=None, sa_type=CleanText)
    scope: str = Field(sa_type=CleanText)
    rows: int = _default("rows", ROW_ID, "0")
    doubtful: int = _default("doubtful", ROW_ID, "0")
    decision: str | None = Field(default=None, sa_type=CleanText)
    resend: bool = _default("resend", Boolean, "false")
    run_id: int | None = Field(default=None, sa_type=ROW_ID)
    lost_run_id: int | None = Field(default=None, sa_type=ROW_ID)
    updated_at: datetime = Field(sa_type=UtcDateTime)


class Action(SQLModel, table=True):
    """What somebody did to a job or a run, and by which command. It outlives both, for as long as the history."""

    __tablename__ = "action"
    __table_args__ = (
        Index("action_job", "job", "id"),
        Index("action_run", "run_id"),
        Index("action_at", "at"),
    )

    id: int | None = _id()
    at: datetime = Field(sa_type=UtcDateTime)
    actor: str = Field(sa_type=CleanText)
    sudo_user: str | None = Field(default=None, sa_type=CleanText)
    host: str = Field(sa_type=CleanText)
    command: str = Field(sa_type=CleanText)
    change: str = Field(sa_type=CleanText)
    job: str | None = Field(default=None, sa_type=CleanText)
    run_id: int | None = Field(default=None, sa_type=ROW_ID)


class Pruned(SQLModel, table=True):
    """Up to which slot a job's history was pruned: an audit finds no holes there, but the past thrown away."""

    __tablename__ = "pruned"

    job: str = Field(primary_key=True, sa_type=CleanText)
    through: datetime = Field(sa_type=UtcDateTime)


def table(name: str) -> Table:
    """Return a table by name, for statements over many rows at once."""
    return SQLModel.metadata.tables[name]
