"""What a command prints with --json, against the schema that docs/json-schema.json promises for it."""

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

SCHEMA: dict[str, Any] = json.loads(
    (Path(__file__).parents[3] / "docs" / "json-schema.json").read_text(encoding="utf-8")
)
COMMANDS: dict[str, Any] = SCHEMA["commands"]
ERROR = "error"


def name_of(arguments: Sequence[str]) -> str:
    """Return which answer of the schema those arguments of `schedctl` ask for."""
    words = _words(arguments)
    name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
    if name not in COMMANDS:
        name += " list"  # `runs NAME` is `runs list NAME`
    if name in ("add", "edit") and "--dry-run" in arguments:
        return "add --dry-run"
    if name == "connections add" and "--dry-run" in arguments:
        return "connections add --dry-run"
    for variant in ("check --diff", "list --removed"):
        command, flag = variant.split()
        if name == command and flag in arguments:
            return variant
    return name


def _words(arguments: Sequence[str]) -> list[str]:
    """Leave out a `--config FILE` in front, and options."""
    rest = list(arguments)
    while rest and rest[0].startswith("--config"):
        rest = rest[1:] if "=" in rest[0] else rest[2:]
    return [argument for argument in rest if not argument.startswith("-")]


def check(arguments: Sequence[str], printed: str) -> str:
    """Fail unless what was printed is as promised; return which answer it was."""
    answer = json.loads(printed)
    name = ERROR if set(answer) == {"error"} else name_of(arguments)
    faults = [f"{'/'.join(map(str, fault.path))}: {fault.message}" for fault in _validator(name).iter_errors(answer)]
    assert not faults, f"schedctl {' '.join(arguments)}: {faults[:5]}"
    return name


@cache
def _validator(name: str) -> Draft202012Validator:
    schema = {"$schema": SCHEMA["$schema"], "$defs": SCHEMA["$defs"], **COMMANDS[name]}
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
