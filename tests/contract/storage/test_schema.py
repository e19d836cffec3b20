"""The schema: made and raised by migrations, by one process at a time, never lowered."""

import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import revision
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlmodel import SQLModel
from support.storage import all_at_once, at, claimed, new_run, stored

from storage.database import Database, StorageError, open_database
from storage.engine.address import parse_address
from storage.engine.pool import make_engine, writing
from storage.runs.runs import attempts, get_run, list_runs
from storage.schema import SCHEMA, VERSION_TABLE, Schema, alembic_config
from storage.values import HEAD

ROOT = Path(__file__).parents[3]
NEXT = f"{int(HEAD) + 1:04}"
"""The number of the migration that a later version would have."""
SECOND = """
import sqlalchemy as sa
from alembic import op

revision = "NEXT"
down_revision = "HEAD"


def upgrade() -> None:
    with op.batch_alter_table("run", recreate="always" if op.get_bind().dialect.name == "sqlite" else "auto") as run:
        run.add_column(sa.Column("colour", sa.Text(), server_default="grey", nullable=False))
    op.execute("UPDATE run SET colour = 'red' WHERE id = 1")
    BROKEN
"""
OPENER = """
import sys
from storage.database import open_database
#go
database = open_database(sys.argv[1])
with database.write():
    pass
print("alembic" in sys.modules)
"""


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """Give a connection to a migrated database, in a transaction."""
    with connected(url) as connection:
        yield connection


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    engine = make_engine(parse_address(url))
    with writing(engine).begin() as connection:
        yield connection
    engine.dispose()


def second_schema(directory: Path, broken: str = "") -> Schema:
    """Give the line of migrations as a later version would have it, with one more."""
    shutil.copytree(SCHEMA.scripts, directory / "migrations")
    (directory / "migrations" / "versions" / f"{NEXT}_colour.py").write_text(
        SECOND.replace("BROKEN", broken).replace("NEXT", NEXT).replace("HEAD", HEAD)
    )
    return Schema(scripts=directory / "migrations", head=NEXT)


def catalog(connection: Connection) -> list[tuple[object, ...]]:
    """Give every table, index and constraint as the database itself tells it, without Alembic's own."""
    queries = {
        "sqlite": "SELECT type, name, sql FROM sqlite_master WHERE tbl_name <> :alembic",
        "postgresql": """
            SELECT 'column', table_name || '.' || column_name, concat(data_type, is_nullable, column_default)
              FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> :alembic
            UNION ALL SELECT 'index', indexname, indexdef
              FROM pg_indexes WHERE schemaname = 'public' AND tablename <> :alembic
            UNION ALL SELECT 'constraint', conrelid::regclass || '.' || conname, pg_get_constraintdef(oid)
              FROM pg_constraint WHERE connamespace = 'public'::regnamespace
               AND conrelid <> to_regclass(:alembic)""",
    }
    rows = connection.execute(text(queries[connection.dialect.name]), {"alembic": VERSION_TABLE})
    # The order of constraints in a table's text is free, SQLite quotes the name of a table that was renamed, and it
    # writes a column that was added on the line of the one before.
    return sorted(
        (
            kind,
            name,
            sorted(line.strip(", \t") for line in re.split(r"\n|, (?=\w+ TEXT\b)", (sql or "").replace('"', ""))),
        )
        for kind, name, sql in rows
    )


def test_the_migrated_schema_is_that_of_the_models(connection: Connection) -> None:
    options = {"version_table": VERSION_TABLE}
    assert compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata) == []


def test_the_database_tells_the_same_of_a_migrated_and_of_a_created_schema(connection: Connection) -> None:
    """Alembic's comparison sees no check constraints and no conditions of indexes."""
    migrated = catalog(connection)
    assert len(migrated) > 20
    SQLModel.metadata.drop_all(connection)
    assert len(catalog(connection)) < 3
    SQLModel.metadata.create_all(connection)
    assert catalog(connection) == migrated


def test_the_head_is_the_last_migration(connection: Connection) -> None:
    script = ScriptDirectory.from_config(alembic_config(connection))
    assert script.get_heads() == [SCHEMA.head]


def test_the_draft_of_a_migration_runs(connection: Connection, tmp_path: Path) -> None:
    schema = second_schema(tmp_path)
    (schema.scripts / "versions" / f"{NEXT}_colour.py").unlink()
    revision(alembic_config(connection, schema), "What comes next", rev_id=NEXT)
    script = ScriptDirectory.from_config(alembic_config(connection, schema))
    assert script.get_heads() == [NEXT]
    assert script.get_revision(NEXT).doc == "What comes next."


def test_an_empty_database_is_brought_to_the_head_and_stays_there(empty_url: str) -> None:
    for _ in range(2):
        open_database(empty_url).close()
    with connected(empty_url) as connection:
        assert connection.execute(text("SELECT version_num FROM schedctl_schema")).scalars().all() == [SCHEMA.head]
        setting = connection.execute(text("SELECT value FROM setting WHERE key = 'schedctl_version'"))
        assert setting.scalar_one() == version("schedctl")


def test_without_leave_to_migrate_nothing_is_made(empty_url: str, kind: str, tmp_path: Path) -> None:
    with pytest.raises(StorageError) as caught:
        open_database(empty_url, migrate=False)
    assert caught.value.code == {"sqlite": "UNREACHABLE", "postgresql": "OLDER"}[kind]
    assert list(tmp_path.iterdir()) == []


def test_without_leave_to_migrate_an_up_to_date_database_opens_and_an_older_one_does_not(
    url: str, tmp_path: Path
) -> None:
    open_database(url, migrate=False).close()
    with pytest.raises(StorageError, match=f"schema {HEAD} instead of {NEXT}") as caught:
        open_database(url, migrate=False, schema=second_schema(tmp_path))
    assert caught.value.code == "OLDER"


def test_a_migration_keeps_every_row_and_what_refers_to_it(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    before = claimed(database, new_run(minutes=3))
    stored(database, new_run(minutes=4))
    database.close()
    database = open_database(url, schema=second_schema(tmp_path))
    with database.read() as session:
        assert get_run(session, before.id) == before
        assert len(attempts(session, before.id)) == 1
        colours = session.execute(text("SELECT colour FROM run ORDER BY id")).scalars().all()
    assert colours == ["red", "grey"]
    database.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    claimed(database)
    database.close()
    with pytest.raises(StorageError):
        open_database(url, schema=second_schema(tmp_path, "op.execute('SELECT * FROM nowhere')"))
    database = open_database(url, migrate=False)
    with database.read() as session:
        assert len(list_runs(session)) == 1
        with pytest.raises(StorageError):
            column_of_the_second(database)
    database.close()


def column_of_the_second(database: Database) -> None:
    with database.read() as session:
        session.execute(text("SELECT colour FROM run"))


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_a_file_is_copied_before_it_is_migrated_as_it_was_last_committed(url: str, tmp_path: Path) -> None:
    database = open_database(url)
    before = claimed(database)
    schema = second_schema(tmp_path)
    copy = tmp_path / f"state.db.before-{NEXT}"
    copy.write_text("left by an earlier try")
    open_database(url, schema=schema).close()  # the first one is still open: its rows may be in the WAL alone
    database.close()
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.unfinished"))
    old = open_database(f"sqlite:///{copy}", migrate=False)
    with old.read() as session:
        assert list_runs(session) == [before]
    old.close()


def test_a_new_database_needs_no_copy(empty_url: str, tmp_path: Path) -> None:
    open_database(empty_url).close()
    assert [path.name for path in tmp_path.iterdir() if "before" in path.name] == []


def test_a_database_from_a_newer_version_is_refused_by_the_names_of_both(url: str, tmp_path: Path) -> None:
    open_database(url, schema=second_schema(tmp_path)).close()
    with connected(url) as connection:
        connection.execute(text("UPDATE setting SET value = '9.4.2' WHERE key = 'schedctl_version'"))
    for migrate in (True, False):
        with pytest.raises(StorageError) as caught:
            open_database(url, migrate=migrate)
        assert caught.value.code == "NEWER"
        for word in ("schedctl 9.4.2", f"schema {NEXT}", f"schedctl {version('schedctl')}", f"schema {HEAD}"):
            assert word in caught.value.message


@pytest.mark.parametrize("found", ["abc", NEXT])
def test_a_version_that_is_not_ours_is_taken_for_newer(url: str, found: str) -> None:
    with connected(url) as connection:
        connection.execute(text("UPDATE schedctl_schema SET version_num = :found"), {"found": found})
        connection.execute(text("DELETE FROM setting"))
    with pytest.raises(StorageError, match="another version") as caught:
        open_database(url)
    assert caught.value.code == "NEWER"


def test_a_database_of_something_else_is_left_alone(empty_url: str) -> None:
    with connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE job (salary integer)"))
    with pytest.raises(StorageError, match="the table job") as caught:
        open_database(empty_url)
    assert caught.value.code == "FOREIGN"
    with connected(empty_url) as connection:
        assert len(catalog_of_tables(connection)) == 1


def catalog_of_tables(connection: Connection) -> list[str]:
    query = {
        "sqlite": "SELECT name FROM sqlite_master WHERE type = 'table'",
        "postgresql": "SELECT tablename FROM pg_tables WHERE schemaname = 'public'",
    }
    return list(connection.execute(text(query[connection.dialect.name])).scalars())


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_server_database_may_hold_other_tables_beside_ours(empty_url: str) -> None:
    with connected(empty_url) as connection:
        connection.execute(text("CREATE TABLE invoice (id integer); CREATE TABLE alembic_version (version_num text)"))
    open_database(empty_url).close()
    open_database(empty_url).close()


def test_processes_that_open_a_new_database_together_make_it_once(empty_url: str) -> None:
    said = all_at_once(OPENER, [[empty_url]] * 4)
    assert sorted(set(said)) in (["False", "True"], ["True"])
    assert said.count("True") >= 1
    database = open_database(empty_url)
    stored(database, new_run(run_time=at(1)))
    database.close()


def test_an_up_to_date_database_is_opened_without_alembic(url: str) -> None:
    assert all_at_once(OPENER, [[url]]) == ["False"]


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
def test_the_migrations_are_in_the_wheel_and_run_from_it(empty_url: str, tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    installed = tmp_path / "100% installed"
    zipfile.ZipFile(wheel).extractall(installed)
    program = (
        f"import sys; sys.path.insert(0, {str(installed)!r})\n" + OPENER + "print(open_database.__code__.co_filename)"
    )
    said = all_at_once(program, [[empty_url]])[0].split("\n")
    assert said[0] == "True"
    assert said[1].startswith(str(installed))
