"""The config under a running daemon: an edit counts once it is whole, and a large removal once it is confirmed."""

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import CONFIG, NIGHTLY

from scheduler.config.build import Config, build, load, read
from scheduler.config.merge import Changes
from scheduler.daemon.reload import Reloading
from scheduler.nodes.process import this_node
from scheduler.operations import status
from scheduler.operations.jobs import job_actions, sync_file_jobs, what_to_confirm
from storage import key_values, nodes, notices
from storage.database import Database, open_database
from storage.jobs.jobs import job_names
from storage.values import Actor

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
END = 'file = "numbers.csv"\n'
"""The last line of each job."""
JOBS = {name: NIGHTLY.replace("nightly", name) for name in "abc"}


@dataclass(kw_only=True)
class Watch:
    """A daemon's watch over a config file, without the daemon; seconds pass when they are told to."""

    file: Path
    database: Database
    seconds: float = 0.0
    refused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.write("abc")
        reading = read(self.file)
        config = build(reading)
        sync_file_jobs(self.database, config, NOW)
        self.files = Reloading(reading, config, database=self.database, clock=lambda: NOW, ticks=lambda: self.seconds)
        self.files.start()
        with self.database.write() as session:
            nodes.register(session, this_node("daemon", NOW))

    def write(self, names: str) -> None:
        self.file.write_text(CONFIG + "".join(JOBS[name] for name in names), encoding="utf-8")

    def look(self, seconds: float = 1) -> None:
        self.seconds += seconds
        self.files.look(lambda: self.refused.clear() if self.files.take_over(self._apply) else self._refuse())

    def _apply(self, config: Config, confirmed: Collection[str]) -> Changes:
        changes = sync_file_jobs(self.database, config, NOW, confirmed=confirmed)
        self.files.config = config
        return changes

    def _refuse(self) -> None:
        self.refused.append(self.files.fault)

    def jobs(self) -> str:
        with self.database.read() as session:
            return "".join(sorted(job_names(session)))

    def setting(self, key: str) -> Any:
        with self.database.read() as session:
            return json.loads(key_values.get(session, key) or "null")

    def told(self) -> list[str]:
        with self.database.write() as session:
            found = notices.claim(session, owner="me", now=NOW, lease_seconds=1, limit=100)
        return [notice.subject for notice in found]


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watch]:
    database = open_database(f"sqlite:///{tmp_path / 'state.db'}")
    yield Watch(file=tmp_path / "config.toml", database=database)
    database.close()


def test_an_edit_is_taken_when_the_file_has_been_still_for_two_seconds(watch: Watch) -> None:
    watch.write("ab")
    watch.look()
    watch.look()
    assert watch.jobs() == "abc"
    watch.look()
    assert watch.jobs() == "ab"


def test_a_file_that_is_written_in_parts_is_taken_when_the_last_one_is_there(watch: Watch) -> None:
    for names in ("ab", "a", "bc", "ab", "bc"):
        watch.write(names)
        watch.look()
        watch.look()
        assert watch.jobs() == "abc"
    watch.look()
    assert watch.jobs() == "bc"


def test_a_file_that_is_whole_again_in_time_is_no_edit(watch: Watch) -> None:
    config = watch.files.config
    before = watch.file.with_suffix(".bak")
    watch.file.rename(before)
    watch.look()
    before.rename(watch.file)
    for _ in range(4):
        watch.look()
    assert watch.jobs() == "abc"
    assert watch.refused == []
    assert watch.files.config.jobs == config.jobs


def test_who_asks_for_a_reload_gets_it_at_once(watch: Watch) -> None:
    watch.write("ab")
    watch.files.ask()
    watch.look(0)
    assert watch.jobs() == "ab"


def test_most_jobs_go_only_when_a_person_has_confirmed_it(watch: Watch) -> None:
    in_force = watch.files.config
    watch.write("a")
    for _ in range(4):
        watch.look()
    assert watch.jobs() == "abc"
    assert watch.files.config is in_force
    (said,) = watch.refused
    assert "removes 2 of 3 jobs of the config file (b, c)" in said
    told = {"count": 2, "of": 3, "removed": ["b", "c"], "lost": [], "resting": []}
    assert watch.setting("config_unconfirmed") == told
    alice = Actor(user="alice", sudo_user=None, host="here", command="schedctl reload --confirm")
    status.request_reload(watch.database, NOW, confirmed={"b", "c"}, by=alice)
    watch.look()
    assert watch.jobs() == "a"
    assert watch.setting("config_unconfirmed") is None
    assert [(each.change, each.by) for each in job_actions(watch.database, "c", 1)] == [("removed", alice)]
    assert watch.files.fault == ""


def test_a_confirmation_counts_for_its_own_reload_and_for_the_jobs_that_it_names(watch: Watch) -> None:
    watch.write("a")
    status.request_reload(watch.database, NOW, confirmed={"b"})
    watch.look()
    assert watch.jobs() == "abc"
    watch.write("ab")
    status.request_reload(watch.database, NOW.replace(second=1), confirmed={"a", "b", "c"})
    watch.look()
    assert watch.jobs() == "ab"
    watch.write("")
    for _ in range(4):
        watch.look()
    watch.files.ask()
    watch.look()
    assert watch.jobs() == "ab"


def test_a_large_removal_is_notified_once_also_where_the_file_had_faults_before(watch: Watch) -> None:
    watch.file.write_text("jobs = 1\n", encoding="utf-8")
    watch.files.ask()
    watch.look()
    for names in ("a", "", "a"):
        watch.write(names)
        watch.files.ask()
        watch.look()
    assert watch.told() == [
        "the config file has faults and was not applied",
        "an edit of the config file removes most of its jobs and waits for confirmation",
    ]


def test_what_is_put_back_needs_no_confirmation(watch: Watch) -> None:
    watch.write("")
    for _ in range(4):
        watch.look()
    watch.write("abc")
    for _ in range(4):
        watch.look()
    assert (watch.jobs(), watch.files.fault, watch.setting("config_unconfirmed")) == ("abc", "", None)


def test_a_job_whose_end_is_cut_off_waits_for_a_person_too(watch: Watch) -> None:
    in_force = watch.files.config
    watch.file.write_text(watch.file.read_text(encoding="utf-8").removesuffix(END), encoding="utf-8")
    for _ in range(4):
        watch.look()
    assert watch.files.config is in_force
    (said,) = watch.refused
    assert "takes keys away, as a file does that is cut short (c: export.file)" in said
    lost = [{"job": "c", "keys": ["export.file"]}]
    told = {"count": 0, "of": 3, "removed": [], "lost": lost, "resting": []}
    assert watch.setting("config_unconfirmed") == told
    assert watch.told() == ["an edit of the config file takes keys away from its jobs and waits for confirmation"]
    status.request_reload(watch.database, NOW, confirmed={"c"})
    watch.look()
    assert watch.files.config is in_force, "that the job may go says nothing of its keys"
    status.request_reload(watch.database, NOW.replace(second=1), confirmed={"c export.file"})
    watch.look()
    assert watch.files.fault == ""
    assert watch.files.config.jobs["c"].export.options != in_force.jobs["c"].export.options


def test_a_table_behind_a_cut_does_not_hide_what_is_missing(watch: Watch) -> None:
    in_force, whole = watch.files.config, watch.file.read_text(encoding="utf-8")
    cut = whole.removesuffix(END)
    for text in (cut, cut + '\n[connections.more]\ntype = "duckdb"\n'):
        watch.file.write_text(text, encoding="utf-8")
        watch.files.ask()
        watch.look()
        assert watch.files.config is in_force
        assert "c: export.file" in watch.files.fault
    watch.file.write_text(whole + '\n[connections.more]\ntype = "duckdb"\n', encoding="utf-8")
    watch.files.ask()
    watch.look()
    assert (watch.files.fault, "more" in watch.files.config.connections) == ("", True)


MORE = '\n[connections.more]\ntype = "salesforce"\nlogin_url = "https://a.my.salesforce.com"\nclient_id = "i"\n'
ENDS = {
    "a key of a connection": (MORE + 'client_secret = "s3cret-s3cret"\nread_timeout = 60\n', "read_timeout = 60\n"),
    "a number of a connection": (MORE + 'client_secret = "s3cret-s3cret"\nread_timeout = 60\n', "0\n"),
    "a number of a job": (
        JOBS["a"].replace("[jobs.a", "[jobs.d").replace("select 1 ", "select :days ") + "[jobs.d.params]\ndays = 365\n",
        "5\n",
    ),
    "a number of the daemon": ("[daemon]\nmax_running = 20\n", "0\n"),
}


@pytest.mark.parametrize(("end", "cut"), ENDS.values(), ids=ENDS)
def test_a_file_that_ends_where_it_went_on_before_waits_for_a_person(watch: Watch, end: str, cut: str) -> None:
    whole = watch.file.read_text(encoding="utf-8") + end
    watch.file.write_text(whole, encoding="utf-8")
    watch.file.chmod(0o600)
    watch.files.ask()
    watch.look()
    in_force = watch.files.config
    watch.file.write_text(whole.removesuffix(cut), encoding="utf-8")
    for _ in range(4):
        watch.look()
    assert watch.files.config is in_force
    assert "this edit cuts the file off: " in watch.files.fault
    assert "where it went on before: put what is missing back, or confirm the edit with" in watch.files.fault
    confirmed = what_to_confirm(watch.database, load(watch.file))
    status.request_reload(watch.database, NOW, confirmed=confirmed)
    watch.look()
    assert (watch.files.fault, watch.files.config is in_force) == ("", False)


def test_a_job_that_comes_back_without_its_end_waits_as_well(watch: Watch) -> None:
    whole = watch.file.read_text(encoding="utf-8")
    without = whole.replace(JOBS["c"], "")
    for text, jobs, fault in (
        (without, "ab", ""),
        (whole.removesuffix(END), "ab", "c: export.file"),
        (whole, "abc", ""),
    ):
        watch.file.write_text(text, encoding="utf-8")
        watch.files.ask()
        watch.look()
        assert watch.jobs() == jobs
        assert fault in watch.files.fault
        assert bool(fault) == bool(watch.files.fault)
