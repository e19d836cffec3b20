"""How the code is cut: functions, private helpers that one place uses, rooms.

`python bench/structure.py [REVISION …]`; without a revision it looks at the working tree. A helper is a function or
method whose name begins with one underscore, and not with two. It is used once if its name stands once in its module
besides its definition.
"""

import ast
import io
import re
import subprocess
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("scheduler", "exporter", "storage")
SHORT = 6
"""Lines, with the first: a helper that is no longer may be only a name for what its body says."""
DEFINED_AND_USED = 2
"""How often the name of a helper stands in its module that is used once."""


def sources(revision: str | None) -> Mapping[str, str]:
    """Return the text of every module by its path."""
    if revision is None:
        paths = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
        return {str(path.relative_to(ROOT)): path.read_text(encoding="utf-8") for path in paths}
    command = ["git", "archive", revision, *PACKAGES]
    archive = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        found = {each.name: files.extractfile(each) for each in files if each.isfile() and each.name.endswith(".py")}
        return {name: file.read().decode() for name, file in found.items() if file is not None}


def figures(texts: Mapping[str, str]) -> Iterator[list[str]]:
    """Yield a row of the table for each package."""
    for package in PACKAGES:
        own = {path: text for path, text in texts.items() if path.startswith(f"{package}/") and "versions/" not in path}
        lengths: list[int] = []
        once: list[int] = []
        for text in own.values():
            names = Counter(re.findall(r"\b_[a-z]\w*", text))
            for node in ast.walk(ast.parse(text)):
                if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                    continue
                lengths.append((node.end_lineno or node.lineno) - node.lineno + 1)
                if re.match(r"_[a-z]", node.name) and names[node.name] == DEFINED_AND_USED:
                    once.append(lengths[-1])
        rooms = Counter(path.rpartition("/")[0] for path in own if not path.endswith("__init__.py"))
        room, most = rooms.most_common(1)[0]
        share = f"{len(once)} ({100 * len(once) / len(lengths):.0f} %)"
        short = sum(length <= SHORT for length in once)
        yield [package, str(len(own)), f"{len(lengths):,}", share, str(short), str(max(lengths)), f"{most} ({room})"]


def main() -> None:
    """Print a table for each revision."""
    for revision in sys.argv[1:] or [None]:
        print(f"\n## {revision or 'working tree'}\n")
        head = [
            "package",
            "modules",
            "functions",
            "helpers used once",
            f"of {SHORT} lines or fewer",
            "longest",
            "fullest",
        ]
        print("| " + " | ".join(head) + " |")
        print("|" + "---|" * len(head))
        for row in figures(sources(revision)):
            print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
