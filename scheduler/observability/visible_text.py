r"""Text of others (data, names, messages) made fit to be shown: the one gate of what is printed, mailed and logged.

A terminal obeys control characters, and a reader is fooled by those that turn the direction of the text, end a line, or
cannot be seen. Each is shown as the escape that JSON and TOML have for it (``\u001b``, ``\u202e``, ``\n``). Letters,
accents, spaces of all kinds, emoji and the joiners that they need stay as they are. Pure.
"""

import json
import re

_CONTROLS = "\x7f-\x9f"
"""DEL and the C1 controls, which some terminals take for escape sequences of one character (ECMA-48)."""
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""The bidirectional marks, embeddings, overrides and isolates (UAX 9, section 2)."""
_LINES = "\u2028\u2029"
_UNSEEN = "\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
"""Formats without a form of their own, and the tags in which a whole text can be hidden."""
_HALVES = "\ud800-\udfff"
_ALL_BUT_C0 = f"{_CONTROLS}{_DIRECTION}{_LINES}{_UNSEEN}{_HALVES}"
_IN_JSON = re.compile(f"[{_ALL_BUT_C0}]")
_IN_TEXT = re.compile(f"[\x00-\x1f{_ALL_BUT_C0}]")
_IN_LINES = re.compile(f"[\x00-\x09\x0b-\x1f{_ALL_BUT_C0}]")
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLANE = 0xFFFF


def visible(text: str) -> str:
    """Return a text as one line, with an escape for each character that a terminal obeys or that nobody sees."""
    return _IN_TEXT.sub(_escape, text)


def visible_lines(text: str) -> str:
    """Return a text of several lines of our own making; its line feeds stay."""
    return _IN_LINES.sub(_escape, text)


def visible_json(text: str) -> str:
    """Return JSON with such characters as JSON's own escapes: it means the same."""
    return _IN_JSON.sub(_json_escape, text)


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return _NAMED.get(found[0]) or (f"\\u{code:04x}" if code <= _PLANE else f"\\U{code:08x}")


def _json_escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
