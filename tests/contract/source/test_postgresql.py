"""What only PostgreSQL has: its types, its errors, its parameters."""

from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from exporter.failures import ExportError, FailureKind
from exporter.rows.casts import TextCast, salesforce_rules
from exporter.settings.databases import PostgresqlConnection
from exporter.sources.registry import open_source
from exporter.sources.source import Query, Source
from exporter.sql.parameters import number_parameters


@pytest.fixture
def source(postgresql_url: str) -> Source:
    url = postgresql_url.replace("postgresql+psycopg://", "postgresql://", 1)
    return open_source(PostgresqlConnection(type="postgresql", url=SecretStr(url)))


def only_row(source: Source, sql: str, **parameters: object) -> dict[str, Any]:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=10) as reader:
        [row] = reader.read_all().to_pylist()
    return dict(row)


def test_every_value_comes_as_exact_as_it_is_stored(source: Source) -> None:
    row = only_row(
        source,
        """select true as b, 32767::int2 as i2, 9223372036854775807 as i8, 0.1::float8 as f,
        12345678901234567890.12345678901234567890 as n, 'NaN'::numeric as nan, 'ü😀' as t, '\\x00ff'::bytea as y,
        date '2026-02-28' as d, time '23:59:59.999999' as ti,
        timestamp '2026-11-01 01:30:00.123456' as ts, timestamptz '2026-11-01 01:30:00+02' as tz,
        interval '1 day 2 hours' as iv, '{"a": 1}'::jsonb as j, null::int as e""",
    )
    assert row == {
        "b": True,
        "i2": 32767,
        "i8": 9223372036854775807,
        "f": 0.1,
        "n": "12345678901234567890.12345678901234567890",
        "nan": "NaN",
        "t": "ü😀",
        "y": b"\x00\xff",
        "d": date(2026, 2, 28),
        "ti": time(23, 59, 59, 999999),
        "ts": datetime(2026, 11, 1, 1, 30, 0, 123456),  # noqa: DTZ001 - it has no zone
        "tz": datetime(2026, 10, 31, 23, 30, tzinfo=UTC),
        "iv": "1 day 02:00:00",
        "j": '{"a": 1}',
        "e": None,
    }
    assert Decimal(row["n"]) == Decimal("12345678901234567890.12345678901234567890")


@pytest.mark.parametrize("value", ["'NaN'::numeric", "'NaN'::numeric(10, 2)", "'-Infinity'::numeric", "float8 'NaN'"])
def test_a_number_that_is_none_rejects_its_row_and_no_other(source: Source, value: str) -> None:
    sql = f"select {value} as n, 'NaN' as t union all select 1.5, 'Infinity'"
    with source.read(Query(sql=sql), batch_rows=10) as reader:
        [text] = [TextCast(reader.schema, salesforce_rules()).apply(batch) for batch in reader]
    assert [(fault.index, fault.code) for fault in text.faults] == [(0, "NOT_A_NUMBER")]
    assert text.batch.to_pylist()[1] == {"n": "1.5", "t": "Infinity"}


@pytest.mark.parametrize(
    "value",
    [
        "time '24:00'",
        "date '0044-03-15 BC'",
        "date 'infinity'",
        "date '20000-01-01'",
        "timestamp 'infinity'",
        "timestamptz '-infinity'",
    ],
)
def test_a_time_out_of_range_rejects_its_row_wherever_it_comes(source: Source, value: str) -> None:
    sql = "select n, date '2026-01-01' as fine, case when n = 4000 then {} end as late from generate_series(1, 5000) n"
    with source.read(Query(sql=sql.format(value)), batch_rows=100) as reader:
        cast = TextCast(reader.schema, salesforce_rules())
        faults = [
            (number, fault.index, fault.code)
            for number, batch in enumerate(reader)
            for fault in cast.apply(batch).faults
        ]
    assert faults == [(39, 99, "VALUE_OUT_OF_RANGE")]


def test_an_empty_result_has_its_columns(source: Source) -> None:
    with source.read(Query(sql="select 1 as a, 'x' as b where false"), batch_rows=10) as reader:
        assert reader.schema.names == ["a", "b"]
        assert reader.read_all().num_rows == 0


def test_a_slot_is_bound_as_a_time(source: Source) -> None:
    slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
    row = only_row(source, "select $slot::timestamptz as at, '$slot' as text, $unix + 1 as next", slot=slot, unix=41)
    assert row == {"at": slot, "text": "$slot", "next": 42}


@pytest.mark.parametrize(
    ("sql", "code", "words"),
    [
        ("select array[1, 2] as a", "TYPE_NOT_SUPPORTED", "array_to_string"),
        ("select 'secret value'::int as i", "22P02", "invalid input syntax"),
        ("select", "NO_COLUMNS", "gives no columns"),
        ("select from pg_class", "NO_COLUMNS", "gives no columns"),
        ("select 1 as a into zz", "QUERY_WRITES", "INTO"),
        ("with a as (select 'into' as \"into\") select from a", "NO_COLUMNS", "gives no columns"),
        ("show timezone; select 1", "NOT_ONE_QUERY", "2 statements"),
        ("set timezone = 'UTC'", "NOT_A_SELECT", "of type SET"),
        ("select 1 / 0 as x", "22012", "division by zero"),
        ("select * from nowhere", "42P01", "nowhere"),
        ("delete from pg_class returning oid", "25006", "only read"),
        ("select pg_sleep(0) as s from nowhere; drop table x", "NOT_ONE_QUERY", "2 statements"),
    ],
)
def test_what_only_a_person_can_mend_is_configuration_without_row_data(
    source: Source, sql: str, code: str, words: str
) -> None:
    with pytest.raises(ExportError, match=words) as caught:
        only_row(source, sql)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, code)
    assert "secret" not in caught.value.message


SECRET = "it's \"ROWSECRET\"\n'ROWSECRET"
RAISES = """create or replace function pg_temp.boom(t text) returns text language plpgsql as
$$ begin raise exception 'no % here', t using hint = t, errcode = '{state}'; end $$"""


@pytest.mark.parametrize(
    ("expression", "code", "says"),
    [
        ("v::int", "22P02", "invalid input syntax for type integer: '…'"),
        ("v::interval", "22007", "invalid input syntax for type interval: '…'"),
        ("v::int[]::text", "22P02", "malformed array literal: '…'"),
        ("to_tsquery(v)", "42601", "syntax error in tsquery: '…'"),
        ("v::regtype", "42601", "'…'"),
        ("now() at time zone v", "22023", "time zone '…' not recognized"),
        ("current_setting(v)", "42704", "unrecognized configuration parameter '…'"),
        ("pg_read_file(v)", "58P01", "could not open file '…'"),
        ("make_date(n, 1, 1)", "22008", "date out of range: …"),
        ("make_time(99, n, 1)", "22008", "time field value out of range: …"),
        ("chr(n)", "54000", "requested character too large for encoding: …"),
        ("convert_from('\\xff'::bytea, 'UTF8')", "22021", "invalid byte sequence"),
    ],
)
def test_no_value_of_a_row_is_in_what_postgresql_says(source: Source, expression: str, code: str, says: str) -> None:
    rows = "(select $v::text as v, $n::int as n) as r"
    with pytest.raises(ExportError) as caught:
        only_row(source, f"select {expression} as x from {rows}", v=SECRET, n=998877665)  # noqa: S608 - our own
    assert caught.value.code == code
    assert says in caught.value.message
    assert not any(part in caught.value.message for part in ("ROWSECRET", "it's", "998877", "0xff"))


@pytest.mark.parametrize("state", ["P0001", "22012", "40001", "XX000"])
def test_what_a_function_raises_in_its_own_words_is_not_told(postgresql_url: str, source: Source, state: str) -> None:
    with psycopg.connect(postgresql_url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(RAISES.format(state=state).replace("pg_temp.", ""))
    with pytest.raises(ExportError) as caught:
        only_row(source, "select boom($v) as x", v="ROWSECRET")
    assert caught.value.code == state
    assert "left out" in caught.value.message
    assert "ROWSECRET" not in caught.value.message


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"host": "127.0.0.1", "port": 1, "database": "x"}, FailureKind.TRANSIENT),
        ({"host": "no-such-host.invalid", "database": "x"}, FailureKind.TRANSIENT),
        ({"url": SecretStr("postgresql://h/x?nonsense=1")}, FailureKind.CONFIGURATION),
        ({"url": SecretStr("not a url")}, FailureKind.CONFIGURATION),
    ],
)
def test_a_server_that_cannot_be_reached(settings: dict[str, Any], kind: FailureKind) -> None:
    broken = open_source(PostgresqlConnection(type="postgresql", **settings))
    with pytest.raises(ExportError) as caught:
        broken.check()
    assert caught.value.kind is kind


@pytest.mark.parametrize("of", ["ROLE", "DATABASE"])
def test_a_server_without_free_connections_may_have_one_later(postgresql_url: str, of: str) -> None:
    plain = postgresql_url.replace("postgresql+psycopg://", "postgresql://", 1)
    with psycopg.connect(plain, autocommit=True) as connection:
        [name] = connection.execute("SELECT current_database()").fetchone() or [""]
        connection.execute(f"CREATE ROLE some_{name} LOGIN".encode())
        connection.execute(f"ALTER {of} {f'some_{name}' if of == 'ROLE' else name} CONNECTION LIMIT 0".encode())
        url = SecretStr(plain.replace("postgres@", f"some_{name}@"))
        with pytest.raises(ExportError) as caught:
            open_source(PostgresqlConnection(type="postgresql", url=url)).check()
        assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "53300")
        assert "has no connection left" in caught.value.message
        connection.execute(f"DROP ROLE some_{name}".encode())


@given(st.text(alphabet="$a'\"-/*\n`e\\ 1;", max_size=30))
def test_text_without_a_named_parameter_is_left_as_it_is(text: str) -> None:
    with suppress(ExportError):  # it names one by chance
        assert number_parameters(text, {}, write=lambda number: f"<{number}>", dialect="postgres") == (text, [])


def test_parameters_get_numbers_in_the_order_of_first_use() -> None:
    sql = "select $b, $a, $b, '$a', $$ $a $$, $t$ $b $t$ -- $a\n, \"$a\", $1 /* $b */"
    written, values = number_parameters(
        sql, {"a": 1, "b": 2, "c": 3}, write=lambda number: f"${number}", dialect="postgres"
    )
    assert written == "select $1, $2, $1, '$a', $$ $a $$, $t$ $b $t$ -- $a\n, \"$a\", $1 /* $b */"
    assert values == [2, 1]
