"""Where the SQL of a job names a value: ``:name``, and ``TD_SCHEDULED_TIME()``. Pure.

A colon has other uses: casts (``a::text``), slices (``a[1:n]``), keys (``{'a':n}``), paths (``a:b``), aliases
(``n: a``). These follow what they belong to, and a value never does: what stands before the colon tells them apart.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from exporter.failures import configuration
from exporter.sql.token_kinds import Kind, Token
from exporter.sql.tokens import find

CALL = "TD_SCHEDULED_TIME"
_NAMED = re.compile(r"[A-Za-z_]\w*(?![\w$'\"`]|[^\x00-\x7f\s])")
"""A name, but not the beginning of a longer one, for which some engines take emoji, and none of a string's prefix."""
_CANDIDATE = re.compile(rf":([A-Za-z_]\w*)|\b({CALL})\b", re.IGNORECASE)
_RESERVED = frozenset(
    """SELECT DISTINCT FROM WHERE AND OR NOT IN IS LIKE ILIKE RLIKE REGEXP BETWEEN ON HAVING BY LIMIT OFFSET CASE WHEN
    THEN ELSE AS VALUES UNION EXCEPT INTERSECT ARRAY""".split()  # noqa: SIM905 - a list of thirty quoted words is no better
)
"""Words that are no column's name: what follows them is no part of them."""
_NO_PATHS = frozenset(
    {"postgres", "redshift", "mysql", "sqlite", "trino", "presto", "bigquery", "hive", "oracle", "tsql"}
)
"""Dialects in which nothing is written ``word:name``, so that it is a keyword and a value."""
_NO_SLICES = frozenset({"mysql", "sqlite", "trino", "presto", "snowflake", "bigquery", "spark", "hive"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """What to replace by a value, and its name; None is the call of ``TD_SCHEDULED_TIME()``."""

    start: int
    end: int
    name: str | None


def places(sql: str, dialect: str | None, is_known: Callable[[str], bool]) -> list[Place]:
    """Return where a known name or the call stands for a value, in order; unknown names are left to the engine.

    Raises configuration ``QUERY_NOT_READ`` and ``QUERY_UNCLEAR`` if that is not certain; text in which nothing may have
    to be replaced is not looked at any further.
    """
    if not any(name is None or is_known(name) for name in _candidates(sql)):
        return []
    return find(sql, dialect, lambda tokens: _places(sql, tokens, is_known, dialect))


def candidates(sql: str) -> frozenset[str]:
    """Return every name behind a colon, also in strings and comments."""
    return frozenset(name for name in _candidates(sql) if name is not None)


def _candidates(sql: str) -> list[str | None]:
    return [match[1] for match in _CANDIDATE.finditer(sql)]


def _places(sql: str, tokens: tuple[Token, ...], is_known: Callable[[str], bool], dialect: str | None) -> list[Place]:
    found: list[Place] = []
    brackets: list[int] = []
    for at, token in enumerate(tokens):
        text = sql[token.start : token.end]
        if token.kind is Kind.WORD and text.upper() == CALL:
            end = _end_of_call(sql, tokens, at)
            found += [Place(start=token.start, end=end, name=None)] if end else []
        elif token.kind is not Kind.SIGN:
            continue
        elif text in "([{":
            brackets.append(at)
        elif text in ")]}":
            del brackets[-1:]
        elif text == ":" and (named := _NAMED.match(sql, token.end)) and is_known(named[0]):
            opening = brackets[-1] if brackets else None
            inside = "" if opening is None else sql[tokens[opening].start]
            if inside == "[" and opening == at - 1 and _is_subscript(sql, tokens, opening, dialect):
                raise configuration(
                    "QUERY_UNCLEAR",
                    f"[:{named[0]}] may be an index or a slice: write [(:{named[0]})] for the parameter, "
                    f"[1:({named[0]})] for a slice up to a column",
                )
            touches = at > 0 and tokens[at - 1].end == token.start
            is_strict = inside in ("[", "{") or (touches and dialect not in _NO_PATHS)
            if not _follows_operand(sql, tokens, at, strict=is_strict):
                found.append(Place(start=token.start, end=named.end(), name=named[0]))
    return found


def _end_of_call(sql: str, tokens: tuple[Token, ...], at: int) -> int | None:
    """Return where the call that begins with a word ends, if it is one without arguments and of nobody's schema."""
    before, behind = tokens[max(at - 1, 0) : at], tokens[at + 1 : at + 3]
    is_qualified = any(sql[token.start] == "." for token in before)
    is_call = "".join(sql[token.start : token.end] for token in behind) == "()"
    return behind[1].end if is_call and not is_qualified else None


def _is_subscript(sql: str, tokens: tuple[Token, ...], opening: int, dialect: str | None) -> bool:
    """Whether a ``[`` picks from what stands before it, in a dialect with slices; otherwise it begins a list."""
    return dialect not in _NO_SLICES and _follows_operand(sql, tokens, opening, strict=True)


def _follows_operand(sql: str, tokens: tuple[Token, ...], at: int, *, strict: bool) -> bool:
    """Whether what stands before a sign is whole, such as a column: no value can follow it.

    Unless ``strict``, a word is one of an engine's many keywords: a value behind a column would be an error anyway.
    """
    if at == 0:
        return False
    before = tokens[at - 1]
    text = sql[before.start : before.end]
    if before.kind is Kind.SIGN:
        return text in ")]}" or (text == ":" and before.end == tokens[at].start)
    if before.kind is not Kind.WORD:
        return True
    is_column = at > 1 and sql[tokens[at - 2].start] == "."
    return strict and (is_column or text.upper() not in _RESERVED)
