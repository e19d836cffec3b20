"""What targets are known to hold of the rows of change-only jobs."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "snapshot",
        sa.Column("job", CleanText(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("file", CleanText(), nullable=True),
        sa.Column("scope", CleanText(), nullable=False),
        sa.Column("rows", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("doubtful", ROW_ID, server_default=sa.text("0"), nullable=False),
        sa.Column("decision", CleanText(), nullable=True),
        sa.Column("resend", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("run_id", ROW_ID, nullable=True),
        sa.Column("lost_run_id", ROW_ID, nullable=True),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="snapshot_pkey"),
    )
