import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.emulator.org.ids import make_id, make_ids, normal_id
from exporter.rows.key_forms import id_checksum

_LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize(
    ("short", "long"),
    [  # 15 and 18 characters as Salesforce's own pages show them
        ("001D000000IqhSL", "001D000000IqhSLIAZ"),
        ("00D300000000iTz", "00D300000000iTzEAI"),
        ("a5lA00000004CCE", "a5lA00000004CCEIA2"),
    ],
)
def test_the_last_three_characters_tell_the_case_of_the_others(short: str, long: str) -> None:
    assert short + id_checksum(short) == long
    assert normal_id(short) == normal_id(long) == long


def test_an_id_in_the_wrong_case_is_repaired_by_its_checksum() -> None:
    assert normal_id("001d000000iqhsliaz") == normal_id("001D000000IQHSLIAZ") == "001D000000IqhSLIAZ"


@pytest.mark.parametrize(
    "text", ["", "001D000000IqhS", "001D000000IqhSLIA", "001D000000IqhSL IA", "001D000000IqhS-", "9" * 19]
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert normal_id(text) is None


@pytest.mark.parametrize("first", [1, 61, 3_843, 62**5 - 3, 7 * 62**5 - 1, 62**9 - 8])
def test_consecutive_ids_sort_in_their_order_and_check(first: int) -> None:
    found = list(make_ids("a0Z", first, 7))
    assert found == sorted(set(found))
    assert all(len(each) == 18 and each.startswith("a0Z") and id_checksum(each[:15]) == each[15:] for each in found)
    assert found == [make_id("a0Z", first + number) for number in range(7)]


@given(st.text(_LETTERS, min_size=15, max_size=15))
def test_normalizing_twice_changes_nothing(short: str) -> None:
    long = normal_id(short)
    assert long is not None
    assert normal_id(long) == long
    assert normal_id(long.swapcase()) in {long, normal_id(long.swapcase()[:15])}


def test_ids_never_repeat_over_a_boundary_of_digits() -> None:
    ids = list(itertools.chain(make_ids("001", 1, 5000), make_ids("001", 5001, 5000)))
    assert len(set(ids)) == 10_000
