"""An edit of a connection counts for every job that uses it: failures count anew, and what they disabled is lifted."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.config.build import Config, load
from scheduler.daemon.connection_watch import KEY_FILE, ConnectionWatch, count_login, last_connection_edits
from scheduler.operations import jobs
from scheduler.operations.jobs import job_actions, sync_file_jobs
from storage.database import Database, open_database
from storage.jobs import jobs as stored_jobs
from storage.jobs import removed
from storage.values import Actor

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
CONNECTIONS = """\
[storage]
url = "sqlite:///state/state.db"
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
[connections.crm]
type = "salesforce"
login_url = "https://yourorg.my.salesforce.com"
client_id = "3MVG"
client_secret = SECRET
"""
REFERENCE = '{ file = "secret" }'
JOBS = """\
[jobs.leads]
source = "warehouse"
query = "select 1 as a"
[jobs.leads.export]
connection = "crm"
object = "Lead"
[jobs.lists]
source = "warehouse"
query = "select 1 as a"
[jobs.lists.export]
connection = "files"
"""


class Place:
    """A config file, its state, and a daemon's watch over its connections; a new one after each restart."""

    def __init__(self, directory: Path, database: Database) -> None:
        self.file = directory / "config.toml"
        self.secret = directory / "secret"
        self.database = database
        self.secret.write_text("the first one", encoding="utf-8")
        self.secret.chmod(0o600)
        self.write()
        self.restart()

    def write(self, secret: str = REFERENCE, *, more: str = "", jobs: str = JOBS, without: str = "") -> None:
        text = CONNECTIONS.replace("SECRET", secret + "\n" + more)
        if without:
            before, _, after = text.partition(f"[connections.{without}]")
            text = before + after[after.index("[") :] if "[" in after else before
        self.file.write_text(text + jobs, encoding="utf-8")

    def config(self) -> Config:
        return load(self.file)

    def restart(self) -> dict[str, str]:
        self.watch = ConnectionWatch(self.database, self.config())
        return self.look()

    def look(self, *, is_asked: bool = True, later: float = 10) -> dict[str, str]:
        """Take the config over as a daemon does, and return which jobs that enabled again, and why."""
        config, now = self.config(), datetime.now(UTC) + timedelta(seconds=later)
        sync_file_jobs(self.database, config, NOW, confirmed={"leads", "lists"})
        return dict(self.watch.look(config, now, is_asked=is_asked).enabled)

    def disable(self, *names: str, by: str = "daemon", streak: int = 5) -> None:
        with self.database.write() as session:
            for name in names:
                stored_jobs.record_outcome(session, name, streak=streak, last_success=None)
                stored_jobs.disable_job(session, name, by=by, reason="5 failures", now=NOW)  # type: ignore[arg-type]

    def state(self, name: str) -> tuple[str, int]:
        view = jobs.view_job(self.database, name)
        return view.state if view.stored.disabled_at else "enabled", view.stored.failure_streak


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "state").mkdir()
    database = open_database(f"sqlite:///{tmp_path / 'state' / 'state.db'}")
    yield Place(tmp_path, database)
    database.close()


def test_a_corrected_secret_lifts_what_failures_disabled_for_the_jobs_that_use_it(place: Place) -> None:
    place.disable("leads", "lists")
    assert place.look() == {}
    place.secret.write_text("second", encoding="utf-8")
    assert place.look() == {"leads": "connection crm changed: client_secret"}
    assert place.state("leads") == ("enabled", 0)
    assert place.state("lists") == ("auto_disabled", 5)
    assert place.look() == {}
    assert [(each.change, each.by.command) for each in job_actions(place.database, "leads", 1)] == [
        ("enabled", "edit of a connection")
    ], "it is kept why"


def test_what_a_person_disabled_stays_disabled_and_a_streak_begins_anew(place: Place) -> None:
    place.disable("leads", by="person", streak=3)
    place.secret.write_text("second", encoding="utf-8")
    assert place.look() == {}
    assert place.state("leads") == ("disabled", 0)


@pytest.mark.parametrize(
    ("secret", "more", "keys"),
    [
        ('{ file = "secret" }', "retry_limit = 9", "retry_limit"),
        ('{ file = "secret" }', 'initial_retry_delay = "9s"', "initial_retry_delay"),
        ('{ file = "secret" }', 'source_address = "127.0.0.1"\nmax_running = 1', "max_running, source_address"),
        ('{ file = "./secret", shared = true }', "", "client_secret"),
        ('"in plain text"', "", "client_secret"),
    ],
)
def test_any_key_counts_and_it_is_named(place: Place, secret: str, more: str, keys: str) -> None:
    place.disable("leads")
    place.write(secret, more=more)
    assert place.look() == {"leads": f"connection crm changed: {keys}"}
    place.disable("leads")
    place.write()
    assert place.look() == {"leads": f"connection crm changed: {keys}"}, "and so does its way back"


def test_an_edit_while_no_daemon_lives_counts_when_the_next_one_starts(place: Place) -> None:
    place.disable("leads")
    assert place.restart() == {}
    place.secret.write_text("second", encoding="utf-8")
    assert set(place.restart()) == {"leads"}


def test_a_source_counts_as_a_target_does(place: Place) -> None:
    place.disable("leads", "lists")
    place.file.write_text(
        place.file.read_text(encoding="utf-8").replace('"duckdb"', '"duckdb"\nmax_running = 2'), encoding="utf-8"
    )
    assert place.look() == dict.fromkeys(["leads", "lists"], "connection warehouse changed: max_running")


def test_a_secret_that_cannot_be_looked_up_is_no_change_and_that_it_can_be_again_is_one(place: Place) -> None:
    place.disable("leads")
    aside = place.secret.rename(place.secret.with_name("aside"))
    assert place.look() == {}
    assert place.restart() == {}
    aside.rename(place.secret)
    assert set(place.look()) == {"leads"}


def test_a_changed_certificate_file_counts(place: Place, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("one", encoding="utf-8")
    place.write(more='ca_file = "ca.pem"')
    place.look()
    place.disable("leads")
    (tmp_path / "ca.pem").write_text("two", encoding="utf-8")
    assert place.look() == {"leads": "connection crm changed: ca_file"}


def test_a_look_that_nobody_asked_for_waits_until_a_file_is_whole(place: Place) -> None:
    place.disable("leads")
    place.secret.write_text("sec", encoding="utf-8")
    assert place.look(is_asked=False, later=0) == {}
    place.secret.write_text("second", encoding="utf-8")
    assert place.look(is_asked=False, later=0) == {}
    assert set(place.look(is_asked=False)) == {"leads"}


def test_a_connection_that_is_there_again_counts_for_jobs_of_the_command_line(place: Place) -> None:
    """A job of the file cannot be without its connection: it went and came with it, and its state is its own."""
    table = {"source": "warehouse", "query": "select 1 as a", "export": {"connection": "crm", "object": "Lead"}}
    jobs.add_job(place.database, jobs.make_job("mine", table, place.config(), NOW), NOW)
    place.disable("leads", "mine")
    place.write(jobs=JOBS[JOBS.index("[jobs.lists]") :], without="crm")
    assert place.look() == {}
    place.write()
    assert place.look() == {"mine": "connection crm is in the config file again"}
    assert place.state("leads") == ("auto_disabled", 5)


def test_a_job_that_was_gone_when_its_connection_changed_comes_back_enabled(place: Place) -> None:
    place.disable("leads", "lists")
    place.write(jobs="")
    place.look()
    place.secret.write_text("second", encoding="utf-8")
    place.look()
    with place.database.read() as session:
        assert {each.name: each.failure_streak for each in removed.removed_jobs(session)} == {"leads": 0, "lists": 5}
    place.write()
    place.look()
    assert place.state("leads") == ("enabled", 0)
    assert place.state("lists") == ("auto_disabled", 5)


def test_a_persons_login_counts(place: Place) -> None:
    place.disable("leads", "lists")
    alice = Actor(user="alice", sudo_user=None, host="here", command="schedctl login")
    assert count_login(place.database, "crm", NOW, by=alice) == ["leads"]
    assert place.state("lists") == ("auto_disabled", 5)
    assert [(each.change, each.by) for each in job_actions(place.database, "leads", 1)] == [("enabled", alice)]


def test_what_was_enabled_again_is_kept_for_reload_to_show(place: Place) -> None:
    place.disable("leads")
    place.write(more="retry_limit = 9")
    place.look()
    kept = last_connection_edits(place.database)
    assert kept is not None
    assert kept["connections"] == [{"name": "crm", "keys": ["retry_limit"]}]
    assert kept["enabled"] == [{"job": "leads", "reason": "connection crm changed: retry_limit"}]


def test_the_state_holds_neither_a_secret_nor_the_key(place: Place, tmp_path: Path) -> None:
    place.write('"a plain secret"')
    place.look()
    key = tmp_path / "state" / KEY_FILE
    assert key.stat().st_mode & 0o777 == 0o600
    assert len(key.read_bytes()) == 32
    for file in (tmp_path / "state").rglob("state.db*"):
        content = file.read_bytes()
        for told in (b"a plain secret", b"the first one", key.read_bytes(), key.read_bytes().hex().encode()):
            assert told not in content


def test_a_lost_or_damaged_key_forgets_what_was_compared_and_enables_nothing(place: Place, tmp_path: Path) -> None:
    (key,) = (tmp_path / "state").rglob(KEY_FILE)
    place.disable("leads")
    key.unlink()
    assert place.restart() == {}
    key.write_bytes(b"short")
    assert place.restart() == {}
    place.secret.write_text("second", encoding="utf-8")
    assert set(place.look()) == {"leads"}, "an edit is noticed while the daemon lives"
