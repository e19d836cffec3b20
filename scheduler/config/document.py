"""One file of a config as text and as TOML tables, and where in it a fault stands. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from exporter.safe_parsing.toml import TooDeepError, loads
from scheduler.config.line_numbers import key_lines, line_of
from scheduler.errors.setting_faults import ConfigError, Fault
from scheduler.jobs.definition import QueryFiles


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A config file, or a fragment that one includes.

    ``name`` is what faults call it. Relative paths in it are relative to ``base`` (as they are without one).
    ``query_files`` are the texts of the files that its jobs name. ``is_private``: no other user can read it.
    """

    name: str
    text: str
    tables: Mapping[str, Any]
    base: Path | None = None
    query_files: QueryFiles = field(default_factory=dict)
    is_private: bool = True

    def locate(self, faults: Iterable[Fault]) -> list[Fault]:
        """Return the faults with this file's name, and with the line that each stands on."""
        found = list(faults)
        lines = key_lines(self.text) if found else {}
        return [replace(fault, file=self.name, line=line_of(lines, fault.keys)) for fault in found]


def document(text: str, name: str, *, base: Path | None = None, is_private: bool = True) -> Document:
    """Make a Document of a file's text. Raises ConfigError if it is no TOML."""
    return Document(name=name, text=text, tables=_read_toml(text, name), base=base, is_private=is_private)


def _read_toml(text: str, name: str) -> dict[str, Any]:
    try:
        return loads(text)
    except TooDeepError as error:
        raise ConfigError([Fault(keys=(), file=name, line=error.line, message=str(error))], name=name) from error
    except ValueError as error:  # TOMLDecodeError, or a number with thousands of digits
        message = str(error)
        place = re.fullmatch(r"(?s)(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", message)
        if place is None:
            raise _no_toml("a number is too long", name) from error
        line = int(place[2]) if place[2] else text.count("\n") + (not text.endswith("\n"))
        column = f" (column {place[3]})" if place[3] else " (at the end of the file)"
        raise _no_toml(f"{place[1]}{column}{_toml_hint(place[1])}", name, line=line) from error


def _no_toml(why: str, name: str, *, line: int | None = None) -> ConfigError:
    return ConfigError([Fault(keys=(), file=name, line=line, message=f"not valid TOML: {why}")], name=name)


def _toml_hint(message: str) -> str:
    return {
        "Invalid value": ": text stands in quotes, true and false are written small",
        "Cannot overwrite a value": ": the key is there twice",
        "Unescaped '\\' in a string": ": write \\\\, or use single quotes",
    }.get(message, "")
