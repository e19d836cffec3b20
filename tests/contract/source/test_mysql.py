"""What only MySQL and MariaDB have: their types, their errors, their literals, their encryption."""

import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any
from urllib.parse import quote

import pymysql
import pytest
from hypothesis import HealthCheck, given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.databases import mariadb
from support.databases.mariadb import Mariadb
from support.properties import examples

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import MysqlConnection
from exporter.sources.mysql.source import MysqlSource
from exporter.sources.registry import open_source
from exporter.sources.source import Query, Source

pytestmark = pytest.mark.slow


def connection(server: Mariadb, database: str = "mysql", **others: object) -> MysqlConnection:
    address = {"host": "127.0.0.1", "port": server.port, "user": mariadb.USER, "password": SecretStr(mariadb.PASSWORD)}
    given = {"type": "mysql", "database": database, **address, **others}
    return MysqlConnection.model_validate({key: value for key, value in given.items() if value is not None})


@pytest.fixture
def source(mariadb_server: Mariadb, mysql_database: str) -> Source:
    return open_source(connection(mariadb_server, mysql_database))


def rows_of(source: Source, sql: str, **parameters: object) -> list[dict[str, Any]]:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=10) as reader:
        return [dict(row) for row in reader.read_all().to_pylist()]


def only_row(source: Source, sql: str, **parameters: object) -> dict[str, Any]:
    [row] = rows_of(source, sql, **parameters)
    return row


def fault_of(source: Source, sql: str = "select 1 as x", **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        rows_of(source, sql, **parameters)
    return caught.value


def owner(server: Mariadb, *statements: str, database: str | None = None) -> list[Any]:
    with closing(server.connect(database)) as connection, connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
        return list(cursor.fetchall())


def test_every_value_comes_as_exact_as_it_is_stored(
    source: Source, mariadb_server: Mariadb, mysql_database: str
) -> None:
    owner(
        mariadb_server,
        """create table kinds (b bool, i1 tinyint, u1 tinyint unsigned, i2 smallint, i3 mediumint unsigned, i4 int,
        i8 bigint, u8 bigint unsigned, f float, d double, n decimal(20, 4), wide decimal(65, 30), bits bit(40), y year,
        da date, ti time(6), dt datetime(6), ts timestamp(6) null, c char(5), t text, bi varbinary(9), bl blob, j json,
        e enum('a', 'ü'), s set('x', 'y'), u uuid, l varchar(9) character set latin1, nothing int)""",
        """insert into kinds values (true, -128, 255, -32768, 16777215, 2147483647, -9223372036854775808,
        18446744073709551615, 0.1, 0.1, 1234567890123456.0100, -1234567890123456789012345.67890123451, b'1000000001',
        2155, '2026-02-28', '23:59:59.999999', '2026-11-01 01:30:00.123456', '2026-11-01 01:30:00.5', 'ab ', 'ü😀 %s',
        x'00ff', x'fe', '{"a": 1.10}', 'ü', 'x,y', 'a3bb189e-8bf9-3888-9912-ace4e6543002', 'ä', null)""",
        database=mysql_database,
    )
    assert only_row(source, "select * from kinds") == {
        "b": 1,
        "i1": -128,
        "u1": 255,
        "i2": -32768,
        "i3": 16777215,
        "i4": 2147483647,
        "i8": -9223372036854775808,
        "u8": 18446744073709551615,
        "f": pytest.approx(0.1, rel=1e-7),
        "d": 0.1,
        "n": Decimal("1234567890123456.0100"),
        "wide": Decimal("-1234567890123456789012345.678901234510000000000000000000"),
        "bits": 513,
        "y": 2155,
        "da": date(2026, 2, 28),
        "ti": time(23, 59, 59, 999999),
        "dt": datetime(2026, 11, 1, 1, 30, 0, 123456),  # noqa: DTZ001 - it has no zone
        "ts": datetime(2026, 11, 1, 1, 30, 0, 500000, tzinfo=UTC),
        "c": "ab",
        "t": "ü😀 %s",
        "bi": b"\x00\xff",
        "bl": b"\xfe",
        "j": '{"a": 1.10}',
        "e": "ü",
        "s": "x,y",
        "u": "a3bb189e-8bf9-3888-9912-ace4e6543002",
        "l": "ä",
        "nothing": None,
    }


def test_a_timestamp_is_in_utc_whatever_the_zone_of_the_server(
    source: Source, mariadb_server: Mariadb, mysql_database: str
) -> None:
    owner(
        mariadb_server,
        "create table moments (ts timestamp)",
        "set time_zone = '+05:00'",
        "insert into moments values ('2026-11-23 08:00:00')",
        database=mysql_database,
    )
    slot = datetime(2026, 11, 23, 3, tzinfo=UTC)
    assert only_row(source, "select ts from moments where ts >= $slot", slot=slot) == {"ts": slot}


def test_a_date_of_zeros_is_made_null_as_the_fault_says(source: Source) -> None:
    sql = "select nullif(d, 0) as d from (select cast('0000-00-00' as date) as d union all select '2026-02-28') t"
    assert sorted(map(str, (row["d"] for row in rows_of(source, sql)))) == ["2026-02-28", "None"]


def test_an_empty_result_has_its_columns(source: Source) -> None:
    with source.read(Query(sql="select 1 as a, 'x' as b from dual where false"), batch_rows=10) as reader:
        assert reader.schema.names == ["a", "b"]
        assert reader.read_all().num_rows == 0


@examples(60, suppress=(HealthCheck.function_scoped_fixture,))
@given(text=st.text(alphabet="a'\"\\%s$?:\n\0\x1a;`#-é😀 ", max_size=12))
def test_any_text_is_bound_as_it_is(source: Source, text: str) -> None:
    assert only_row(source, "select $text as t, '%s $text' as s -- $text", text=text) == {"t": text, "s": "%s $text"}


@pytest.mark.parametrize("mode", ["NO_BACKSLASH_ESCAPES", "ANSI,NO_BACKSLASH_ESCAPES", "ORACLE"])
def test_values_are_bound_under_any_mode_of_the_server(source: Source, mariadb_server: Mariadb, mode: str) -> None:
    [(before,)] = owner(mariadb_server, "select @@global.sql_mode")
    owner(mariadb_server, f"set global sql_mode = '{mode}'")
    try:
        assert only_row(source, "select $a as a, $b as b", a="\\' or '", b="' or ''='") == {
            "a": "\\' or '",
            "b": "' or ''='",
        }
    finally:
        owner(mariadb_server, f"set global sql_mode = '{before}'")


def test_numbers_and_times_are_bound_as_what_they_are(source: Source) -> None:
    values = {"i": -(2**63), "big": 10**40, "f": 1e-320, "t": True, "n": None, "s": -7}
    row = only_row(source, "select $i as i, $big as big, $f as f, $t as t, $n as n, 5 -$s as m", **values)
    assert row == {"i": -(2**63), "big": 10**40, "f": 1e-320, "t": 1, "n": None, "m": 12}
    slot = datetime(2026, 11, 23, 3, 0, 0, 250000, tzinfo=UTC)
    assert only_row(source, "select $slot as at", slot=slot) == {"at": slot.replace(tzinfo=None)}
    assert fault_of(source, "select $x as x", x=float("nan")).code == "PARAMETER_NOT_SUPPORTED"


@pytest.mark.parametrize(
    ("sql", "code", "words"),
    [
        ("select cast('0000-00-00' as date) as d", "VALUE_NOT_SUPPORTED", "NULLIF"),
        ("select time '25:00:00' as t", "VALUE_NOT_SUPPORTED", "time of a day"),
        ("select point(1, 2) as p", "TYPE_NOT_SUPPORTED", "ST_AsText"),
        ("select exp(n) as x from (select 1000 as n) t", "ER_DATA_OUT_OF_RANGE", "out of range"),
        ("select * from nowhere", "ER_NO_SUCH_TABLE", "nowhere"),
        ("select 1 as x from", "ER_PARSE_ERROR", "syntax"),
        ("with x as (select 1) delete from t", "ER_PARSE_ERROR", "delete"),
        ("select 1 as x into outfile '/tmp/schedctl-never'", "QUERY_WRITES", "INTO"),
        ("select 'x'into @a", "QUERY_WRITES", "INTO"),
        ("select 1 as x /*!50000 into @a */", "QUERY_WRITES", "INTO"),
        ("select 1 as x; drop table t", "NOT_ONE_QUERY", "2 statements"),
        ("call sleep(1)", "NOT_A_SELECT", "CALL"),
    ],
)
def test_what_only_a_person_can_mend_is_configuration_without_row_data(
    source: Source, sql: str, code: str, words: str
) -> None:
    fault = fault_of(source, sql)
    assert (fault.kind, fault.code) == (FailureKind.CONFIGURATION, code), fault
    assert words in fault.message


def test_an_account_that_may_write_still_only_reads(
    source: Source, mariadb_server: Mariadb, mysql_database: str
) -> None:
    owner(
        mariadb_server,
        "create table t (n int)",
        "create sequence numbering",
        "create function writes() returns int begin insert into t values (1); return 1; end",
        database=mysql_database,
    )
    for sql in ("select writes() as x", "select nextval(numbering) as n"):
        assert fault_of(source, sql).code == "QUERY_WRITES"
    assert owner(mariadb_server, "select * from t", database=mysql_database) == []


@pytest.mark.parametrize("leave", ["break", "raise"])
def test_a_large_result_that_is_left_is_not_read_to_its_end(
    source: Source, mariadb_server: Mariadb, leave: str
) -> None:
    sql = "select a.seq as n, repeat('x', 1000) as t from seq_0_to_9999999 a"
    try:
        with source.read(Query(sql=sql), batch_rows=100) as reader:
            assert reader.read_next_batch().num_rows == 100
            if leave == "raise":
                raise KeyError(leave)
    except KeyError:
        pass
    wait_until_gone(mariadb_server)


def wait_until_gone(server: Mariadb) -> None:
    """Wait until no query of the account's runs over there any more."""
    pause = threading.Event()
    for _ in range(500):
        if mariadb.USER not in {user for (user,) in owner(server, "select user from information_schema.processlist")}:
            return
        pause.wait(0.02)
    pytest.fail("the query still runs")


def test_a_query_that_somebody_else_kills_is_transient(source: Source, mariadb_server: Mariadb) -> None:
    assert killed_by(source, mariadb_server, "kill query") == (FailureKind.TRANSIENT, "QUERY_CANCELED")
    assert killed_by(source, mariadb_server, "kill connection") == (FailureKind.TRANSIENT, "CONNECTION_LOST")


def killed_by(source: Source, server: Mariadb, how: str) -> tuple[FailureKind, str]:
    outcome = list[ExportError]()
    thread = threading.Thread(target=lambda: outcome.append(fault_of(source, "select sleep(60) as x")))
    thread.start()
    while thread.is_alive():
        running = "select id from information_schema.processlist where info like 'select sleep%'"
        for (number,) in owner(server, running):
            owner(server, f"{how} {number}")
        thread.join(0.02)
    return outcome[0].kind, outcome[0].code


def test_a_cancel_wakes_the_reader_although_the_server_cannot_be_asked(
    mariadb_server: Mariadb, mysql_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = MysqlSource(connection(mariadb_server, mysql_database))
    outcome = list[ExportError]()
    thread = threading.Thread(target=lambda: outcome.append(fault_of(source, "select sleep(60) as x")))
    thread.start()
    while not owner(mariadb_server, "select id from information_schema.processlist where info like 'select sleep%'"):
        thread.join(0.02)

    def refuse(_: int) -> None:
        raise pymysql.OperationalError(2003, "refused")

    monkeypatch.setattr(source, "_connect", refuse)
    source.cancel()
    thread.join(30)
    assert outcome[0].code == "QUERY_CANCELED"


@pytest.mark.parametrize(
    ("others", "kind", "code"),
    [
        ({"password": SecretStr("wrong")}, FailureKind.CONFIGURATION, "ER_ACCESS_DENIED_ERROR"),
        ({"database": "gone"}, FailureKind.CONFIGURATION, "ER_BAD_DB_ERROR"),
        ({"port": 1}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
        ({"host": "no-such-host.invalid"}, FailureKind.TRANSIENT, "CONNECTION_LOST"),
        ({"ssl_mode": "required"}, FailureKind.CONFIGURATION, "CONNECTION_REFUSED"),
        ({"ca_file": "/nowhere.pem"}, FailureKind.CONFIGURATION, "CA_FILE"),
    ],
)
def test_a_server_that_cannot_be_used(
    mariadb_server: Mariadb, others: dict[str, Any], kind: FailureKind, code: str
) -> None:
    with pytest.raises(ExportError) as caught:
        open_source(connection(mariadb_server, **others)).check()
    assert (caught.value.kind, caught.value.code) == (kind, code)
    assert "wrong" not in caught.value.message


def test_a_url_and_a_socket_lead_to_the_same_server(mariadb_server: Mariadb) -> None:
    login = f"{mariadb.USER}:{quote(mariadb.PASSWORD, safe='')}"
    by_url = SecretStr(f"mysql://{login}@127.0.0.1:{mariadb_server.port}/mysql")
    open_source(MysqlConnection(type="mysql", url=by_url)).check()
    by_socket = SecretStr(f"mariadb://root@/mysql?unix_socket={quote(mariadb_server.socket)}")
    open_source(MysqlConnection(type="mysql", url=by_socket)).check()
    open_source(MysqlConnection(type="mysql", host=mariadb_server.socket, user="root", database="mysql")).check()


@pytest.fixture(scope="module")
def encrypted() -> Iterator[Mariadb]:
    try:
        server = mariadb.start(encrypted=True)
    except mariadb.NoMariadbError as error:
        pytest.skip(str(error))
    yield server
    server.stop()


def cipher(server: Mariadb, **others: object) -> str:
    source = open_source(connection(server, **others))
    return str(
        only_row(
            source,
            "select variable_value as v from information_schema.session_status where variable_name = 'Ssl_cipher'",
        )["v"]
    )


def test_a_connection_is_encrypted_and_the_certificate_checked_as_far_as_asked(
    encrypted: Mariadb,
) -> None:
    certificate = str(encrypted.directory / mariadb.AUTHORITY)
    assert cipher(encrypted, ssl_mode="disabled") == ""
    assert cipher(encrypted)
    assert cipher(encrypted, ssl_mode="required")
    assert cipher(encrypted, ca_file=certificate)
    assert cipher(encrypted, ca_file=certificate, ssl_mode="verify_ca", host="localhost")
    for wrong in ({"ssl_mode": "verify_identity"}, {"ca_file": certificate, "host": "localhost"}):
        with pytest.raises(ExportError, match="ca_file") as caught:
            cipher(encrypted, **wrong)
        assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "CERTIFICATE_REFUSED")


def test_a_query_over_an_encrypted_connection_is_canceled(encrypted: Mariadb) -> None:
    source = open_source(connection(encrypted, ca_file=str(encrypted.directory / mariadb.AUTHORITY)))
    outcome = list[ExportError]()
    thread = threading.Thread(target=lambda: outcome.append(fault_of(source, "select sleep(60) as x")))
    thread.start()
    while thread.is_alive():
        source.cancel()
        thread.join(0.05)
    assert outcome[0].code == "QUERY_CANCELED"
