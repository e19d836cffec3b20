"""TOML whose keys have a sensible number of parts and brackets: for others, parsers take minutes. Pure."""

import re
import tomllib
from typing import Any

_DEEPEST = 64
"""Parts of a key, and brackets within brackets. No config has ten; each more takes the parser longer than the last."""
_TOKEN = re.compile(
    r"""
    [^"'\#\[\]{}.=,\n]*+
    (?: (?P<text> \#[^\n]*
        | "{3} [^"\\]* (?: (?: \\. | "{1,2}(?!") ) [^"\\]* )* "{3,5}
        | '{3} [^']* (?: '{1,2}(?!') [^']* )* '{3,5}
        | (?!"{3}) " [^"\\\n]* (?: \\. [^"\\\n]* )* "
        | (?!'{3}) ' [^'\n]* '
        )
    | (?P<open>[\[{]) | (?P<close>[\]}]) | (?P<dot>\.) | (?P<end>[=,\n]) | (?P<broken>["'])
    )
    """,
    re.VERBOSE | re.DOTALL,
)


class TooDeepError(ValueError):
    """What a key has too much of; ``line`` counts from 1."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


def loads(text: str) -> dict[str, Any]:
    """Parse TOML. Raises TooDeepError, and ValueError where it is no TOML."""
    _check_depth(text)
    return tomllib.loads(text)


def _check_depth(text: str) -> None:
    """Look at brackets and dots outside of texts and comments; where it is no TOML, no further than the parser will."""
    depth = dots = 0
    for token in _TOKEN.finditer(text):
        kind = token.lastgroup
        if kind == "dot":
            dots += 1
        elif kind == "open":
            depth, dots = depth + 1, 0
        elif kind == "close":
            depth, dots = max(0, depth - 1), 0
        elif kind == "end":
            dots = 0
        elif kind == "broken":
            return
        if depth > _DEEPEST or dots >= _DEEPEST:
            what = "brackets are nested" if depth > _DEEPEST else "a key has"
            unit = "deep" if depth > _DEEPEST else "parts"
            line = text.count("\n", 0, token.end()) + 1
            raise TooDeepError(f"{what} more than {_DEEPEST} {unit}: no key needs that", line)
