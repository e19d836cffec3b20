"""Which job runs after which, and notices that go to recipients of their own."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import CleanText

revision = "0003"
down_revision = "0002"

_OPEN = sa.text("closed_at IS NULL")


def upgrade() -> None:
    # No definition that is stored by now names a parent, and no notice has recipients: the defaults say so.
    op.create_table(
        "job_parent",
        sa.Column("job", CleanText(), nullable=False),
        sa.Column("parent", CleanText(), nullable=False),
        sa.PrimaryKeyConstraint("job", "parent", name="job_parent_pkey"),
    )
    op.create_index("job_parent_parent", "job_parent", ["parent", "job"])
    for index in ("notice_open", "notice_run", "notice_sent"):
        op.drop_index(index, table_name="notice")
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table(
        "notice", recreate="always" if is_sqlite else "auto", table_kwargs={"sqlite_autoincrement": True}
    ) as notice:
        notice.add_column(sa.Column("recipients", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
    op.create_index("notice_open", "notice", ["due_at", "id"], sqlite_where=_OPEN, postgresql_where=_OPEN)
    op.create_index("notice_run", "notice", ["run_id"])
    op.create_index("notice_sent", "notice", ["sent_at"])
