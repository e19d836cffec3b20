"""Every page: its links lead somewhere, its commands are commands, its TOML is a config."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from scheduler.cli.main import application
from scheduler.config.build import parse

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub makes of a page's headings."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return {re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in HEADING.findall(text)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        target, _, anchor = link.partition("#")
        if ":" in target:
            assert target.startswith("https://"), link
            continue
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name}: {link}"
        if anchor:
            assert anchor in anchors(file), f"{page.name}: {link}"


@pytest.mark.parametrize("page", [page for page in PAGES if page.parent.name == "docs"], ids=lambda page: page.name)
def test_every_page_of_the_docs_is_linked_from_the_readme_or_from_one_that_is(page: Path) -> None:
    texts = [other.read_text(encoding="utf-8") for other in PAGES if other != page and other.name != "CHANGELOG.md"]
    assert any(f"{page.name})" in text or f"{page.name}#" in text for text in texts)


def lines(page: Path) -> Iterator[str]:
    """Yield the lines of a page's shell blocks that call schedctl, up to the first word that is the shell's."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language != "sh":
            continue
        without_files = re.sub(r"<<'?END'?\n.*?^END$", "", block, flags=re.MULTILINE | re.DOTALL)
        for line in without_files.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            while "schedctl" in words:
                words = words[words.index("schedctl") + 1 :]
                end = next((at for at, word in enumerate(words) if re.fullmatch(r"[|&><]+|2>", word)), len(words))
                last = next((at + 1 for at, word in enumerate(words) if word.endswith(";")), len(words))
                yield shlex.join(word.rstrip(";") for word in words[: min(end, last)])


COMMANDS = sorted({(page.name, line) for page in PAGES for line in lines(page)})


@pytest.mark.parametrize(("page", "line"), COMMANDS)
def test_every_command_in_a_page_is_one_that_can_be_typed(page: str, line: str) -> None:
    del page
    words = shlex.split(line)
    command: Any = get_command(application())
    name = "schedctl"
    while hasattr(command, "commands") and words:
        if words[0] not in command.commands:
            words = ["list", *words]
        name, words = words[0], words[1:]
        command = command.commands[name]
    command.make_context(name, words)  # raises what the user would see


def test_there_are_such_commands() -> None:
    assert len(COMMANDS) > 60


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "emulator.md"], ids=lambda page: page.name)
def test_every_toml_block_is_a_config_without_faults(page: Path) -> None:
    """Those of emulator.md are its own schema's, and have their own test."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language == "toml":
            parse(block)
