"""Whether a text is the beginning of another that was read before, cut off in the middle of a table. Pure.

A prefix of TOML is TOML, and what a cut takes from a connection, or from a number at its end, leaves settings that are
valid and wrong. So a few bytes are kept of each line of what was read, enough to know the beginning of it again. What
stands in quotes is left out of them: no secret can be guessed from what is kept, and no cut ends inside quotes.
"""

import re
from base64 import b64decode, b64encode
from struct import Struct
from typing import NamedTuple
from zlib import crc32

MOST_LINES = 50_000
"""Of longer texts nothing is kept; a line takes 7 bytes."""
MOST_LETTERS = 200
"""How many beginnings are kept of the last line, which may be cut within."""
_LINE = Struct(">I?")
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'')


class Cut(NamedTuple):
    """Where a text was cut off: its last line, counted from 1, and whether that may be a part of a line."""

    line: int
    is_within: bool


def outline(text: str) -> str:
    """Return what :func:`find_cut` needs of a text later; empty for one that is too long."""
    lines = _lines(text)
    if len(lines) > MOST_LINES:
        return ""
    sums: list[int] = []
    for line in lines:
        sums.append(_sum(line, sums[-1] if sums else 0))
    before_table = [True] * len(lines)
    is_table = True  # what follows the last line
    for at in range(len(lines) - 1, -1, -1):
        before_table[at] = is_table
        if significant := _significant(lines[at]):
            is_table = significant.startswith("[")
    kept = b"".join(_LINE.pack(*each) for each in zip(sums, before_table, strict=True))
    last = re.split("[\"']", lines[-1][:MOST_LETTERS])[0] if lines else ""
    before = sums[-2] if len(sums) > 1 else 0
    parts = b"".join(_sum(last[:end], before).to_bytes(4, "big") for end in range(1, len(last)))
    return f"{b64encode(kept).decode()} {b64encode(parts).decode()}"


def find_cut(text: str, before: str) -> Cut | None:
    """Return where ``text`` was cut off; None if it is no beginning of the other text, or ends where a table ends.

    ``before`` is what :func:`outline` returned of the other text.
    """
    if not before:
        return None
    kept, parts = (b64decode(each) for each in before.split(" "))
    known = list(_LINE.iter_unpack(kept))
    lines, tail = _lines(text), ""
    if lines and not text.endswith("\n"):
        tail = lines.pop()
    summed = 0
    for line in lines:
        summed = _sum(line, summed)
    whole = len(lines)
    if whole > len(known) or (whole and known[whole - 1][0] != summed):
        return None
    if tail and whole < len(known) and known[whole][0] == _sum(tail, summed):
        whole, tail = whole + 1, ""
    if not _significant(tail):
        is_cut = 0 < whole < len(known) and not known[whole - 1][1]
        return Cut(line=whole, is_within=False) if is_cut else None
    is_cut = whole < len(known)
    if whole == len(known) - 1:  # else the last line is another one
        is_cut = _sum(tail, summed).to_bytes(4, "big") in {parts[at : at + 4] for at in range(0, len(parts), 4)}
    return Cut(line=whole + 1, is_within=True) if is_cut else None


def _lines(text: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


def _sum(line: str, before: int) -> int:
    return crc32(f"{_QUOTED.sub('', line)}\n".encode("utf-8", "surrogateescape"), before)


def _significant(line: str) -> str:
    stripped = line.strip()
    return "" if stripped.startswith("#") else stripped
