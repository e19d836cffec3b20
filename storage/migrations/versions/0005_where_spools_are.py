"""Where the spool of a begun run is, and what tells this state database from every other."""

from secrets import token_hex

import sqlalchemy as sa
from alembic import op

from storage.engine.column_types import CleanText

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    # Null: not begun, or begun by a version that did not say. Such a run may be resumed anywhere, as before.
    op.add_column("run", sa.Column("spool_place", CleanText(), nullable=True))
    setting = sa.table("setting", sa.column("key", sa.Text), sa.column("value", sa.Text))
    op.execute(sa.insert(setting).values(key="database_id", value=token_hex(16)))
