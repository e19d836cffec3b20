import datetime as dt
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SalesforceConnection
from exporter.settings.databases import DuckdbConnection
from exporter.sources.duckdb.errors import duckdb_fault
from exporter.sources.duckdb.memory import fitting_limits, remember_need
from exporter.sources.duckdb.source import DuckdbSource, remove_left_spills
from exporter.sources.registry import open_source
from exporter.sources.source import Query, ReadAgainError

CSV_ERROR = """Conversion Error: CSV Error on Line: 3
Original Line: secret
Error when converting column "a". Could not convert string "secret" to 'INTEGER'

  file = x"""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "base" / "warehouse.duckdb"
    path.parent.mkdir()
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table contacts as select i as id, 'c' || i as email from range(1000) t(i)")
        connection.execute("create sequence counter")
    return path


def source_of(path: Path | None, *, read_only: bool = True, **options: Any) -> DuckdbSource:
    settings = DuckdbConnection(type="duckdb", path=None if path is None else str(path), read_only=read_only)
    return DuckdbSource(settings, **options)


def rows_of(source: DuckdbSource, sql: str, **parameters: object) -> list[tuple[Any, ...]]:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=1000) as reader:
        return [tuple(row.values()) for row in reader.read_all().to_pylist()]


def fault_of(source: DuckdbSource, sql: str, **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        rows_of(source, sql, **parameters)
    return caught.value


def test_hints_of_duckdb_are_kept_on_one_line(database: Path) -> None:
    source = source_of(database)
    assert fault_of(source, "from contact").message == (
        'Table with name contact does not exist. Did you mean "contacts"?'
    )
    assert "Candidate bindings" in fault_of(source, "select emial from contacts").message


@pytest.mark.parametrize("read_only", [True, False])
@pytest.mark.parametrize(
    "sql",
    [
        "with gone as (delete from contacts returning *) select * from gone",
        "select nextval('counter') as n",
    ],
)
def test_a_select_that_writes_is_refused(database: Path, sql: str, *, read_only: bool) -> None:
    source = source_of(database, read_only=read_only)
    fault = fault_of(source, sql)
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "QUERY_WRITES")
    assert rows_of(source, "select count(*) as n from contacts") == [(1000,)]


@pytest.mark.parametrize(
    "sql",
    [
        "copy contacts to 'out.csv'",
        "explain select 1 as x",
        "set threads = 2",
        "attach 'other.duckdb'",
        "install httpfs",
        "pragma version",
        "insert into contacts values (1, 'x') returning id",
    ],
)
def test_only_a_select_is_run(database: Path, sql: str) -> None:
    assert fault_of(source_of(database), sql).code == "NOT_A_SELECT"


def test_nothing_is_downloaded(database: Path) -> None:
    fault = fault_of(source_of(database), "from 'http://127.0.0.1:1/x.parquet'")
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "EXTENSION_MISSING")
    assert "httpfs" in fault.message


def test_python_variables_are_no_tables(database: Path) -> None:
    local = [1]
    assert fault_of(source_of(database), "from local").code == "CATALOG_ERROR"
    assert local == [1]


def test_a_mistyped_path_makes_no_new_database(tmp_path: Path) -> None:
    path = tmp_path / "typo.duckdb"
    for read_only in (True, False):
        with pytest.raises(ExportError, match="NO_DATABASE_FILE") as caught:
            source_of(path, read_only=read_only).check()
        assert str(path) in caught.value.message
    assert not path.exists()


def test_a_file_that_is_no_database_is_configuration(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("hello" * 1000)
    with pytest.raises(ExportError, match="not a valid DuckDB database") as caught:
        source_of(path).check()
    assert caught.value.kind is FailureKind.CONFIGURATION


@pytest.fixture
def locked(database: Path) -> Iterator[Path]:
    """Another process has the file open for writing."""
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"open\n"
        yield database
        process.stdin.close()


def test_a_file_that_another_process_writes_to_may_be_free_later(locked: Path) -> None:
    with pytest.raises(ExportError, match="lock") as caught:
        source_of(locked).check()
    assert caught.value.kind is FailureKind.TRANSIENT


def test_the_file_is_free_again_after_a_read(database: Path) -> None:
    assert len(rows_of(source_of(database), "from contacts")) == 1000
    with duckdb.connect(str(database)) as connection:
        connection.execute("insert into contacts values (1000, 'new')")


def test_two_reads_of_one_file_at_once_do_not_disturb_each_other(database: Path) -> None:
    first, second = source_of(database), source_of(database)
    with first.read(Query(sql="from contacts order by id"), batch_rows=100) as reader:
        one = reader.read_next_batch().num_rows
        assert len(rows_of(second, "from contacts")) == 1000
        second.cancel()
        assert one + reader.read_all().num_rows == 1000


def test_relative_paths_are_looked_up_beside_the_database_or_in_the_given_directory(
    database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "files").mkdir()
    (database.parent / "beside.csv").write_text("a\n1\n")
    (tmp_path / "files" / "given.csv").write_text("a\n2\n")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert rows_of(source_of(database), "from 'beside.csv'") == [(1,)]
    assert rows_of(source_of(None, directory=tmp_path / "files"), "from read_csv('giv*.csv')") == [(2,)]
    fault = fault_of(source_of(None, directory=tmp_path / "files"), "from 'missing.csv'")
    assert fault.kind is FailureKind.CONFIGURATION
    assert "missing.csv" in fault.message


def test_timestamps_are_read_and_bound_in_utc() -> None:
    moment = dt.datetime(2026, 11, 23, 12, tzinfo=dt.timezone(dt.timedelta(hours=9)))
    sql = "select $at::timestamptz as at, strftime($at::timestamptz, '%H:%M') as local"
    ((at, local),) = rows_of(source_of(None), sql, at=moment)
    assert at == moment
    assert local == "03:00"


@pytest.mark.parametrize("kind", ["1::uhugeint", "'101'::bit", "'10:00:00+02'::timetz"])
def test_a_type_that_arrow_would_falsify_is_refused_with_its_cure(kind: str) -> None:
    fault = fault_of(source_of(None), f"select {kind} as odd")
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "TYPE_NOT_SUPPORTED")
    assert '"odd"' in fault.message
    assert "VARCHAR" in fault.message


def test_a_hugeint_of_39_digits_is_exact() -> None:
    ((value,),) = rows_of(source_of(None), "select 170141183460469231731687303715884105727::hugeint::varchar as n")
    assert value == "170141183460469231731687303715884105727"


def test_a_column_of_blanks_for_a_name_is_refused() -> None:
    assert fault_of(source_of(None), 'select 1 as " "').code == "COLUMN_WITHOUT_NAME"


def test_a_query_too_large_for_the_memory_spills_to_disk(tmp_path: Path) -> None:
    spill = tmp_path / "spill"
    sql = "select i, md5(i::varchar) as h from range(1500000) t(i) order by h"
    seen: list[int] = []
    source = source_of(None, spill=spill)
    with source.read(Query(sql=sql), batch_rows=10_000) as reader:
        seen.append(len(list(spill.iterdir())))
        total = sum(batch.num_rows for batch in reader)
    assert seen[0] > 0
    assert total == 1_500_000


def test_a_memory_limit_that_cannot_do_is_said_with_the_key_to_raise(tmp_path: Path) -> None:
    source = source_of(None, spill=tmp_path / "spill", memory_limits=[3 * 2**20])
    fault = fault_of(source, "select i, md5(i::varchar) as h from range(1000000) t(i) order by h")
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "OUT_OF_MEMORY")
    assert "set memory_limit of the connection to more" in fault.message


@pytest.mark.parametrize(
    "sql",
    [
        "select i, md5(i::varchar) as h from range(200000) t(i) order by h",
        "select i, list(i) over () as l from range(100000) t(i) limit 1",
        "select md5(i::varchar) as h, count(*) as n from range(200000) t(i) group by h",
    ],
)
def test_a_query_that_cannot_begin_gets_more_memory_step_by_step(tmp_path: Path, sql: str) -> None:
    limits = [2**20, 2**21, 2**29]
    source = source_of(None, spill=tmp_path / "spill", memory_limits=limits)
    expected = rows_of(source_of(None), sql)
    assert sorted(rows_of(source, sql)) == sorted(expected)
    assert fault_of(source_of(None, spill=tmp_path / "spill", memory_limits=limits[:2]), sql).code == "OUT_OF_MEMORY"


def test_cancel_of_a_source_that_reads_nothing_does_nothing() -> None:
    source = source_of(None)
    threading.Thread(target=source.cancel).start()
    source.cancel()
    assert rows_of(source, "select 1 as x") == [(1,)]


@pytest.mark.parametrize(
    ("text", "kind", "code", "message"),
    [
        ("FATAL Error: gone", FailureKind.INTERNAL, "FATAL_ERROR", "gone"),
        ("INTERNAL Error: oops", FailureKind.INTERNAL, "INTERNAL_ERROR", "oops"),
        ("HTTP Error: 503", FailureKind.TRANSIENT, "HTTP_ERROR", "503"),
        ("IO Error: disk broke", FailureKind.TRANSIENT, "IO_ERROR", "disk broke"),
        ('IO Error: Cannot open file "x": Permission denied', FailureKind.CONFIGURATION, "IO_ERROR", None),
        ("TransactionContext Error: busy", FailureKind.TRANSIENT, "TRANSACTIONCONTEXT_ERROR", "busy"),
        ("something else", FailureKind.INTERNAL, "DUCKDB_ERROR", "something else"),
        ("", FailureKind.INTERNAL, "DUCKDB_ERROR", "OSError"),
        (
            "Conversion Error: Could not convert string 'a b' to 'INT32' when casting from source column email",
            FailureKind.CONFIGURATION,
            "CONVERSION_ERROR",
            "Could not convert string '…' to 'INT32' when casting from source column email",
        ),
        (
            CSV_ERROR,
            FailureKind.CONFIGURATION,
            "CONVERSION_ERROR",
            "CSV Error on Line: 3. Error when converting column \"a\". Could not convert string '…' to 'INTEGER'",
        ),
        (
            "Out of Range Error: Overflow in multiplication of INT32 (2147483647 * 2)!",
            FailureKind.CONFIGURATION,
            "OUT_OF_RANGE_ERROR",
            "Overflow in multiplication of INT32 (…)",
        ),
    ],
)
def test_each_error_of_duckdb_has_its_kind_and_one_line_without_row_data(
    text: str, kind: FailureKind, code: str, message: str | None
) -> None:
    fault = duckdb_fault(OSError(text))
    assert (fault.kind, fault.code) == (kind, code)
    assert message is None or fault.message == message


SECRET = "it's \"ROWSECRET\"\nerror: ROWSECRET' to INT32 when casting from source column ROWSECRET"
NUMBER = 9988776655


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("v::int", "Could not convert string '…' to INT32 when casting from source column v"),
        (
            "v::date",
            "invalid date field format: '…', expected format is (YYYY-MM-DD) when casting from source column v",
        ),
        ("v::timestamp", "invalid timestamp field format: '…'"),
        ("v::interval", "to INTERVAL when casting from source column v"),
        ("v::int[]", "Type VARCHAR with value '…' can't be cast to the destination type INTEGER[]"),
        ("v::enum('a')", "Could not convert string '…' to ENUM('a')"),
        ("n::tinyint", "A value of type INT64 is out of range for INT8 when casting from source column n"),
        ("n::decimal(4, 1)", "Could not cast value … to DECIMAL(4,1)"),
        ("(n * 1.0)::decimal(4, 1)", "Casting a value to type DECIMAL(4,1) failed"),
        ("n * n * n", "Overflow in multiplication of INT64 (…)"),
        ("strptime(v, '%Y')", "Could not parse a string according to its format specifier"),
        ("json_extract(v, '$.a')", "Malformed JSON at byte 0 of input"),
        ("json_transform_strict(to_json({'a': v}), '{\"a\": \"INTEGER\"}')", "left out"),
        ("error(v)", "left out"),
        ("regexp_replace('a', v || '(', 'b')", "left out"),
        ("timestamp '2026-01-01' at time zone v", "Unknown TimeZone '…'"),
        ("date_trunc(v, date '2026-01-01')", "extract specifier '…' not recognized"),
        ("chr((n - 9900000000)::int)", "left out"),
        ("make_date(998877, 66, 55)", "Date out of range"),
        ("(-n) << 3", "left out"),
    ],
)
def test_no_value_of_a_row_is_in_what_duckdb_says(tmp_path: Path, expression: str, says: str) -> None:
    path = tmp_path / "rows.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("create table r as select ? as v, ?::bigint as n", [SECRET, NUMBER])
    fault = fault_of(source_of(path), f"select {expression} as x from r")  # noqa: S608 - our own expression
    assert says in fault.message
    shown = f"{fault.message} ".replace("when casting from source column v ", "")
    assert not any(part in shown for part in ("ROWSECRET", "it's", "99887", "88776655")), fault.message


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.csv", "a,b\n" + "1,2\n" * 30_000 + "ROWSECRET,2\n", "CSV Error on Line: 30002. Error when converting"),
        ("x.json", '{"a": 1}\n' * 300 + '{"a": "ROWSECRET"}\n', "in line 301: a value does not fit its type"),
    ],
)
def test_a_file_that_breaks_off_is_told_by_its_line_alone(tmp_path: Path, name: str, content: str, says: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    columns = "columns = {a: 'INTEGER'}" if name.endswith("json") else "columns = {a: 'INTEGER', b: 'INTEGER'}"
    with duckdb.connect() as connection, pytest.raises(duckdb.Error) as caught:
        connection.execute(f"select * from read_{name[2:]}('{tmp_path / name}', {columns})").fetchall()  # noqa: S608 - our own path
    fault = duckdb_fault(caught.value)
    assert says in fault.message
    assert "ROWSECRET" not in fault.message


def test_a_connection_that_gives_no_rows_is_no_source() -> None:
    settings = SalesforceConnection.model_validate(
        {"type": "salesforce", "login_url": "https://x.my.salesforce.com", "client_id": "i", "client_secret": "s"}
    )
    with pytest.raises(ExportError, match="NOT_A_SOURCE"):
        open_source(settings)


def test_a_text_file_larger_than_the_memory_is_read_to_its_end(tmp_path: Path) -> None:
    lines = 1_300_000
    with (tmp_path / "large.csv").open("w", encoding="utf-8") as file:
        file.write("Id,Ext_Id__c\n")
        file.writelines(f"a00{number:015d},e{number}\n" for number in range(lines))
    path = str(tmp_path / "large.csv")
    sql = f"""select "Id", 'New ' || "Ext_Id__c" as name from read_csv('{path}', all_varchar = true)"""  # noqa: S608 - our own path
    with source_of(None).read(Query(sql=sql), batch_rows=10_000) as reader:
        assert sum(batch.num_rows for batch in reader) == lines


def test_what_killed_processes_spilled_is_removed_and_nothing_else(tmp_path: Path) -> None:
    host, gone = socket.gethostname(), 2**22 + 1  # no process has so high a number (proc(5), pid_max)
    left = tmp_path / f"schedctl-duckdb-{gone}-{host}-abc"
    kept = [
        tmp_path / f"schedctl-duckdb-{os.getpid()}-{host}-abc",
        tmp_path / f"schedctl-duckdb-{gone}-elsewhere-abc",
        tmp_path / "schedctl-duckdb-abc",
        tmp_path / f"other-{gone}-{host}-abc",
    ]
    for directory in (left, *kept):
        directory.mkdir()
        (directory / "spilled").write_text("x", encoding="ascii")
    remove_left_spills(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_json_files_of_any_size_are_read(tmp_path: Path) -> None:
    for rows in (1, 400_000):  # 40 MB: more than one of the pieces that DuckDB reads
        file = tmp_path / f"{rows}.json"
        with file.open("w", encoding="utf-8") as lines:
            lines.writelines(f'{{"n": {number}, "text": "{"x" * 80}"}}\n' for number in range(rows))
        source = open_source(DuckdbConnection(type="duckdb"))
        with source.read(Query(sql=f"select n from read_json('{file}')"), batch_rows=10_000) as reader:  # noqa: S608 - our own file
            assert sum(batch.num_rows for batch in reader) == rows


LATE_WIDE = """select i, case when i < 5000 then 'x' else repeat(md5(i::varchar), 400) end as t from range(8000) t(i)"""
"""Rows that become wide in the middle: 2,048 of them are 26 MB, which DuckDB allocates in pieces of 16 MiB."""


def test_rows_that_become_wide_in_the_middle_are_read_again_with_more_memory(tmp_path: Path) -> None:
    limits = [2**23, 2**24, 2**26]
    source = source_of(None, spill=tmp_path / "spill", memory_limits=limits)
    again = 0
    while True:
        try:
            rows = rows_of(source, LATE_WIDE)
            break
        except ReadAgainError:
            again += 1
    assert 1 <= again <= len(limits)
    assert [len(text) for _, text in rows] == [1] * 5000 + [12_800] * 3000
    other = source_of(None, spill=tmp_path / "spill", memory_limits=limits)
    assert len(rows_of(other, LATE_WIDE)) == 8000, "what a query needs is remembered"


def test_a_query_that_needs_more_than_memory_limit_is_configuration_with_the_way_out(tmp_path: Path) -> None:
    settings = DuckdbConnection(type="duckdb", memory_limit=64_000_000)
    source = DuckdbSource(settings, spill=tmp_path / "spill")
    wider = LATE_WIDE.replace("400", "2000")
    fault = fault_of(source, wider)
    while isinstance(fault, ReadAgainError):
        fault = fault_of(source, wider)
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, "OUT_OF_MEMORY")
    assert "64 MB that DuckDB may use" in fault.message
    assert "set memory_limit of the connection to more" in fault.message


def test_a_reader_of_a_file_does_not_take_memory_from_another_one_of_it(database: Path) -> None:
    wide, narrow = source_of(database), source_of(database)
    sql = "select current_setting('memory_limit') as held, id from contacts order by id"
    remember_need((str(database), sql), 2**28)
    with wide.read(Query(sql=sql), batch_rows=1000) as reader:
        assert len(rows_of(narrow, "select id from contacts")) == 1000
        assert rows_of(narrow, "select current_setting('memory_limit') as held") == [("256.0 MiB",)]
        assert reader.read_all().num_rows == 1000
    assert rows_of(narrow, "select current_setting('memory_limit') as held") == [("32.0 MiB",)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [(None, (10, 20, 40)), (25, (10, 20, 25)), (40, (10, 20, 40)), (90, (10, 20, 40, 90)), (20, (10, 20))],
)
def test_the_limits_end_with_the_one_that_the_connection_names(asked: int | None, expected: tuple[int, ...]) -> None:
    assert fitting_limits([10, 20, 40], asked) == expected


def test_no_query_draws_a_progress_bar_on_stdout() -> None:
    assert rows_of(source_of(None), "select current_setting('enable_progress_bar') as bar") == [(False,)]
