"""Cells that a spreadsheet would execute get a ' before them, and no others."""

import pytest

from scheduler.cli.printing.formula_cells import guard


@pytest.mark.parametrize(
    "cell",
    [
        "=1+1",
        "+1+1",
        "-1+1",
        "@SUM(1)",
        "=cmd|' /C calc'!A0",
        " =1",
        "\t=1",
        "\r=1",
        "\n=1",
        "\ttext",
        "\ufeff=1",
        "\x00=1",
        "\u00a0=1",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
        "-",
        "+49 30 123",
        "-5e",
    ],
)
def test_what_would_be_executed_is_guarded(cell: str) -> None:
    assert guard(cell) == f"'{cell}"


@pytest.mark.parametrize(
    "cell", ["", "x", "1", "-1", "+4930123", "-1.5", "-1,5", "1e5", "-1E-5", "'=1", "a=1", "x@y.z"]
)
def test_what_is_only_shown_stays_as_it_is(cell: str) -> None:
    assert guard(cell) == cell
