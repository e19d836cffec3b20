"""The first schema."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "definition",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("digest", CleanText(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="definition_pkey"),
        sa.UniqueConstraint("digest", name="definition_digest_key"),
    )
    op.create_table(
        "node",
        sa.Column("id", CleanText(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("host", CleanText(), nullable=False),
        sa.Column("boot_id", CleanText(), nullable=False),
        sa.Column("pid", ROW_ID, nullable=False),
        sa.Column("pid_started", CleanText(), nullable=False),
        sa.Column("version", CleanText(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("info", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="node_pkey"),
    )
    op.create_table(
        "setting",
        sa.Column("key", CleanText(), nullable=False),
        sa.Column("value", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="setting_pkey"),
    )
    op.create_table(
        "job",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("origin", CleanText(), nullable=False),
        sa.Column("definition_id", ROW_ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.Column("anchored_at", UtcDateTime(), nullable=False),
        sa.Column("high_water", UtcDateTime(), nullable=True),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_by", CleanText(), nullable=True),
        sa.Column("disabled_reason", CleanText(), nullable=True),
        sa.Column("failure_streak", sa.Integer(), nullable=False),
        sa.Column("last_success", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["definition_id"], ["definition.id"], name="job_definition_id_fkey"),
        sa.PrimaryKeyConstraint("name", name="job_pkey"),
    )
    op.create_table(
        "job_change",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("job", CleanText(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("change", CleanText(), nullable=False),
        sa.Column("definition_id", ROW_ID, nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("anchored_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["definition_id"], ["definition.id"], name="job_change_definition_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="job_change_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index("job_change_job", "job_change", ["job", "id"])
    op.create_table(
        "run",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("job", CleanText(), nullable=False),
        sa.Column("scheduled_time", UtcDateTime(), nullable=False),
        sa.Column("run_time", UtcDateTime(), nullable=False),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("repeat", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("retry_of", ROW_ID, nullable=True),
        sa.Column("definition_id", ROW_ID, nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("alone", sa.Boolean(), nullable=False),
        sa.Column("state", CleanText(), nullable=False),
        sa.Column("phase", CleanText(), nullable=True),
        sa.Column("outcome", CleanText(), nullable=True),
        sa.Column("reason", CleanText(), nullable=True),
        sa.Column("failure_kind", CleanText(), nullable=True),
        sa.Column("failure_code", CleanText(), nullable=True),
        sa.Column("failure_message", CleanText(), nullable=True),
        sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_read", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("rows_accepted", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("rows_rejected", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("rows_unchanged", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("first_slot", UtcDateTime(), nullable=True),
        sa.Column("owner", CleanText(), nullable=True),
        sa.Column("token", CleanText(), nullable=True),
        sa.Column("claim_expires_at", UtcDateTime(), nullable=True),
        sa.Column("cancel_requested_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("progress", sa.JSON(), server_default=sa.text("'{}'"), nullable=False),
        sa.CheckConstraint("(state = 'finished') = (outcome IS NOT NULL)", name="run_outcome"),
        sa.CheckConstraint("(state = 'running') = (token IS NOT NULL)", name="run_claim"),
        sa.CheckConstraint("state IN ('waiting', 'running', 'finished')", name="run_state"),
        sa.ForeignKeyConstraint(["definition_id"], ["definition.id"], name="run_definition_id_fkey"),
        sa.PrimaryKeyConstraint("id", name="run_pkey"),
        sa.UniqueConstraint("job", "scheduled_time", "kind", "repeat", name="run_slot"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "run_claimed",
        "run",
        ["job", "state"],
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "run_due",
        "run",
        ["run_time", "id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index("run_job", "run", ["job", "id"])
    op.create_index(
        "run_last",
        "run",
        ["job", "finished_at"],
        sqlite_where=sa.text("outcome <> 'skipped'"),
        postgresql_where=sa.text("outcome <> 'skipped'"),
    )
    op.create_index(
        "run_owner",
        "run",
        ["owner"],
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "run_queue",
        "run",
        ["job", "state", "run_time", "id"],
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "run_running",
        "run",
        ["job"],
        unique=True,
        sqlite_where=sa.text("state = 'running' AND alone"),
        postgresql_where=sa.text("state = 'running' AND alone"),
    )
    op.create_table(
        "attempt",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("run_id", ROW_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("owner", CleanText(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ending", CleanText(), nullable=True),
        sa.Column("failure_kind", CleanText(), nullable=True),
        sa.Column("failure_code", CleanText(), nullable=True),
        sa.Column("failure_message", CleanText(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="attempt_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="attempt_pkey"),
    )
    op.create_index("attempt_run", "attempt", ["run_id", "id"])
    op.create_table(
        "ledger",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("run_id", ROW_ID, nullable=False),
        sa.Column("step", CleanText(), nullable=False),
        sa.Column("mark", CleanText(), nullable=False),
        sa.Column("batch", sa.Integer(), nullable=True),
        sa.Column("data", sa.JSON(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="ledger_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name="ledger_pkey"),
    )
    op.create_index("ledger_run", "ledger", ["run_id", "id"])
    op.create_table(
        "notice",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("job", CleanText(), nullable=True),
        sa.Column("run_id", ROW_ID, nullable=True),
        sa.Column("kind", CleanText(), nullable=False),
        sa.Column("subject", CleanText(), nullable=False),
        sa.Column("body", CleanText(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="notice_run_id_fkey", ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name="notice_pkey"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "notice_pending",
        "notice",
        ["id"],
        sqlite_where=sa.text("sent_at IS NULL"),
        postgresql_where=sa.text("sent_at IS NULL"),
    )
    op.create_table(
        "rejected_row",
        sa.Column("run_id", ROW_ID, nullable=False),
        sa.Column("number", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("row_values", sa.JSON(), nullable=False),
        sa.Column("code", CleanText(), nullable=False),
        sa.Column("message", CleanText(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name="rejected_row_run_id_fkey", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("run_id", "number", name="rejected_row_pkey"),
    )
