"""Data on stdout, talk on stderr: JSON, tables (rich on a terminal, plain lines otherwise) and key-value sheets.

All that a command prints goes through here, and with it through :mod:`scheduler.observability.visible_text`: whatever
data, names and messages of others hold, nothing steers the terminal.
"""

import json
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Self, TextIO

from scheduler.observability.visible_text import visible, visible_json, visible_lines

_GAP = 2
"""Blanks between two columns."""
_TIME = re.compile(r"^(\d{4}-\d\d-\d\d)T(?=\d\d:\d\d)")


def say(text: str) -> None:
    """Print a line of talk for a person, on stderr."""
    print(visible(text), file=sys.stderr)  # noqa: T201 - the command line's own output


def say_lines(text: str) -> None:
    """Print several lines of talk, on stderr: where each line break in the text is meant."""
    print(visible_lines(text), file=sys.stderr)  # noqa: T201 - the same


def warn(text: str) -> None:
    """Print a warning, on stderr."""
    say(f"schedctl: warning: {text}")


def put(text: str = "") -> None:
    """Print a line of data, on stdout."""
    _put_line(visible(text))


def put_lines(text: str) -> None:
    """Print several lines of data, on stdout: where each line break in the text is meant, as in a file's content."""
    _put_line(visible_lines(text))


def _put_line(text: str) -> None:
    print(text)  # noqa: T201 - the same


def put_json(value: object) -> None:
    """Print a value as JSON, on stdout."""
    _put_line(_json(value, indent=2))


def _json(value: object, *, indent: int | None = None) -> str:
    """Write JSON; with escapes where stdout, or a terminal, could not take its characters as they are."""
    encoding = (sys.stdout.encoding or "utf-8").lower().replace("_", "-")
    return visible_json(json.dumps(value, indent=indent, ensure_ascii=encoding not in {"utf-8", "utf8"}))


def csv_stream() -> "TextIO | TerminalRecords":
    """Return where records of CSV are written on stdout: unchanged in a file or a pipe, visible on a terminal."""
    return TerminalRecords() if is_terminal() else sys.stdout


class TerminalRecords:
    """Shows records of CSV on a terminal, a line each: their values are data, and may hold anything."""

    def write(self, record: str) -> int:
        """Print one record, as a writer of the csv module hands it over."""
        put(record.rstrip("\r\n"))
        return len(record)


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def _has_width() -> bool:
    return is_terminal() or bool(os.environ.get("COLUMNS"))


def put_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, styles: Mapping[str, str] | None = None
) -> None:
    """Print rows under their headings. ``styles`` gives a cell's text its rich style, on a terminal only.

    On a terminal, or where COLUMNS says how wide the lines may be, long cells are wrapped; otherwise each row is one
    line, with columns two spaces apart.
    """
    columns = [visible(column) for column in columns]
    content = [[visible(cell) for cell in row] for row in rows]
    if _has_width():
        _put_rich(columns, content, styles or {})
        return
    widths = [max(len(row[index]) for row in [columns, *content]) for index in range(len(columns))]
    for row in [columns, *content]:
        put("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def put_text(text: str) -> None:
    """Print a sentence, wrapped to the width of a terminal or to COLUMNS, else on one line."""
    text = visible(text)
    for line in textwrap.wrap(text, shutil.get_terminal_size().columns) if _has_width() else [text]:
        put(line)


def put_sheet(pairs: Iterable[tuple[str, str | None]]) -> None:
    """Print ``label  value`` lines; a value of None leaves its line out, further lines of a value are indented."""
    shown = [(label, value) for label, value in pairs if value is not None]
    width = max((len(label) for label, _ in shown), default=0)
    for label, value in shown:
        first, *others = visible_lines(value.expandtabs()).split("\n")
        put(f"{label:<{width}}  {first}".rstrip())
        for line in others:
            put(f"{'':<{width}}  {line}".rstrip())


def _put_rich(columns: Sequence[str], rows: Sequence[Sequence[str]], styles: Mapping[str, str]) -> None:
    from rich.cells import cell_len  # noqa: PLC0415 - 50 ms that plain lines do not pay
    from rich.console import Console  # noqa: PLC0415 - the same
    from rich.table import Table  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    width = shutil.get_terminal_size().columns
    console = Console(width=width, highlight=False)  # rich itself honours NO_COLOR
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    rows = [[_TIME.sub(r"\1 ", cell) for cell in row] for row in rows]  # so that it may be wrapped between the two
    for column, columns_width in zip(columns, _widths([columns, *rows], width, cell_len), strict=True):
        table.add_column(Text(column), overflow="fold", width=columns_width)  # as a text it could hold markup
    for row in rows:
        table.add_row(*(Text(cell, style=styles.get(cell, "")) for cell in row))
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        _put_line(line.rstrip())


def _widths(rows: Sequence[Sequence[str]], width: int, measure: Callable[[str], int]) -> list[int]:
    """Return how wide each column is made so that all fit: what has spaces is wrapped before a word is broken."""
    cells = [[row[index] for row in rows] for index in range(len(rows[0]))]
    widths = [min(max(map(measure, column)), width) for column in cells]
    words = [max(measure(word) for cell in column for word in (*cell.split(), "")) for column in cells]
    while sum(widths) > max(width - _GAP * (len(widths) - 1), len(widths)):
        spare = [has - needs for has, needs in zip(widths, words, strict=True)]
        most = spare if max(spare) > 0 else widths
        widths[most.index(max(most))] -= 1
    return widths


class JsonRows:
    """Writes ``{"KEY": [row, …], …}`` row by row, so that any number of rows takes no memory; ``rest`` follows them."""

    def __init__(self, key: str, **rest: object) -> None:
        self._rest = rest
        self._opening = f'{{\n  "{key}": ['
        self._any = False

    def __enter__(self) -> Self:
        sys.stdout.write(self._opening)
        return self

    def row(self, value: Mapping[str, Any]) -> None:
        """Write one row."""
        sys.stdout.write((",\n    " if self._any else "\n    ") + _json(value))
        self._any = True

    def __exit__(self, *_error: object) -> None:
        rest = "".join(f',\n  "{key}": {_json(value)}' for key, value in self._rest.items())
        sys.stdout.write(("\n  ]" if self._any else "]") + f"{rest}\n}}\n")
