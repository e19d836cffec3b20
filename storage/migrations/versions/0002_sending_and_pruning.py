"""What sending notices and pruning history have to remember."""

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import ROW_ID, CleanText, UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.drop_index("notice_pending", table_name="notice")
    # Until now nothing was sent. What waited is old news, and not to be poured over whoever is reported from now on.
    op.add_column("notice", sa.Column("due_at", UtcDateTime(), nullable=True))
    op.add_column("notice", sa.Column("closed_at", UtcDateTime(), nullable=True))
    op.add_column("notice", sa.Column("ending", CleanText(), nullable=True))
    op.execute("UPDATE notice SET due_at = created_at, closed_at = created_at, ending = 'nobody'")
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    with op.batch_alter_table(
        "notice", recreate="always" if is_sqlite else "auto", table_kwargs={"sqlite_autoincrement": True}
    ) as notice:
        notice.alter_column("due_at", existing_type=UtcDateTime(), nullable=False)
        notice.add_column(sa.Column("attempt", sa.Integer(), server_default=sa.text("0"), nullable=False))
        notice.add_column(sa.Column("owner", CleanText(), nullable=True))
        notice.add_column(sa.Column("claimed_until", UtcDateTime(), nullable=True))
        notice.add_column(sa.Column("sent_to", sa.JSON(), server_default=sa.text("'[]'"), nullable=False))
        notice.add_column(sa.Column("digest_id", ROW_ID, nullable=True))
        notice.add_column(sa.Column("error", CleanText(), nullable=True))
    open_ = sa.text("closed_at IS NULL")
    op.create_index("notice_open", "notice", ["due_at", "id"], sqlite_where=open_, postgresql_where=open_)
    op.create_index("notice_run", "notice", ["run_id"])
    op.create_index("notice_sent", "notice", ["sent_at"])
    op.create_table(
        "pruned",
        sa.Column("job", CleanText(), nullable=False),
        sa.Column("through", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job", name="pruned_pkey"),
    )
