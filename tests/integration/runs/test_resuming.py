"""A begun append that ended: what its failure says, and how it goes on from its own ledger and spool."""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import Command, QuickCommand
from support.runs.cases import SCHEMA, names
from support.runs.crash import Nursery
from support.runs.whole_runs import SECRET, Workplace

from exporter.emulator.server import Emulator
from scheduler.daemon.retention import sweep
from scheduler.errors.operation_error import OperationError
from scheduler.operations.abandon import abandon
from scheduler.operations.retry import retry
from storage.jobs import jobs
from storage.runs import runs
from storage.runs.ledger import LedgerRow
from storage.runs.runs import StoredRun

EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\nbatch_size = 2\n'
ROWS = [{"Name": f"first {n}"} for n in range(8)]
OTHERS = [{"Name": f"second {n}"} for n in range(8)]
BATCHES = 4
GOES_ON = "goes on where it stopped, and sends nothing twice"


def begun(work: Workplace, cradle: Nursery, *, rows: Sequence[Mapping[str, str]] = ROWS) -> int:
    """Ask for a run, and kill it when two batches were handed over; return its number."""
    work.put(rows)
    number = work.ask()
    work.kill_until(cradle, number, lambda entries: sent(entries) >= 2, first=12)
    work.put(OTHERS)
    return number


def sent(entries: Sequence[LedgerRow]) -> int:
    """Return how many batches were handed over."""
    return sum(row.step == "batch.send" and row.mark == "done" for row in entries)


def edited(work: Workplace, old: str, new: str) -> Workplace:
    """Return the workplace with another config file."""
    text = work.file.read_text(encoding="utf-8")
    assert old in text
    work.file.write_text(text.replace(old, new), encoding="utf-8")
    return Workplace(work.directory)


WRONG = {
    "secret": (f'client_secret = "{SECRET}"', 'client_secret = "an0ther-s3cret"'),
    "connection": ("crm", "org"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_begun_append_that_a_wrong_config_ends_says_what_is_in_doubt_and_how_it_goes_on(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, wrong: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    run = edited(work, *WRONG[wrong]).finish(number)
    assert (run.outcome, run.failure_kind) == ("failed", "configuration")
    message = str(run.failure_message)
    assert f"of {BATCHES} batches are complete" in message
    assert "in doubt: batch " in message
    assert " not sent" in message
    assert f"schedctl retry {number} {GOES_ON}" in message


def test_a_begun_append_that_is_canceled_says_what_was_not_sent(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    with work.database() as database, database.write() as session:
        runs.request_cancel(session, number, now=datetime.now(UTC))
    run = work.finish(number)
    assert run.outcome == "canceled"
    assert run.rows_accepted == len(names(emulator))
    assert " not sent" in str(run.reason)
    assert GOES_ON in str(run.reason)


def test_an_upsert_that_ends_says_that_all_rows_may_be_sent_again(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    upsert = EXPORT + 'mode = "update"\nkey = "Ext_Id__c"\nupsert = true\n'
    work = Workplace(tmp_path / "work", url=emulator.url, job=upsert)
    rows = [row | {"Ext_Id__c": f"e{number}"} for number, row in enumerate(ROWS)]
    number = begun(work, cradle, rows=rows)
    run = edited(work, *WRONG["secret"]).finish(number)
    assert "in doubt: batch " in str(run.failure_message)
    assert "which leaves none there twice" in str(run.failure_message)


AWAY = 'login_url = "http://127.0.0.1:1"'


def unreachable(work: Workplace, emulator: Emulator) -> Workplace:
    return edited(work, f'login_url = "{emulator.url}"', AWAY)


def reachable(work: Workplace, emulator: Emulator) -> Workplace:
    return edited(work, AWAY, f'login_url = "{emulator.url}"')


def test_a_run_without_its_spool_waits_while_salesforce_cannot_be_asked_what_became_of_its_rows(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    with work.database() as database, database.write() as session:  # kills counted as attempts
        session.connection().exec_driver_sql("UPDATE run SET attempt = 0")
    shutil.rmtree(work.config.storage.spool)
    run = unreachable(work, emulator).attempt(number)
    assert run is not None
    assert (run.state, run.failure_kind, run.failure_code) == ("waiting", "transient", "CONNECTION_REFUSED")
    assert "the spool is gone (" in str(run.failure_message)
    assert "Salesforce could not be asked what became of the rows: " in str(run.failure_message)
    done = reachable(work, emulator).finish(number)
    assert (done.failure_code, done.rows_accepted) == ("SPOOL_GONE", len(names(emulator)))
    assert "could not be asked" not in str(done.failure_message)


def test_the_last_attempt_of_a_run_without_its_spool_says_that_salesforce_could_not_be_asked(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    shutil.rmtree(work.config.storage.spool)
    run = unreachable(work, emulator).finish(number)
    assert (run.outcome, run.failure_kind, run.failure_code) == ("failed", "internal", "SPOOL_GONE")
    assert "Salesforce could not be asked what became of the rows: CONNECTION_REFUSED: " in str(run.failure_message)
    assert "in doubt: batch " in str(run.failure_message)


def test_a_run_is_not_abandoned_while_salesforce_cannot_be_asked_unless_a_person_says_now(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    work.take_back()
    command = QuickCommand(tmp_path)
    work = unreachable(work, emulator)
    entries = work.entries(number)
    refused = command("runs", "abandon", str(number), "--config", work.file, code=1)
    assert refused.err.startswith(f"schedctl: run {number} stays as it is, since Salesforce could not be asked ")
    assert (refused.err.count("\n"), refused.out) == (1, "")
    assert "CONNECTION_REFUSED" in refused.err
    assert "try again, or --now" in refused.err
    details = command("runs", "show", str(number), "--json", "--config", work.file).json["run"]
    assert (details["state"], details["actions"], work.entries(number)) == ("waiting", [], entries)
    done = command("runs", "abandon", str(number), "--now", "--json", "--config", work.file)
    [run] = done.json["runs"]
    assert (run["outcome"], run["failure"]["code"], done.err) == ("failed", "ABANDONED", "")
    assert "Salesforce could not be asked" in run["failure"]["message"]


def test_a_run_that_could_not_be_abandoned_can_be_when_salesforce_is_back(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    shutil.rmtree(work.config.storage.spool)
    work.take_back()
    with work.database() as database:
        away = unreachable(work, emulator)
        with pytest.raises(OperationError, match="could not be asked"):
            abandon(database, away.config, number, datetime.now(UTC))
        back = reachable(away, emulator)
        run = abandon(database, back.config, number, datetime.now(UTC))
    assert (run.failure_code, run.rows_accepted) == ("ABANDONED", len(names(emulator)))


@pytest.mark.parametrize("bulk_api", ["1", "2"])
def test_a_begun_run_that_logs_in_to_another_org_sends_nothing_there(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, bulk_api: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=f'{EXPORT}bulk_api = "{bulk_api}"\n')
    number = begun(work, cradle)
    before = work.entries(number)
    with Emulator(schema=SCHEMA, client_secret=SECRET, seed=7) as other:
        run = edited(work, emulator.url, other.url).finish(number)
        assert names(other) == []
    assert (run.failure_kind, run.failure_code, work.entries(number)) == ("configuration", "OTHER_ORG", before)
    assert other.org.org_id[:15] in str(run.failure_message)
    assert emulator.org.org_id[:15] in str(run.failure_message)
    assert "in doubt: batch " in str(run.failure_message)


def test_a_canceled_run_whose_spool_nobody_can_read_names_the_way_to_end_it(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, postgresql_url: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT, storage=postgresql_url)
    number = begun(work, cradle)
    work.take_back()
    answer = QuickCommand(tmp_path)("cancel", str(number), "--config", work.file)
    assert "which no living daemon can read" in answer.err
    assert f"schedctl runs abandon {number}" in answer.err


def test_a_canceled_run_that_waits_for_a_daemon_says_so(emulator: Emulator, cradle: Nursery, tmp_path: Path) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    work.take_back()
    answer = QuickCommand(tmp_path)("cancel", str(number), "--config", work.file)
    assert "no daemon is alive: the run stops when one starts" in answer.err


def test_abandon_says_one_line_and_no_log(emulator: Emulator, cradle: Nursery, tmp_path: Path) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    work.take_back()
    answer = Command(tmp_path)("runs", "abandon", str(number), "--config", work.file)
    assert (answer.err, answer.out.count("\n")) == ("", 1)


def resumed(work: Workplace, number: int) -> StoredRun:
    """Have an ended run go on, to its end."""
    with work.database() as database:
        run = retry(database, number, datetime.now(UTC), spool_root=work.config.storage.spool)
    assert (run.id, run.state, run.failure_code) == (number, "waiting", None)
    return work.finish(number)


ALL = [row["Name"] for row in ROWS]


@pytest.mark.parametrize("bulk_api", ["1", "2"])
@pytest.mark.parametrize("wrong", WRONG)
def test_an_append_that_a_wrong_config_ended_goes_on_from_its_spool_when_the_config_is_right(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, wrong: str, bulk_api: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=f'{EXPORT}bulk_api = "{bulk_api}"\n')
    number = begun(work, cradle)
    old, new = WRONG[wrong]
    edited(work, old, new).finish(number)
    run = resumed(edited(work, new, old), number)
    assert (run.outcome, run.rows_read, run.rows_accepted, names(emulator)) == ("succeeded", len(ALL), len(ALL), ALL)


def test_an_append_goes_on_over_the_connection_that_its_job_has_now(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    renamed = edited(work, "crm", "org")
    renamed.finish(number)
    with work.database() as database, database.write() as session:
        jobs.put_job(session, name="things", origin="file", definition=renamed.job.to_dict(), now=datetime.now(UTC))
    assert (resumed(renamed, number).outcome, names(emulator)) == ("succeeded", ALL)


@pytest.mark.parametrize("bulk_api", ["1", "2"])
def test_an_append_whose_last_attempt_was_aborted_goes_on_with_what_salesforce_did_not_take(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, bulk_api: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=f'{EXPORT}bulk_api = "{bulk_api}"\n')
    emulator.gate.worker.pause(paused=True)
    number = begun(work, cradle)
    with work.database() as database, database.write() as session:
        runs.request_cancel(session, number, now=datetime.now(UTC))
    assert work.finish(number).outcome == "canceled"
    emulator.gate.worker.pause(paused=False)
    run = resumed(work, number)
    assert (run.reason, run.cancel_requested_at) == (None, None)
    assert (run.outcome, run.rows_accepted, names(emulator)) == ("succeeded", len(ALL), ALL)


def test_an_append_without_its_spool_does_not_go_on_and_retry_says_why(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    wrong = edited(work, *WRONG["secret"])
    wrong.finish(number)
    shutil.rmtree(work.config.storage.spool)
    with (
        work.database() as database,
        pytest.raises(OperationError, match=f"cannot go on where it stopped, since .* is missing; .* {number} --again"),
    ):
        retry(database, number, datetime.now(UTC), spool_root=work.config.storage.spool)


def test_an_append_whose_slot_another_run_sends_again_does_not_go_on(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    old, new = WRONG["secret"]
    edited(work, old, new).finish(number)
    work = edited(work, new, old)
    with work.database() as database:
        root, now = work.config.storage.spool, datetime.now(UTC)
        other = retry(database, number, now, again=True, spool_root=root)
        with pytest.raises(OperationError, match=f"since run {other.id} sends all rows of its slot once more"):
            retry(database, number, now, spool_root=root)


def test_the_spool_of_an_append_that_can_go_on_is_kept_as_long_as_the_run(
    emulator: Emulator, cradle: Nursery, tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    edited(work, *WRONG["secret"]).finish(number)
    with work.database() as database:
        assert list(sweep(database, work.config.storage.spool, datetime.now(UTC) + timedelta(days=400))) == []


def test_retry_of_the_command_goes_on_with_the_same_run(emulator: Emulator, cradle: Nursery, tmp_path: Path) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT)
    number = begun(work, cradle)
    old, new = WRONG["secret"]
    edited(work, old, new).finish(number)
    work = edited(work, new, old)
    answer = QuickCommand(tmp_path)("retry", str(number), "--wait", "--json", "--config", work.file)
    [run] = answer.json["runs"]
    assert (run["id"], run["outcome"], run["rows"]["accepted"]) == (number, "succeeded", len(ALL))
    assert f"run {number} goes on where it stopped" in answer.err
    assert names(emulator) == ALL


@pytest.mark.parametrize("bulk_api", ["1", "2"])
def test_rows_that_were_refused_after_their_spool_had_gone_are_told_by_reason(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, bulk_api: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=f'{EXPORT}bulk_api = "{bulk_api}"\n')
    emulator.gate.worker.pause(paused=True)
    number = begun(work, cradle, rows=[{"Name": "x" * (300 if n % 2 else 3), "Ext_Id__c": f"e{n}"} for n in range(8)])
    taken = sent(work.entries(number))
    emulator.gate.worker.pause(paused=False)
    until(lambda: len(names(emulator)) == taken)
    shutil.rmtree(work.config.storage.spool)
    run = work.finish(number)
    assert (run.failure_code, run.rows_accepted, run.rows_rejected) == ("SPOOL_GONE", taken, taken)
    command = QuickCommand(tmp_path)
    answer = command("rejected", str(number), "--json", "--config", work.file).json
    [reason] = answer["without_values"]
    assert (answer["rows"], reason["code"], reason["count"]) == ([], "STRING_TOO_LONG", taken)
    shown = command("rejected", str(number), "--config", work.file).out
    assert f"{taken} rows were rejected, but their values were lost with the run's spool" in shown
    assert "STRING_TOO_LONG" in shown
    assert "xxx" not in shown
    refused = command("retry", str(number), "--rejected", "--config", work.file, code=1).err
    assert f"the values of the {taken} rejected rows of run {number} were lost with its spool" in refused
    assert f"(schedctl rejected {number})" in command("runs", "show", str(number), "--config", work.file).out


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_over_postgresql_an_append_goes_on_only_where_its_spool_can_be_read(
    emulator: Emulator, cradle: Nursery, tmp_path: Path, postgresql_url: str
) -> None:
    work = Workplace(tmp_path / "work", url=emulator.url, job=EXPORT, storage=postgresql_url)
    number = begun(work, cradle)
    old, new = WRONG["secret"]
    edited(work, old, new).finish(number)
    work = edited(work, new, old)
    with (
        work.database() as database,
        pytest.raises(OperationError, match=r"its spool is in .*/spool on .*, which no living daemon can read"),
    ):
        retry(database, number, datetime.now(UTC), spool_root=tmp_path / "elsewhere")
    assert (resumed(work, number).outcome, names(emulator)) == ("succeeded", ALL)
