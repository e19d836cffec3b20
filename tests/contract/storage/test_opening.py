"""What stands in the way of opening or using a state database: each is one line that says what to change."""

import os
import shutil
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.exc import OperationalError
from support.databases import postgres
from support.storage import NOON, Process, new_run, stored

from storage import key_values
from storage.database import Database, StorageError, open_database, sqlite_url
from storage.engine.errors import from_sqlalchemy
from storage.runs.runs import list_runs

NOBODY = 65_534
FILLER = """
import resource, sys
from support.storage import NOON, new_run
from storage.database import StorageError, open_database
from storage.runs.runs import insert_runs, list_runs
database = open_database(sys.argv[1])
#go
size = 400_000
resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
done = 0
try:
    while done < 10_000:
        with database.write() as session:
            insert_runs(session, [new_run(f"job-{done}", minute, reason="x" * 500) for minute in range(100)], now=NOON)
        done += 100
except StorageError as error:
    print(error.code)
    print(error.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
with database.write() as session:
    insert_runs(session, [new_run("last")], now=NOON)
with database.read() as session:
    print(done + 1 == len(list_runs(session, limit=100_000)))
"""


def refusal(url: str) -> StorageError:
    with pytest.raises(StorageError) as caught:
        open_database(url)
    assert "\n" not in str(caught.value)
    assert str(caught.value) == caught.value.message
    return caught.value


def url_of(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """Give a directory that everybody may enter, and be nobody in particular: root may write anywhere."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    yield directory
    os.seteuid(user)
    shutil.rmtree(directory)


def test_a_new_file_and_its_directories_are_private(tmp_path: Path) -> None:
    path = tmp_path / "made" / "for it" / "state.db"
    old = os.umask(0)
    database = open_database(url_of(path))
    stored(database, new_run())
    os.umask(old)
    modes = {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()}
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    database.close()
    assert [entry.name for entry in path.parent.iterdir()] == ["state.db"], "closing folds the WAL into the file"


def test_an_empty_file_is_a_database_not_made_yet(tmp_path: Path) -> None:
    (tmp_path / "state.db").touch()
    open_database(url_of(tmp_path / "state.db")).close()


@pytest.mark.parametrize("name", ["a b", "ü%20", "100%", "q?x=1#y", "it's"])
def test_a_path_may_have_odd_characters(tmp_path: Path, name: str) -> None:
    path = tmp_path / name / "state.db"
    database = open_database(sqlite_url(path))
    stored(database, new_run())
    database.close()
    assert path.is_file()


@pytest.mark.parametrize("content", [b"this is no database, but long enough to be one" * 50, b"SQLite format 3\0" * 9])
def test_a_file_that_is_no_database_is_called_damaged_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "state.db"
    path.write_bytes(content)
    error = refusal(url_of(path))
    assert error.code == "DAMAGED"
    assert str(path) in error.message
    assert path.read_bytes() == content


def test_a_file_damaged_in_the_middle_is_called_damaged_when_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    database = open_database(url_of(path))
    stored(database, *(new_run(minutes=minute, reason="x" * 900) for minute in range(300)))
    database.close()
    with path.open("r+b") as file:
        file.seek(50 * 4096)
        file.write(b"\xff" * 30 * 4096)
    database = open_database(url_of(path))
    with pytest.raises(StorageError, match="damaged") as caught, database.read() as session:
        list_runs(session, limit=1000)
    assert caught.value.code == "DAMAGED"
    database.close()


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    error = refusal(url_of(tmp_path))
    assert (error.code, "name a file in it" in error.message) == ("BAD_URL", True)


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file" / "state.db", tmp_path / "file" / "deeper" / "state.db"):
        assert refusal(url_of(path)).code == "BAD_URL"


def test_a_name_too_long_is_refused(tmp_path: Path) -> None:
    assert refusal(url_of(tmp_path / ("x" * 300) / "state.db")).code == "BAD_URL"
    assert refusal(url_of(tmp_path / ("x" * 300))).code == "BAD_URL"


def test_a_directory_that_must_not_be_written_to_is_named(unprivileged: Path) -> None:
    locked = unprivileged / "locked"
    if os.geteuid() == NOBODY:
        error = refusal(url_of(unprivileged / "state.db"))
        assert (error.code, str(unprivileged) in error.message) == ("NOT_PERMITTED", True)
        assert refusal(url_of(locked / "state.db")).code == "NOT_PERMITTED"
        return
    locked.mkdir(mode=0o500)
    error = refusal(url_of(locked / "state.db"))
    assert (error.code, str(locked) in error.message) == ("NOT_PERMITTED", True)


def test_a_file_of_somebody_else_is_not_permitted(tmp_path: Path, unprivileged: Path, sqlite_template: Path) -> None:
    del tmp_path
    user = os.geteuid()
    os.seteuid(os.getuid())
    shutil.copy(sqlite_template, unprivileged / "state.db")
    (unprivileged / "state.db").chmod(0o000)
    os.seteuid(user)
    assert refusal(url_of(unprivileged / "state.db")).code == "NOT_PERMITTED"


def test_a_file_that_is_read_only_is_not_permitted(unprivileged: Path, sqlite_template: Path) -> None:
    user = os.geteuid()
    os.seteuid(os.getuid())
    shutil.copy(sqlite_template, unprivileged / "state.db")
    (unprivileged / "state.db").chmod(0o444)
    os.seteuid(user)

    def write() -> None:
        database = open_database(url_of(unprivileged / "state.db"))
        with closing(database), database.write() as session:
            key_values.put(session, "a", "1")

    with pytest.raises(StorageError) as caught:
        write()
    assert caught.value.code == "NOT_PERMITTED"


def test_a_full_disk_is_told_of_loses_nothing_committed_and_recovers(tmp_path: Path) -> None:
    with Process(FILLER, url_of(tmp_path / "state.db")) as process:
        process.wait()
        process.go()
        code, message, whole = process.result().split("\n")
    assert (code, whole) == ("FULL", "True")
    assert "free some space" in message


@pytest.mark.parametrize("replaced", [True, False])
def test_a_file_that_vanishes_under_us_is_told_of(tmp_path: Path, *, replaced: bool) -> None:
    url = url_of(tmp_path / "state.db")
    database = open_database(url)
    stored(database, new_run())
    (tmp_path / "state.db").rename(tmp_path / "old.db")
    if replaced:
        open_database(url).close()
    with pytest.raises(StorageError, match="was moved"):
        stored(database, new_run(minutes=1))
    with pytest.raises(StorageError, match="was moved"), database.read():
        pass
    database.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://bob:hunter2@host/db", "mysql:// is no kind"),
        ("postgres://bob:hunter2@host/db", "postgresql+psycopg://"),
        ("postgresql+asyncpg://bob:hunter2@host/db", "postgresql+psycopg://"),
        ("sqlite+aiosqlite:///state.db", "sqlite:///"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:state.db?uri=true", "names no file"),
        ("sqlite://state.db", "three slashes"),
        ("sqlite:///state.db?mode=ro", "takes no options"),
        ("state.db", "is no URL"),
        ("", "is no URL"),
        ("postgresql+psycopg://bob:hunter2@host:port/db", "is no URL"),
        ("postgresql+psycopg://bob:hunt@hunter2@host/db", "password as %40"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_with_the_form_to_write(url: str, words: str) -> None:
    error = refusal(url)
    assert error.code == "BAD_URL"
    assert words in error.message
    assert "hunter2" not in error.message


def test_a_missing_driver_is_named_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    error = refusal("postgresql+psycopg://bob:hunter2@host/db?sslpassword=hunter3")
    assert error.code == "DRIVER_MISSING"
    assert "pip install 'schedctl[postgresql]'" in error.message
    assert "bob@host/db" in error.message
    assert "hunter" not in error.message


def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    error = refusal(f"postgresql+psycopg://bob:hunter2@127.0.0.1:{port}/db?password=hunter3&application_name=x")
    assert error.code == "UNREACHABLE"
    assert f"bob@127.0.0.1:{port}/db" in error.message
    assert "hunter" not in error.message


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_what_a_server_refuses_is_told_apart(postgresql_server: Path, url: str) -> None:
    assert refusal(postgres.url(postgresql_server, "no_such_db")).code == "UNREACHABLE"
    assert "create it" in refusal(postgres.url(postgresql_server, "no_such_db")).message
    stranger = refusal(url.replace("postgres@", "stranger:hunter2@"))
    assert stranger.code == "NOT_PERMITTED"
    assert "hunter2" not in stranger.message


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
def test_a_user_without_rights_is_told_which_are_needed(empty_url: str, database: Database) -> None:
    with database.write() as session:
        from_ = session.connection().exec_driver_sql("SELECT current_database()").scalar_one()
        session.connection().exec_driver_sql(f"CREATE ROLE guest_{from_} LOGIN")
    try:
        error = refusal(empty_url.replace("postgres@", f"guest_{from_}@"))
        assert (error.code, "grant it" in error.message) == ("NOT_PERMITTED", True)
    finally:
        with database.write() as session:
            session.connection().exec_driver_sql(f"DROP ROLE guest_{from_}")


@pytest.mark.parametrize(
    ("state", "code"),
    [
        ("53100", "FULL"),
        ("53300", "BUSY"),
        ("40P01", "BUSY"),
        ("55P03", "BUSY"),
        ("28P01", "NOT_PERMITTED"),
        ("25006", "NOT_PERMITTED"),
        ("25P03", "UNREACHABLE"),
        ("57P01", "UNREACHABLE"),
        ("08006", "UNREACHABLE"),
        ("XX001", "DAMAGED"),
        ("42P01", "INTERNAL"),
    ],
)
def test_a_server_error_is_recognised_by_its_state(state: str, code: str) -> None:
    cause = type("ServerError", (Exception,), {"sqlstate": state})("first line with s3cret\nDETAIL: a row's values")
    error = from_sqlalchemy(OperationalError("SELECT 1", {}, cause), name="the name", password="s3cret")
    assert isinstance(error, StorageError)
    assert error.code == code
    assert "the name" in error.message
    assert "first line with ***" in error.message
    assert "values" not in error.message


def test_a_database_knows_what_it_is(database: Database, kind: str, tmp_path: Path) -> None:
    assert database.kind == kind
    assert database.name.startswith(kind)
    assert database.path == (tmp_path / "state.db" if kind == "sqlite" else None)


def test_a_closed_database_can_be_used_again(database: Database) -> None:
    database.close()
    database.close()
    assert stored(database, new_run(run_time=NOON))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
@pytest.mark.parametrize("of", ["ROLE", "DATABASE"])
def test_a_server_without_free_connections_is_busy_and_no_wrong_password(
    empty_url: str, database: Database, of: str
) -> None:
    name = empty_url.partition("@/")[2].partition("?")[0]
    with database.write() as session:
        run = session.connection().exec_driver_sql
        run(f"CREATE ROLE one_{name} LOGIN")
        run(f"ALTER {of} {f'one_{name}' if of == 'ROLE' else name} CONNECTION LIMIT 0")
    try:
        error = refusal(empty_url.replace("postgres@", f"one_{name}@"))
        assert error.code == "BUSY", error.message
        assert "raise max_connections" in error.message
    finally:
        with database.write() as session:
            session.connection().exec_driver_sql(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
            session.connection().exec_driver_sql(f"DROP ROLE one_{name}")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("sorry, too many clients already", "BUSY"),
        ("remaining connection slots are reserved for roles with the SUPERUSER attribute", "BUSY"),
        ("remaining connection slots are reserved for non-replication superuser connections", "BUSY"),
        ('remaining connection slots are reserved for roles with privileges of the "x" role', "BUSY"),
        ('too many connections for role "bob"', "BUSY"),
        ('too many connections for database "state"', "BUSY"),
        ("no more connections allowed (max_client_conn)", "BUSY"),
        ('password authentication failed for user "bob"', "NOT_PERMITTED"),
        ('role "bob" does not exist', "NOT_PERMITTED"),
        ('role "bob" is not permitted to log in', "NOT_PERMITTED"),
        ('database "state" does not exist', "UNREACHABLE"),
        ("the database system is starting up", "UNREACHABLE"),
    ],
)
def test_a_refused_connection_is_known_by_its_words(words: str, code: str) -> None:
    refused = psycopg.OperationalError(f'connection failed: connection to server at "db", port 5432: FATAL:  {words}')
    error = from_sqlalchemy(OperationalError("connect", {}, refused), name="bob@db/state", password=None)
    assert isinstance(error, StorageError)
    assert error.code == code
