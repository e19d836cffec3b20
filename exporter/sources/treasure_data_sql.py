"""SQL as Treasure Data takes it: its API binds no parameters, so values go into the text as literals. Pure.

Only a ``$name`` outside strings, quoted names and comments is a parameter, by the engine's own rules of quoting:
https://trino.io/docs/current/language/types.html and https://cwiki.apache.org/confluence/display/Hive/Literals.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.failures import ExportError, configuration, internal
from exporter.sources.columns import no_select

_BIGINT = 2**63
_DECIMAL_DIGITS = 38
_PARAMETER = r"(?<![\w$]) \$(?P<name> [A-Za-z_]\w* )"
_COMMENT = r"(?P<comment> --[^\n]* | /\*.*?\*/ )"
_TOUCHING = frozenset("'\"`&")
"""What a literal may not stand beside: two strings without a blank between them are one, and ``U&'…'`` has escapes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Dialect:
    """How an engine quotes. ``text`` and ``moment`` write a literal; ``first_words`` begin what only reads."""

    token: re.Pattern[str]
    text: Callable[[str], str]
    moment: Callable[[str], str]
    first_words: frozenset[str]
    writing_words: frozenset[str]


def write_query(sql: str, given: Mapping[str, object], *, engine: str) -> str:
    """Return the one SELECT of ``sql`` with each ``$name`` as a literal of ``engine``: trino, presto or hive.

    Raises configuration ``NOT_ONE_QUERY``, ``NOT_A_SELECT``, ``UNKNOWN_PARAMETER`` for a name that is not among
    ``given``, and ``PARAMETER_NOT_SUPPORTED`` for a value that has no literal. Values that no name asks for are left
    out.
    """
    dialect = _HIVE if engine == "hive" else _TRINO
    statement = _one_select(sql, dialect)

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            _check_string(match, given)
            return match[0]
        if name not in given:
            known = ", ".join(f"${each}" for each in sorted(given)) or "none"
            raise configuration("UNKNOWN_PARAMETER", f"The query uses ${name}; the known parameters are: {known}")
        literal = _literal(name, given[name], dialect)
        before, after = statement[: match.start()][-1:], statement[match.end() :][:1]
        return f"{' ' * (before in _TOUCHING)}{literal}{' ' * (after in _TOUCHING)}"

    return dialect.token.sub(replace, statement)


def _one_select(sql: str, dialect: _Dialect) -> str:
    """Return the statement without a semicolon behind it."""
    bare = dialect.token.sub(lambda match: (" " if match["comment"] else "x") * len(match[0]), sql)
    if not bare.strip(" \t\r\n;"):
        raise no_select("")
    end = len(bare.rstrip(" \t\r\n;"))
    if ";" in bare[:end]:
        raise configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more")
    words = re.findall(r"\w+", bare[:end])
    if not words or words[0].upper() not in dialect.first_words:
        first = words[0] if words else bare.strip()[:1]
        raise configuration("NOT_A_SELECT", f'Write one SELECT: the query is of type {first.upper()} ("{first}")')
    for word in words:
        if word.upper() in dialect.writing_words:
            raise configuration("QUERY_WRITES", f"The query writes ({word}): a source is only read")
    return sql[: _end_of_text(sql, bare, end)]


def _end_of_text(sql: str, bare: str, end: int) -> int:
    """Return where to cut: at the first semicolon behind the statement, so that comments before it stay."""
    found = bare.find(";", end)
    return len(sql) if found < 0 else found


def _check_string(match: re.Match[str], given: Mapping[str, object]) -> None:
    r"""Refuse a string in which ``\'`` may have made a parameter of text: outside Hive that would end the string."""
    text = match[0]
    if match["comment"] is None and re.search(r"\\['\"]", text):
        for name in re.findall(r"\$([A-Za-z_]\w*)", text):
            if name in given:
                raise configuration(
                    "AMBIGUOUS_PARAMETER",
                    f"{name} stands in a string that has a quote behind a backslash: write \\u0027 for that quote",
                )


def _literal(name: str, value: object, dialect: _Dialect) -> str:
    match value:
        case None:
            return "NULL"
        case bool():
            return "TRUE" if value else "FALSE"
        case int():
            return _signed(_integer(name, value))
        case float():
            return _signed(_double(name, value))
        case str():
            _check_text(name, value)
            return dialect.text(value)
        case datetime():
            if value.tzinfo is None:
                raise internal("NAIVE_TIME", f"the parameter {name} is a time without a zone")
            utc = value.astimezone(UTC).replace(tzinfo=None)
            return dialect.moment(utc.isoformat(sep=" "))
        case _:
            raise _no_literal(name, f"a value of type {type(value).__name__} has no literal")


def _signed(text: str) -> str:
    """Keep the sign of a literal from meeting another: ``1 -$n`` would become a comment."""
    return f"({text})" if text.startswith("-") else text


def _integer(name: str, value: int) -> str:
    if -_BIGINT < value < _BIGINT:
        return str(value)
    if len(str(abs(value))) > _DECIMAL_DIGITS:
        raise _no_literal(name, "a whole number has 38 digits at most")
    return f"CAST('{value}' AS DECIMAL(38, 0))"


def _double(name: str, value: float) -> str:
    text = repr(value)
    if "n" in text:  # nan and inf
        raise _no_literal(name, "it is no finite number")
    return text if "e" in text else f"{text}E0"  # without an exponent it would be a DECIMAL


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise _no_literal(name, "it holds half of a character") from error
    if "\0" in value:
        raise _no_literal(name, "it holds a NUL character")


def _no_literal(name: str, reason: str) -> ExportError:
    return configuration("PARAMETER_NOT_SUPPORTED", f"The parameter {name} cannot be written into the query: {reason}")


def _trino_text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _hive_text(value: str) -> str:
    r"""Write Hive's ``\uXXXX`` for what its parser, its client (``;``) or its variables (``${…}``) would act on."""
    return "'" + re.sub(r"[\\'\"`;$\x01-\x1f\x7f]", lambda match: f"\\u{ord(match[0]):04x}", value) + "'"


_TRINO = _Dialect(
    token=re.compile(
        rf"""
        {_COMMENT}
        | '(?:[^']|'')*' | "(?:[^"]|"")*" | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
        | {_PARAMETER}
        """,
        re.VERBOSE | re.DOTALL,
    ),
    text=_trino_text,
    moment=lambda text: f"TIMESTAMP '{text} UTC'",
    first_words=frozenset({"SELECT", "WITH", "VALUES", "TABLE"}),
    writing_words=frozenset(),
)
_HIVE = _Dialect(
    token=re.compile(
        rf"""
        {_COMMENT}
        | '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" | `(?:[^`]|``)*`
        | {_PARAMETER}
        """,
        re.VERBOSE | re.DOTALL,
    ),
    text=_hive_text,
    moment=lambda text: f"CAST('{text}' AS TIMESTAMP)",
    first_words=frozenset({"SELECT", "WITH", "FROM"}),
    writing_words=frozenset({"INSERT"}),  # FROM t INSERT …, WITH x AS (…) INSERT …
)
