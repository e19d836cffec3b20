"""Reading a schema file: TOML or JSON, added to the standard objects."""

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.emulator.schema import OrgSchema, SchemaError, build_schema
from exporter.emulator.standard import STANDARD


def load_schema(source: Path | Mapping[str, Any] | None) -> OrgSchema:
    """Return the standard objects with those of ``source``: a file, ``.json`` or else TOML, or its contents.

    Raises SchemaError, whose message names the file, and OSError.
    """
    if source is None:
        return build_schema(STANDARD)
    if isinstance(source, Mapping):
        return build_schema(STANDARD, source)
    text = source.read_text(encoding="utf-8")
    try:
        given = json.loads(text) if source.suffix == ".json" else tomllib.loads(text)
        if not isinstance(given, dict):
            raise SchemaError("the file has to hold a table")
        return build_schema(STANDARD, given)
    except ValueError as error:  # SchemaError and both parsers' own
        raise SchemaError(f"{source}: {error}") from error
