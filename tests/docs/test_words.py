"""The pages that people read say things in the field's terms: phrases that had to be read twice do not come back."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GENERATED = {"commands.md", "configuration.md", "errors.md", "json.md", "modules.md"}
"""Their words are those of the source."""
PAGES = sorted([*ROOT.glob("*.md"), *(page for page in ROOT.glob("docs/*.md") if page.name not in GENERATED)])
PLAIN = {
    r"(is|are|was|were) told|told of": "is reported, is notified",
    r"\bowed\b": "due, expected, missed",
    r"\bmend(s|ed)?\b": "fix",
    r"needs? a person": "needs operator action",
    r"[Rr]efused rows?": "rejected row",
    r"pass(es|ed) over": "skips, ignores",
    r"given up|gives up": "aborted, dropped",
    r"\bfor good\b": "permanently",
    r"over there|the other side": "in Salesforce, the server",
    r"\bblanks\b": "spaces",
    r"\b[Ww]hoever\b": "the user who",
    r"\bis away\b|cannot be had": "unavailable",
    r"\bcircle\b": "dependency cycle",
    r"\bstreak\b": "consecutive failures",
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_says_it_plainly(page: Path) -> None:
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    found = {phrase: better for phrase, better in PLAIN.items() if re.search(phrase, text)}
    assert found == {}
