"""Arrays, maps and rows of a Trino result in the form that ``CAST(… AS JSON)`` gives them there. Pure.

A row comes as a list without the names of its fields, which stand in the type: ``row(id bigint, "my name" varchar)``.
What has no form of its own in JSON (decimals, dates, times, bytes in base64) stays the text that Trino sends.
"""

import json
import re
from collections.abc import Callable
from typing import Any

_WORD = re.compile(r'\s*("(?:[^"]|"")*"|[^\s(),"]+)')

Writer = Callable[[Any], Any]
"""From a value as it was sent, or NULL, to what JSON shows of it."""


def nested_text(kind: str) -> Writer:
    """Return how the values of a type are shown. Raises ValueError for a type whose parts cannot be told apart."""
    kind = kind.strip()
    name, _, inside = kind.partition("(")
    if not kind.endswith(")"):
        return _json if kind.lower() == "json" else _same
    parts = _parts(inside[:-1])
    match name.strip().lower():
        case "array":
            item = nested_text(parts[0])
            return lambda value: None if value is None else [item(each) for each in value]
        case "map":
            item = nested_text(parts[1])
            return lambda value: None if value is None else {key: item(each) for key, each in value.items()}
        case "row":
            return _row([_field(part) for part in parts])
        case _:
            return _same


def _row(fields: list[tuple[str | None, Writer]]) -> Writer:
    names = [name for name, _ in fields]
    writers = [writer for _, writer in fields]

    def write(value: Any) -> Any:  # noqa: ANN401 - JSON of any form
        if value is None:
            return None
        items = [writer(each) for writer, each in zip(writers, value, strict=True)]
        if None in names or len(set(names)) < len(names):  # an object cannot hold them
            return items
        return dict(zip(names, items, strict=True))

    return write


def _field(text: str) -> tuple[str | None, Writer]:
    """Read ``name type`` or only ``type``; a type of more than one word ends in one of the tails."""
    match = _WORD.match(text)
    rest = text[match.end() :].strip() if match else ""
    if match is None or not rest or rest.startswith("(") or rest.lower() in _TAILS:
        return None, nested_text(text)
    word = match[1]
    name = word[1:-1].replace('""', '"') if word.startswith('"') else word
    return name, nested_text(rest)


_TAILS = frozenset({"with time zone", "precision", "day to second", "year to month"})


def _parts(inside: str) -> list[str]:
    """Split at the commas that stand in no parentheses and no quotes."""
    parts, depth, quoted, start = [], 0, False, 0
    for position, letter in enumerate(inside):
        if letter == '"':
            quoted = not quoted
        elif not quoted:
            depth += (letter == "(") - (letter == ")")
            if letter == "," and depth == 0:
                parts.append(inside[start:position])
                start = position + 1
    return [*parts, inside[start:]]


def _same(value: Any) -> Any:  # noqa: ANN401 - JSON of any form
    return value


def _json(value: Any) -> Any:  # noqa: ANN401 - JSON of any form
    return json.loads(value) if isinstance(value, str) else value
