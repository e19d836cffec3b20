"""The tokens of a query: what is text, a quoted name or a comment by the engine's own rules, and what is code. Pure.

sqlglot's tokenizers know the rules of each engine. Only their places are used, so whatever is not touched stays to the
letter. Where they and an engine may differ the query is refused: better to bind nothing than to bind inside a string.
"""

import functools
import itertools
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from exporter.failures import ExportError, configuration
from exporter.sql.ambiguity import Comments, doubt
from exporter.sql.token_kinds import Kind, Token

if TYPE_CHECKING:
    from sqlglot.tokens import Tokenizer

ANY_ENGINE = ("postgres", "mysql", "trino", "snowflake", "bigquery", "spark")
"""Dialects that stand for every way to quote: for an engine that is not known, all that can read a query must agree."""


Found = TypeVar("Found")


def find(sql: str, dialect: str | None, look: Callable[[tuple[Token, ...]], Found]) -> Found:
    """Return what ``look`` finds among the tokens of ``sql``; without a dialect, by the rules of every engine alike.

    Raises configuration ``QUERY_NOT_READ`` and ``QUERY_UNCLEAR`` as :func:`read_tokens` does, and the latter where the
    engine is not known and engines differ in what there is to find.
    """
    if dialect is not None:
        return look(read_tokens(sql, dialect))
    found: list[Found] = []
    refused: ExportError | None = None
    for each in ANY_ENGINE:
        try:
            found.append(look(read_tokens(sql, each)))
        except ExportError as error:
            if error.code != "QUERY_NOT_READ":
                raise
            refused = error
    if not found and refused is not None:
        raise refused
    if any(other != found[0] for other in found):
        raise _unclear("which engine this connection leads to is not known, and engines differ in how they read it")
    return found[0]


def read_tokens(sql: str, dialect: str) -> tuple[Token, ...]:
    """Return the tokens of ``sql`` by the rules of a dialect, which is named as sqlglot names it.

    Raises configuration ``QUERY_NOT_READ`` if a string or a quoted name has no end, and ``QUERY_UNCLEAR`` where it is
    not certain that the engine sees the same tokens.
    """
    rules = _rules(dialect)
    from sqlglot.errors import TokenError  # noqa: PLC0415 - it is loaded by now

    reader = rules.tokenizer(dialect=dialect)
    try:
        found = reader.tokenize(_mask(sql, rules.kept_dollars))
    except TokenError as error:
        place = _place(sql, reader.tokens[-1].end + 1 if reader.tokens else 0)
        raise configuration(
            "QUERY_NOT_READ",
            f"The query cannot be read as {dialect}: a string, quoted name or comment begins {place} and never ends",
        ) from error
    tokens = tuple(Token(_kind(each.token_type.name), each.start, each.end + 1) for each in found)
    _check(sql, tokens, dialect, rules.comments)
    return tokens


def _check(sql: str, tokens: tuple[Token, ...], dialect: str, comments: Comments) -> None:
    edges = Token(Kind.SIGN, 0, 0), Token(Kind.SIGN, len(sql), len(sql))
    for previous, token in itertools.pairwise((edges[0], *tokens, edges[1])):
        reason = doubt(sql, previous, token, dialect=dialect, comments=comments)
        if reason is not None:
            raise _unclear(reason)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rules:
    """A tokenizer, how its dialect comments, and which dollar signs it has to see."""

    tokenizer: "type[Tokenizer]"
    comments: Comments
    kept_dollars: re.Pattern[str] | None


_LETTER = r"A-Za-z_\x80-\U0010ffff"
_TAG = re.compile(rf"(?=(\$(?:[{_LETTER}][{_LETTER}0-9]*)?\$))")
"""What opens or closes PostgreSQL's dollar-quoted strings; they may overlap."""
_PAIR = re.compile(r"(?=(\$\$))")
_ORACLE = re.compile(r"(?=(\$)')|(?<=')(?=(\$))")
_TEXTS = frozenset(
    {
        "STRING",
        "NATIONAL_STRING",
        "NATIONAL_RAW_STRING",
        "RAW_STRING",
        "BYTE_STRING",
        "HEREDOC_STRING",
        "UNICODE_STRING",
    }
)


_MORE: dict[str, dict[str, Any]] = {
    "spark": {"HEREDOC_STRINGS": ["$"], "HEREDOC_TAG_IS_IDENTIFIER": True},  # in Sail, which speaks Spark's SQL
    "trino": {"RAW_STRINGS": ["$$"]},  # around the code of a function
}
"""Strings of an engine that sqlglot does not know."""


_LOADING = threading.Lock()
"""Held while sqlglot is imported, late since that takes 0.1 s: its modules import each other in a cycle, so that
threads which come in by different ones at the same time find some of them half made."""


def _rules(dialect: str) -> _Rules:
    with _LOADING:
        return _made_rules(dialect)


@functools.cache
def _made_rules(dialect: str) -> _Rules:
    """Return sqlglot's tokenizer of a dialect without what only its parser wants.

    No keywords: some span several words, and SHOW or CALL swallow the rest of a statement. No operators: ``-|-`` would
    hide the ``--`` in ``-|--``. No hints: they are comments here. No numbers in quotes (``x'…'``) and with letters
    (``5L``): it looks into the former, and makes three tokens of the latter. No Jinja: ``{#`` is no comment in SQL.
    """
    import sqlglot  # noqa: PLC0415 - 0.1 s, for jobs that have something to bind

    base: Any = sqlglot.Dialect.get_or_raise(dialect).tokenizer_class
    signs = {**base.SINGLE_TOKENS, "$": base.SINGLE_TOKENS["@"]}  # or strings that begin with it would not be seen
    nothing: dict[str, Any] = {"KEYWORDS": {}, "BIT_STRINGS": [], "HEX_STRINGS": [], "NUMERIC_LITERALS": {}}
    changes = {**nothing, "SINGLE_TOKENS": signs, **_MORE.get(dialect, {})}
    plain: Any = type(base)("Plain", (base,), changes)
    plain._COMMENTS.pop("{#", None)  # noqa: SLF001 - it is put there whatever a dialect says; a test would notice a change
    kept = _TAG if plain.HEREDOC_STRINGS else _PAIR if "$$" in plain.RAW_STRINGS else None
    comments = Comments(
        line=tuple(each for each in plain.COMMENTS if isinstance(each, str)), nested=plain.NESTED_COMMENTS
    )
    return _Rules(tokenizer=plain, comments=comments, kept_dollars=_ORACLE if dialect == "oracle" else kept)


def _mask(sql: str, kept: re.Pattern[str] | None) -> str:
    """Return text of the same length in which a ``$`` is a letter unless it belongs to the quotes of a string.

    sqlglot takes ``$a+$`` for the beginning of a dollar-quoted string, and ``$`` for an end of a word in places.
    """
    if "$" not in sql:
        return sql
    letter = next(chr(code) for code in range(0xE000, 0xF8FF) if chr(code) not in sql)
    stay: set[int] = set()
    for match in kept.finditer(sql) if kept is not None else ():
        start, end = match.span(match.lastindex or 0)
        stay |= {start, end - 1}
    return "".join(letter if char == "$" and at not in stay else char for at, char in enumerate(sql))


def _kind(name: str) -> Kind:
    if name in _TEXTS:
        return Kind.TEXT
    if name == "IDENTIFIER":
        return Kind.QUOTED
    if name == "NUMBER":
        return Kind.NUMBER
    return Kind.WORD if name == "VAR" else Kind.SIGN


def _unclear(reason: str) -> ExportError:
    return configuration(
        "QUERY_UNCLEAR", f"It is not certain where strings and comments of the query begin and end: {reason}"
    )


def _place(sql: str, at: int) -> str:
    """Name the line in which the text behind ``at`` begins."""
    start = at + len(sql[at:]) - len(sql[at:].lstrip())
    return f"in line {sql.count(chr(10), 0, start) + 1}"
