"""On which line of a TOML text each key and each list item stands. Pure; the standard parser tells no positions."""

import re
import tomllib
from collections.abc import Mapping

from scheduler.errors.setting_faults import Keys

_SPACE = re.compile(r"[ \t]*")
_BLANK = re.compile(r"(?:[ \t\r\n]+|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"{3,5}(?!") | \'\'\'.*?'{3,5}(?!') | "(?:[^"\\\n]|\\.)*" | '[^'\n]*' ''',
    re.VERBOSE | re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}\n#]+")


def key_lines(text: str) -> Mapping[Keys, int]:
    """Map the path of each key, table and list item to its line, counted from 1.

    ``text`` must be valid TOML (``tomllib`` accepts it). A table that several headers make stands where it is first
    named; an item of an array of tables at its own header.
    """
    return _Scanner(text).scan()


def open_table(text: str) -> Keys:
    """Return the path of the table that the text ends in, where a further line would belong; empty before any header.

    ``text`` must be valid TOML. A table in an array of tables has its number, from 0, behind the array's name.
    """
    scanner = _Scanner(text)
    scanner.scan()
    return scanner.table


def line_of(lines: Mapping[Keys, int], keys: Keys) -> int | None:
    """Return the line of ``keys``, or of the nearest table around it that the text names."""
    for end in range(len(keys), 0, -1):
        if (line := lines.get(keys[:end])) is not None:
            return line
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._counted = 0
        self._lines: dict[Keys, int] = {}
        self.table: Keys = ()
        """The table that the scan has come to."""
        self._tables: dict[Keys, int] = {}
        """How many tables each array of tables holds so far."""

    def scan(self) -> Mapping[Keys, int]:
        self._skip(_BLANK)
        while self._at < len(self._text):
            if self._take("["):
                self.table = self._header()
            else:
                self._pair(self.table)
            self._skip(_BLANK)
        return self._lines

    def _header(self) -> Keys:
        is_array = self._take("[")
        line = self._here()
        names = self._key()
        self._at += 2 if is_array else 1
        keys: Keys = ()
        for position, name in enumerate(names):
            keys = (*keys, name)
            self._lines.setdefault(keys, line)
            is_last = position == len(names) - 1
            if is_last and is_array:
                self._tables[keys] = self._tables.get(keys, 0) + 1
            if keys in self._tables:
                keys = (*keys, self._tables[keys] - 1)
                self._lines.setdefault(keys, line)
        return keys

    def _pair(self, table: Keys) -> None:
        line = self._here()
        keys = table
        for name in self._key():
            keys = (*keys, name)
            self._lines.setdefault(keys, line)
        self._at += 1  # the equals sign
        self._skip(_SPACE)
        self._value(keys)

    def _key(self) -> tuple[str, ...]:
        """Read a dotted key and the space around it."""
        names: list[str] = []
        while True:
            self._skip(_SPACE)
            if match := _STRING.match(self._text, self._at):
                names.append(tomllib.loads(f"k = {match[0]}")["k"])
            else:
                match = _BARE.match(self._text, self._at)
                if match is None:
                    raise ValueError(f"no key on line {self._here()}: the text is not valid TOML")
                names.append(match[0])
            self._at = match.end()
            self._skip(_SPACE)
            if not self._take("."):
                return tuple(names)

    def _value(self, keys: Keys) -> None:
        if self._take("["):
            self._items(keys)
        elif self._take("{"):
            self._inline_table(keys)
        elif not self._skip(_STRING):
            self._skip(_PLAIN)

    def _items(self, keys: Keys) -> None:
        position = 0
        self._skip(_BLANK)
        while not self._take("]"):
            self._lines[*keys, position] = self._here()
            self._value((*keys, position))
            position += 1
            self._skip(_BLANK)
            self._take(",")
            self._skip(_BLANK)

    def _inline_table(self, keys: Keys) -> None:
        self._skip(_BLANK)
        while not self._take("}"):
            self._pair(keys)
            self._skip(_BLANK)
            self._take(",")
            self._skip(_BLANK)

    def _take(self, mark: str) -> bool:
        if not self._text.startswith(mark, self._at):
            return False
        self._at += len(mark)
        return True

    def _skip(self, pattern: re.Pattern[str]) -> bool:
        match = pattern.match(self._text, self._at)
        if match is None or match.end() == self._at:
            return False
        self._at = match.end()
        return True

    def _here(self) -> int:
        """Return the line of the current position."""
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
