"""A table more in a config file: what stands there stays to the byte, and what is added reads back as it was."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.config.writer import sections, with_section

TEXTS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=30).map(
    lambda text: text.replace("\r", "")
)
VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS.filter(bool), inner, max_size=3),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# only this",
        "[jobs.a]  # mine\nquery = '''\nx\n'''\n# the end\n",
        "[jobs.a]\r\nquery = 'x'\r\n",
        "[[connections.x.list]]\na = 1",
        "a.b = 1\n\n\n",
    ],
)
def test_what_is_there_stays_and_line_ends_are_its_own(text: str) -> None:
    new = with_section(text, "jobs", "n", {"cron": "@daily", "export": {"connection": "f"}})
    assert new.startswith(text)
    added = new.removeprefix(text)
    assert ("\r\n" in text) == ("\r\n" in added)
    assert added.count("\n") == added.count("\r\n") or "\r\n" not in added
    assert tomllib.loads(new)["jobs"]["n"] == {"cron": "@daily", "export": {"connection": "f"}}
    assert {**tomllib.loads(text), "jobs": None} == {**tomllib.loads(new), "jobs": None}


@given(TEXTS.filter(bool), st.dictionaries(TEXTS.filter(bool), VALUES, max_size=4))
def test_any_table_under_any_name_reads_back(name: str, values: dict[str, Any]) -> None:
    assert tomllib.loads(sections({"jobs": {name: values}})) == {"jobs": {name: values}}


def test_kinds_without_tables_are_left_out() -> None:
    assert sections({"connections": {}, "jobs": {"a": {"query": "x"}}}) == '[jobs.a]\nquery = "x"\n'
