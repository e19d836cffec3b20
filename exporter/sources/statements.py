"""Whether SQL is one statement that only reads, where the engine or its driver would not refuse anything else. Pure.

Strings, quoted names and comments are told apart as the engine does, or a semicolon inside one would count.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass

from exporter.failures import configuration
from exporter.sources.columns import READING, no_select


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
