"""Where an engine reads a query otherwise than sqlglot does, or may, by its settings or its version. Pure.

Each of these is rare, and each could move the end of a string. A reason says what to write instead.
"""

import re
from dataclasses import dataclass

from exporter.sql.token_kinds import Kind, Token

_NEW_LINE = re.compile(r"[\r\n]")
_COMMENT_SIGN = re.compile(r"/\*|\*/")
_CONTINUED_COMMENT = re.compile(r"--[^\n]*\\\r?\n")
_EXECUTED_COMMENT = re.compile(r"/\*M?!(?:(?!\*/).)*(?:['\"`#]|--)", re.DOTALL)
_ESCAPED_DOUBLE_QUOTE = re.compile(r'".*(?<!\\)(?:\\\\)*\\".*"', re.DOTALL)
_DOLLAR_QUOTE = re.compile(r"\$(?:[A-Za-z_\x80-\U0010ffff][A-Za-z_0-9\x80-\U0010ffff]*)?\$")

_SPARK = frozenset({"spark", "databricks"})
_MYSQL = frozenset({"mysql", "doris", "starrocks", "singlestore"})
_POSTGRES = frozenset({"postgres", "risingwave", "redshift"})
_KNOWN_COMMENTS = frozenset(
    {*_SPARK, *_MYSQL, *_POSTGRES, "duckdb", "sqlite", "trino", "presto", "snowflake", "bigquery", "oracle", "tsql"}
)
"""Dialects of which it is known whether a comment may hold another."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comments:
    """How a dialect comments: what begins a comment up to the line's end, and whether one in signs may hold another."""

    line: tuple[str, ...]
    nested: bool


def doubt(sql: str, previous: Token, token: Token, *, dialect: str, comments: Comments) -> str | None:
    """Return why it is not certain that a token and what stands before it are what sqlglot says; None if it is."""
    between, text = sql[previous.end : token.start], sql[token.start : token.end]
    found = _doubt_of_comment(between, dialect, comments)
    if found is None and token.kind in (Kind.WORD, Kind.SIGN):
        found = _doubt_of_dollar(sql, token, text)
    if found is None and token.kind is Kind.TEXT:
        goes_on = previous.kind is Kind.TEXT and _NEW_LINE.search(between) is not None
        found = _doubt_of_text(text, dialect, goes_on=goes_on)
    return found


def _doubt_of_dollar(sql: str, token: Token, text: str) -> str | None:
    if "$$" in text or (text[:1] == "$" and _DOLLAR_QUOTE.match(sql, token.start)):
        return "dollar signs may be the quotes of a string here: write it in other quotes"
    return None


def _doubt_of_comment(text: str, dialect: str, comments: Comments) -> str | None:
    if not text.strip():
        return None
    inside = "a comment inside a comment is read in different ways: write it without /* in /* … */"
    is_known = dialect in _KNOWN_COMMENTS
    if (comments.nested or not is_known) and not _is_blank(text, comments.line, nested=True):
        return inside
    if not is_known and not _is_blank(text, comments.line, nested=False):
        return inside
    if dialect in _SPARK and _CONTINUED_COMMENT.search(text):
        return "a comment with -- ends in a backslash, which may take the next line into it: write it without"
    if dialect in _MYSQL and _EXECUTED_COMMENT.search(text):
        return "a comment with /*! is none in MySQL, and this one holds a quote or a comment: write it without"
    return None


def _doubt_of_text(text: str, dialect: str, *, goes_on: bool) -> str | None:
    if dialect in _MYSQL and _ESCAPED_DOUBLE_QUOTE.fullmatch(text):
        return 'where ANSI_QUOTES is set, \\" ends what is in double quotes: use single quotes there'
    if dialect in _POSTGRES and goes_on and "\\" in text:
        return "a string goes on in another line, where a backslash means what it means in E'…': write one string"
    return None


def _is_blank(text: str, line_comments: tuple[str, ...], *, nested: bool) -> bool:
    """Whether text is spaces and whole comments, if these may hold others; sqlglot miscounts ``/*/*`` and ``*/*``."""
    at = depth = 0
    while at < len(text):
        if depth:
            sign = _COMMENT_SIGN.search(text, at)
            if sign is None:
                return False
            depth += -1 if sign[0] == "*/" else int(nested)
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
