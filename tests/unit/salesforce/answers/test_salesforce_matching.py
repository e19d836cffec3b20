"""Bulk API 2.0's results, in any order, against the rows that were sent."""

import csv
import io
import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.targets.salesforce.api.row_results import ACCEPTED
from exporter.targets.salesforce.delivery.match_results import UnmatchedError, match_results

HEADER = ["Name", "Ext__c"]
LOCK = "UNABLE_TO_LOCK_ROW:locked:--"


def write(header: Sequence[str], *lines: Sequence[str]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([header, *lines])
    return text.getvalue().encode()


_NUMBERS = itertools.count(1)


def successful(*rows: Sequence[str], record: str | None = None) -> bytes:
    made = [record if record is not None else f"003{next(_NUMBERS):012d}AAA" for _ in rows]
    return write(["sf__Id", "sf__Created", *HEADER], *[[made[at], "true", *row] for at, row in enumerate(rows)])


def failed(*rows: Sequence[str], error: str = "REQUIRED_FIELD_MISSING:Required fields are missing: [X]:X --") -> bytes:
    return write(["sf__Id", "sf__Error", *HEADER], *[["", error, *row] for row in rows])


NONE = write(HEADER)
CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=5)
FATES = st.sampled_from(["in", "refused", "left"])


@given(st.lists(st.tuples(CELLS, CELLS, FATES), max_size=12), st.randoms(use_true_random=False))
def test_every_row_gets_the_result_of_a_row_like_it_whatever_the_order(
    rows: list[tuple[str, str, str]], dice: random.Random
) -> None:
    parts = {fate: [row[:2] for row in rows if row[2] == fate] for fate in ("in", "refused", "left")}
    for part in parts.values():
        dice.shuffle(part)
    found = match_results(
        write(HEADER, *[row[:2] for row in rows]),
        successful(*parts["in"]),
        failed(*parts["refused"]),
        write(HEADER, *parts["left"]),
        key=None,
    )
    got: list[tuple[str, str, str]] = []
    for (name, ext, _), result in zip(rows, found, strict=True):
        fate = "left" if result is None else "in" if result.accepted else "refused"
        got.append((name, ext, fate))
    assert sorted(got) == sorted(rows)


def test_rows_are_told_apart_by_their_key_if_they_have_one() -> None:
    content = write(HEADER, ("Ann", "1"), ("Bea", "2"))
    echoed = write(["sf__Id", "sf__Error", *HEADER], ("", LOCK, "bea, as they write it", "2"))
    found = match_results(content, successful(("Ann", "1")), echoed, NONE, key="ext__C")
    assert found[0] == ACCEPTED
    assert found[1] is not None
    assert found[1].code == "UNABLE_TO_LOCK_ROW"


def test_columns_may_come_back_in_another_order() -> None:
    back = write(["sf__Id", "sf__Created", "Ext__c", "Name"], ("003000000000001", "true", "1", "Ann"))
    assert match_results(write(HEADER, ("Ann", "1")), back, b"", b"", key=None) == [ACCEPTED]


@pytest.mark.parametrize(
    "parts",
    [
        (successful(("Eve", "1")), NONE),
        (successful(("Ann", "1"), ("Ann", "1")), NONE),
        (successful(("Ann", "1")), failed(("Ann", "1"))),
        (write(["sf__Id", "sf__Created", "Name"], ("003", "true", "Ann")), NONE),
        (write(["sf__Id", "sf__Created", *HEADER], ("003", "true", "Ann")), NONE),
        (successful(("Ann", "1"))[:-3], NONE),
        (successful(("Ann", "1")), write(HEADER, ("Ann", "1"))),
        (b"\xff\xfe", NONE),
        (b"<html>busy</html>", NONE),
        (successful(("Ann", "1"), record=""), NONE),
        (successful(("Ann", "1"), record="0030000"), NONE),
        (write(["sf__Created", *HEADER], ("true", "Ann", "1")), NONE),
    ],
)
def test_results_of_other_rows_are_no_results(parts: tuple[bytes, bytes]) -> None:
    with pytest.raises(UnmatchedError):
        match_results(write(HEADER, ("Ann", "1")), parts[0], parts[1], NONE, key=None)


def test_an_insert_makes_no_record_twice() -> None:
    content = write(HEADER, ("Ann", "1"), ("Bea", "2"))
    twice = successful(("Ann", "1"), ("Bea", "2"), record="003000000000001AAA")
    with pytest.raises(UnmatchedError, match="one Id for two rows"):
        match_results(content, twice, b"", b"", key=None, unique=True)
    assert match_results(content, twice, b"", b"", key=None) == [ACCEPTED, ACCEPTED]


def test_events_and_big_objects_have_no_ids_to_look_at() -> None:
    content = write(HEADER, ("Ann", "1"), ("Bea", "2"))
    found = match_results(
        content, successful(("Ann", "1"), ("Bea", "2"), record=""), b"", b"", key=None, unique=True, has_ids=False
    )
    assert found == [ACCEPTED, ACCEPTED]
