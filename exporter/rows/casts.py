"""Arrow columns to the text that a target reads, one rule per type, whole columns at a time. Pure.

============================  =============================================================================
Arrow                         text
============================  =============================================================================
integers, booleans            ``42``; ``true``, ``false``
decimals                      every digit, never an exponent: ``0.0000001000``
floats                        the shortest text that reads back as the same number, never an exponent
date                          ``2026-11-23``
timestamp with zone           in UTC, cut to milliseconds: ``2026-11-23T03:00:00.000Z``
timestamp without zone        the same, read as local time of ``naive_timezone``
time                          ``03:00:00.000Z``, cut to milliseconds
text, dictionaries of text    itself; :func:`numeral` marks a column whose texts are all numbers, :func:`mixed` one
                              of values of any kind
UUID                          ``8-4-4-4-12`` hexadecimal digits
binary                        base64
null                          :attr:`TextRules.null`
anything else                 a configuration failure that names the column
============================  =============================================================================

Cells that have no such text (NaN, dates out of range) and those that the target would misread make their row a
:class:`CellFault`; the others are not touched by Python one by one.
"""

import base64
import re
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import pyarrow as pa
import pyarrow.compute as pc

from exporter.failures import configuration


@dataclass(frozen=True, kw_only=True, slots=True)
class TextRules:
    """How one target wants its text.

    ``null`` stands for NULL (the empty text too stays empty: most targets cannot tell them apart), unless the field's
    metadata :data:`NULLS` names one of ``nulls``. ``marker`` is a text the target would take for something else, so
    that a cell which holds it is a fault. ``first_day`` and ``last_day`` (both inclusive, in UTC) bound dates and
    timestamps; the latter may begin at ``first_moment`` (naive, in UTC) instead. ``naive_timezone`` is where timestamps
    without a zone were written; None makes them a configuration failure.
    """

    null: str = ""
    nulls: Mapping[str, str] = field(default_factory=dict)
    marker: str | None = None
    nul_character: bool = True
    longest_cell: int | None = None
    longest_record: int | None = None
    first_day: date = date.min
    last_day: date = date.max
    first_moment: datetime | None = None
    naive_timezone: str | None = "UTC"


NULLS = b"schedctl.nulls"
"""Key of a field's metadata: which of :attr:`TextRules.nulls` stands for NULL in this column."""
_NUMERALS = b"schedctl.numerals"
_MIXED = b"schedctl.mixed"
_NO_NUMBERS = pa.array(["NaN", "Infinity", "-Infinity"])
NO_NUMBER_MARK = "\0"
"""What :func:`mixed` columns put before ``NaN``, ``Infinity`` and ``-Infinity`` that are numbers, and no texts."""
_MARKED_NO_NUMBERS = pa.array([f"{NO_NUMBER_MARK}{each}" for each in _NO_NUMBERS.to_pylist()])
_NOT_A_NUMBER = ("NOT_A_NUMBER", "is NaN or infinite, which has no text")
_SALESFORCE_NULLS = {"ignore": "", "clear": "#N/A"}


def salesforce_rules(*, nulls: str = "ignore", naive_timezone: str | None = "UTC") -> TextRules:
    """Return the rules of Salesforce's bulk CSV; ``nulls`` is ``ignore`` (leave the field) or ``clear`` (empty it).

    Cells of 131,072 and records of 400,000 characters at most (Bulk API limits); ``#N/A`` empties a field (Prepare CSV
    Files). Dates run from 1700-01-01 to 4000-12-31 (Data Loader guide, Data Import Dates); a timestamp may be of the
    day before, since 1700 begins earlier in the user's zone.
    """
    return TextRules(
        null=_SALESFORCE_NULLS[nulls],
        nulls=_SALESFORCE_NULLS,
        marker="#N/A",
        nul_character=False,
        longest_cell=131_072,
        longest_record=400_000,
        first_day=date(1700, 1, 1),
        last_day=date(4000, 12, 31),
        first_moment=datetime(1699, 12, 31),  # noqa: DTZ001 - Arrow compares naive times
        naive_timezone=naive_timezone,
    )


def numeral(name: str) -> pa.Field:
    """Return a text column of numbers that no Arrow type holds; in it NaN and infinity are faults, as in floats."""
    return pa.field(name, pa.string(), metadata={_NUMERALS: b""})


def mixed(name: str) -> pa.Field:
    """Return a column of values of any kind as text; numbers that are none, marked, are faults, as in floats."""
    return pa.field(name, pa.string(), metadata={_MIXED: b""})


@dataclass(frozen=True, kw_only=True, slots=True)
class CellFault:
    """Why the row at ``index`` (from 0) of a batch cannot be written. ``message`` names the column, not the value."""

    index: int
    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBatch:
    """A batch as text: every column a string, no nulls. ``faults`` has one entry per row that cannot be written."""

    batch: pa.RecordBatch
    faults: tuple[CellFault, ...]


_Mark = Callable[[pa.Array, str, str], None]
"""Enter as faults the rows where a boolean array is true: the array, the code, what is wrong with the column."""
_Cast = Callable[[pa.Array, _Mark], pa.Array]
"""From a column to strings with nulls; what it marks need not have a sensible text."""


class TextCast:
    """The casts of one schema. Making it raises configuration ``TYPE_NOT_SUPPORTED`` or ``NO_TIMEZONE``."""

    def __init__(self, schema: pa.Schema, rules: TextRules) -> None:
        self._rules = rules
        self._casts = [_choose(each, rules) for each in schema]
        self._nulls = [_null(each, rules) for each in schema]
        self.schema = pa.schema([pa.field(name, pa.string()) for name in schema.names])

    def apply(self, batch: pa.RecordBatch) -> TextBatch:
        """Turn every column of a batch of the schema into text."""
        faults: dict[int, CellFault] = {}
        columns = []
        parts = zip(batch.schema.names, batch.columns, self._casts, self._nulls, strict=True)
        for name, column, cast, null in parts:
            text = cast(column, _marker(faults, f'column "{name}"'))
            columns.append(pc.fill_null(text, null))
        _check_records(columns, self._rules, _marker(faults, "the record"))
        ordered = tuple(faults[index] for index in sorted(faults))
        return TextBatch(batch=pa.RecordBatch.from_arrays(columns, schema=self.schema), faults=ordered)


def _null(column: pa.Field, rules: TextRules) -> str:
    told = (column.metadata or {}).get(NULLS)
    return rules.null if told is None else rules.nulls.get(told.decode(), rules.null)


def _marker(faults: dict[int, CellFault], subject: str) -> _Mark:
    def mark(bad: pa.Array, code: str, what: str) -> None:
        if not pc.any(bad).as_py():  # None for a column of nulls
            return
        for index in pc.indices_nonzero(pc.fill_null(bad, False)).to_pylist():  # noqa: FBT003 - the value to fill in
            faults.setdefault(index, CellFault(index=index, code=code, message=f"{subject} {what}"))

    return mark


def _choose(field: pa.Field, rules: TextRules) -> _Cast:
    kind = field.type
    if pa.types.is_dictionary(kind):
        inner = _choose(pa.field(field.name, kind.value_type), rules)
        return lambda column, mark: inner(column.cast(kind.value_type), mark)
    if pa.types.is_timestamp(kind):
        return _choose_timestamp(field, rules)
    if _NUMERALS in (field.metadata or {}):
        return _numeral
    if _MIXED in (field.metadata or {}):
        return lambda column, mark: _mixed(column, mark, rules)
    for fits, cast in _CASTS:
        if fits(kind):
            return lambda column, mark: cast(column, mark, rules)
    raise configuration("TYPE_NOT_SUPPORTED", f'Column "{field.name}" has no text form: {_advice(kind)}')


def _advice(kind: pa.DataType) -> str:
    if pa.types.is_struct(kind):
        return f"it is a {kind}; select its fields one by one"
    if pa.types.is_nested(kind):
        return f"it is a {kind}; write it as text in the query, such as array_to_string(column, ';') or to_json(column)"
    return f"it is a {kind}; cast it to VARCHAR in the query"


def _choose_timestamp(field: pa.Field, rules: TextRules) -> _Cast:
    if field.type.tz is not None:
        return lambda column, mark: _instant(column, mark, rules)
    if rules.naive_timezone is None:
        raise configuration(
            "NO_TIMEZONE",
            f'Column "{field.name}" is a timestamp without a time zone: set naive_timezone to the zone it was '
            "written in, or cast it to TIMESTAMPTZ in the query",
        )
    zone = rules.naive_timezone
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise configuration(
            "NO_TIMEZONE", f"There is no time zone {zone!r}: write a name such as Europe/Berlin"
        ) from error
    if zone == "UTC":
        return lambda column, mark: _instant(column, mark, rules)
    return lambda column, mark: _local(column, mark, rules, zone)


def _plain(column: pa.Array, _mark: _Mark, _rules: TextRules) -> pa.Array:
    return column.cast(pa.string())


def _decimal(column: pa.Array, _mark: _Mark, _rules: TextRules) -> pa.Array:
    text = column.cast(pa.string())
    plain = 0 <= column.type.scale <= 6  # noqa: PLR2004 - the exponents of smaller ones are never written
    return text if plain else _without_exponent(text, "E")


def _uuid(column: pa.Array, _mark: _Mark, _rules: TextRules) -> pa.Array:
    return _each(column.storage, lambda value: str(uuid.UUID(bytes=value)))


def _json(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    return _text(column.storage, mark, rules)


def _binary(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    return _text(_each(column, lambda value: base64.b64encode(value).decode()), mark, rules)


def _each(column: pa.Array, text: Callable[[bytes], str]) -> pa.Array:
    return pa.array([None if value is None else text(value) for value in column.to_pylist()], pa.string())


def _text(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    text = column.cast(pa.string())
    if not rules.nul_character and _holds_nul(text):
        mark(pc.match_substring(text, "\0"), "NUL_CHARACTER", "holds a NUL character, which the target cannot take")
    if rules.marker is not None:
        mark(pc.equal(text, rules.marker), "NULL_MARKER", f"holds the text {rules.marker}, which would empty the field")
    if rules.longest_cell is not None and _longest(text) > rules.longest_cell:
        mark(
            pc.greater(pc.utf8_length(text), rules.longest_cell),
            "STRING_TOO_LONG",
            f"is longer than {rules.longest_cell:,} characters",
        )
    return text


def _holds_nul(text: pa.Array) -> bool:
    """Whether the memory behind the column has a NUL at all: four times as fast as to ask of each cell."""
    content = text.buffers()[2]
    return content is not None and re.search(b"\0", memoryview(content)) is not None


def _longest(text: pa.Array) -> int:
    """Return the length in bytes, which is no less than that in characters, of the longest cell."""
    return pc.max(pc.binary_length(text)).as_py() or 0


def _float(column: pa.Array, mark: _Mark, _rules: TextRules) -> pa.Array:
    mark(pc.invert(pc.is_finite(column)), *_NOT_A_NUMBER)
    return _without_exponent(column.cast(pa.string()), "e")


def _numeral(column: pa.Array, mark: _Mark) -> pa.Array:
    mark(pc.is_in(column, _NO_NUMBERS), *_NOT_A_NUMBER)
    return column


def _mixed(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    if not _holds_nul(column):
        return _text(column, mark, rules)
    bad = pc.is_in(column, _MARKED_NO_NUMBERS)
    mark(bad, *_NOT_A_NUMBER)
    return _text(pc.if_else(bad, pc.utf8_slice_codeunits(column, 1), column), mark, rules)


def _without_exponent(text: pa.Array, letter: str) -> pa.Array:
    """Write out the numbers that Arrow gave an exponent (``1e+20``, ``0E-10``); few columns have more than a few."""
    found = pc.match_substring(text, letter)
    if not pc.any(found).as_py():
        return text
    distinct = pc.filter(text, found).dictionary_encode()
    written = pa.array([f"{Decimal(number):f}" for number in distinct.dictionary.to_pylist()], pa.string())
    return pc.replace_with_mask(text, pc.fill_null(found, False), written.take(distinct.indices))  # noqa: FBT003 - the value to fill in


def _date(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    days = column.cast(pa.date32(), safe=False) if pa.types.is_date64(column.type) else column
    inside = pc.and_(
        pc.greater_equal(days, pa.scalar(rules.first_day, pa.date32())),
        pc.less_equal(days, pa.scalar(rules.last_day, pa.date32())),
    )
    _mark_outside(inside, mark)
    return days.cast(pa.string())


def _instant(column: pa.Array, mark: _Mark, rules: TextRules) -> pa.Array:
    """Write a timestamp whose number counts from the epoch in UTC."""
    naive = pa.timestamp(column.type.unit)
    counted = column.cast(pa.int64()).cast(naive)
    inside = _between(counted, rules)
    _mark_outside(inside, mark)
    # What is outside may not even fit the finer unit, so it goes first.
    counted = pc.if_else(inside, counted, pa.scalar(None, naive))
    if column.type.unit == "s":
        counted = counted.cast(pa.timestamp("ms"))
    text = counted.cast(pa.string()).cast(pa.binary())
    return _cut(pc.binary_replace_slice(text, 10, 11, b"T"), 23)


def _between(counted: pa.Array, rules: TextRules) -> pa.Array:
    if counted.type.unit == "ns":  # which cannot hold the bounds themselves
        counted = counted.cast(pa.timestamp("us"), safe=False)
    unit = counted.type.unit
    start = pa.scalar(rules.first_moment or datetime.combine(rules.first_day, time.min), pa.timestamp(unit))
    end = pa.scalar(datetime.combine(rules.last_day, time.max), pa.timestamp("us")).cast(pa.timestamp(unit), safe=False)
    return pc.and_(pc.greater_equal(counted, start), pc.less_equal(counted, end))


def _mark_outside(inside: pa.Array, mark: _Mark) -> None:
    mark(pc.invert(inside), "VALUE_OUT_OF_RANGE", "holds a date or time that the target cannot take")


def _cut(text: pa.Array, length: int) -> pa.Array:
    """Replace what follows ``length`` bytes of ASCII text by a Z."""
    return pc.binary_replace_slice(text, length, 100, b"Z").cast(pa.string())


def _local(column: pa.Array, mark: _Mark, rules: TextRules, zone: str) -> pa.Array:
    """Read local times; the first pass of an hour that the clock repeats, and a fault in one that it skips."""
    inside = _between(column, rules)
    _mark_outside(inside, mark)
    known = pc.if_else(inside, column, pa.scalar(None, column.type))
    before = pc.assume_timezone(known, zone, ambiguous="earliest", nonexistent="earliest")
    after = pc.assume_timezone(known, zone, ambiguous="earliest", nonexistent="latest")
    mark(pc.not_equal(before, after), "NO_SUCH_LOCAL_TIME", f"holds a time that the clock in {zone} skipped")
    return _instant(before, mark, rules)


def _time(column: pa.Array, mark: _Mark, _rules: TextRules) -> pa.Array:
    unit = column.type.unit
    full_day = 86_400 * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    number = pa.int32() if pa.types.is_time32(column.type) else pa.int64()
    inside = pc.less(column.cast(number).cast(pa.int64()), full_day)  # DuckDB knows 24:00:00
    _mark_outside(inside, mark)
    known = pc.if_else(inside, column, pa.scalar(None, column.type))
    if unit == "s":
        known = known.cast(pa.time32("ms"))
    return _cut(known.cast(pa.string()).cast(pa.binary()), 12)


def _check_records(columns: Sequence[pa.Array], rules: TextRules, mark: _Mark) -> None:
    if rules.longest_record is None or sum(_longest(column) for column in columns) <= rules.longest_record:
        return
    total = pc.utf8_length(columns[0]).cast(pa.int64())
    for column in columns[1:]:
        total = pc.add(total, pc.utf8_length(column).cast(pa.int64()))
    mark(
        pc.greater(total, rules.longest_record),
        "RECORD_TOO_LONG",
        f"is longer than {rules.longest_record:,} characters",
    )


_CASTS: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[pa.Array, _Mark, TextRules], pa.Array]]] = (
    (lambda kind: isinstance(kind, pa.UuidType), _uuid),
    (lambda kind: isinstance(kind, pa.JsonType), _json),
    (lambda kind: pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind), _plain),
    (pa.types.is_decimal, _decimal),
    (pa.types.is_floating, _float),
    (lambda kind: kind in {pa.string(), pa.large_string(), pa.string_view()}, _text),
    (pa.types.is_date, _date),
    (pa.types.is_time, _time),
    (lambda kind: kind in {pa.binary(), pa.large_binary(), pa.binary_view()}, _binary),
    (pa.types.is_fixed_size_binary, _binary),
)
"""What a column's type fits first, and its rule; timestamps and dictionaries are chosen by hand."""
