"""Whether SQL is one statement that only reads, where the engine or its driver would not refuse anything else. Pure.

Strings, quoted names and comments are told apart as the engine does, or a semicolon inside one would count.
"""

import itertools
import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from exporter.failures import ExportError, configuration
from exporter.sql.token_kinds import Kind
from exporter.sql.tokens import read_tokens

_COMMENTS = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|[;(])*", re.DOTALL)


READING = frozenset({"SELECT", "WITH", "VALUES", "TABLE"})
"""The words that statements begin with which give rows, and by themselves change nothing."""


def first_word(sql: str, *, dialect: str | None = None) -> str:
    """Return the word that says what a statement does, such as ``SELECT``, in upper case; empty if there is none.

    Without a dialect, or if it cannot be read as that, comments are those of the SQL standard.
    """
    if dialect is not None:
        with suppress(ExportError):
            words = (sql[token.start : token.end] for token in read_tokens(sql, dialect) if token.kind is Kind.WORD)
            return next(words, "").upper()
    rest = sql[found.end() :] if (found := _COMMENTS.match(sql)) else sql
    return "".join(itertools.takewhile(str.isalpha, rest)).upper()


def no_select(sql: str, *, dialect: str | None = None) -> ExportError:
    """Make the error of a query that gives no columns."""
    word = first_word(sql, dialect=dialect)
    if not word:
        return configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 0 statements")
    if word in READING:
        if _has_word("INTO", sql, dialect):
            return configuration("QUERY_WRITES", "The query writes (INTO): a source is only read; remove the INTO")
        return configuration("NO_COLUMNS", "The query gives no columns: name some behind SELECT")
    written = re.search(re.escape(word), sql, re.IGNORECASE)
    return configuration(
        "NOT_A_SELECT", f'Write one SELECT: the query is of type {word} ("{written[0] if written else word}")'
    )


def _has_word(word: str, sql: str, dialect: str | None) -> bool:
    if dialect is None:
        return False
    with suppress(ExportError):
        tokens = read_tokens(sql, dialect)
        return any(each.kind is Kind.WORD and sql[each.start : each.end].upper() == word for each in tokens)
    return False


@dataclass(frozen=True, kw_only=True, slots=True)
class Lexis:
    """How an engine writes what is no word of a statement: ``comment`` is one group, all else is text."""

    token: re.Pattern[str]


STANDARD = Lexis(
    token=re.compile(
        r"""
        (?P<comment> --[^\n]* | /\*.*?\*/ )
        | (?<![\w$])[eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*`
        | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag)
        """,
        re.VERBOSE | re.DOTALL,
    )
)
"""Standard SQL with PostgreSQL's strings: Trino, PostgreSQL, SQLite, Oracle, DB2, …"""
MYSQL = Lexis(
    token=re.compile(
        r"""
        (?P<comment> --(?=\s|$)[^\n]* | \#[^\n]* | /\*(?!M?!).*?\*/ | /\*M?!\d* | \*/ )
        | '(?:[^'\\]|''|\\.)*' | "(?:[^"\\]|""|\\.)*" | `(?:[^`]|``)*`
        """,
        re.VERBOSE | re.DOTALL,
    )
)
"""MySQL and MariaDB: a backslash escapes, and what stands in ``/*! … */`` is run like everything else."""


def one_select(sql: str, *, lexis: Lexis, refused: Collection[str] = ()) -> str:
    """Return the one statement of ``sql``, without a semicolon behind it.

    Raises configuration ``NOT_ONE_QUERY``, ``NOT_A_SELECT``, or ``QUERY_WRITES`` for one of the words ``refused``
    (upper case), which an engine's SELECT holds only where it writes.
    """
    bare = lexis.token.sub(lambda match: (" " if match["comment"] is not None else "'") * len(match[0]), sql)
    end = len(bare.rstrip(" \t\r\n\f\v;"))
    if not bare[:end].strip(" \t\r\n\f\v;("):
        raise no_select("")
    if ";" in bare[:end]:
        raise configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 2 statements or more")
    words = re.findall(r"\w+", bare[:end])
    if not words or words[0].upper() not in READING:
        first = words[0] if words else bare[:end].strip()[:1]
        raise configuration("NOT_A_SELECT", f'Write one SELECT: the query is of type {first.upper()} ("{first}")')
    for word in words:
        if word.upper() in refused:
            raise configuration("QUERY_WRITES", f"The query writes ({word.upper()}): a source is only read")
    semicolon = bare.find(";", end)
    return sql if semicolon < 0 else sql[:semicolon]
