"""docs/modules.md against the source. `python tests/docs/test_modules_docs.py` writes it from the docstrings."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "modules.md"
MARK = "<!-- The rest is written by tests/docs/test_modules_docs.py from the docstrings. -->\n"
PATH = re.compile(r"`((?:scheduler|exporter|storage|tests|bench)/[\w/.*]+)`")
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
OURS = re.compile(r"\b(?:from|import) ((?:scheduler|exporter|storage|support)(?:\.\w+)+)|\bLate\(\"([\w.]+)\"\)")


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


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_place_that_a_page_names_is_there(page: Path) -> None:
    places = PATH.findall(page.read_text(encoding="utf-8"))
    assert [place for place in places if not list(ROOT.glob(place))] == []


@pytest.mark.parametrize("top", ["scheduler", "exporter", "storage", "tests", "bench", "docs"])
def test_every_module_that_a_text_imports_is_there(top: str) -> None:
    """Programs in strings, templates and pages import too, and no linter reads them."""
    modules = {
        ".".join(path.relative_to(base).with_suffix("").parts).removesuffix(".__init__")
        for base in (ROOT, ROOT / "tests")
        for name in ("scheduler", "exporter", "storage", "support")
        for path in (base / name).rglob("*.py")
    }
    rooms = {module.rpartition(".")[0] for module in modules}
    texts = [path for form in ("*.py", "*.mako", "*.md") for path in (ROOT / top).rglob(form)]
    named = {
        f"{path.relative_to(ROOT)}: {found[1] or found[2]}"
        for path in texts
        for found in OURS.finditer(path.read_text(encoding="utf-8"))
        if (found[1] or found[2]) not in modules | rooms
    }
    assert named == set()


if __name__ == "__main__":
    head, _, _ = PAGE.read_text(encoding="utf-8").partition(MARK)
    PAGE.write_text(head + MARK + reference(), encoding="utf-8")
