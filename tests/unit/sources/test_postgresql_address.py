"""The address of a PostgreSQL source: what cannot be read, or would be read wrongly, is refused and not quoted."""

import traceback

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.sources.postgresql.address import check_url


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("Tr0ub4dor%zz3", "invalid percent-encoded token"),
        ("Tr0ub4dor%003", "forbidden value %00 in percent-encoded value"),
        ("Tr0ub4dor 3", "unexpected spaces found"),
        ("Tr0ub4/dor3", "the port is no number"),
        ("Tr0ub4@dor3", "the host holds an @"),
        ('Tr"0ub4"dor%zz3', "invalid percent-encoded token"),
    ],
)
def test_a_password_that_breaks_its_url_is_not_shown(password: str, why: str) -> None:
    with pytest.raises(ExportError) as caught:
        check_url(f"postgresql://u:{password}@127.0.0.1:5432/db")
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "URL_MALFORMED")
    assert caught.value.message.startswith(f"url cannot be read ({why}): write special characters")
    shown = caught.value.message + "".join(traceback.format_exception(caught.value))
    assert "ub4" not in shown
    assert "dor" not in shown


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:Tr0ub4%2Fd%40r3@127.0.0.1:5432/db?sslmode=disable",
        "postgresql://u@one:5432,two:5433/db",
        "postgresql:///db?host=/run/a@b",
        "postgresql://%2Frun%2Fpostgresql/db",
        "postgresql://u@[::1]:5432/db",
        "postgresql://postgres@/db?host=@abstract",
        "",
    ],
)
def test_an_address_that_libpq_reads_as_it_is_meant_is_let_through(url: str) -> None:
    check_url(url)
