"""Reading a schema file: TOML or JSON, added to the standard objects."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exporter.emulator.org.schema import OrgSchema, SchemaError, build_schema
from exporter.emulator.org.standard_objects import STANDARD
from exporter.host.regular_files import read_regular
from exporter.safe_parsing.toml import loads


def load_schema(source: Path | Mapping[str, Any] | None) -> OrgSchema:
    """Return the standard objects with those of ``source``: a file, ``.json`` or else TOML, or its contents.

    Raises SchemaError, whose message names the file, and OSError.
    """
    if source is None:
        return build_schema(STANDARD)
    if isinstance(source, Mapping):
        return build_schema(STANDARD, source)
    content = read_regular(source)
    try:
        text = content.decode("utf-8")
        given = json.loads(text) if source.suffix == ".json" else loads(text)
        if not isinstance(given, dict):
            raise SchemaError("the file has to hold a table")
        return build_schema(STANDARD, given)
    except RecursionError as error:
        raise SchemaError(f"{source}: nested too deeply") from error
    except ValueError as error:  # SchemaError and both parsers' own
        raise SchemaError(f"{source}: {error}") from error
