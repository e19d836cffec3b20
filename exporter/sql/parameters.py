"""``$name`` in a query's SQL: what an engine without named parameters needs in its place. Pure."""

import re
from collections.abc import Callable, Mapping

from exporter.failures import configuration
from exporter.sql.token_kinds import Kind, Token
from exporter.sql.tokens import find

_CANDIDATE = re.compile(r"\$[A-Za-z_]")
_PARAMETER = re.compile(r"\$[A-Za-z_]\w*")


def number_parameters(
    sql: str, given: Mapping[str, object], *, write: Callable[[int], str], dialect: str | None = None
) -> tuple[str, list[object]]:
    """Return ``sql`` with each ``$name`` as ``write(n)``, n from 1 in the order of first use, and the values in order.

    Each name gets one number, however often it occurs. ``dialect`` (:mod:`exporter.sql.dialects`) says what is a string
    or a comment, in which nothing is a parameter; all else stays to the letter. Raises configuration
    ``UNKNOWN_PARAMETER`` for a name that is not among ``given``, and what :func:`exporter.sql.tokens.find` raises;
    values that no name asks for are left out.
    """
    if _CANDIDATE.search(sql) is None:
        return sql, []
    numbers: dict[str, int] = {}
    done: list[str] = []
    at = 0
    for start, end in find(sql, dialect, lambda tokens: parameters_in(sql, tokens)):
        name = sql[start + 1 : end]
        if name not in given:
            known = ", ".join(f"${each}" for each in sorted(given)) or "none"
            raise configuration("UNKNOWN_PARAMETER", f"The query uses ${name}; the known parameters are: {known}")
        done += [sql[at:start], write(numbers.setdefault(name, len(numbers) + 1))]
        at = end
    return "".join([*done, sql[at:]]), [given[name] for name in numbers]


def parameters_in(sql: str, tokens: tuple[Token, ...]) -> list[tuple[int, int]]:
    """Return where ``$name`` stands as a parameter: from where to where, sign included; in order."""
    words = [(token.start, token.end) for token in tokens if token.kind is Kind.WORD]
    return [(start, end) for start, end in words if _PARAMETER.fullmatch(sql, start, end)]
