"""Values as SOQL writes them, by the type of the field. Pure.

Literals: "Quoted String Escape Sequences" and "Date Formats and Date Literals in WHERE" of the SOQL reference.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from urllib.parse import quote_plus

from exporter.rows.key_forms import read_number

NUMBERS = frozenset({"int", "long", "double", "currency", "percent"})
IDS = frozenset({"id", "reference"})
_BARE = frozenset({"date", "time"})
_ESCAPES = str.maketrans(
    {"\\": "\\\\", "'": "\\'", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\b": "\\b", "\f": "\\f"}
)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_TIME = re.compile(r"\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?Z?")
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
LONGEST_STRING = 4000
"""Characters of one string in a WHERE clause, at most ("SOQL and SOSL limits")."""


def literal(text: str, kind: str) -> str | None:
    """Return ``text`` as a literal for a field of type ``kind``; None if no record can have such a value there."""
    if kind in NUMBERS:
        number = read_number(text.strip())
        return None if number is None else format(number, "f")
    if kind in IDS:
        return f"'{text}'" if _ID.fullmatch(text) else None
    if kind == "boolean":
        return text.lower() if text.lower() in {"true", "false"} else None
    if kind == "datetime":
        moment = _moment(text)
        return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if kind in _BARE:
        return text if (_DATE if kind == "date" else _TIME).fullmatch(text) else None
    return None if "\0" in text or len(text) > LONGEST_STRING else f"'{text.translate(_ESCAPES)}'"


def url_bytes(written: str) -> int:
    """Return how many bytes of a URL a literal and its comma take."""
    return len(quote_plus(written)) + 3


def in_lists(literals: Iterable[str], *, longest: int) -> Iterator[list[str]]:
    """Yield the literals in lists of at most ``longest`` bytes of a URL, commas included; a longer one stands alone."""
    held: list[str] = []
    size = 0
    for each in literals:
        length = url_bytes(each)
        if held and size + length > longest:
            yield held
            held, size = [], 0
        held.append(each)
        size += length
    if held:
        yield held


def _moment(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment.astimezone(UTC) if moment.tzinfo is not None else None
