"""The test's Trino, judged by Trino's own client."""

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from typing import Any

import pytest
import trino
from support.databases.trino_server import TrinoServer, trino_server


@pytest.fixture(params=[True, False], ids=["immediate", "prepared"])
def server(request: pytest.FixtureRequest) -> Iterator[TrinoServer]:
    with trino_server(immediate=request.param) as server:
        server.engine.execute("create table numbers as select n from range(2500) t(n)")
        yield server


@pytest.fixture
def cursor(server: TrinoServer) -> Iterator[Any]:
    connection = trino.dbapi.connect(host="127.0.0.1", port=server.port, user="u", http_scheme="http", encoding=None)
    with closing(connection):
        yield connection.cursor()


def test_the_client_reads_all_pages(cursor: Any) -> None:
    cursor.execute("select n from numbers order by n")
    assert cursor.description[0][:2] == ("n", "bigint")
    assert cursor.fetchall() == [[n] for n in range(2500)]


def test_the_client_binds_values(cursor: Any) -> None:
    cursor.execute("select ? as a, '?' as b, n from numbers where n = ?", ["it's", 7])
    assert cursor.fetchall() == [["it's", "?", 7]]


def test_the_client_maps_the_types(cursor: Any) -> None:
    cursor.execute("select 1.10::decimal(5, 2) as d, [1, 2] as a, {'x': 1} as r, encode('é') as b, null as n")
    assert [each.type_code for each in cursor.description] == [
        "decimal(5,2)", "array(integer)", "row(x integer)", "varbinary", "unknown",
    ]  # fmt: skip
    server_row = cursor.fetchall()[0]
    assert server_row[0] == Decimal("1.10")
    assert (server_row[1], tuple(server_row[2]), server_row[3], server_row[4]) == ([1, 2], (1,), "é".encode(), None)


def test_the_client_understands_the_errors(cursor: Any) -> None:
    with pytest.raises(trino.exceptions.TrinoUserError) as caught:
        cursor.execute("select * from nowhere")
    assert (caught.value.error_name, caught.value.error_location) == ("TABLE_NOT_FOUND", (1, 1))


def test_the_client_cancels(server: TrinoServer, cursor: Any) -> None:
    cursor.execute("select n from numbers")
    cursor.fetchone()
    cursor.cancel()
    assert [statement.canceled for statement in server.statements.values()] == [True]
    with pytest.raises(trino.exceptions.TrinoUserError, match="canceled"):
        cursor.fetchall()
