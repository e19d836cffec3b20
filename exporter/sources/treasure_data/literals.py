"""SQL as Treasure Data takes it: its API binds no parameters, so values go into the text as literals. Pure.

Only a ``$name`` outside strings, quoted names and comments is a parameter, by the engine's own rules of quoting:
https://trino.io/docs/current/language/types.html and https://cwiki.apache.org/confluence/display/Hive/Literals.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.failures import ExportError, configuration, internal
from exporter.sql.one_select import no_select
from exporter.sql.parameters import parameters_in
from exporter.sql.token_kinds import Kind, Token
from exporter.sql.tokens import read_tokens

_BIGINT = 2**63
_DECIMAL_DIGITS = 38
_TOUCHING = frozenset("'\"`&")
"""What a literal may not stand beside: two strings without a blank between them are one, and ``U&'…'`` has escapes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Dialect:
    """How an engine quotes. ``text`` and ``moment`` write a literal; ``first_words`` begin what only reads."""

    name: str
    text: Callable[[str], str]
    moment: Callable[[str], str]
    first_words: frozenset[str]
    writing_words: frozenset[str]


def write_query(sql: str, given: Mapping[str, object], *, engine: str) -> str:
    """Return the one SELECT of ``sql`` with each ``$name`` as a literal of ``engine``: trino, presto or hive.

    Raises configuration ``NOT_ONE_QUERY``, ``NOT_A_SELECT``, ``UNKNOWN_PARAMETER`` for a name that is not among
    ``given``, ``PARAMETER_NOT_SUPPORTED`` for a value that has no literal, and what
    :func:`exporter.sql.tokens.read_tokens` raises. Values that no name asks for are left out.
    """
    dialect = _HIVE if engine == "hive" else _TRINO
    tokens = read_tokens(sql, dialect.name)
    end = _end_of_select(sql, tokens, dialect)
    done, at = "", 0
    for start, stop in parameters_in(sql, tokens):
        name = sql[start + 1 : stop]
        if name not in given:
            known = ", ".join(f"${each}" for each in sorted(given)) or "none"
            raise configuration("UNKNOWN_PARAMETER", f"The query uses ${name}; the known parameters are: {known}")
        before, after = sql[:start][-1:], sql[stop:end][:1]
        literal = _literal(name, given[name], dialect)
        done += f"{sql[at:start]}{' ' * (before in _TOUCHING)}{literal}{' ' * (after in _TOUCHING)}"
        at = stop
    return done + sql[at:end]


def _end_of_select(sql: str, tokens: tuple[Token, ...], dialect: _Dialect) -> int:
    """Return where the one statement ends: before a semicolon behind it. Raises if there is not one that only reads."""
    semicolons = [at for at, token in enumerate(tokens) if sql[token.start : token.end] == ";"]
    count = len(tokens)
    while semicolons and semicolons[-1] == count - 1:
        count = semicolons.pop()
    if count == 0:
        raise no_select("")
    if semicolons:
        raise configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more")
    words = [sql[token.start : token.end] for token in tokens[:count] if token.kind is Kind.WORD]
    if not words or words[0].upper() not in dialect.first_words:
        first = words[0] if words else sql[tokens[0].start]
        raise configuration("NOT_A_SELECT", f'Write one SELECT: the query is of type {first.upper()} ("{first}")')
    for word in words:
        if word.upper() in dialect.writing_words:
            raise configuration("QUERY_WRITES", f"The query writes ({word}): a source is only read")
    return tokens[count].start if count < len(tokens) else len(sql)


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
    name="trino",
    text=_trino_text,
    moment=lambda text: f"TIMESTAMP '{text} UTC'",
    first_words=frozenset({"SELECT", "WITH", "VALUES", "TABLE"}),
    writing_words=frozenset(),
)
_HIVE = _Dialect(
    name="hive",
    text=_hive_text,
    moment=lambda text: f"CAST('{text}' AS TIMESTAMP)",
    first_words=frozenset({"SELECT", "WITH", "FROM"}),
    writing_words=frozenset({"INSERT"}),  # FROM t INSERT …, WITH x AS (…) INSERT …
)
