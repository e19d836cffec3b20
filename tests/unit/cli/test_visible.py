"""Text of others, as it is shown: no character is left that a terminal obeys or that nobody sees."""

import json
import unicodedata

from hypothesis import example, given
from hypothesis import strategies as st

from scheduler.observability.visible_text import visible, visible_json, visible_lines

KEPT = {"\u00ad", "\u200c", "\u200d"}
"""Formats that letters and emoji need: the soft hyphen and the two joiners."""
HOSTILE = "\x1b[31m\x9b2J\u202egnp.exe\u2066\u200f\u2028\u2029\x85\x7f\ud800\U000e0041"


def is_harmless(char: str) -> bool:
    if char in KEPT or "\u0600" <= char <= "\u0605":
        return True
    return unicodedata.category(char) not in {"Cc", "Zl", "Zp", "Cs"} and unicodedata.bidirectional(char) not in {
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI", "B"),
    }


@given(st.text(st.characters() | st.sampled_from(HOSTILE)))
@example(HOSTILE)
@example("a\r\nb\tc")
def test_nothing_that_is_shown_steers_a_terminal(text: str) -> None:
    assert all(map(is_harmless, visible(text)))
    assert all(is_harmless(char) or char == "\n" for char in visible_lines(text))
    assert visible_lines(text).count("\n") == text.count("\n")


@given(st.text(st.characters() | st.sampled_from(HOSTILE)))
@example(HOSTILE)
def test_json_means_the_same_after_its_escapes(text: str) -> None:
    for ascii_only in (True, False):
        shown = visible_json(json.dumps({text: [text]}, ensure_ascii=ascii_only))
        assert all(map(is_harmless, shown))
        assert json.loads(shown) == json.loads(json.dumps({text: [text]}))


def test_an_escape_is_the_one_that_json_and_toml_have() -> None:
    assert visible("\x1b[2J\u202e\x9b\u2028") == r"\u001b[2J\u202e\u009b\u2028"
    assert visible("a\nb\rc\td\x00") == r"a\nb\rc\td\u0000"
    assert visible("\U000e0041") == r"\U000e0041"


def test_letters_of_all_scripts_spaces_and_emoji_stay() -> None:
    text = "Größe\u00a0中文\u3000\u05e9\u05dc\u05d5\u05dd عربي नि\u200dक 👩\u200d👩\u200d👧 é \u200c"
    assert visible(text) == text
