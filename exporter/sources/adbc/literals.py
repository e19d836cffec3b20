r"""Values as SQL literals, for servers that cannot bind parameters. Pure.

Nothing is pasted that could mean something else there. Numbers have a form of their own, and stand in brackets where
they have a sign. Text of letters, digits and the like is the same in every dialect. Other text is written only once
the server has shown how it reads quotes and backslashes (:data:`PROBE`), and has given the text back unchanged
(:func:`echo`); what a server reads in no safe way is a fault.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum

from exporter.failures import ExportError, configuration
from exporter.sql.parameters import number_parameters

_PLAIN = re.compile(r"[\w .,:;@/+#%&*=()<>!|~^\[\]-]*")
_ESCAPED_QUOTE = re.compile(r"\\['\"`]")
_LONGEST = 2**63


class Quoting(StrEnum):
    """How a server reads text in single quotes."""

    DOUBLED = "doubled"
    """A quote is written twice, and a backslash is a letter: the SQL standard."""
    BACKSLASH = "backslash"
    """A backslash escapes a quote and itself."""


PROBE = r"select 'a\\b' as backslash, 'a''b' as quote"
"""Asks a server for its quoting by a text that is valid in both."""


def quoting_of(answer: Sequence[object]) -> Quoting | None:
    r"""Return the quoting of a server by its answer to :data:`PROBE`; None if it is neither of the two."""
    known: Mapping[tuple[object, ...], Quoting] = {
        (r"a\\b", "a'b"): Quoting.DOUBLED,
        (r"a\b", "a'b"): Quoting.BACKSLASH,
        (r"a\b", "ab"): Quoting.BACKSLASH,
    }
    return known.get(tuple(answer))


def odd_texts(values: Iterable[object]) -> list[str]:
    """Return the texts whose writing depends on the server."""
    return [value for value in values if isinstance(value, str) and _PLAIN.fullmatch(value) is None]


def doubtful(values: Iterable[object]) -> list[object]:
    """Return the values that a server has to give back before they are used: such texts, and times.

    One that takes a time without its offset would compare it by the clock of some zone.
    """
    known = list(values)
    odd = odd_texts(known)
    return [value for value in known if isinstance(value, datetime) or value in odd]


def echo(values: Sequence[object], quoting: Quoting | None) -> str:
    """Return a query that gives the values back, if they are read as they are meant; raises as :func:`literal` does."""
    written = (f"{literal('text', value, quoting)} as t{number}" for number, value in enumerate(values))
    return f"select {', '.join(written)}"


def used(sql: str, given: Mapping[str, object], dialect: str | None = None) -> dict[str, object]:
    """Return those of the values that the query names, in the order of first use."""
    _, names = number_parameters(sql, {name: name for name in given}, write=str, dialect=dialect)
    return {str(name): given[str(name)] for name in names}


def paste(sql: str, values: Mapping[str, object], quoting: Quoting | None, dialect: str | None = None) -> str:
    """Return ``sql`` with a literal for each ``$name``; ``values`` are those of :func:`used`.

    Raises configuration ``PARAMETER_NOT_SUPPORTED``, also for a query whose own text has an escaped quote: where its
    strings end is then not certain here.
    """
    if _ESCAPED_QUOTE.search(sql):
        raise configuration(
            "PARAMETER_NOT_SUPPORTED",
            "The server cannot bind parameters, and beside them a query may not hold a quote after a backslash: "
            "use the other kind of quotes there",
        )
    written = [literal(name, value, quoting) for name, value in values.items()]
    return number_parameters(sql, values, write=lambda number: written[number - 1], dialect=dialect)[0]


def literal(name: str, value: object, quoting: Quoting | None) -> str:
    """Return ``value``, of the parameter ``name``, as SQL. Raises configuration ``PARAMETER_NOT_SUPPORTED``."""
    written = _text(value, quoting) if isinstance(value, str) else _number_or_time(value)
    if written is None:
        raise not_supported(name)
    return written


def _number_or_time(value: object) -> str | None:
    match value:
        case None:
            written = "NULL"
        case bool():
            written = "TRUE" if value else "FALSE"
        case int() if -_LONGEST <= value < _LONGEST:
            # The digits of the least alone are one more than the type holds.
            written = f"({value + 1} - 1)" if value == -_LONGEST else _signed(str(value))
        case float() if math.isfinite(value):
            written = _signed(repr(value) if "e" in repr(value) else f"{value!r}e0")
        case datetime() if value.tzinfo is not None:
            written = f"TIMESTAMP '{value.astimezone(UTC).isoformat(sep=' ', timespec='microseconds')}'"
        case date() if not isinstance(value, datetime):
            written = f"DATE '{value.isoformat()}'"
        case _:
            return None
    return written


def _text(value: str, quoting: Quoting | None) -> str | None:
    if _PLAIN.fullmatch(value):
        return f"'{value}'"
    if quoting is None or "\0" in value:
        return None
    if quoting is Quoting.BACKSLASH:
        value = value.replace("\\", "\\\\").replace("'", "\\'")
    else:
        value = value.replace("'", "''")
    return f"'{value}'"


def not_supported(name: str) -> ExportError:
    """Make the error of a value that has no certain form; the value is not shown."""
    return configuration(
        "PARAMETER_NOT_SUPPORTED",
        f"The server cannot bind parameters, and the value of ${name} has no certain form in its SQL: "
        "use letters, digits and spaces, or write it into the query",
    )


def _signed(digits: str) -> str:
    """Keep a sign apart from one before it: two of them begin a comment."""
    return f"({digits})" if digits.startswith("-") else digits
