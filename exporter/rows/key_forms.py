"""When two texts are one key: the one place that says so, for whoever compares keys. Pure.

A target compares the values of a field, not the text that they came as: ``1``, ``01`` and ``1.0`` are one number, a
15-character Id and its 18-character form are one record. How letters are folded is the target's own affair, too.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pyarrow as pa

Form = Literal["exact", "folded", "cased", "id", "number", "date", "datetime", "time"]
"""What makes two cells the same key. ``exact``: the text. ``folded``: the text, but for case and for spaces at its
ends. ``cased``: the text but for those spaces. ``id``: the record that a Salesforce Id names. ``number``, ``date``,
``datetime``, ``time``: the value; what is no such value is compared as ``folded``."""
BLANKS = " \t\n\r\v\f\u00a0"
"""Characters that count for nothing at the ends of a key."""
LARGEST_EXPONENT = 308
"""Of a double: no field holds more, and a billion of digits would be written out otherwise."""
_SHORT_ID, _LONG_ID = 15, 18
_CHECKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
_DOTTED_I = "\u0130"
_CANONICAL: Mapping[str, str] = {
    "id": r"\A[0-9A-Za-z]{15}\z",
    "number": r"\A(?:0|-?[1-9][0-9]*)\z",
    "date": r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\z",
}
"""Texts that are their own normal form, so that no column of them is looked at cell by cell."""
_DATETIME = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\z"
_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d{1,9})?", re.ASCII)
_TIME = re.compile(r"(\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?[Zz]?", re.ASCII)


def normal(text: str, form: Form) -> str:
    """Return what two texts have in common that are the same key in this form."""
    if form == "exact":
        return text
    stripped = text.strip(BLANKS)
    return _NORMAL[form](stripped)


def normal_column(cells: "pa.Array", form: Form) -> "pa.Array":
    """Return :func:`normal` of each cell of a column of strings, whole columns at a time."""
    import pyarrow as pa  # noqa: PLC0415 - it takes 0.2 s, and the forms alone need nothing of it
    import pyarrow.compute as pc  # noqa: PLC0415 - the same

    if form == "exact":
        return cells
    stripped = pc.utf8_trim(cells, BLANKS)
    if form == "cased":
        return stripped
    if form == "folded":
        return pc.utf8_lower(stripped)
    if form == "datetime":  # the text that a typed column is spooled as
        plain = pc.match_substring_regex(stripped, _DATETIME)
        found = pc.utf8_lower(stripped)
    elif form == "time":
        plain = pa.array([False] * len(stripped), pa.bool_())
        found = stripped
    else:
        plain = pc.match_substring_regex(stripped, _CANONICAL[form])
        found = stripped
    odd = pc.invert(pc.fill_null(plain, True))  # noqa: FBT003 - the value to fill in
    if not pc.any(odd).as_py():
        return found
    distinct = pc.filter(stripped, odd).dictionary_encode()
    written = pa.array([None if cell is None else _NORMAL[form](cell) for cell in distinct.dictionary.to_pylist()])
    return pc.replace_with_mask(found, odd, written.cast(pa.string()).take(distinct.indices))


def fold(text: str) -> str:
    """Return the text in lower case, letter by letter: each stays one letter.

    That is less than Unicode's full case folding, by which ``straße`` and ``strasse`` would be one text. It is what
    Arrow, DuckDB and this agree on, for every letter that all three know.
    """
    lowered = text.lower()
    if len(lowered) == len(text) and "\u03a3" not in text:  # a capital sigma depends on where it stands
        return lowered
    return "".join(
        "i" if letter == _DOTTED_I else low if len(low := letter.lower()) == 1 else letter for letter in text
    )


def id_checksum(short: str) -> str:
    """Return what makes 18 characters of a 15-character Id: one for each five, with a bit for each capital letter.

    https://developer.salesforce.com/docs/atlas.en-us.object_reference.meta/object_reference/field_types.htm (ID)
    """
    chunks = (short[start : start + 5] for start in range(0, len(short), 5))
    return "".join(
        _CHECKS[sum(1 << place for place, letter in enumerate(chunk) if "A" <= letter <= "Z")] for chunk in chunks
    )


def repair_case(text: str) -> str | None:
    """Return an 18-character Id with the case that its last three characters tell; None if it is none.

    Salesforce does so, too: a program that ignores case may have changed it.
    """
    checks = text[_SHORT_ID:].upper()
    if len(text) != _LONG_ID or not text.isascii() or not set(checks) <= set(_CHECKS):
        return None
    letters = [
        letter.upper() if _CHECKS.index(checks[place // 5]) >> place % 5 & 1 else letter.lower()
        for place, letter in enumerate(text[:_SHORT_ID])
    ]
    short = "".join(letters)
    return short + checks if id_checksum(short) == checks else None


def _id(text: str) -> str:
    """Return the 15 characters that name the record: of these each letter's case counts."""
    return (repair_case(text) or text)[:_SHORT_ID]


def read_number(text: str) -> Decimal | None:
    """Return the number that a text writes, with an exponent or without; None for any other text."""
    if not _NUMBER.fullmatch(text):
        return None
    number = Decimal(text)
    return number if abs(number.adjusted()) <= LARGEST_EXPONENT else None


def _number(text: str) -> str:
    number = read_number(text)
    if number is None:
        return fold(text)
    return f"{number.normalize():f}" if number else "0"  # -0 is 0


def _moment(text: str) -> str:
    """Return an instant in UTC, to the millisecond, as it is spooled but in lower case."""
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC)
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "z").lower()
    except (ValueError, OverflowError):
        pass
    return fold(text)


def _time(text: str) -> str:
    match = _TIME.fullmatch(text)
    return f"{match[1]}.{(match[2] or '')[:3]:0<3}z" if match else fold(text)


_NORMAL: Mapping[str, Callable[[str], str]] = {
    "folded": fold,
    "cased": str,
    "id": _id,
    "number": _number,
    "date": fold,
    "datetime": _moment,
    "time": _time,
}
