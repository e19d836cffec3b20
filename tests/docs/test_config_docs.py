"""docs/configuration.md and config.example.toml against the models.

`python tests/docs/test_config_docs.py` writes the tables of the page.
"""

import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from exporter.settings.base import SecretReference, parse_duration, parse_size
from exporter.settings.connection import CONNECTION_MODELS, EXPORT_MODELS
from exporter.settings.mapping import MappedColumn, MappingParameter, OutputMapping, Segment
from scheduler.config.build import Config, parse
from scheduler.config.sections import DaemonSettings, IncludeTable, MetricsSettings, StorageTable
from scheduler.jobs.definition import Job, JobDefaults
from scheduler.notifications.recipients import Email
from scheduler.notifications.settings import NotifySettings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "configuration.md"
EXAMPLE = ROOT / "config.example.toml"
MARK = "<!-- The rest is written by tests/docs/test_config_docs.py from the models. -->\n"

SECTIONS: Mapping[str, type[BaseModel]] = {
    "before the first table": IncludeTable,
    "daemon": DaemonSettings,
    "storage": StorageTable,
    "notify": NotifySettings,
    "metrics": MetricsSettings,
    **{f'connections.NAME, type = "{name}"': model for name, model in CONNECTION_MODELS.items()},
    "defaults, and every jobs.NAME": JobDefaults,
    "jobs.NAME": Job,
    **{f"jobs.NAME.export, to a {name} connection": model for name, model in EXPORT_MODELS.items()},
    "jobs.NAME.mapping": OutputMapping,
    "jobs.NAME.mapping.columns[]": MappedColumn,
    "jobs.NAME.mapping.columns[].parameters[]": MappingParameter,
    "jobs.NAME.segment": Segment,
    "jobs.NAME.email": Email,
    "a reference to a secret": SecretReference,
}


def fields_of(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the keys that a table for ``model`` may have: of a job, those that are not in [defaults]."""
    hidden = {"name", *JobDefaults.model_fields} if model is Job else set()
    return {key: field for key, field in model.model_fields.items() if key not in hidden}


def is_duration(field: FieldInfo) -> bool:
    return parse_duration.__name__ in f"{field.metadata}{field.annotation}"


def is_size(field: FieldInfo) -> bool:
    return parse_size.__name__ in f"{field.metadata}"


def kind(field: FieldInfo) -> str:
    """Return what may stand there."""
    if is_duration(field) or is_size(field):
        return "duration" if is_duration(field) else "size"
    if choices := literals(field.annotation):
        return ", ".join(f'`"{choice}"`' for choice in choices)
    if "SecretStr" in str(field.annotation):
        forms: dict[object, str] = {tuple: "secrets", dict: "table of secrets"}
        return forms.get(get_origin(field.annotation), "secret")
    words = {"int": "number", "str": "text", "bool": "true or false", "int | str | None": 'number or `"N%"`'}
    name = str(field.annotation).removeprefix("<class '").removesuffix("'>")
    low, high = bound(field, "ge"), bound(field, "le")
    if low is not None and high is not None:
        return f"{low} … {high}"
    if get_origin(field.annotation) is tuple:
        return "list of text" if "str" in name else "list of tables"
    return words.get(name) or ("text" if "str" in name else "table")


def literals(annotation: object) -> tuple[str, ...]:
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return next((found for each in get_args(annotation) if (found := literals(each))), ())


def bound(field: FieldInfo, side: str) -> int | None:
    return next((getattr(each, side) for each in field.metadata if hasattr(each, side)), None)


def default(field: FieldInfo) -> str:
    """Return the default as TOML writes it."""
    if field.is_required():
        return "*needed*"
    value = field.default
    if (is_duration(field) or is_size(field)) and value is not None:
        return f'`"{duration(value) if is_duration(field) else f"{value // 10**6}MB"}"`'
    if isinstance(value, tuple):
        return f"`{list(value)}`".replace("'", '"')
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, str):
        return f'`"{value}"`'
    return "none" if value is None else f"`{value}`"


def duration(seconds: int) -> str:
    unit, size = next((u, n) for u, n in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)) if seconds % n == 0)
    return f"{seconds // size}{unit}" if seconds else "0s"


def heading(title: str) -> str:
    """Return a section's title with the table's header as code."""
    table, comma, rest = title.partition(",")
    return title if title.startswith(("a ", "before ")) else f"`[{table}]`{comma}{rest}"


def reference() -> str:
    """Return the tables of the page."""
    parts = []
    for title, model in SECTIONS.items():
        rows = [
            f"| `{key}` | {kind(field)} | {default(field)} | {field.description} |"
            for key, field in fields_of(model).items()
        ]
        parts.append(
            "\n".join([f"### {heading(title)}\n", "| key | takes | default | |", "|---|---|---|---|", *rows, ""])
        )
    return "\n".join(parts)


def uncommented() -> str:
    """Return the example with every key at its default set: ``#key = value`` is one, ``# words`` is not."""
    return re.sub(r"(?m)^#(?=[a-z])", "", EXAMPLE.read_text(encoding="utf-8"))


def load_example(text: str) -> Config:
    return parse(text, query_files={"orders.sql": "select 1"})


def test_the_tables_are_those_of_the_models() -> None:
    written = DOCS.read_text(encoding="utf-8").partition(MARK)[2]
    assert written.strip() == reference().strip(), f"run: python {Path(__file__).relative_to(ROOT)}"


def test_every_key_says_what_it_is() -> None:
    for model in SECTIONS.values():
        for key, field in fields_of(model).items():
            assert field.description, f"{model.__name__}.{key}"


def test_the_example_is_a_sound_config() -> None:
    config = load_example(EXAMPLE.read_text(encoding="utf-8"))
    assert set(config.jobs) == {"accounts", "contacts", "orders", "journey", "campaign"}
    # it shows every login, those that are deprecated too, and is warned of nothing else
    assert {fault.keys for fault in config.warnings} == {
        ("connections", name, "auth") for name in ("crm_password", "crm_session")
    }


def test_the_example_with_every_key_set_is_sound_too() -> None:
    assert load_example(uncommented()).jobs["contacts"].fold == "first"


def tables(text: str) -> Iterator[tuple[type[BaseModel], dict[str, Any]]]:
    """Yield each table of the example with its model."""
    top = tomllib.loads(text)
    yield IncludeTable, {key: top[key] for key in IncludeTable.model_fields if key in top}
    yield from ((SECTIONS[key], top[key]) for key in ("daemon", "storage", "notify", "metrics"))
    yield JobDefaults, top["defaults"]
    for connection in top["connections"].values():
        yield CONNECTION_MODELS[connection["type"]], connection
    for job in top["jobs"].values():
        yield Job, job
        kind_of_target = top["connections"][job["export"].pop("connection")]["type"]
        yield EXPORT_MODELS[kind_of_target], job["export"]
        if "mapping" in job:
            yield OutputMapping, job["mapping"]
            yield from ((MappedColumn, column) for column in job["mapping"]["columns"])
            for column in job["mapping"]["columns"]:
                yield from ((MappingParameter, parameter) for parameter in column.get("parameters", ()))
        if "segment" in job:
            yield Segment, job["segment"]
        if "email" in job:
            yield Email, job["email"]


@pytest.mark.parametrize("model", [model for model in SECTIONS.values() if model is not SecretReference])
def test_the_example_has_every_key(model: type[BaseModel]) -> None:
    found = Job if model is JobDefaults else model  # a job shows what [defaults] may set
    shown = {key for each, table in tables(uncommented()) for key in table if each is found}
    assert shown >= fields_of(model).keys()


def test_the_example_has_every_form_of_a_secret() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    for key in ("credential", "env", "file", "shared"):
        assert f"{key} = " in text


def test_a_key_that_is_commented_out_in_the_example_stands_at_its_default() -> None:
    # these have no default of their own: the comment beside them says what holds
    told = {"url", "spool", "max_rejected", "gap", "fold", "notify"}
    checked = 0
    bare = EXAMPLE.read_text(encoding="utf-8")
    for (model, set_there), (_, table) in zip(tables(bare), tables(uncommented()), strict=True):
        for key in table.keys() - set_there.keys() - told:
            field = model.model_fields[key]
            value = parse_duration(table[key]) if is_duration(field) else table[key]
            value = parse_size(value) if is_size(field) else value
            if field.default is not None:
                assert (tuple(value) if isinstance(value, list) else value) == field.default, key
                checked += 1
    assert checked > 25


def test_the_example_is_the_same_config_with_its_defaults_set() -> None:
    bare, full = load_example(EXAMPLE.read_text(encoding="utf-8")), load_example(uncommented())
    assert bare.daemon == full.daemon
    assert bare.notify == full.notify
    assert bare.connections == full.connections
    same = {"gap", "fold", "max_rejected", "notify", "export"}
    assert bare.jobs["contacts"].model_dump(exclude=same) == full.jobs["contacts"].model_dump(exclude=same)


@pytest.mark.parametrize("block", re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL))
def test_every_example_of_the_page_is_sound(block: str) -> None:
    assert parse(block).jobs


def test_the_faults_that_the_page_shows_are_what_the_parser_says() -> None:
    shown = re.findall(r"(?m)^config\.toml:\d+: (\S+?): (.+)$", DOCS.read_text(encoding="utf-8"))
    assert len(shown) == 2
    text = '[connections.warehouse]\ntype = "duckdb"\n[jobs.contacts]\nsource = "warehous"\ncron = "61 * * * *"\n'
    with pytest.raises(Exception, match="warehous") as caught:
        parse(text)
    for path, message in shown:
        assert f"{path}: {message}" in str(caught.value)


if __name__ == "__main__":
    head = DOCS.read_text(encoding="utf-8").partition(MARK)[0]
    DOCS.write_text(f"{head}{MARK}\n{reference()}", encoding="utf-8")
