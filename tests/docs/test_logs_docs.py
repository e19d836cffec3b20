"""docs/logs.md against every log call in the source."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "logs.md"
LEVELS = ("debug", "info", "warning", "error", "critical", "exception")
EVENT = re.compile(r"[a-z_]+\.[a-z_]+")
SPREAD = {"told": ("code", "kind", "message")}
"""What is given as ``**NAME``."""


def calls(tree: ast.AST) -> Iterator[tuple[str, str, set[str]]]:
    """Yield event, level and fields of each log call; the level is empty where it is chosen at run time."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) != 1 or not isinstance(node.args[0], ast.Constant):
            continue
        event, function = node.args[0].value, node.func
        if not isinstance(event, str) or not EVENT.fullmatch(event):
            continue
        named = isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name)
        if named and function.value.id in ("log", "_log") and function.attr in LEVELS:
            level = "error" if function.attr == "exception" else function.attr
        elif isinstance(function, ast.Call):
            level = ""
        else:
            continue
        fields: set[str] = set()
        for keyword in node.keywords:
            fields |= {keyword.arg} if keyword.arg else set(SPREAD[keyword.value.id])
        yield event, level, fields


def in_source() -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """Return the levels and the fields of every event in the source."""
    levels, fields = defaultdict(set), defaultdict(set)
    for folder in ("scheduler", "exporter", "storage"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for event, level, names in calls(ast.parse(path.read_text(encoding="utf-8"))):
                levels[event] |= {level} if level else set()
                fields[event] |= names
    return levels, fields


def in_page() -> dict[str, tuple[set[str], set[str]]]:
    """Return levels and fields of every event on the page."""
    page = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z_.]+)` \| ([a-z, ]+) \| ([^|]*) \| [^|]+ \|$", page, re.MULTILINE)
    return {name: (set(levels.split(", ")), set(re.findall(r"`([a-z_]+)`", told))) for name, levels, told in rows}


def test_every_event_is_on_the_page_with_its_level_and_fields_and_no_other() -> None:
    levels, fields = in_source()
    page = in_page()
    assert page.keys() == fields.keys()
    assert len(page) > 40
    for event, (told_levels, told_fields) in page.items():
        assert told_fields == fields[event], event
        assert told_levels >= levels[event], event


def test_a_call_with_its_level_chosen_at_run_time_and_fields_spread_is_understood() -> None:
    source = "tell.get(x, log.error)('run.settled', outcome=1, **told)\nlog.info('a.b', c=1)\nlog.info('a %s', 1)"
    assert list(calls(ast.parse(source))) == [
        ("run.settled", "", {"outcome", "code", "kind", "message"}),
        ("a.b", "info", {"c"}),
    ]
