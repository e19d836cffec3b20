"""Batches are bounded by their bytes as well as by their rows, whatever the rows are like."""

import gc
import weakref
from collections.abc import Sequence
from itertools import islice

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from exporter.rows.rechunk import PIECE_ROWS, bytes_of, fetch_batches, rechunk

Row = tuple[int, str]


class Server:
    """A result that is fetched; it keeps the most rows, and characters, that it was asked for at once."""

    def __init__(self, widths: Sequence[int]) -> None:
        self.rows = iter([(number, "x" * width) for number, width in enumerate(widths)])
        self.most_rows = self.most_characters = 0

    def fetch(self, count: int) -> list[Row]:
        some = list(islice(self.rows, count))
        self.most_rows = max(self.most_rows, len(some))
        self.most_characters = max(self.most_characters, sum(len(text) for _, text in some))
        return some


def batches_of(server: Server, **bounds: int) -> list[list[Row]]:
    return list(fetch_batches(server.fetch, list, **bounds))  # type: ignore[arg-type]  # bounds by their names


@given(widths=st.lists(st.integers(0, 400), max_size=120), rows=st.integers(1, 40), size=st.integers(20, 900))
def test_all_rows_come_in_order_within_both_bounds(widths: list[int], rows: int, size: int) -> None:
    batches = batches_of(Server(widths), rows=rows, size=size)
    assert [number for batch in batches for number, _ in batch] == list(range(len(widths)))
    assert all(1 <= len(batch) <= rows for batch in batches)
    assert all(len(batch) == 1 or bytes_of(batch) <= size for batch in batches)


def test_a_row_that_is_larger_than_a_batch_is_one_by_itself() -> None:
    batches = batches_of(Server([10, 10, 5_000, 10, 10]), rows=100, size=1_000)
    assert [[number for number, _ in batch] for batch in batches] == [[0, 1], [2], [3, 4]]


def test_narrow_rows_come_in_batches_of_the_rows_that_were_asked_for() -> None:
    assert [len(batch) for batch in batches_of(Server([5] * 250), rows=100)] == [100, 100, 50]


def test_wide_rows_are_fetched_few_at_a_time() -> None:
    server = Server([131_072] * 200)
    batches = batches_of(server, rows=10_000)
    assert max(bytes_of(batch) for batch in batches) <= 8_000_000
    assert server.most_characters <= 8 * 131_072


def test_rows_that_become_wide_are_not_fetched_by_the_thousand() -> None:
    server = Server([1] * 5_000 + [131_072] * 100)
    batches_of(server, rows=10_000)
    assert server.most_rows == PIECE_ROWS


def test_while_a_batch_is_out_its_rows_are_not_held() -> None:
    class Held(str):
        """A text that can be looked for."""

        __slots__ = ("__weakref__",)

    seen: list[weakref.ref[Held]] = []
    left = [3]

    def fetch(_count: int) -> list[tuple[Held]]:
        if not left[0]:
            return []
        left[0] -= 1
        text = Held("x" * 600)
        seen.append(weakref.ref(text))
        return [(text,)]

    for _ in fetch_batches(fetch, len, rows=1):
        gc.collect()
        assert [text() for text in seen] == [None] * len(seen)


def test_the_bytes_of_rows_count_what_nests_in_them() -> None:
    assert bytes_of([(1, "abc", None)]) == 8 + 3 + 8
    assert bytes_of([("abc", b"de"), (None, b"f")]) == 3 + 8 + 3
    assert bytes_of([(["abc", {"k": "de"}],)]) == 3 + 1 + 2
    assert bytes_of([5, 6]) == 16  # type: ignore[list-item]  # what is no row at all is refused by who reads it


def test_rows_wide_in_one_place_are_cut_from_a_large_batch_within_the_bound() -> None:
    batch = pa.record_batch({"t": ["y" * 1_000] * 50 + ["y"] * 950})
    chunks = list(rechunk([batch], rows=10_000, size=10_000))
    assert sum(chunk.num_rows for chunk in chunks) == 1_000
    assert max(chunk.nbytes for chunk in chunks) <= 10_000


def test_a_huge_row_is_not_joined_with_those_before_it() -> None:
    batches = [pa.record_batch({"t": ["a", "b"]}), pa.record_batch({"t": ["c" * 500]}), pa.record_batch({"t": ["d"]})]
    chunks = list(rechunk(batches, rows=10, size=100))
    assert [chunk.column("t").to_pylist()[0][0] for chunk in chunks] == ["a", "c", "d"]
