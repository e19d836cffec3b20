"""The daemon as installed: it fires, survives kill -9 in mid-export, reloads, drains, and disables a hopeless job."""

import os
import signal
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import Command
from support.commands.service import JOB, SCHEMA, Service

from exporter.emulator.fault_injection import CallFault
from exporter.emulator.server import Emulator
from storage.database import open_database
from storage.jobs.jobs import all_jobs, put_job

ROWS = 6_000
YEARLY = "0 0 1 1 *"


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


def test_an_owed_slot_fires_by_itself_and_sigterm_ends_the_daemon_with_code_0(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=100, object="Row__c", size=50))
    service.owe_a_slot()
    with service.daemon() as daemon:
        service.until(lambda: any(run.state == "finished" for run in service.runs("rows")))
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(timeout=40) == 0
    run = service.runs("rows")[0]
    assert (run.kind, run.outcome, run.rows_read, run.rows_accepted) == ("schedule", "succeeded", 100, 100)
    assert len(service.numbers()) == 100


def test_kill_9_in_mid_export_and_a_restart_end_with_every_row_exactly_once(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=ROWS, object="Row__c", size=100).replace("* * * * *", YEARLY))
    with service.daemon() as daemon:
        service.until(lambda: service.command("status", code=None).code == 0)
        service.command("run", "rows")
        service.until(lambda: service.org.org.count("Row__c") > 0)
        daemon.kill()
        daemon.wait()
    assert service.runs("rows")[0].state == "running"
    assert service.org.org.count("Row__c") < ROWS
    with service.daemon():
        service.until(lambda: service.runs("rows")[0].state == "finished")
    run = service.runs("rows")[0]
    assert (run.outcome, run.rows_read, run.rows_accepted, run.rows_rejected) == ("succeeded", ROWS, ROWS, 0)
    numbers = service.numbers()
    assert len(numbers) == ROWS
    assert set(numbers.values()) == {1}


def test_a_hopeless_job_is_disabled_after_five_failures_and_the_others_go_on(service: Service) -> None:
    good = JOB.format(name="good", rows=10, object="Row__c", size=100)
    service.configure(JOB.format(name="bad", rows=10, object="Nothing__c", size=100), good)
    for _ in range(5):
        answer = service.command("run", "bad", "--wait", "--json", code=1).json["runs"][0]
        assert answer["failure"]["kind"] == "configuration"
        assert "Nothing__c" in answer["failure"]["message"]
    listed = {job["name"]: job for job in service.command("list", "--json").json["jobs"]}
    assert (listed["bad"]["state"], listed["bad"]["failure_streak"]) == ("auto_disabled", 5)
    assert "5 configuration failures in a row" in listed["bad"]["disabled_reason"]
    assert listed["bad"]["next_scheduled_time"] is None
    service.owe_a_slot()
    service.command("run", "good", "--wait")
    assert len(service.numbers()) == 10


def test_a_corrected_secret_enables_the_jobs_that_it_had_failed_and_reload_says_so(service: Service) -> None:
    service.configure(*(JOB.format(name=name, rows=1, object="Row__c", size=9) for name in ("rows", "paused")))
    secret = service.command.directory / "secret"
    secret.write_text("wrong", encoding="utf-8")
    secret.chmod(0o600)
    text = service.command.config.read_text(encoding="utf-8").replace('{ env = "CRM_SECRET" }', '{ file = "secret" }')
    service.command.write(text.replace("* * * * *", YEARLY).replace('source = "', 'disable_after = 1\nsource = "'))
    service.command("disable", "paused", "--reason", "mine")
    with service.daemon():
        service.until(lambda: service.command("status", code=None).code == 0)
        assert service.command("run", "rows", "--wait", "--json", code=1).json["runs"][0]["failure"]["code"]
        assert "disabled by failures" in service.command("list").out
        secret.write_text("secret", encoding="utf-8")
        told = service.command("reload").out
        assert "enabled again: rows (connection crm changed: client_" in told
        states = {job["name"]: job["state"] for job in service.command("list", "--json").json["jobs"]}
        assert states == {"rows": "enabled", "paused": "disabled"}
        assert service.command("run", "rows", "--wait", "--json").json["runs"][0]["outcome"] == "succeeded"
    log = service.log.read_text(encoding="utf-8")
    assert '"event": "job.enabled", "job": "rows"' in log


def test_a_secret_that_was_wrong_for_a_moment_only_enables_its_jobs_again(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=1, object="Row__c", size=9))
    secret = service.command.directory / "secret"
    secret.write_text("secret", encoding="utf-8")
    secret.chmod(0o600)
    text = service.command.config.read_text(encoding="utf-8").replace('{ env = "CRM_SECRET" }', '{ file = "secret" }')
    service.command.write(text.replace("* * * * *", YEARLY).replace('source = "', 'disable_after = 1\nsource = "'))
    with service.daemon():
        service.until(lambda: service.command("status", code=None).code == 0)
        secret.write_text("wrong", encoding="utf-8")
        service.command("run", "rows", "--wait", code=1)
        service.until(lambda: '"event": "connection.changed"' in service.log.read_text(encoding="utf-8"), seconds=25)
        secret.write_text("secret", encoding="utf-8")
        service.command("reload")
        assert service.command("run", "rows", "--wait", "--json").json["runs"][0]["outcome"] == "succeeded"


def test_a_second_daemon_on_the_same_file_is_refused_by_name(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=1, object="Row__c", size=100))
    with service.daemon() as first:
        service.until(lambda: service.command("status", code=None).code == 0)
        answer = service.command("daemon", code=None)
        assert answer.code == 1
        assert f"process {first.pid}" in answer.err.splitlines()[-1]
        assert first.poll() is None


def test_an_edit_is_noticed_a_bad_one_changes_nothing_and_the_next_good_one_heals(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=1, object="Row__c", size=100))
    with service.daemon() as daemon:
        service.until(lambda: service.command("status", code=None).code == 0)
        text = service.command.config.read_text(encoding="utf-8")
        service.command.write(text.replace('cron = "* * * * *"', 'cron = "99 * * * *"'))
        service.until(lambda: "99" in (service.command("status", "--json", code=None).out))
        assert daemon.poll() is None
        service.command.write(text + JOB.format(name="more", rows=1, object="Row__c", size=100))
        service.until(lambda: service.command("status", code=None).code == 0)
        names = [job["name"] for job in service.command("list", "--json").json["jobs"]]
        assert names == ["more", "rows"]


def test_once_runs_what_is_owed_and_exits(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=20, object="Row__c", size=100))
    service.owe_a_slot()
    with service.daemon("--once") as daemon:
        assert daemon.wait(timeout=60) == 0
    assert service.runs("rows")[0].outcome == "succeeded"


def test_a_run_of_a_living_daemon_is_executed_by_it_and_waited_for(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=20, object="Row__c", size=100).replace("* * * * *", YEARLY))
    with service.daemon() as daemon:
        service.until(lambda: service.command("status", code=None).code == 0)
        answer = service.command("run", "rows", "--wait", "--json").json["runs"][0]
        assert (answer["kind"], answer["outcome"], answer["rows"]["accepted"]) == ("manual", "succeeded", 20)
        os.kill(daemon.pid, signal.SIGTERM)
        assert daemon.wait(timeout=40) == 0


def test_a_job_that_another_version_wrote_is_told_and_the_others_go_on(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=20, object="Row__c", size=100))
    service.owe_a_slot()
    database = open_database(f"sqlite:///{service.command.state / 'state.db'}")
    with database.write() as session:
        foreign = {"name": "odd", "cron": "* * * * *", "export": {"connection": "x", "type": "file"}, "future": 1}
        put_job(session, name="odd", origin="cli", definition=foreign, now=datetime.now(UTC) - timedelta(minutes=2))
    database.close()
    with service.daemon():
        service.until(lambda: any(run.outcome == "succeeded" for run in service.runs("rows")))
    told = service.log.read_text(encoding="utf-8")
    assert '"event": "job.unreadable", "job": "odd"' in told


def test_warnings_of_the_file_and_keys_that_need_a_restart_are_logged(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=1, object="Row__c", size=100).replace("* * * * *", YEARLY))
    text = service.command.config.read_text(encoding="utf-8")
    with service.daemon():
        service.until(lambda: service.command("status", code=None).code == 0)
        service.command.write(text.replace("[daemon]", "[daemon]\nmax_running = 2") + 'api_version = "32.0"\n')
        service.until(lambda: "config.needs_restart" in service.log.read_text(encoding="utf-8"))
        service.until(lambda: "config.warning" in service.log.read_text(encoding="utf-8"))


def test_a_failed_run_that_sent_nothing_leaves_nothing_on_the_disk(service: Service) -> None:
    refused = JOB.format(name="refused", rows=10, object="Nothing__c", size=100)
    breaks = JOB.format(name="breaks", rows=60_000, object="Row__c", size=100).replace(
        "select i as", "select (case when i = 50000 then 'x' else i::varchar end)::int as"
    )
    service.configure(refused, breaks)
    for name in ("refused", "breaks"):
        failed = service.command("run", name, "--wait", "--json", code=1).json["runs"][0]
        assert failed["outcome"] == "failed"
    assert list((service.command.state / "spool").glob("run-*")) == []


def test_a_run_that_fails_for_good_has_learned_what_became_of_the_rows_it_sent(service: Service) -> None:
    service.configure(JOB.format(name="rows", rows=300, object="Row__c", size=100))
    text = service.command.config.read_text(encoding="utf-8")
    service.command.write(text.replace('client_id = "emulator"', 'client_id = "emulator"\nretry_limit = 0'))
    storm = CallFault(pattern="POST .*/batch$", action="answer", status=503, nth=tuple(range(3, 30)))
    service.org.faults.add(storm)
    failed = service.command("run", "rows", "--wait", "--json", code=1).json["runs"][0]
    assert (failed["outcome"], failed["failure"]["kind"]) == ("failed", "transient")
    assert failed["rows"]["accepted"] == service.org.org.count("Row__c") == 200


def test_fragments_and_query_files_are_noticed_when_edited_broken_mended_renamed_and_removed(service: Service) -> None:
    folder = service.command.directory / "jobs.d"
    folder.mkdir()
    service.configure()
    text = service.command.config.read_text(encoding="utf-8")
    service.command.write('include = ["jobs.d/*.toml"]\n' + text)
    job = JOB.format(name="one", rows=1, object="Row__c", size=100).replace("* * * * *", YEARLY)

    def put(name: str, content: str) -> None:
        """Write as editors do: a new file in the old one's place."""
        (folder / "4913").write_text(content, encoding="utf-8")
        (folder / "4913").rename(folder / name)

    def stored() -> dict[str, str]:
        database = open_database(f"sqlite:///{service.command.state / 'state.db'}")
        with database.read() as session:
            found = {each.name: str(each.definition["query"]) for each in all_jobs(session)}
        database.close()
        return found

    with service.daemon():
        service.until(lambda: service.command("status", code=None).code == 0)
        put("a.toml", job)
        service.until(lambda: set(stored()) == {"one"})
        put("a.toml", job.replace("range(1)", "range(2)"))
        service.until(lambda: "range(2)" in stored()["one"])
        put("a.toml", "[jobs.one\n")
        service.until(lambda: "a.toml:1: not valid TOML" in service.command("status", "--json", code=None).out)
        assert set(stored()) == {"one"}
        (service.command.directory / "jobs.d" / "q.sql").write_text('select 7 as "Number__c"', encoding="utf-8")
        named = "\n".join('query_file = "q.sql"' if "query" in line else line for line in job.splitlines())
        put("a.toml", named)
        service.until(lambda: "select 7" in stored()["one"])
        (folder / "q.sql").write_text('select 8 as "Number__c"', encoding="utf-8")
        service.until(lambda: "select 8" in stored()["one"])
        (folder / "a.toml").rename(folder / "z.toml")
        put("b.toml", job.replace("jobs.one", "jobs.two"))
        service.until(lambda: set(stored()) == {"one", "two"})
        (folder / "z.toml").unlink()
        service.until(lambda: set(stored()) == {"two"})
        assert service.command("status", code=None).code == 0
