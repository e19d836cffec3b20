"""docs/errors.md against the errors in the source. `python tests/docs/test_errors_docs.py` writes its table."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "errors.md"
MARK = "<!-- The rest is written by tests/docs/test_errors_docs.py from the source. -->\n"
KINDS = ("configuration", "transient", "internal")
CODE = re.compile(r"[A-Z][A-Z0-9_]+")


def errors() -> dict[str, tuple[set[str], list[str]]]:
    """Return, by code, the kinds that it comes with and the messages, with … for what differs."""
    found: dict[str, tuple[set[str], list[str]]] = defaultdict(lambda: (set(), []))
    paths = [
        path
        for folder in ("exporter", "scheduler")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "emulator" not in path.parts  # a Salesforce's errors, not ours
    ]
    trees = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts): ast.parse(path.read_text(encoding="utf-8"))
        for path in paths
    }
    named = {module: dict(_named(tree)) for module, tree in trees.items()}
    for module, tree in trees.items():
        for kind, code, message in _calls(tree, named[module] | dict(_imported(tree, named))):
            kinds, messages = found[code]
            kinds.add(kind)
            if message and message not in messages:
                messages.append(message)
    return dict(found)


def _named(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that a module has for codes."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Constant)
            and CODE.fullmatch(str(node.value.value))
        ):
            yield from ((target.id, str(node.value.value)) for target in node.targets if isinstance(target, ast.Name))


def _imported(tree: ast.Module, named: Mapping[str, Mapping[str, str]]) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in named:
            known = named[node.module]
            yield from ((each.asname or each.name, known[each.name]) for each in node.names if each.name in known)


def _calls(tree: ast.Module, named: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        for node in ast.walk(function):
            if not isinstance(node, ast.Call) or len(node.args) < 2:
                continue
            kind, code, message = _kind(node), *_last_two(node)
            if not kind:
                continue
            text = str(code.value) if isinstance(code, ast.Constant) else ""
            text = named.get(code.id, "") if isinstance(code, ast.Name) else text
            if CODE.fullmatch(text):
                yield kind, text, _text(message, function)


def _kind(call: ast.Call) -> str:
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    if name in KINDS:
        return name
    first = call.args[0]
    if name == "ExportError" and isinstance(first, ast.Attribute):
        return first.attr.lower()
    return ""


def _last_two(call: ast.Call) -> tuple[ast.expr, ast.expr]:
    at = 1 if isinstance(call.func, ast.Name) and call.func.id == "ExportError" else 0
    return call.args[at], call.args[at + 1] if len(call.args) > at + 1 else call.args[at]


def _text(message: ast.expr, function: ast.FunctionDef) -> str:
    """Return the words of a message: of a name, those that it was last given."""
    if isinstance(message, ast.Constant):
        return str(message.value)
    if isinstance(message, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in message.values)
    if isinstance(message, ast.Name):
        given = [
            node.value
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            and any(isinstance(target, ast.Name) and target.id == message.id for target in node.targets)
            and isinstance(node.value, ast.Constant | ast.JoinedStr)
        ]
        return _text(given[-1], function) if given else ""
    return ""


def table() -> str:
    """Return the table of the page."""
    lines = ["| code | kind | what it says |", "|---|---|---|"]
    for code, (kinds, messages) in sorted(errors().items()):
        words = " / ".join(messages[:3]).replace("|", "\\|").replace("<", "&lt;") or "the other side's own words"
        lines.append(f"| `{code}` | {', '.join(sorted(kinds))} | {words} |")
    return "\n".join(lines)


def test_every_error_of_the_source_is_on_the_page_and_no_other() -> None:
    written = PAGE.read_text(encoding="utf-8").partition(MARK)[2]
    assert written.strip() == table().strip(), "run: python tests/docs/test_errors_docs.py"


def test_it_finds_those_that_there_are() -> None:
    found = errors()
    assert len(found) > 60
    assert found["UNKNOWN_OBJECT"][0] == {"configuration"}
    assert not [code for code, (_, messages) in found.items() if any("\n" in message for message in messages)]


if __name__ == "__main__":
    head = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    PAGE.write_text(f"{head}{MARK}\n{table()}\n", encoding="utf-8")
