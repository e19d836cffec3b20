"""Digests of keys and rows: 16 bytes of SHA-256 over the text as it is sent. Whole batches at a time."""

import hashlib
import json
from collections.abc import Sequence

import duckdb
import pyarrow as pa

from exporter.changes.rules import ChangeRules, find_columns
from exporter.rows.key_forms import Form, normal, normal_column

SCHEMA = pa.schema(
    [
        pa.field("number", pa.int64()),
        pa.field("key", pa.binary()),
        pa.field("digest", pa.binary()),
        pa.field("text", pa.string()),
        pa.field("faulty", pa.bool_()),
        pa.field("part", pa.uint16()),
    ]
)
"""Of each row: its number in the result, from 1; the digest of its key, NULL without one; that of its text; the key's
text, where the key is one cell; whether it has no faithful text as a whole; and the number that its key's first two
bytes make, 0 without a key."""

_DIGEST = 16


class Digester:
    """Makes the digests of one result's rows."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, names: Sequence[str], rules: ChangeRules) -> None:
        """``names`` are the result's columns. Raises configuration ``CHANGES_KEY_MISSING``."""
        self._connection = connection
        places = find_columns(rules.key, names, any_case=rules.form != "exact")
        self._schema = pa.schema([pa.field(f"c{place}", pa.string()) for place in range(len(names))])
        compared = [place for place, name in enumerate(names) if name not in rules.passing]
        # The names are part of the digest: a column that is renamed, or comes to it, has to be sent.
        seed = hashlib.sha256(json.dumps([names[place] for place in compared]).encode()).hexdigest()
        self._form, self._place = rules.form, places[0]
        digest = _digest([f"'{seed}'", *_pieces(compared)])
        text = "''" if rules.form == "exact" else _cell(places[0])
        self._sql = f"""
            select unhex(key) as key, unhex({digest}) as digest, text,
              coalesce(('0x' || left(key, 4))::usmallint, 0) as part
            from (select *, {_key(places, rules.form)} as key, {text} as text from chunk)"""  # noqa: S608 - column numbers of our own

    def digest(self, text: pa.RecordBatch, first: int, faulty: pa.Array) -> pa.Table:
        """Return the digests (see :data:`SCHEMA`) of rows that are numbered from ``first``."""
        chunk = pa.Table.from_batches([pa.RecordBatch.from_arrays(text.columns, schema=self._schema)])
        chunk = chunk.append_column("same", normal_column(text.column(self._place), self._form))
        self._connection.register("chunk", chunk)
        made = self._connection.sql(self._sql).to_arrow_table()
        self._connection.unregister("chunk")
        numbers = pa.array(range(first, first + text.num_rows), pa.int64())
        columns = [numbers, made["key"], made["digest"], made["text"], faulty, made["part"]]
        return pa.table(columns, names=SCHEMA.names).cast(SCHEMA)


def _key(places: Sequence[int], form: Form) -> str:
    if form == "exact":
        empty = " and ".join(f"{_cell(place)} = ''" for place in places)
        return f"case when {empty} then null else {_digest(_pieces(places))} end"
    return f"case when same in ('', '#N/A', '#n/a') then null else {_digest(['same'])} end"


def _cell(place: int) -> str:
    return f"c{place}"


def _pieces(places: Sequence[int]) -> list[str]:
    """Return what the cells are joined of: each with its length in front, so that no two rows give the same text."""
    return [piece for place in places for piece in (f"strlen({_cell(place)})", "':'", _cell(place))]


def _digest(pieces: Sequence[str]) -> str:
    return f"left(sha256(concat({', '.join(pieces)})), {2 * _DIGEST})"


def key_digest(text: str, form: Form) -> bytes:
    """Return the digest of a key that is one cell."""
    return hashlib.sha256(normal(text, form).encode()).digest()[:_DIGEST]
