"""Where keys stand in a TOML text: against texts whose lines were counted while they were written."""

import json
import tomllib
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.properties import examples

from scheduler.config.line_numbers import key_lines, line_of
from scheduler.errors.setting_faults import Keys

KEYS = st.one_of(
    st.sampled_from(["a", "b", "cron", "a-b", "1", "true"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
TRICKY = st.sampled_from(
    ['"', "'", "#", "]", "}", "[[x]]", 'a"""b', "a\nb\n", "\\", "\\\\n", "k = 1", '""', "''", "=,"]
)
SCALARS = st.one_of(st.integers(-(10**6), 10**6), st.booleans(), st.just(1.5), TEXTS, TRICKY)
TABLES = st.recursive(
    st.dictionaries(KEYS, SCALARS, max_size=3),
    lambda inner: st.dictionaries(
        KEYS, st.one_of(SCALARS, inner, st.lists(st.one_of(SCALARS, inner), max_size=3), st.lists(inner, max_size=3))
    ),
    max_leaves=12,
)


class Writer:
    """Writes a table as TOML, in ways that it chooses at random, and notes the line of everything."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.text = ""
        self.lines: dict[Keys, int] = {}

    def flip(self) -> bool:
        return self.random.random() < 0.5

    def note(self, keys: Keys) -> None:
        self.lines.setdefault(keys, self.text.count("\n") + 1)

    def blank(self, *, newlines: bool) -> None:
        choices = ["", " ", "\t"] + (["\n", "\n\n  ", " # ] } = \" ' [x]\n", "\r\n"] if newlines else [])
        self.text += self.random.choice(choices)

    def key(self, key: str) -> None:
        is_bare = key != "" and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
        if is_bare and self.flip():
            self.text += key
        elif key.isprintable() and "'" not in key and self.flip():
            self.text += f"'{key}'"
        else:
            self.text += quoted(key)

    def dotted(self, keys: list[str]) -> None:
        for position, key in enumerate(keys):
            if position:
                self.blank(newlines=False)
                self.text += "."
                self.blank(newlines=False)
            self.key(key)

    def value(self, keys: Keys, value: Any) -> None:
        if isinstance(value, dict):
            self.inline_table(keys, value)
        elif isinstance(value, list):
            self.array(keys, value)
        elif isinstance(value, str):
            self.string(value)
        else:
            self.text += json.dumps(value)

    def string(self, value: str) -> None:
        plain = all(each.isprintable() or each in "\n\t" for each in value)
        style = self.random.choice(["basic", "literal", "long", "long literal"])
        if style == "literal" and plain and "'" not in value and "\n" not in value:
            self.text += f"'{value}'"
        elif style == "long literal" and plain and "''" not in value and not value.endswith("'"):
            self.text += f"'''\n{value}'''"
        elif style == "long" and "\\" not in value:
            self.text += '"""\n' + quoted(value)[1:-1].replace("\\n", "\n") + '"""'
        else:
            self.text += quoted(value)

    def array(self, keys: Keys, items: list[Any]) -> None:
        self.text += "["
        self.blank(newlines=True)
        for position, item in enumerate(items):
            self.note((*keys, position))
            self.value((*keys, position), item)
            self.blank(newlines=True)
            if position < len(items) - 1 or self.flip():
                self.text += ","
                self.blank(newlines=True)
        self.text += "]"

    def inline_table(self, keys: Keys, table: dict[str, Any]) -> None:
        self.text += "{"
        self.blank(newlines=False)
        for position, (key, item) in enumerate(table.items()):
            self.text += ", " if position else ""
            self.pair(keys, [key], item)
            self.blank(newlines=False)
        self.text += "}"

    def pair(self, table: Keys, names: list[str], value: Any) -> None:
        """Write ``names = value``; a table with one key may go into the dotted name."""
        while isinstance(value, dict) and len(value) == 1 and self.flip():
            name, value = next(iter(value.items()))
            names = [*names, name]
        for end in range(1, len(names) + 1):
            self.note((*table, *names[:end]))
        self.dotted(names)
        self.blank(newlines=False)
        self.text += "="
        self.blank(newlines=False)
        self.value((*table, *names), value)

    def table(self, place: Keys, header: list[str], table: dict[str, Any]) -> None:
        """Write the keys of a table whose header stands there already, then the tables below it."""
        later = []
        for key, value in table.items():
            if isinstance(value, dict) and self.flip():
                later.append((key, value, False))
            elif isinstance(value, list) and value and all(isinstance(each, dict) for each in value) and self.flip():
                later.append((key, value, True))
            else:
                self.blank(newlines=True)
                self.pair(place, [key], value)
                self.text += "\n"
        for key, value, is_array in later:
            for position, each in enumerate(value if is_array else [value]):
                self.blank(newlines=True)
                below: Keys = (*place, key, position) if is_array else (*place, key)
                self.note((*place, key))
                self.note(below)
                self.text += "[[" if is_array else "["
                self.dotted([*header, key])
                self.text += "]]\n" if is_array else "]\n"
                self.table(below, [*header, key], each)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@examples(200)
@given(st.integers(0, 2**32), TABLES)
def test_every_key_and_item_has_the_line_on_which_it_was_written(seed: int, table: dict[str, Any]) -> None:
    writer = Writer(seed)
    writer.table((), [], table)
    assert tomllib.loads(writer.text) == table  # else the test itself would be wrong
    assert key_lines(writer.text) == writer.lines


@pytest.mark.parametrize(
    ("text", "keys", "line"),
    [
        ("a = 1\n[b]\n  c.d = 2\n", ("b", "c", "d"), 3),
        ("[a.b.c]\n[a]\nx = 1\n", ("a",), 1),
        ("[a.b.c]\n[a]\nx = 1\n", ("a", "x"), 3),
        ('a = """\n[b]\nc = 1\n"""\n[b]\nc = 1\n', ("b", "c"), 6),
        ("a = '''x'''''\nb = 1\n", ("b",), 2),
        ('a = """x"""""\nb = 1\n', ("b",), 2),
        ('a = "\\\\"\nb = "]"\n', ("b",), 2),
        ("a = [ # ]\n 1,\n [2,\n 3]]\nb = 1", ("a", 1, 1), 4),
        ("[[j]]\na = 1\n[[j]]\n[j.k]\na = 1\n[[j.l]]\na = 2\n", ("j", 1, "l", 0, "a"), 7),
        ("t = 1979-05-27 07:32:00 # [x]\nu = +nan\n", ("u",), 2),
        ("\"a\\tb\" . 'c.d' = 1\n", ("a\tb", "c.d"), 1),
        ("\r\n\r\na = 1\r\n", ("a",), 3),
    ],
)
def test_lines_in_awkward_places(text: str, keys: Keys, line: int) -> None:
    assert key_lines(text)[keys] == line


def test_a_missing_key_is_at_the_table_that_lacks_it() -> None:
    lines = key_lines("\n[jobs.a.export]\nconnection = 'x'\n")
    assert line_of(lines, ("jobs", "a", "export", "object")) == 2
    assert line_of(lines, ("jobs", "a", "source")) == 2
    assert line_of(lines, ("daemon",)) is None


def test_a_long_text_is_read_in_one_go() -> None:
    text = "a = '''" + "select 1 -- ' \n" * 40_000 + "'''\nb = [" + "1, " * 40_000 + "]\nc = 1\n"
    assert key_lines(text)[("c",)] == 40_003
