"""What is wrong with a setting, where, and how to fix it; pydantic's findings in such words. Pure."""

import difflib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic_core import ErrorDetails

Keys = tuple[str | int, ...]
"""Where a value stands: the keys from the top of the file, and positions (from 0) in lists."""

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_OPTION = re.compile(r"(\b\w*(?:pass|secret|token|key|credential)\w*\s*=\s*)[^&;\s]+", re.IGNORECASE)
"""An option of a URL, or a word of libpq's, whose value may be a secret."""
_MAX_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One thing to fix. ``line`` counts from 1 and is None where there is no file; ``message`` holds no secret.

    ``file`` is None where the config is one file, or there is none.
    """

    keys: Keys
    message: str
    line: int | None = None
    file: str | None = None

    @property
    def path(self) -> str:
        """Return where it is, as TOML writes it: ``jobs.contacts.mapping.columns[0].source``."""
        return dotted(self.keys)

    def __str__(self) -> str:
        """Return path and message on one line."""
        return f"{self.path}: {self.message}" if self.keys else self.message

    def told(self, name: str) -> str:
        """Return file, line, path and message on one line; ``name`` is the file where the fault names none."""
        file = self.file or name
        place = file if self.line is None else f"{file}:{self.line}"
        return f"{place}: {self}" if file else str(self)


class ConfigError(Exception):
    """All faults of a config file, or of one job from elsewhere (``name`` empty). One line each."""

    def __init__(self, faults: Iterable[Fault], *, name: str = "") -> None:
        def place(fault: Fault) -> tuple[bool, str, int]:
            others = fault.file not in (None, name)
            return (others, fault.file or "" if others else "", fault.line or 0)

        self.faults = tuple(sorted(faults, key=place))
        self.name = name
        super().__init__("\n".join(fault.told(name) for fault in self.faults))


def dotted(keys: Sequence[str | int]) -> str:
    """Write a key path as TOML does, with positions in brackets."""
    path = ""
    for key in keys:
        if isinstance(key, int):
            path += f"[{key}]"
        else:
            quoted = key if _BARE_KEY.fullmatch(key) else json.dumps(key, ensure_ascii=False)
            path += f".{quoted}" if path else quoted
    return path


def show(value: object) -> str:
    """Write a value as TOML does, cut if it is long; a password in a URL or its options is left out."""
    if isinstance(value, str):
        text = _OPTION.sub(r"\1***", re.sub(r"(?s)://.*@", "://***@", value))
        text = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
        return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{…}"
    if isinstance(value, list | tuple):
        return "[…]"
    shown = str(value)
    return shown if len(shown) <= _MAX_SHOWN else f"{shown[:_MAX_SHOWN]}…"


def nearest(word: str, words: Iterable[str]) -> str:
    """Return ``did you mean "x"?`` or the list of legal words."""
    known = sorted(words)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f'did you mean "{close[0]}"?'
    return f"use {_either(json.dumps(each) for each in known)}" if known else "there is none"


def _either(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}" if most else last


def unknown_key(key: str, legal: Iterable[str]) -> str:
    """Say that a key is unknown and which one may be meant; its value may be a secret and is not shown."""
    known = sorted(legal)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    fix = f'did you mean "{close[0]}"?' if close else f"the keys here are {', '.join(known)}"
    return f"{show(key)} is an unknown key: {fix}"


def unknown_value(key: str, value: object, legal: Iterable[str]) -> str:
    """Say which values a key takes."""
    return f"{key} = {show(value)}: use {_either(json.dumps(each) for each in legal)}"


def model_faults(error: ValidationError, *, model: type[BaseModel], table: Mapping[str, object]) -> list[Fault]:
    """Put pydantic's findings on ``table``, which was to become a ``model``, into a person's words."""
    return [_model_fault(detail, model, table) for detail in error.errors(include_url=False)]


def _model_fault(detail: ErrorDetails, model: type[BaseModel], table: Mapping[str, object]) -> Fault:
    keys: Keys = detail["loc"]
    context = detail.get("ctx", {})
    kind = detail["type"]
    if kind == "key":  # see exporter.settings.base.key_fault
        return Fault(keys=(*keys, context["key"]), message=context["message"])
    key = next((key for key in reversed(keys) if isinstance(key, str)), "")
    owner = _owner(model, keys)
    if kind == "missing":
        examples = owner.model_fields[key].examples or []
        fix = f": write {key} = {examples[0]}" if examples else ""
        return Fault(keys=keys, message=f"{key} is missing{fix}")
    if kind == "extra_forbidden":
        return Fault(keys=keys, message=unknown_key(key, owner.model_fields))
    value = _value_at(table, keys)
    if kind == "literal_error":
        return Fault(keys=keys, message=unknown_value(key, value, re.findall(r"'([^']*)'", context["expected"])))
    subject = key if _holds_secret(owner.model_fields[key].annotation) else f"{key} = {show(value)}"
    return Fault(keys=keys, message=f"{subject}: {_fix(kind, context, detail['msg'])}")


_FIXES = {
    "int_type": "write a whole number, without quotes",
    "string_type": "write text in quotes",
    "bool_type": "write true or false, without quotes",
    "tuple_type": "write a list in [ ]",
    "model_type": "write a table: [header] lines, or {{ key = value }}",
    "greater_than_equal": "use at least {ge}",
    "less_than_equal": "use at most {le}",
}


def _fix(kind: str, context: Mapping[str, object], message: str) -> str:
    if kind == "value_error":
        return str(context["error"])
    return _FIXES[kind].format(**context) if kind in _FIXES else message


def _value_at(table: object, keys: Keys) -> object:
    value = table
    for key in keys:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list | tuple) and isinstance(key, int):
            value = value[key]
    return value


def _owner(model: type[BaseModel], keys: Keys) -> type[BaseModel]:
    """Return the model whose field the last text key names."""
    names = [key for key in keys if isinstance(key, str)]
    for name in names[:-1]:
        inner = _model_in(model.model_fields[name].annotation)
        if inner is None:
            break
        model = inner
    return model


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for each in get_args(annotation) if (found := _model_in(each)) is not None), None)


def _holds_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def under(prefix: Keys, faults: Iterable[Fault]) -> list[Fault]:
    """Return the faults with ``prefix`` before their keys."""
    return [replace(fault, keys=(*prefix, *fault.keys)) for fault in faults]
