import csv
import io
import random

import pytest

from exporter.targets.salesforce.row_ranges import read_ranges, read_records, select_rows, write_ranges


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([7], "7"), ([1, 2, 3, 7], "1-3,7"), ([1, 3, 4, 9, 10], "1,3-4,9-10")]
)
def test_row_numbers_are_written_shortly_and_read_back(numbers: list[int], text: str) -> None:
    assert write_ranges(numbers) == text
    assert list(read_ranges(text)) == numbers


def test_any_row_numbers_come_back() -> None:
    dice = random.Random(5)
    for _ in range(200):
        numbers = sorted(dice.sample(range(1, 60), dice.randint(0, 40)))
        assert list(read_ranges(write_ranges(numbers))) == numbers


def test_a_selection_holds_the_chosen_rows_with_every_character() -> None:
    cells = ["a,b", 'say "x"', "cr\rlf\n", "crlf\r\n", "\u2028\x85ü😀", "", "#N/A", "x" * 131_072]
    written = io.StringIO(newline="")
    csv.writer(written, quoting=csv.QUOTE_ALL, lineterminator="\n").writerows([["A", "B"], *([c, "1"] for c in cells)])
    content = written.getvalue().encode()
    chosen = select_rows(content, range(11, 19), {11, 13, 15, 18})
    assert list(read_records(chosen)) == [["A", "B"], *([cells[index], "1"] for index in (0, 2, 4, 7))]
    assert chosen == select_rows(content, range(11, 19), [18, 15, 13, 11])
    assert select_rows(content, range(11, 19), range(11, 19)) == content


def test_a_batch_with_another_number_of_rows_than_said_is_never_cut_to_fit() -> None:
    with pytest.raises(ValueError, match="zip"):
        select_rows(b'"A"\n"1"\n"2"\n', [1], {1})
