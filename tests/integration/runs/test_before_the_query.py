"""What the target alone can tell is asked before the query is run: whole runs of one job."""

from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest
from support.runs.whole_runs import Workplace

from exporter.emulator.server import Emulator
from exporter.sources.duckdb.source import DuckdbSource
from exporter.sources.source import Query
from exporter.targets.salesforce import target

EXPORT = '[jobs.things.export]\nconnection = "crm"\nobject = "Thing__c"\n'
MAPPED = EXPORT + '[jobs.things.mapping]\ncolumns = [{ column = "Nam", source = "Name" }]\n'
ROWS = [{"Name": "one", "Ext_Id__c": "e1"}]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the queries that the source is asked."""
    queries: list[str] = []
    read = DuckdbSource.read

    def noted(self: DuckdbSource, query: Query, *, batch_rows: int) -> AbstractContextManager[pa.RecordBatchReader]:
        queries.append(query.sql)
        return read(self, query, batch_rows=batch_rows)

    monkeypatch.setattr(DuckdbSource, "read", noted)
    return queries


@pytest.mark.parametrize(
    ("job", "code", "told"),
    [
        (EXPORT.replace("Thing__c", "Thingy__c"), "UNKNOWN_OBJECT", "no object Thingy__c"),
        (EXPORT + 'mode = "update"\nkey = "Exit_Id__c"\nupsert = true\n', "UNFIT_COLUMNS", "no field Exit_Id__c"),
        (MAPPED, "UNFIT_COLUMNS", "no field Nam (nearest: Name)"),
        ('[jobs.things.export]\nconnection = "out"\nfile = "a.csv"\n', "DIRECTORY_NOT_WRITABLE", "Cannot write below"),
    ],
)
def test_a_fault_that_needs_no_rows_costs_no_query(  # noqa: PLR0917 - pytest's fixtures
    emulator: Emulator, asked: list[str], tmp_path: Path, job: str, code: str, told: str
) -> None:
    work = Workplace(tmp_path / "w", url=emulator.url, job=job)
    (tmp_path / "w" / "out").write_text("in the way")
    run = work.run(ROWS)
    assert (run.outcome, run.failure_kind, run.failure_code, run.phase) == ("failed", "configuration", code, None)
    assert told in str(run.failure_message)
    assert asked == []


def test_a_wrong_secret_costs_no_query_however_often_it_is_tried(
    emulator: Emulator, asked: list[str], tmp_path: Path
) -> None:
    emulator.org.rights = replace(emulator.org.rights, client_secret="another")
    work = Workplace(tmp_path / "w", url=emulator.url, job=EXPORT)
    codes = [work.run(ROWS).failure_code for _ in range(3)]
    assert codes == ["invalid_client"] * 3
    assert asked == []


class PowerCut(BaseException):
    """The end of a process, as far as its run can tell."""


def test_a_run_whose_rows_are_spooled_asks_the_target_and_not_the_source(
    emulator: Emulator, asked: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = Workplace(tmp_path / "w", url=emulator.url, job=EXPORT)
    work.put(ROWS)
    number = work.ask()

    def cut(*_arguments: object, **_named: object) -> None:
        raise PowerCut

    with monkeypatch.context() as patch:
        patch.setattr(target, "refuse_cells", cut)
        with pytest.raises(PowerCut):
            work.attempt(number)
    assert len(asked) == 1
    assert work.finish(number).outcome == "succeeded"
    assert len(asked) == 1


def test_columns_that_do_not_fit_are_a_fault_before_their_rows_are_written(
    emulator: Emulator, asked: list[str], tmp_path: Path
) -> None:
    work = Workplace(tmp_path / "w", url=emulator.url, job=EXPORT)
    run = work.run([{"Name": "one", "Born__c": datetime(2026, 11, 23)}])  # noqa: DTZ001 - such as databases have them
    assert (run.failure_code, run.rows_read, len(asked)) == ("UNFIT_COLUMNS", 0, 1)
    assert "write cast(Born__c as date) in the query" in str(run.failure_message)
