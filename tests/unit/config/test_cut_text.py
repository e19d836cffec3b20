"""Which texts are beginnings of a config file that was read before."""

import tomllib

import pytest

from scheduler.config.cut_text import MOST_LINES, Cut, find_cut, outline

TEXT = """\
# a comment
[daemon]
max_running = 20

[connections.crm]
type = "salesforce"
client_secret = "s3cret"
port = 8443
schema = "sales" # ours

# the jobs
[jobs.a]
query = "select 1"
[jobs.a.params]
days = 365
"""


def test_a_text_is_no_cut_of_itself_nor_of_what_it_begins() -> None:
    assert find_cut(TEXT, outline(TEXT)) is None
    assert find_cut(TEXT, outline(TEXT.removesuffix("days = 365\n"))) is None
    assert find_cut(TEXT.removesuffix("\n"), outline(TEXT)) is None
    assert find_cut(TEXT, outline(TEXT.removesuffix("\n"))) is None
    assert find_cut("", outline(TEXT)) is None
    assert find_cut(TEXT, "") is None


def test_each_beginning_is_a_cut_but_those_that_end_where_a_table_ends() -> None:
    known = outline(TEXT)
    for end in range(1, len(TEXT)):
        try:
            tomllib.loads(TEXT[:end])
        except tomllib.TOMLDecodeError:
            continue
        rest = TEXT[end:]
        last = TEXT[:end].rsplit("\n", 1)[-1].strip()
        if last.startswith("#"):
            rest = rest.partition("\n")[2]
        following = [each for each in rest.split("\n") if each.strip() and not each.startswith("#")]
        is_in_line = bool(last) and not last.startswith("#") and not rest.startswith("\n")
        is_cut = is_in_line or bool(following and not following[0].startswith("["))
        assert (find_cut(TEXT[:end], known) is not None) == is_cut, TEXT[:end]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("[a]\ndays = 365\n", "[a]\ndays = 36", Cut(2, is_within=True)),
        ("[a]\ndays = 365", "[a]\ndays = 3", Cut(2, is_within=True)),
        ("[a]\ndays = 365", "[a]\ndays = 30", None),
        ("[a]\ndays = 365", "[a]\ndays = 366", None),
        ("[a]\ndays = 365\nb = 1\n", "[a]\ndays = 36", Cut(2, is_within=True)),
        ("[a]\ndays = 365\nb = 1\n", "[a]\ndays = 36\n", None),
        ("[a]\r\nb = 1\r\nc = 2\r\n", "[a]\nb = 1\n", Cut(2, is_within=False)),
        ("[a]\nb = 1\nc = 2\n", "[a]\nb = 2\n", None),
        ("[a]\nb = 1\n\n# c\n[d]\n", "[a]\nb = 1\n\n", None),
        ("[a]\nb = 1\n\n# c\n[d]\n", "[a]\nb = 1\n\n# ", None),
        ("[a]\nb = 1\nc = 2\n", "[a]\nb = 1\n# ", Cut(2, is_within=False)),
        ('[a]\nb = "one"\nc = 2\n', '[a]\nb = "two"\n', Cut(2, is_within=False)),
    ],
)
def test_where_a_text_was_cut(before: str, after: str, expected: Cut | None) -> None:
    assert find_cut(after, outline(before)) == expected


def test_what_stands_in_quotes_is_not_in_what_is_kept() -> None:
    assert outline('[a]\nb = "s3cret"\n') == outline("[a]\nb = 'other'\n")


def test_of_a_very_long_text_nothing_is_kept() -> None:
    assert outline("a = 1\n" * (MOST_LINES + 1)) == ""
