"""Who did what to a job or a run: kept with every change, shown by `show` and `runs show`, without a secret."""

import os
import pwd
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import CONFIG, NIGHTLY, QuickCommand

from scheduler.config.build import load
from scheduler.daemon.retention import clear
from scheduler.operations import jobs
from storage.database import open_database

ME = pwd.getpwuid(os.getuid()).pw_name
ADD = ("--source", "warehouse", "--query", "select 1 as a, 'hunter2' as b", "--to", "files")


@pytest.fixture
def quick(tmp_path: Path) -> QuickCommand:
    return QuickCommand(tmp_path)


def done(quick: QuickCommand, name: str) -> list[tuple[str, str, int | None]]:
    """Return what was done to a job, by which command and for which run, oldest first."""
    actions = quick("show", name, "--json").json["job"]["actions"]
    assert all(each["user"] == ME and each["job"] == name for each in actions)
    return [(each["change"], each["command"], each["run"]) for each in reversed(actions)]


def test_each_command_that_changes_a_job_is_kept_with_who_gave_it(quick: QuickCommand) -> None:
    quick("add", "mine", *ADD)
    quick("edit", "mine", "--delay", "5m")
    quick("edit", "mine", "--delay", "5m")
    quick("disable", "mine")
    quick("disable", "mine")
    quick("enable", "mine")
    quick("run", "mine", "--wait")
    quick("retry", "1")
    quick("cancel", "2")
    quick("add", "mine2", *ADD, "--dry-run")
    assert done(quick, "mine") == [
        ("added", "schedctl add", None),
        ("changed", "schedctl edit", None),
        ("disabled", "schedctl disable", None),
        ("enabled", "schedctl enable", None),
        ("asked for", "schedctl run", 1),
        ("retried", "schedctl retry", 2),
        ("canceled", "schedctl cancel", 2),
    ]
    told = quick("runs", "show", "2").out
    assert "retried (run 2)" in told
    assert "canceled (run 2)" in told
    assert [each["change"] for each in quick("runs", "show", "2", "--json").json["run"]["actions"]] == [
        "canceled",
        "retried",
    ]
    quick("remove", "mine")
    quick("add", "mine", *ADD)
    assert [each[0] for each in done(quick, "mine")][-2:] == ["removed", "added"]
    connection = sqlite3.connect(quick.state / "state.db")
    assert "hunter2" not in str(connection.execute("SELECT * FROM action").fetchall())
    connection.close()


def test_who_removed_a_job_and_forgot_its_state_is_told_though_there_is_no_job_to_show(quick: QuickCommand) -> None:
    quick("add", "mine", *ADD)
    quick("remove", "mine", environment={"SUDO_USER": "alice"})
    quick.fails("show", "mine", code=3, says=f"by {ME} (sudo by alice) with schedctl remove")
    quick("remove", "mine", "--forget")
    quick("add", "mine", *ADD)
    quick("remove", "mine", "--forget")
    quick("add", "mine", *ADD)
    assert [each[:2] for each in done(quick, "mine")] == [
        ("added", "schedctl add"),
        ("removed", "schedctl remove"),
        ("forgotten", "schedctl remove"),
        ("added", "schedctl add"),
        ("removed", "schedctl remove"),
        ("forgotten", "schedctl remove"),
        ("added", "schedctl add"),
    ]


def test_who_confirmed_that_most_jobs_go_is_kept_for_each_of_them(quick: QuickCommand) -> None:
    second, third = (NIGHTLY.replace("nightly", name) for name in ("second", "third"))
    quick.write(CONFIG + NIGHTLY + second + third)
    quick("daemon", "--once")
    quick.write(CONFIG + NIGHTLY)
    quick("reload", "--confirm", environment={"SUDO_USER": "alice"})
    quick.fails("show", "third", code=3, says=f"by {ME} (sudo by alice) with schedctl reload --confirm")
    quick.write(CONFIG + NIGHTLY + second)
    assert [each[:2] for each in done(quick, "second")] == [
        ("added", f"edit of {quick.config}"),
        ("removed", "schedctl reload --confirm"),
        ("added", f"edit of {quick.config}"),
    ]


def test_an_edit_of_the_config_file_is_kept_for_each_job_that_it_changes(quick: QuickCommand) -> None:
    quick("daemon", "--once")
    quick.write(CONFIG + NIGHTLY.replace("0 3 *", "0 4 *") + NIGHTLY.replace("nightly", "second"))
    quick("list")
    edit = f"edit of {quick.config}"
    assert done(quick, "nightly") == [("added", edit, None), ("changed", edit, None)]
    assert done(quick, "second") == [("added", edit, None)]


def test_a_job_that_is_written_into_the_file_by_command_has_who_did_that(quick: QuickCommand) -> None:
    quick("add", "mine", *ADD, "--to-file")
    assert ("added", "schedctl add --to-file", None) in done(quick, "mine")


def test_what_was_typed_with_sudo_has_the_user_who_did(quick: QuickCommand) -> None:
    quick("disable", "nightly", environment={"SUDO_USER": "alice", "LOGNAME": "mallory", "USER": "mallory"})
    action, *_ = quick("show", "nightly", "--json").json["job"]["actions"]
    assert (action["user"], action["sudo_user"], action["change"]) == (ME, "alice", "disabled")
    assert f"{ME} (sudo by alice)" in quick("show", "nightly").out
    assert quick("show", "nightly", "--json").json["job"]["disabled_reason"] == "by alice"


def test_a_disable_after_failures_is_kept_as_automatic(quick: QuickCommand) -> None:
    broken = NIGHTLY.replace("as number", "as number from nowhere")
    broken = broken.replace("source =", "disable_after = 1\nsource =")
    quick.write(CONFIG + broken)
    quick("run", "nightly", "--wait", code=1)
    assert done(quick, "nightly")[-1] == ("disabled", "automatic", 1)
    quick.write(CONFIG + NIGHTLY)
    assert [each[0] for each in done(quick, "nightly")][-2:] == ["changed", "enabled"]


def test_what_was_done_is_pruned_with_the_history(quick: QuickCommand) -> None:
    quick("list")
    quick("disable", "nightly")
    config = load(quick.config, environ=quick.environment)
    database = open_database(config.storage.url)
    now = datetime.now(UTC)
    for days, left in ((0, 2), (2, 0)):
        clear(
            database,
            config.storage.spool,
            snapshots_directory=config.storage.snapshots,
            history=86_400,
            now=now + timedelta(days=days),
        )
        assert len(jobs.job_actions(database, "nightly", 10)) == left
    database.close()
