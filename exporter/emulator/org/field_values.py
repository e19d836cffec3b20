"""From cells to stored values, a column at a time, with Salesforce's words for what cannot be. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from datetime import date as calendar_date
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from enum import Enum
from typing import Final

from exporter.emulator.org.ids import normal_id
from exporter.emulator.org.record_table import NULL
from exporter.emulator.org.schema import NUMBER_TYPES, TEXT_TYPES, Field


class Leave(Enum):
    """What a cell without a value says: leave the field as it is."""

    ALONE = "alone"


LEAVE: Final = Leave.ALONE
Value = str | int | float | None | Leave


@dataclass(frozen=True, kw_only=True, slots=True)
class Column:
    """The values of one field for all rows of a batch; ``gaps`` if some of them are :data:`LEAVE`."""

    field: Field
    values: Sequence[Value]
    gaps: bool

    def pick(self, rows: Sequence[int]) -> "Column":
        """Return the column of these rows only."""
        chosen = [self.values[row] for row in rows]
        return Column(field=self.field, values=chosen, gaps=self.gaps and LEAVE in chosen)


class Errors(dict[int, str]):
    """The first error of each row, as a batch's result words it: ``CODE:message:fields --``."""

    def add(self, row: int, code: str, message: str, *fields: str) -> None:
        """Say that a row is refused, unless it is already."""
        self.setdefault(row, row_error(code, message, *fields))


def row_error(code: str, message: str, *fields: str) -> str:
    """Return an error as a batch's result words it."""
    return f"{code}:{message}:{','.join(fields)} --" if fields else f"{code}:{message}:--"


def read_column(field: Field, cells: Sequence[str], place: int, errors: Errors) -> Column:
    """Turn cells into values; ``place`` counts columns from 0. A rejected row's value is None."""
    read = _READERS[field.type]
    special = "" in cells or NULL in cells
    rows: Sequence[int] = range(len(cells))
    texts = cells
    if special:
        rows = [row for row, cell in enumerate(cells) if cell not in _EMPTY]
        texts = [cells[row] for row in rows]
    found, refused = read(field, texts, place)
    for at, error in refused:
        errors.setdefault(rows[at], error)
    if not special:
        return Column(field=field, values=found, gaps=False)
    values: list[Value] = [LEAVE if cell == "" else None for cell in cells]
    for row, value in zip(rows, found, strict=True):
        values[row] = value
    return Column(field=field, values=values, gaps="" in cells)


_EMPTY = frozenset({"", NULL})
_Refused = Iterable[tuple[int, str]]
_Read = tuple[Sequence[Value], _Refused]


def _read_text(field: Field, texts: Sequence[str], _place: int) -> _Read:
    refused: list[tuple[int, str]] = []
    if texts and max(map(len, texts)) > field.length:
        shape = "{label}: data value too large: {text} (max length={length})"
        for at, text in enumerate(texts):
            if len(text) > field.length:
                message = shape.format(label=field.label, text=text, length=field.length)
                refused.append((at, row_error("STRING_TOO_LONG", message, field.name)))
    if field.type == "email":
        refused += _refuse_emails(field, texts)
    if field.restricted:
        refused += _refuse_choices(field, texts)
    return [text.lower() for text in texts] if field.type == "email" else texts, refused


_EMAIL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")


def _refuse_emails(field: Field, texts: Sequence[str]) -> _Refused:
    for at, text in enumerate(texts):
        if not _EMAIL.fullmatch(text):
            message = f"{field.label}: invalid email address: {text}"
            yield at, row_error("INVALID_EMAIL_ADDRESS", message, field.name)


def _refuse_choices(field: Field, texts: Sequence[str]) -> _Refused:
    known = frozenset(field.values)
    multiple = field.type == "multipicklist"
    for at, text in enumerate(texts):
        if text in known or (multiple and known.issuperset(text.split(";"))):
            continue
        message = f"{field.label}: bad value for restricted picklist field: {text}"
        yield at, row_error("INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST", message, field.name)


def _reader(xsd: str, convert: Callable[[Field, str], Value]) -> Callable[[Field, Sequence[str], int], _Read]:
    """Make a reader of values one by one; ``convert`` raises ValueError for text that is no such value."""

    def read(field: Field, texts: Sequence[str], place: int) -> _Read:
        refused: list[tuple[int, str]] = []
        values: list[Value] = []
        for at, text in enumerate(texts):
            try:
                values.append(convert(field, text))
            except OutOfRangeError:
                values.append(None)
                message = f"{field.label}: value outside of valid range on numeric field: {text}"
                refused.append((at, row_error("NUMBER_OUTSIDE_VALID_RANGE", message, field.name)))
            except ValueError:
                values.append(None)
                message = (
                    f"Failed to deserialize field at col {place}. "
                    f"Due to, '{text}' is not a valid value for the type xsd:{xsd}"
                )
                refused.append((at, row_error("INVALID_FIELD", message, field.name)))
        return values, refused

    return read


class OutOfRangeError(ValueError):
    """A number with more digits than its field has."""


_BOOLEANS = {"true": 1, "1": 1, "false": 0, "0": 0}


def _boolean(_field: Field, text: str) -> int:
    found = _BOOLEANS.get(text) if text in _BOOLEANS else _BOOLEANS.get(text.lower())
    if found is None:
        raise ValueError(text)
    return found


_INT = re.compile(r"[+-]?\d{1,20}", re.ASCII)
_INT_LIMIT = 2**31


def _int(_field: Field, text: str) -> int:
    if not _INT.fullmatch(text):
        raise ValueError(text)
    number = int(text)
    if not -_INT_LIMIT <= number < _INT_LIMIT:
        raise ValueError(text)
    return number


_DOUBLE = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,3})?", re.ASCII)


def _double(field: Field, text: str) -> int | float:
    if not _DOUBLE.fullmatch(text):
        raise ValueError(text)
    whole = field.precision - field.scale
    if text.isdecimal() and len(text) <= whole:
        return int(text)
    number = float(text)
    if len(text) - text.find(".") - 1 > field.scale or "e" in text or "E" in text:
        unit = Decimal(1).scaleb(-field.scale)
        try:
            number = float(Decimal(text).quantize(unit, rounding=ROUND_HALF_UP))
        except InvalidOperation as error:
            raise OutOfRangeError(text) from error
    if abs(number) >= 10.0**whole:
        raise OutOfRangeError(text)
    return number


_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})", re.ASCII)
_FIRST_YEAR, _LAST_YEAR = 1700, 4000


def _date(_field: Field, text: str) -> str:
    match = _DATE.fullmatch(text)
    if match is None:
        raise ValueError(text)
    _check_year(calendar_date(int(match[1]), int(match[2]), int(match[3])))
    return text


def _check_year(found: calendar_date) -> None:
    """Dates run from 1700-01-01 to 4000-12-31: help article on date and date/time fields."""
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        raise ValueError(found)


_DATETIME = re.compile(
    r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?(?:Z|[+-]\d{2}:?\d{2})", re.ASCII
)  # fmt: skip
_CANONICAL_LENGTH = len("2026-01-31T00:00:00.000Z")


def _datetime(_field: Field, text: str) -> str:
    if not _DATETIME.fullmatch(text):
        raise ValueError(text)
    found = datetime.fromisoformat(text)
    canonical = len(text) == _CANONICAL_LENGTH and text[-1] == "Z"
    if not canonical:
        found = found.astimezone(UTC)
    _check_year(found)
    return text if canonical else write_datetime(found)


def write_datetime(moment: datetime) -> str:
    """Return an aware time as it is stored and as CSV shows it: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def write_seconds(seconds: float) -> str:
    """Return a time given in seconds since 1970 as :func:`write_datetime` does."""
    return write_datetime(datetime.fromtimestamp(seconds, UTC))


_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d{1,3})?Z?", re.ASCII)


def _time(_field: Field, text: str) -> str:
    if not _TIME.fullmatch(text):
        raise ValueError(text)
    seconds, _, fraction = text.removesuffix("Z").partition(".")
    return f"{seconds}.{fraction:0<3}Z"


def _read_ids(field: Field, texts: Sequence[str], _place: int) -> _Read:
    """Read Ids; whether they lead to a record of the right object is seen later."""
    values: list[Value] = []
    refused: list[tuple[int, str]] = []
    for at, text in enumerate(texts):
        found = normal_id(text)
        values.append(found)
        if found is None:
            message = f"{field.label}: id value of incorrect type: {text}"
            refused.append((at, row_error("MALFORMED_ID", message, field.name)))
    return values, refused


_READERS: dict[str, Callable[[Field, Sequence[str], int], _Read]] = {
    **dict.fromkeys(TEXT_TYPES, _read_text),
    **dict.fromkeys(NUMBER_TYPES, _reader("double", _double)),
    "int": _reader("int", _int),
    "boolean": _reader("boolean", _boolean),
    "date": _reader("date", _date),
    "datetime": _reader("dateTime", _datetime),
    "time": _reader("time", _time),
    "reference": _read_ids,
    "id": _read_ids,
}
