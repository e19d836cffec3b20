import sys

import pytest
from pydantic import SecretStr

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import Connection, MysqlConnection, TrinoConnection
from exporter.sources.registry import open_source


@pytest.mark.parametrize(
    ("connection", "driver", "extra"),
    [
        (MysqlConnection(type="mysql", url=SecretStr("mysql://h/d")), "pymysql", "mysql"),
        (TrinoConnection(type="trino", host="h", user="u"), "trino", "trino"),
    ],
)
def test_a_missing_driver_names_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, connection: Connection, driver: str, extra: str
) -> None:
    for name in list(sys.modules):
        if name == driver or name.startswith((f"{driver}.", f"exporter.sources.{extra}")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, driver, None)
    with pytest.raises(ExportError) as caught:
        open_source(connection)
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "DRIVER_MISSING")
    assert driver in caught.value.message
    assert f"pip install 'schedctl[{extra}]'" in caught.value.message
