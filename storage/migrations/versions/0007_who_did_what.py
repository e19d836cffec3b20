"""Who did what to jobs and runs, by which command, and when."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "action",
        sa.Column("id", ROW_ID, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("actor", CleanText(), nullable=False),
        sa.Column("sudo_user", CleanText(), nullable=True),
        sa.Column("host", CleanText(), nullable=False),
        sa.Column("command", CleanText(), nullable=False),
        sa.Column("change", CleanText(), nullable=False),
        sa.Column("job", CleanText(), nullable=True),
        sa.Column("run_id", ROW_ID, nullable=True),
        sa.PrimaryKeyConstraint("id", name="action_pkey"),
    )
    op.create_index("action_job", "action", ["job", "id"])
    op.create_index("action_run", "action", ["run_id"])
    op.create_index("action_at", "action", ["at"])
