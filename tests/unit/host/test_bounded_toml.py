"""TOML with keys of many parts or deep brackets is refused before a parser spends minutes on it."""

import time
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exporter.safe_parsing.toml import TooDeepError, loads
from scheduler.config.build import ConfigError, parse

MANY = ".".join(["a"] * 100_000)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (f"{MANY} = 1\n", 1),
        (f"\n\n[{MANY}]\n", 3),
        (f"# {MANY}\n[[{MANY}]]\n", 2),
        (f"x = {{ {MANY} = 1 }}\n", 1),
        (f"{MANY.replace('.', ' . ')} = 1\n", 1),
        (f"{MANY.replace('a', chr(34) + 'a' + chr(34))} = 1\n", 1),
        (f"x = {'[' * 100_000}\n", 1),
        (f"x = {'{ a = ' * 100_000}\n", 1),
        (f'x = """\n"\n"""\ny = {"[" * 65}{"]" * 65}\n', 4),
    ],
)
def test_too_much_of_it_is_refused_at_once_with_its_line(text: str, line: int) -> None:
    begun = time.process_time()
    with pytest.raises(TooDeepError) as caught:
        loads(text)
    assert caught.value.line == line
    with pytest.raises(ConfigError, match=rf"config\.toml:{line}: .* more than 64 (parts|deep)"):
        parse(text)
    assert time.process_time() - begun < 5


@pytest.mark.parametrize(
    "text",
    [
        f'x = "{"a." * 500}" # {"b." * 500}{"[" * 100}',
        f'x = """{"a." * 500}\n "" \\"""{"[" * 99}"""""\ny = 1',
        f"x = '''{'a.' * 500}\n '' {'{' * 99}'''''\ny = 'a'",
        f"{'.'.join(['a'] * 64)} = {'[' * 64}{']' * 64}",
        "\n".join(f"[a.b.c{number}]\nx.y = [1.5, {{ z = '.' }}]" for number in range(300)),
    ],
)
def test_what_stands_in_texts_and_comments_does_not_count(text: str) -> None:
    assert loads(text) == tomllib.loads(text)


@given(st.text(alphabet="\"'\\\n.=[]{}#, a1", max_size=60))
def test_no_small_text_is_read_otherwise_than_by_the_parser(text: str) -> None:
    try:
        expected: object = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        expected = str(error)
    try:
        found: object = loads(text)
    except tomllib.TOMLDecodeError as error:
        found = str(error)
    assert found == expected
