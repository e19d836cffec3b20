"""Tables of a config file as TOML text, and a text with one more of them: nothing of what is there is touched. Pure."""

from collections.abc import Mapping
from typing import Any

import tomlkit

SUBTABLES = ("export", "mapping", "segment")
"""The keys of a job that are tables of their own; other tables in a table are written in its line."""


def sections(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Write named tables by kind, such as ``{"jobs": {"nightly": {…}}}``, each under its own header."""
    document = tomlkit.document()
    for kind, named in tables.items():
        above = tomlkit.table(is_super_table=True)
        for name, values in named.items():
            above.add(name, _table(values))
        if named:
            document.add(kind, above)
    return tomlkit.dumps(document)


def with_section(text: str, kind: str, name: str, values: Mapping[str, Any]) -> str:
    """Return the text of a config file with ``[kind.name]`` at its end; its own line ends are kept.

    Whether that is a legal config is for the caller to see: the text may have ``kind`` in a form that takes no more.
    """
    new = sections({kind: {name: values}})
    end = "\r\n" if "\r\n" in text else "\n"
    gap = "" if not text.strip("\ufeff") else end if text.endswith("\n") else end + end
    return text + gap + new.replace("\n", end)


def _table(values: Mapping[str, Any]) -> Any:  # noqa: ANN401 - a table of tomlkit
    table = tomlkit.table()
    for key, value in values.items():
        if isinstance(value, Mapping) and key in SUBTABLES:
            table.add(key, _table(value))
        else:
            table.add(key, _value(value))
    return table


def _value(value: Any) -> Any:  # noqa: ANN401 - TOML, to an item of tomlkit
    if isinstance(value, Mapping):
        inline = tomlkit.inline_table()
        for key, inner in value.items():
            inline.append(key, _value(inner))
        return inline
    if isinstance(value, list | tuple):
        array = tomlkit.array()
        for inner in value:
            array.append(_value(inner))
        return array.multiline(multiline=any(isinstance(inner, Mapping) for inner in value))
    return tomlkit.string(value, multiline=True) if isinstance(value, str) and "\n" in value else value
