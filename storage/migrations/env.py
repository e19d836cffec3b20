"""Run by Alembic for each migration. The connection comes from ``storage.schema``; there is no alembic.ini.

To draft a new migration: open a scratch SQLite file at the current schema, and call
``alembic.command.revision(storage.schema.alembic_config(connection), message, autogenerate=True, rev_id="0002")``;
then raise ``head`` in ``storage.schema`` and write a test that migrates a filled database. There are no downgrades:
whoever goes back puts the copy in place that was made before the migration.
"""

from alembic import context
from sqlmodel import SQLModel

import storage.models  # noqa: F401 - its classes fill SQLModel.metadata

context.configure(
    connection=context.config.attributes["connection"],
    version_table=context.config.attributes["version_table"],
    target_metadata=SQLModel.metadata,
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
