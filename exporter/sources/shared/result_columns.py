"""What every source owes of its query and its columns' names. Pure."""

import json
import math
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any

import pyarrow as pa

from exporter.failures import ExportError, configuration
from exporter.rows.casts import NO_NUMBER_MARK


class NoNumberError(ValueError):
    """A number of a row is NaN or infinite."""


def numeral(value: float | Decimal) -> str:
    """Return a number as text that reads back as the same one, never with an exponent. Raises NoNumberError."""
    if not math.isfinite(value):
        raise NoNumberError
    return format(Decimal(repr(value)) if isinstance(value, float) else value, "f")


def marked_numeral(value: float | Decimal) -> str:
    """Return a number as text for a column of values of any kind: one that is none is marked, and rejects its row."""
    try:
        return numeral(value)
    except NoNumberError:
        word = "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
        return f"{NO_NUMBER_MARK}{word}"


def marked_json(value: object, inner: Callable[[Any], str]) -> str:
    """Return a list or map as JSON, for such a column; one with a number that is none is marked as one itself.

    ``inner`` makes text of what JSON has no form for. Raises OutOfRangeError as that does.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=inner)
    except OutOfRangeError:
        raise
    except ValueError:  # of the module, or a NoNumberError
        return f"{NO_NUMBER_MARK}NaN"


class OutOfRangeError(ValueError):
    """A date or time of a row is beyond what a driver has values for."""


class _OutOfRange:
    def __str__(self) -> str:
        raise OutOfRangeError


OUT_OF_RANGE = _OutOfRange()
"""What a driver's own loader gives for such a value; it has no text."""


def beyond(values: Iterable[object], kind: pa.DataType) -> list[object]:
    """Return a column's values with the last moment that Arrow has for each :data:`OUT_OF_RANGE`.

    No target can take that, so that the row is rejected, as it is where the source has such a moment itself.
    """
    last = 2**31 - 1 if pa.types.is_date(kind) else 86_400 * 10**6 if pa.types.is_time(kind) else 2**63 - 1
    return [last if value is OUT_OF_RANGE else value for value in values]


def out_of_range(name: str) -> ExportError:
    """Make the error of a column with a value that a driver has none for."""
    return configuration(
        "VALUE_NOT_SUPPORTED", f'Column "{name}" holds a date or time that is out of range: cast the column to text'
    )


def check_names(names: Iterable[str]) -> None:
    """Raise configuration unless each column has a name of its own."""
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise configuration("COLUMN_WITHOUT_NAME", f"Column {number} of the query has no name: add AS name")
        if name in seen:
            raise configuration(
                "DUPLICATE_COLUMN", f'The query gives two columns the name "{name}": rename one with AS'
            )
        seen.add(name)
