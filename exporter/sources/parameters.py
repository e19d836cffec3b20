"""``$name`` in a query's SQL: what an engine without named parameters needs in its place. Pure."""

import re
from collections.abc import Callable, Mapping

from exporter.failures import configuration

_TOKEN = re.compile(
    r"""
    (?P<skip> [eE]'(?:[^'\\]|''|\\.)*' | '(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | --[^\n]* | /\*.*?\*/
      | (?P<tag>\$(?:[A-Za-z_]\w*)?\$).*?(?P=tag) )
  | (?<![\w$]) \$(?P<name> [A-Za-z_]\w* )
    """,
    re.VERBOSE | re.DOTALL,
)
"""What is left alone (strings, quoted names, comments, dollar-quoted text), and a parameter."""


def number_parameters(
    sql: str, given: Mapping[str, object], *, write: Callable[[int], str]
) -> tuple[str, list[object]]:
    """Return ``sql`` with each ``$name`` as ``write(n)``, n from 1 in the order of first use, and the values in order.

    Each name gets one number, however often it occurs. Raises configuration ``UNKNOWN_PARAMETER`` for a name that is
    not among ``given``; values that no name asks for are left out.
    """
    numbers: dict[str, int] = {}

    def replace(match: re.Match[str]) -> str:
        if match["skip"] is not None:
            return match[0]
        name = match["name"]
        if name not in given:
            known = ", ".join(f"${each}" for each in sorted(given)) or "none"
            raise configuration("UNKNOWN_PARAMETER", f"The query uses ${name}; the known parameters are: {known}")
        return write(numbers.setdefault(name, len(numbers) + 1))

    written = _TOKEN.sub(replace, sql)
    return written, [given[name] for name in numbers]
