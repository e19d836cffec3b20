"""The state of removed jobs, which comes back with their names."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    op.create_table(
        "removed_job",
        sa.Column("name", CleanText(), nullable=False),
        sa.Column("origin", CleanText(), nullable=False),
        sa.Column("definition_id", ROW_ID, nullable=False),
        sa.Column("high_water", UtcDateTime(), nullable=True),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_by", CleanText(), nullable=True),
        sa.Column("disabled_reason", CleanText(), nullable=True),
        sa.Column("failure_streak", sa.Integer(), nullable=False),
        sa.Column("last_success", UtcDateTime(), nullable=True),
        sa.Column("removed_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["definition_id"], ["definition.id"], name="removed_job_definition_id_fkey"),
        sa.PrimaryKeyConstraint("name", name="removed_job_pkey"),
    )
