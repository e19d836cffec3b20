"""docs/modules.md against the source. `python tests/docs/test_modules_docs.py` writes it from the docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "modules.md"
MARK = "<!-- The rest is written by tests/docs/test_modules_docs.py from the docstrings. -->\n"
PATH = re.compile(r"`((?:scheduler|exporter|storage|tests|bench|systemd)/[\w/.]+)`")
MAPS = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "glossary.md"]


def docstring(path: Path) -> str:
    """Return the docstring of a module on one line, without roles of Sphinx."""
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split())).replace("``", "`").replace("|", "\\|")


def first_paragraph(path: Path) -> str:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split("\n\n")[0].split())).replace("``", "`")


def rooms() -> Iterator[Path]:
    """Yield each package of the source, a room before those within it."""
    for top in ("scheduler", "exporter", "storage"):
        yield from sorted(path.parent for path in (ROOT / top).rglob("__init__.py"))


def reference() -> str:
    written = []
    for room in rooms():
        name = room.relative_to(ROOT).as_posix()
        written += [f"\n## `{name}/`\n", docstring(room / "__init__.py"), ""]
        modules = sorted(room.glob("[!_]*.py"))
        if modules:
            written += ["| module | what it is |", "|---|---|"]
            written += [f"| `{path.name}` | {first_paragraph(path).replace('|', chr(92) + '|')} |" for path in modules]
    return "\n".join(written) + "\n"


def test_the_page_has_every_room_and_module_in_the_words_of_the_source() -> None:
    _, _, written = PAGE.read_text(encoding="utf-8").partition(MARK)
    assert written.strip() == reference().strip(), f"run: python {Path(__file__).relative_to(ROOT)}"


@pytest.mark.parametrize("room", list(rooms()), ids=lambda room: room.relative_to(ROOT).as_posix())
def test_every_room_and_module_says_what_it_is(room: Path) -> None:
    assert len(docstring(room / "__init__.py")) > 10
    assert all(first_paragraph(path) for path in room.glob("[!_]*.py"))


@pytest.mark.parametrize("page", MAPS, ids=lambda page: page.name)
def test_every_place_that_a_map_names_is_there(page: Path) -> None:
    places = PATH.findall(page.read_text(encoding="utf-8"))
    assert [place for place in places if not (ROOT / place).exists()] == []


if __name__ == "__main__":
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(head + MARK + reference(), encoding="utf-8")
