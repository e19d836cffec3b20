"""When two texts are one key: cell by cell and whole columns at a time, which is the same."""

import unicodedata
from typing import get_args

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exporter.emulator.org.ids import make_id
from exporter.rows.key_forms import Form, fold, normal, normal_column

FORMS = get_args(Form)
CELLS = st.one_of(
    st.text(max_size=12),
    st.decimals(allow_nan=False).map(str),
    st.datetimes(timezones=st.timezones()).map(lambda moment: moment.isoformat()),
    st.integers(1, 62**6).map(lambda number: make_id("001", number)),
    st.sampled_from(
        ["", " ", "#N/A", "\u00a0x\t", "1_000", "NaN", "\u0661", "0035g00000abcdeaav", "12:00:00", "x" * 18]
    ),
)


@settings(deadline=None)
@given(st.lists(CELLS, max_size=20), st.sampled_from(FORMS))
def test_a_column_is_what_its_cells_are_one_by_one(cells: list[str], form: Form) -> None:
    assert normal_column(pa.array(cells, pa.string()), form).to_pylist() == [normal(cell, form) for cell in cells]


@settings(deadline=None)
@given(CELLS, st.sampled_from(FORMS))
def test_what_is_normal_stays_as_it_is(cell: str, form: Form) -> None:
    assert normal(normal(cell, form), form) == normal(cell, form)


@pytest.mark.parametrize(
    ("one", "other", "form", "same"),
    [
        ("Ann ", "ann", "folded", True),
        ("Ann ", "ann", "cased", False),
        ("Ann ", "Ann", "cased", True),
        ("Ann ", "Ann", "exact", False),
        ("ann", "ann\u0301", "folded", False),
        ("stra\u00dfe", "strasse", "folded", False),
        ("fix", "\ufb01x", "folded", False),
        ("\u039f\u03a3", "\u03bf\u03c3", "folded", True),
        ("1.50", "1.5", "number", True),
        ("1e3", "1000.0", "number", True),
        ("-0.0", "0", "number", True),
        ("1", "2", "number", False),
        ("1_0", "10", "number", False),
        ("0035g00000ABCDE", "0035g00000ABCDEAA5", "id", True),
        ("0035g00000ABCDE", "0035g00000abcde", "id", False),
        ("0035g00000abcdeAA5", "0035g00000ABCDEAA5", "id", True),
        ("2026-11-01T01:30:00.000+02:00", "2026-10-31T23:30:00Z", "datetime", True),
        ("2026-11-01T01:30:00Z", "2026-11-01T01:30:01Z", "datetime", False),
        ("2026-11-01T01:30:00", "2026-11-01T01:30:00Z", "datetime", False),
        ("12:00:00", "12:00:00.000Z", "time", True),
        ("12:00:00.5Z", "12:00:00.500Z", "time", True),
        ("2026-11-01", " 2026-11-01 ", "date", True),
    ],
)
def test_texts_are_alike_as_the_target_sees_them(one: str, other: str, form: Form, same: bool) -> None:  # noqa: FBT001 - a parameter
    assert (normal(one, form) == normal(other, form)) is same


def test_every_letter_is_folded_alike_by_python_and_by_arrow() -> None:
    letters = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code <= 0xDFFF]
    known = [letter for letter in letters if unicodedata.category(letter) != "Cn"]
    folded = normal_column(pa.array(known, pa.string()), "folded").to_pylist()
    assert [
        letter for letter, low in zip(known, folded, strict=True) if low != fold(letter).strip("\u00a0 \t\n\r\v\f")
    ] == []
    assert all(len(fold(letter)) == 1 for letter in known)
