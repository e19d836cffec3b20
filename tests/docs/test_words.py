"""The pages that people read say things in the field's terms: phrases that had to be read twice do not come back."""

import ast
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


IN_SOURCES = {
    r"\bmend(s|ed)?\b": "fix",
    r"[Rr]efused row(?!s only$)": "rejected row",
    r"pass(es|ed) over": "skips, ignores",
    r"needs? a person": "needs operator action",
    r"\bfor good\b": "permanently",
    r"over there|the other side": "in Salesforce, the server",
    r"\bblanks\b": "spaces",
    r"no key here|is no UTF": "unknown key, not valid UTF-8",
    r"there is no such (job|file|connection|entry|database)": "not found",
    r"\ba circle\b": "dependency cycle",
    r"[Aa]t most so many": "maximum number of",
    r"fault of schedctl's own": "bug in schedctl",
    r"under our hands|our doing": "externally",
}


@pytest.mark.parametrize("package", ["exporter", "scheduler", "storage"])
def test_messages_help_and_docstrings_say_it_plainly(package: str) -> None:
    found: dict[str, str] = {}
    for path in sorted((ROOT / package).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            for phrase, better in IN_SOURCES.items():
                if re.search(phrase, node.value):
                    found[f"{path.relative_to(ROOT)}:{node.lineno}: {phrase}"] = better
    assert found == {}
