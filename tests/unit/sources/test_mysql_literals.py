from datetime import UTC, datetime, timedelta, timezone

import pytest

from exporter.failures import ExportError
from exporter.sources.mysql.source import _with_literals


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        (None, "NULL"),
        (True, "TRUE"),
        (-7, "-7"),
        (2**70, "1180591620717411303424"),
        (1.5, "1.5e0"),
        (1e-320, "1e-320"),
        ('it\'s 100% \\ "ü"\n\0\x1a', "'it\\'s 100% \\\\ \\\"ü\\\"\\n\\0\\Z'"),
        (datetime(2026, 11, 23, 3, tzinfo=UTC), "TIMESTAMP'2026-11-23 03:00:00'"),
        (
            datetime(2026, 11, 23, 3, 0, 0, 5, tzinfo=timezone(timedelta(hours=2))),
            "TIMESTAMP'2026-11-23 01:00:00.000005'",
        ),
    ],
)
def test_a_value_becomes_a_literal_that_means_it(value: object, literal: str) -> None:
    assert _with_literals("select '%s $v', -$v", {"v": value}) == f"select '%s $v', - {literal} "


@pytest.mark.parametrize("value", [float("inf"), float("nan"), datetime(2026, 11, 23)])  # noqa: DTZ001 - it has no zone
def test_a_value_without_a_literal_is_refused(value: object) -> None:
    with pytest.raises(ExportError):
        _with_literals("select $v", {"v": value})
