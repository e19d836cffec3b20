"""What every source owes of its query and its columns' names. Pure."""

import itertools
import re
from collections.abc import Iterable

from exporter.failures import ExportError, configuration

_COMMENTS = re.compile(r"(?:\s|--[^\n]*(?:\n|$)|/\*.*?\*/|[;(])*", re.DOTALL)


def first_word(sql: str) -> str:
    """Return the word that says what a statement does, such as ``SELECT``; empty if there is none."""
    rest = sql[found.end() :] if (found := _COMMENTS.match(sql)) else sql
    return "".join(itertools.takewhile(str.isalpha, rest)).upper()


def no_select(sql: str) -> ExportError:
    """Make the error of a query that gives no columns."""
    if not first_word(sql):
        return configuration("NOT_ONE_QUERY", "Write one SELECT: the query holds 0 statements")
    return configuration("NOT_A_SELECT", f"Write one SELECT: the query is of type {first_word(sql)}")


def check_names(names: Iterable[str]) -> None:
    """Raise configuration unless each column has a name of its own."""
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if not name.strip():
            raise configuration("COLUMN_WITHOUT_NAME", f"Column {number} of the query has no name: add AS name")
        if name in seen:
            raise configuration(
                "DUPLICATE_COLUMN", f'The query gives two columns the name "{name}": rename one with AS'
            )
        seen.add(name)
