"""What an ADBC driver is not asked: whether a text is one query that only reads. Pure."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from exporter.failures import configuration
from exporter.sql.one_select import first_word, no_select
from exporter.sql.parameters import number_parameters

_READS = frozenset({"SELECT", "WITH", "VALUES", "TABLE", "FROM"})
_STATEMENTS = frozenset(
    {"INSERT", "UPDATE", "DELETE", "MERGE", "CREATE", "ALTER", "DROP", "TRUNCATE", "COPY", "CALL", "SET"}
)
_QUOTED = r"""
    {text} | {name} | `[^`]*` | --[^\n]* | /\*.*?\*/ | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
"""
_STANDARD = re.compile(_QUOTED.format(text="'(?:[^']|'')*'", name='"(?:[^"]|"")*"'), re.VERBOSE | re.DOTALL)
_BACKSLASH = re.compile(
    _QUOTED.format(text=r"'(?:[^'\\]|''|\\.)*'", name=r'"(?:[^"\\]|""|\\.)*"'), re.VERBOSE | re.DOTALL
)
"""Quoted text, quoted names and comments, for engines whose backslash is a letter and for those where it escapes."""
_WRITES = re.compile(
    r"\b(INTO|OVERWRITE|DELETE(?=\s+FROM\b)|UPDATE(?=\s+[^\s(),]+(?:(?:\s+AS)?\s+\w+)?\s+SET\b))\b", re.IGNORECASE
)
_SECOND = re.compile(r";\s*[^\s;]")


def check_select(sql: str, dialect: str | None = None) -> None:
    """Raise configuration unless ``sql`` is one statement that begins as a query and names no writing.

    How an unknown engine quotes is not known here: what is wrong in either reading of a backslash, and not in the
    other, is left to the engine.
    """
    word = first_word(sql, dialect=dialect)
    if word in _STATEMENTS or not word:
        raise no_select(sql, dialect=dialect)
    if word not in _READS:
        written = re.search(word, sql, re.IGNORECASE)
        raise configuration(
            "NOT_A_SELECT", f'Write one SELECT: no query begins with "{written[0] if written else word}"'
        )
    bare = [quoted.sub(_blank, sql) for quoted in (_STANDARD, _BACKSLASH)]
    if all(_SECOND.search(each) for each in bare):
        raise configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more")
    found = [match for each in bare if (match := _WRITES.search(each))]
    if len(found) == len(bare):
        raise configuration("QUERY_WRITES", f"The query writes ({found[0][1].upper()}): a source is only read")


def _blank(match: re.Match[str]) -> str:
    return " " if match[0].startswith(("--", "/*")) else " '' "


Write = Callable[[object], str | None]
"""How a value is written into the query rather than bound; None for one that is bound."""
Form = Callable[[str, Mapping[str, object], Write, str | None], tuple[str, list[object]]]
"""From SQL of a dialect and the values that it names, in the order of first use, to what is prepared and bound."""


def nulls(value: object) -> str | None:
    """Write a NULL as such: drivers cannot give it a type."""
    return "NULL" if value is None else None


def snowflake_values(value: object) -> str | None:
    """Write a time too, since Snowflake's driver (1.11) binds none; in a type that keeps its offset."""
    if isinstance(value, datetime):
        return f"'{value.astimezone(UTC).isoformat(timespec='microseconds')}'::timestamp_tz"
    return nulls(value)


def question_marks(
    sql: str, values: Mapping[str, object], write: Write, dialect: str | None = None
) -> tuple[str, list[object]]:
    """Return ``sql`` with a question mark for each ``$name`` that is bound, and a value for each mark."""
    names, bound = list(values), list[object]()

    def place(number: int) -> str:
        value = values[names[number - 1]]
        written = write(value)
        if written is None:
            bound.append(value)
        return written or "?"

    return number_parameters(sql, values, write=place, dialect=dialect)[0], bound


def dollar_numbers(
    sql: str, values: Mapping[str, object], write: Write, dialect: str | None = None
) -> tuple[str, list[object]]:
    """Return ``sql`` with ``$1``, ``$2``, … for the ``$name``s that are bound, each once among the values."""
    names = list(values)
    bound = [name for name in names if write(values[name]) is None]

    def place(number: int) -> str:
        name = names[number - 1]
        return write(values[name]) or f"${bound.index(name) + 1}"

    return number_parameters(sql, values, write=place, dialect=dialect)[0], [values[name] for name in bound]
