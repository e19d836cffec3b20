"""Treasure Data's schedules, as its API lists them, as jobs of the config file. Pure.

The list is what ``POST /v3/schedule/list`` answers: name, cron (or null), timezone, delay, database, type (the engine),
query, priority, retry_limit, result (a URL or JSON) and more (the schema ``Schedule`` of Treasure Data's API v3).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import ValidationError

from exporter.settings.treasure_data import TreasureDataConnection
from scheduler.errors.setting_faults import ConfigError, model_faults
from scheduler.jobs.definition import parse_job

RESULT_KEYS = {
    "object": "object",
    "mode": "mode",
    "unique": "key",
    "upsert": "upsert",
    "hard_delete": "hard_delete",
    "concurrency_mode": "concurrency_mode",
    "batch_size": "batch_size",
    "api_version": "api_version",
    "initial_retry_delay": "initial_retry_delay",
    "retry_limit": "retry_limit",
}
"""The keys of a result export to Salesforce, and their names here."""
ONLY_WITH = {"key": "update", "upsert": "update", "hard_delete": "truncate"}
"""Keys that Treasure Data keeps whatever the mode is, and heeds with this one only."""
SALESFORCE = ("sfdc", "sfdc_v2", "salesforce", "salesforce_v2")
SILENT = (
    *("id", "name", "cron", "timezone", "delay", "query", "database", "type", "result", "created_at", "updated_at"),
    *("next_time", "user_name", "executing_user_id", "org_name", "priority", "retry_limit", "description"),
)
"""Keys of a schedule that are carried over, looked at, or say nothing about what is to be done."""
_QUERY_KEYS = {"priority": "priority", "retry_limit": "query_retry_limit"}
"""The keys of a schedule that belong to its connection here, by their names there."""
_ANY_EXPORT = {"object": "Account"}
_NO_SOURCE = "td"
_NAME_LENGTH = 64
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9_+.-]*")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class NotCarried:
    """A part of a schedule that has no equal here: its key, its value where that can be no secret, and why."""

    schedule: str
    key: str
    value: object
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """A schedule as the table of a job, and what of it could not be carried over.

    ``source`` are the settings of the connection that its query runs on; ``fault`` is why it cannot be a job at all.
    """

    schedule: str
    name: str
    table: dict[str, Any] = field(default_factory=dict)
    source: dict[str, Any] = field(default_factory=dict)
    not_carried: tuple[NotCarried, ...] = ()
    fault: str | None = None


def read_schedules(text: str) -> list[object]:
    """Return the schedules of a list; raises ValueError that says what is wrong, with line and column of bad JSON."""
    try:
        found = json.loads(text.removeprefix("\ufeff"))  # some shells begin a file with that mark
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not valid JSON: {error}") from error
    if isinstance(found, Mapping):
        found = found.get("schedules")
    if not isinstance(found, list):
        raise ValueError('no list of schedules: it should be {"schedules": [{"name": …}, …]}, as the API answers')  # noqa: TRY004 - the text is wrong, not the type of it
    return found


def carry_over(schedules: Sequence[object], *, source: str | None, target: str) -> list[Carried]:
    """Make a job of each schedule, under names that are legal here and differ.

    ``source`` is the connection that the queries are to run on; without it each database and engine has its own, named
    after them. ``target`` is the Salesforce connection.
    """
    carried: list[Carried] = []
    taken: set[str] = set()
    sources = _Sources(target)
    for number, schedule in enumerate(schedules, 1):
        given = schedule.get("name") if isinstance(schedule, Mapping) else None
        if isinstance(schedule, Mapping) and isinstance(given, str) and given:
            made = _carry_over(schedule, _free_name(given, taken), source or sources, target=target)
            taken.add(made.name)
        else:
            fault = "it has no name" if isinstance(schedule, Mapping) else "it is no object with a name and more"
            made = Carried(schedule=f"schedule {number} of {len(schedules)}", name="", fault=fault)
        carried.append(made)
    return carried


class _Sources:
    """Names connections after all that their jobs share: one for each database, engine, priority and retry limit."""

    def __init__(self, target: str) -> None:
        self._taken = {target}
        self._names: dict[str, str] = {}

    def name(self, settings: Mapping[str, Any]) -> str:
        """Return the name of the connection with these settings, which no other has."""
        key = json.dumps(settings, sort_keys=True)
        if key not in self._names:
            parts = ["td", settings["database"], settings["engine"]]
            parts += [f"p{settings['priority']}"] if "priority" in settings else []
            parts += [f"r{settings['query_retry_limit']}"] if "query_retry_limit" in settings else []
            self._names[key] = _free_name("_".join(parts), self._taken)
            self._taken.add(self._names[key])
        return self._names[key]


def _carry_over(schedule: Mapping[str, Any], name: str, source: str | _Sources, *, target: str) -> Carried:
    lost: list[NotCarried] = []
    label = _shown(schedule["name"])

    def leave(key: str, value: object, reason: str) -> None:
        lost.append(NotCarried(schedule=label, key=_shown(key), value=value, reason=reason))

    for key in schedule.keys() - set(SILENT):
        if schedule[key] not in (None, "", 0, False):
            leave(key, None, "schedctl has nothing like it")
    faults: list[str] = []
    settings = {} if isinstance(source, str) else _source(schedule, leave, faults)
    table: dict[str, Any] = {
        "cron": schedule.get("cron") or "",
        "timezone": schedule.get("timezone") or "UTC",
        "delay": schedule.get("delay") or 0,
        "source": source if isinstance(source, str) else _NO_SOURCE if faults else source.name(settings),
        "query": schedule.get("query") or "",
    }
    if name != schedule["name"]:
        table = {"description": f"Treasure Data's schedule {schedule['name']!r}", **table}
    if isinstance(source, str):
        for key in ("priority", "retry_limit"):
            if schedule.get(key):
                leave(key, schedule[key], "it belongs to a connection of type treasure_data")
    export: dict[str, Any] = _ANY_EXPORT  # so that a result that goes nowhere hides no other fault
    try:
        export = _export(schedule.get("result"), leave)
    except ValueError as error:
        faults.append(str(error))
    table["export"] = {"connection": target, **export}
    try:
        parse_job(name, table, connections={table["source"]: "treasure_data", target: "salesforce"})
    except ConfigError as error:
        faults += [str(each).removeprefix(f"jobs.{name}.") for each in error.faults]
    kept = {key: value for key, value in table.items() if value not in ("", 0)}
    fault = "; ".join(faults).encode("utf-8", "backslashreplace").decode() or None  # they quote what JSON made of it
    return Carried(schedule=label, name=name, table=kept, source=settings, not_carried=tuple(lost), fault=fault)


def _shown(text: str) -> str:
    """Return a name as it can be printed anywhere: JSON has half characters too, and signs that steer a terminal."""
    return text if text.isprintable() else ascii(text)[1:-1]


def _free_name(given: str, taken: set[str]) -> str:
    """Return the name if it is legal here and free, else one that is."""
    base = _NOT_IN_NAMES.sub("-", given).strip("-.")[:_NAME_LENGTH] or "schedule"
    name, again = base, 1
    while name in taken:
        again += 1
        suffix = f"-{again}"
        name = base[: _NAME_LENGTH - len(suffix)] + suffix
    return name


def _source(schedule: Mapping[str, Any], leave: Any, faults: list[str]) -> dict[str, Any]:  # noqa: ANN401 - a function of three values
    """Return the settings of the connection that a schedule's query runs on; what speaks against one is added."""
    engine = schedule.get("type") or "hive"  # what the API takes for none
    if engine not in ("trino", "presto", "hive"):
        leave("type", engine, "the engines are trino, presto and hive: the connection says trino")
        engine = "trino"
    settings: dict[str, Any] = {"type": "treasure_data", "database": schedule.get("database") or "", "engine": engine}
    settings |= {here: schedule[there] for there, here in _QUERY_KEYS.items() if schedule.get(there)}
    try:
        TreasureDataConnection.model_validate({**settings, "api_key": "-"})
    except ValidationError as error:
        there = {here: key for key, here in _QUERY_KEYS.items()}
        for each in model_faults(error, model=TreasureDataConnection, table=settings):
            key = str(each.keys[0])
            if key in there:
                leave(there[key], settings.pop(key), each.message.partition(": ")[2])
            else:
                faults.append(each.message)
    return settings


def _export(result: object, leave: Any) -> dict[str, Any]:  # noqa: ANN401 - a function of three values
    """Return the keys of ``export``; raises ValueError where the result does not go to Salesforce."""
    if not result:
        raise ValueError(
            "it exports no result, and a job here is there to export one: keep it in Treasure Data, or give it a target"
        )
    settings = _result_settings(result)
    kind = str(settings.pop("type", "")).lower()
    if kind not in SALESFORCE:
        raise ValueError(f"its result goes to {_shown(kind) or 'an unknown place'}, not to Salesforce")
    export: dict[str, Any] = {}
    for key, value in settings.items():
        if value in (None, ""):
            continue
        if (here := RESULT_KEYS.get(key)) is None:
            # Whatever this is, it may be a secret: its value is never shown.
            leave(f"result.{key}", None, "it belongs to the Salesforce connection, or schedctl has nothing like it")
        else:
            export[here] = _value(here, value)
    mode = export.setdefault("mode", "append")
    for key in [key for key in export if ONLY_WITH.get(key, mode) != mode]:
        del export[key]
    return export


def _result_settings(result: object) -> dict[str, Any]:
    """Read a result, which is JSON, or a URL whose path is the object and whose query has the other keys."""
    if isinstance(result, Mapping):
        return dict(result)
    text = str(result).strip()
    if text.startswith("{"):
        try:
            return dict(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise ValueError("its result is neither a URL nor JSON") from error
    # The scheme is taken off first: to urlsplit one like sfdc_v2 is none, since an underscore is no sign of schemes.
    kind, _, rest = text.partition("://")
    try:
        url = urlsplit(f"//{rest}")
    except ValueError as error:
        raise ValueError("its result is neither a URL nor JSON") from error
    if not _SCHEME.fullmatch(kind) or not rest:
        raise ValueError("its result is neither a URL nor JSON")
    settings: dict[str, Any] = {"type": kind, "object": unquote(url.path.strip("/"))}
    if url.netloc:
        settings["login"] = "in the URL"
    return settings | dict(parse_qsl(url.query))


def _value(key: str, value: object) -> object:
    """Give a value the type of its key here: a URL has text only."""
    text = str(value).strip()
    if key in ("upsert", "hard_delete"):
        return text.lower() in ("true", "1", "yes")
    if key in ("batch_size", "initial_retry_delay", "retry_limit") and text.isdecimal():
        return int(text)
    return text.lower() if key in ("mode", "concurrency_mode") else text
