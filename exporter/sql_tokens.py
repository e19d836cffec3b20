"""The tokens of a query: what is text, a quoted name or a comment by the engine's own rules, and what is code. Pure.

sqlglot's tokenizers know the rules of each engine. Only their places are used, so whatever is not touched stays to the
letter. Where they and an engine may differ the query is refused: better to bind nothing than to bind inside a string.
"""

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, TypeVar

from exporter.failures import ExportError, configuration

if TYPE_CHECKING:
    from sqlglot.tokens import Tokenizer

ANY_ENGINE = ("postgres", "mysql", "trino", "snowflake", "bigquery", "spark")
"""Dialects that stand for every way to quote: for an engine that is not known, all that can read a query must agree."""


Found = TypeVar("Found")


class Kind(Enum):
    """What a token is."""

    WORD = auto()
    NUMBER = auto()
    SIGN = auto()
    """One character of punctuation, or of an operator."""
    TEXT = auto()
    """A string with all that belongs to it, such as ``E'…'`` and ``$$…$$``."""
    QUOTED = auto()
    """A name in quotes."""


@dataclass(frozen=True, slots=True)
class Token:
    """A part of a query; ``end`` is the place behind it. What lies between tokens is blanks and comments."""

    kind: Kind
    start: int
    end: int


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
    from sqlglot.errors import TokenError  # noqa: PLC0415 - 0.1 s, for jobs that have something to bind

    rules = _rules(dialect)
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
    _check(sql, tokens, dialect)
    return tokens


@dataclass(frozen=True, kw_only=True, slots=True)
class _Rules:
    """A tokenizer, and which dollar signs it has to see."""

    tokenizer: "type[Tokenizer]"
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


@functools.cache
def _rules(dialect: str) -> _Rules:
    """Return sqlglot's tokenizer of a dialect without what only its parser wants.

    No keywords: some span several words, and SHOW or CALL swallow the rest of a statement. No operators: ``-|-`` would
    hide the ``--`` in ``-|--``. No hints: they are comments here. No numbers in quotes (``x'…'``) and with letters
    (``5L``): it looks into the former, and makes three tokens of the latter. No Jinja: ``{#`` is no comment in SQL.
    """
    from sqlglot.dialects.dialect import Dialect  # noqa: PLC0415 - as above

    base: Any = Dialect.get_or_raise(dialect).tokenizer_class
    signs = {**base.SINGLE_TOKENS, "$": base.SINGLE_TOKENS["@"]}  # or strings that begin with it would not be seen
    nothing: dict[str, Any] = {"KEYWORDS": {}, "BIT_STRINGS": [], "HEX_STRINGS": [], "NUMERIC_LITERALS": {}}
    changes = {**nothing, "SINGLE_TOKENS": signs, **_MORE.get(dialect, {})}
    plain: Any = type(base)("Plain", (base,), changes)
    plain._COMMENTS.pop("{#", None)  # noqa: SLF001 - it is put there whatever a dialect says; a test would notice a change
    kept = _TAG if plain.HEREDOC_STRINGS else _PAIR if "$$" in plain.RAW_STRINGS else None
    return _Rules(tokenizer=plain, kept_dollars=_ORACLE if dialect == "oracle" else kept)


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


_NEW_LINE = re.compile(r"[\r\n]")
_CONTINUED_COMMENT = re.compile(r"--[^\n]*\\\r?\n")
_EXECUTED_COMMENT = re.compile(r"/\*M?!(?:(?!\*/).)*(?:['\"`#]|--)", re.DOTALL)


def _check(sql: str, tokens: tuple[Token, ...], dialect: str) -> None:
    """Raise ``QUERY_UNCLEAR`` where an engine reads, or may read, what sqlglot does not."""
    nested = _rules(dialect).tokenizer.NESTED_COMMENTS
    line_comments = tuple(each for each in _rules(dialect).tokenizer.COMMENTS if isinstance(each, str))
    previous = Token(Kind.SIGN, 0, 0)
    for token in (*tokens, Token(Kind.SIGN, len(sql), len(sql))):
        between, text = sql[previous.end : token.start], sql[token.start : token.end]
        if nested and between.count("/*") > 1 and not _is_blank(between, line_comments):
            raise _unclear("a comment inside a comment is read in different ways: write it without /* in /* … */")
        if dialect in _SPARK and _CONTINUED_COMMENT.search(between):
            raise _unclear("a comment with -- ends in a backslash, which takes the next line into it: remove that")
        if dialect in _MYSQL and _EXECUTED_COMMENT.search(between):
            raise _unclear(
                "a comment with /*! is no comment in MySQL, and holds a quote or a comment: write it without"
            )
        if (
            dialect in _POSTGRES
            and (previous.kind, token.kind) == (Kind.TEXT, Kind.TEXT)
            and sql[previous.start] in "eE"
            and _NEW_LINE.search(between)
            and "\\" in text
        ):
            raise _unclear("a string goes on in another line, where a backslash means what it means in E'…': write one")
        is_code = token.kind in (Kind.WORD, Kind.SIGN)
        if is_code and ("$$" in text or (text[:1] == "$" and _TAG.match(sql, token.start))):
            raise _unclear("dollar signs may be the quotes of a string here: write it in other quotes")
        previous = token


def _is_blank(text: str, line_comments: tuple[str, ...]) -> bool:
    """Whether text is blanks and whole comments, which may hold others; sqlglot miscounts ``/*/*`` and ``*/*``."""
    at = depth = 0
    while at < len(text):
        if depth:
            sign = _COMMENT_SIGN.search(text, at)
            if sign is None:
                return False
            depth += 1 if sign[0] == "/*" else -1
            at = sign.end()
        elif text.startswith("/*", at):
            depth, at = 1, at + 2
        elif text.startswith(line_comments, at):
            at = end.start() if (end := _NEW_LINE.search(text, at)) else len(text)
        elif text[at].isspace():
            at += 1
        else:
            return False
    return depth == 0


_COMMENT_SIGN = re.compile(r"/\*|\*/")
_SPARK = frozenset({"spark", "spark2", "databricks"})
_MYSQL = frozenset({"mysql", "doris", "starrocks", "singlestore"})
_POSTGRES = frozenset({"postgres", "materialize", "risingwave", "redshift"})


def _unclear(reason: str) -> ExportError:
    return configuration(
        "QUERY_UNCLEAR", f"It is not certain where strings and comments of the query begin and end: {reason}"
    )


def _place(sql: str, at: int) -> str:
    """Name the line in which the text behind ``at`` begins."""
    start = at + len(sql[at:]) - len(sql[at:].lstrip())
    return f"in line {sql.count(chr(10), 0, start) + 1}"
