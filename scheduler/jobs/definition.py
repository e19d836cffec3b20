"""A job: schedule, query, export and policies; made of a table of the config file or of a stored dict. Pure."""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from exporter.settings.base import Duration, PathText, PositiveDuration, Settings, check_path
from exporter.settings.connection import EXPORT_MODELS, SOURCE_TYPES, TARGET_TYPES, ExportOptions
from exporter.settings.file import FileExport
from exporter.settings.mapping import OutputMapping, Segment
from scheduler.errors.operation_error import ErrorKind, OperationError
from scheduler.errors.setting_faults import ConfigError, Fault, Keys, model_faults, nearest, show, under
from scheduler.jobs.dependencies import UNSET, key_faults
from scheduler.jobs.dependent_slots import end_of
from scheduler.jobs.outline import (
    DEFAULT_CATCH_UP,
    DEFAULT_CHANGES,
    DEFAULT_DELAY,
    DEFAULT_OVERLAP,
    DEFAULT_TIMEOUT,
    DEFAULT_TIMEZONE,
)
from scheduler.notifications.messages import Told
from scheduler.notifications.recipients import Email
from scheduler.schedules.bounds import check_end, check_start
from scheduler.schedules.expression import CronError
from scheduler.schedules.schedule import SCHEDULE_KEYS, Schedule, ScheduleError, make_schedule
from scheduler.sql.bind import SLOT_NAMES, unused

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}")
_SHARE = re.compile(r"[0-9]{1,3}(\.[0-9]{1,6})?%")
_WHOLE_PERCENT = 100
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


class UnreadableJobError(OperationError, ValueError):
    """A stored definition that this version, or the zone data of this machine, cannot read; ``reason`` is one line."""

    def __init__(self, name: object, reason: str) -> None:
        self.reason = " ".join(reason.split())
        way = "or install the version, or the time zone data, that it was stored with"
        super().__init__(
            ErrorKind.FAILED, f"the stored job {name} cannot be read: {self.reason}; change that in the job, {way}"
        )


def _check_max_rejected(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str) and _SHARE.fullmatch(value) and float(value[:-1]) <= _WHOLE_PERCENT:
        return value
    raise ValueError('write a number of rows, or a share of them in quotes, such as "5%"')


def _check_changes_key(value: object) -> object:
    if value is None:
        return None
    columns = [value] if isinstance(value, str) else value
    if not isinstance(columns, list | tuple) or not columns or not all(isinstance(c, str) and c for c in columns):
        raise ValueError('write the name of a column, or several such as ["Account__c", "Month__c"]')
    if len(set(columns)) < len(columns):
        raise ValueError("a column stands there twice: remove one")
    return tuple(columns)


def _check_params(params: object) -> object:
    if params is not None and not isinstance(params, Mapping):
        raise ValueError('write a table, such as { region = "EU" }')
    spelled: dict[str, str] = {}
    for name, value in (params or {}).items():
        if spelled.setdefault(str(name).lower(), name) != name:
            raise ValueError(
                f"{spelled[name.lower()]} and {name} differ in case only, and not every engine distinguishes case"
            )
        if not _PARAMETER.fullmatch(name):
            raise ValueError(f"{show(name)} is no name for a parameter: use letters, digits and _, no digit first")
        if name.lower() in SLOT_NAMES:
            raise ValueError(f"{name} is the slot's own time: choose another name")
        if not isinstance(value, bool | int | float | str) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError(f"{name} is no text, true, false or finite number: write a date as text, and cast it")
        if isinstance(value, str) and "\0" in value:
            raise ValueError(f"{name} holds a NUL character: remove it")
    return params


class JobDefaults(Settings):
    """A job's schedule and policies: what ``[defaults]`` may set for every job of the file."""

    cron: str = Field(default="", description="when the job runs; empty: only when asked to")
    timezone: str = Field(
        default=DEFAULT_TIMEZONE, description="IANA zone of the schedule; default: that of `[daemon]`"
    )
    delay: Duration = Field(default=DEFAULT_DELAY, description="start each run this long after its scheduled time")
    step: Literal["multiples", "offset"] = Field(
        default="multiples", description="`*/n`: the values divisible by n, or every n-th from the field's first"
    )
    day_match: Literal["or", "more-often", "and"] = Field(
        default="or", description="what holds when day of month and day of week are both restricted"
    )
    dst: Literal["once", "wallclock"] = Field(
        default="once", description="sets `gap` and `fold` together: `after` and `first`, or `skip` and `both`"
    )
    gap: Literal["after", "skip"] | None = Field(default=None, description="a time that the clock jumps over")
    fold: Literal["first", "second", "both"] | None = Field(default=None, description="a time that comes twice")
    catch_up: Literal["latest", "all", "none"] = Field(
        default=DEFAULT_CATCH_UP, description="which of the slots missed during a downtime are run"
    )
    catch_up_window: Duration = Field(default=7 * 86_400, description="older missed slots are never run")
    overlap: Literal["queue", "skip", "allow"] = Field(
        default=DEFAULT_OVERLAP, description="a slot that comes while the previous run is still going"
    )
    timeout: PositiveDuration = Field(default=DEFAULT_TIMEOUT, description="a run that takes longer is canceled")
    disable_after: int = Field(
        default=5, ge=0, le=1000, description="disable the job after so many configuration failures in a row; 0: never"
    )
    retry_limit: int = Field(default=3, ge=0, le=100, description="retries of a run that failed for a passing reason")
    initial_retry_delay: Duration = Field(default=60, description="wait before the first retry; it doubles")
    max_rejected: Annotated[int | str | None, BeforeValidator(_check_max_rejected)] = Field(
        default=None, description='a run with more rejected rows (a number, or `"5%"`) is `failed`, not `partial`'
    )
    notify: tuple[Told, ...] | None = Field(
        default=None, strict=False, description="what is notified of the job; default: `on` of `[notify]`"
    )


class Export(Settings):
    """Where a job's rows go, and how."""

    connection: str
    options: ExportOptions

    @property
    def type(self) -> str:
        """Return the type of the connection that these options are for."""
        return next(name for name, model in EXPORT_MODELS.items() if isinstance(self.options, model))


class Job(JobDefaults):
    """A whole definition. Durations are seconds; ``query`` is the SQL, wherever it came from."""

    name: str
    starts_at: Annotated[str | None, BeforeValidator(check_start)] = Field(
        default=None,
        description="nothing fires before that time of `timezone`; without `cron` the job runs once, then",
        examples=["2026-12-01T09:00:00"],
    )
    ends_on: Annotated[str | None, BeforeValidator(check_end)] = Field(
        default=None, description="the last day, in `timezone`, on which it fires", examples=["2027-03-31"]
    )
    after: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description="instead of `cron`: run when these jobs have succeeded for the same slot",
        examples=['["segment"]'],
    )
    email: Email | None = Field(default=None, description="who is mailed how its runs end; besides `notify`")
    description: str | None = Field(default=None, description="what the job is for")
    source: str = Field(description="the connection that the query runs on", examples=['"warehouse"'])
    query: str = Field(description="the SQL; or `query_file`", examples=['"select …", or query_file = "job.sql"'])
    query_file: PathText | None = Field(default=None, description="instead of `query`: a file with the SQL")
    params: Annotated[dict[str, Any] | None, BeforeValidator(_check_params)] = Field(
        default=None,
        description="values that are bound where the query says `:name`; never pasted into it",
        examples=['{ region = "EU", minimum = 10 }'],
    )
    export: Export = Field(description="where the rows go, and how: the next tables")
    mapping: OutputMapping | None = Field(default=None, description="which columns go out under which names")
    segment: Segment | None = Field(default=None, description="what the built strings of `mapping` may name")
    changes: Literal["all", "new", "changed", "mirror"] = Field(
        default=DEFAULT_CHANGES,
        description="which rows are sent: `all`; `new`, whose key the target has not been sent; `changed`, also those "
        "that differ; `mirror`, and records whose rows left the result are deleted",
    )
    changes_key: Annotated[tuple[str, ...] | None, BeforeValidator(_check_changes_key)] = Field(
        default=None,
        strict=False,
        description="with `changes`, where `mode` is not `update`: the columns that identify a row, as they go out",
        examples=['"Email", or ["Account__c", "Month__c"]'],
    )
    max_deletes: Annotated[int | str | None, BeforeValidator(_check_max_rejected)] = Field(
        default=None,
        description='with `changes = "mirror"`, which needs it: a run that would delete more (a number, or `"5%"` of '
        "the rows sent so far) fails and does nothing",
        examples=['500, or "5%"'],
    )

    @property
    def schedule(self) -> Schedule | None:
        """The schedule, or None for a job that runs only when asked to. Raises CronError or ScheduleError."""
        if self.after or (not self.cron and self.starts_at is None):
            return None
        return _schedule(*(getattr(self, key) for key in SCHEDULE_KEYS))

    @property
    def ends(self) -> int | None:
        """The Unix time at which its last day is over; None without one."""
        return end_of(self.ends_on, self.timezone)

    @property
    def is_enabled(self) -> bool:
        """A definition alone is never disabled."""
        return True

    def to_dict(self) -> dict[str, Any]:
        """Return the definition as JSON values, all keys there; the export's keys are those of the config file."""
        values = self.model_dump(mode="json", exclude={"export"})
        options = self.export.options.model_dump(mode="json")
        return {**values, "export": {"connection": self.export.connection, "type": self.export.type, **options}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Make a job of what :meth:`to_dict` returned; keys that did not exist then take their defaults.

        Raises UnreadableJobError, a ValueError, if this version cannot read it, or not make its schedule: another
        version wrote it, or the zone data no longer have its zone.
        """
        name, given = values.get("name"), values.get("export")
        if not isinstance(given, Mapping):
            raise UnreadableJobError(name, f"export = {show(given)}: it is no table")
        options = dict(given)
        connection, kind = options.pop("connection", None), options.pop("type", None)
        if not isinstance(kind, str) or kind not in EXPORT_MODELS:
            raise UnreadableJobError(name, f"export.type = {show(kind)}: this version exports to no such connection")
        model: type[BaseModel] = EXPORT_MODELS[kind]
        table: Mapping[str, object] = options
        try:
            export = {"connection": connection, "options": model.model_validate(options)}
            model, table = cls, values
            job = cls.model_validate({**values, "export": export})
            _ = job.schedule, job.ends
        except ValidationError as error:
            faults = model_faults(error, model=model, table=table)
            kinds = [detail["type"] for detail in error.errors(include_url=False)]
            faults = [
                replace(fault, message="unknown key") if kind == "extra_forbidden" else fault
                for fault, kind in zip(faults, kinds, strict=True)
            ]
            reason = "; ".join(map(str, faults if model is cls else under(("export",), faults)))
        except ScheduleError as error:
            reason = f"{error.key} = {show(error.value)}: {error.message}"
        except CronError as error:
            reason = f"cron = {show(values['cron'])}: {error}"
        except (ValueError, TypeError, AttributeError) as error:
            reason = str(error)
        else:
            return job
        raise UnreadableJobError(name, reason)


@lru_cache(maxsize=4096)
def _schedule(*values: Any) -> Schedule:  # noqa: ANN401 - the values of SCHEDULE_KEYS
    cron, *others = values
    return make_schedule(cron, **dict(zip(SCHEDULE_KEYS[1:], others, strict=True)))


def forget_schedules() -> None:
    """Make every schedule anew from now on: what they know of their zones is old."""
    _schedule.cache_clear()


@dataclass(frozen=True, kw_only=True, slots=True)
class Unreadable:
    """A query file that could not be read, and why."""

    reason: str


QueryFiles = Mapping[str, "str | Unreadable"]
"""The query files that a config names, by that name."""


def name_fault(kind: str, name: str) -> str | None:
    """Return what is wrong with the name of a job or a connection, or None."""
    if _NAME.fullmatch(name):
        return None
    return f"{show(name)} is no name for a {kind}: use 1 to 64 letters, digits, _, - and . (- and . not first)"


def parse_job(
    name: str,
    table: object,
    *,
    connections: Mapping[str, str | None],
    defaults: Mapping[str, object] | None = None,
    query_files: QueryFiles | None = None,
) -> Job:
    """Make a job of a ``[jobs.NAME]`` table.

    ``connections`` are the types of the known connections by name, None where a type is unknown because the connection
    is faulty itself. ``defaults`` are the values of keys that the table leaves out. Raises ConfigError with every
    fault; their keys begin with ``jobs`` and the name.
    """
    place: Keys = ("jobs", name)
    faults: list[Fault] = []
    if wrong := name_fault("job", name):
        faults.append(Fault(keys=place, message=wrong))
    if not isinstance(table, Mapping):
        raise ConfigError([*faults, Fault(keys=place, message=f"write a table: [jobs.{name}] and its keys below")])
    found: list[Fault] = list(_text_faults(table))
    values = {**_fitting(defaults or {}, table), **table}
    export = _export(values.pop("export", None), connections, found)
    _take_query(values, query_files or {}, found)
    values["name"] = name
    if "name" in table:
        found.append(Fault(keys=("name",), message="a job's name stands in the header: [jobs.NAME]; remove it here"))
    found += key_faults(values)
    job = _validate(values, export, found)
    if isinstance(source := values.get("source"), str):
        found += _connection_faults(("source",), source, connections, SOURCE_TYPES)
    if job is not None:
        found += _segment_faults(job)
        found += change_faults(job)
        found += (
            Fault(keys=("params", name), message=f"the query has no :{name}: remove it, or use it there")
            for name in unused(job.params or {}, job.query, kind=connections.get(job.source))
        )
    faults += under(place, found)
    if faults or job is None:
        raise ConfigError(faults)
    return job


def _text_faults(value: object, keys: Keys = ()) -> Iterator[Fault]:
    """Yield a fault for each text with half a character: JSON can write one, and no file or database takes it."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            yield Fault(keys=keys, message="this holds half a character, such as \\ud800: write it whole")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _text_faults(inner, (*keys, str(key)))
    elif isinstance(value, list | tuple):
        for position, inner in enumerate(value):
            yield from _text_faults(inner, (*keys, position))


def _fitting(defaults: Mapping[str, object], table: Mapping[str, object]) -> dict[str, object]:
    """Return the defaults that the table leaves in force: a job's own ``dst`` sets its gap and fold too.

    What is said of schedules does not concern a job that runs after others.
    """
    left = {"gap", "fold"} if "dst" in table else set()
    left |= UNSET.keys() if table.get("after") else set()
    return {key: value for key, value in defaults.items() if key not in left}


_PLACEHOLDER = Export(connection="", options=FileExport())


def _validate(values: dict[str, Any], export: Export | None, found: list[Fault]) -> Job | None:
    """Check everything but the export; a job with a faulty export is checked too, but not returned."""
    try:
        job = Job.model_validate({**values, "export": export or _PLACEHOLDER})
    except ValidationError as error:
        found += model_faults(error, model=Job, table=values)
        faulty = {fault.keys[0] for fault in found}
        found += schedule_faults({key: value for key, value in values.items() if key not in faulty | {"delay"}})
        return None
    if wrong := schedule_faults(job.model_dump()):
        found += wrong
        return None
    schedule = job.schedule
    if schedule is not None and job.cron:
        job = job.model_copy(update={"cron": schedule.cron.text})
    return job if export is not None and not found else None


def schedule_faults(values: Mapping[str, Any]) -> list[Fault]:
    """Return what the schedule's own parser says against values whose types are right; a delay is seconds."""
    parts = {key: values[key] for key in SCHEDULE_KEYS if values.get(key) is not None}
    parts |= {key: part.isoformat() for key, part in parts.items() if isinstance(part, date)}  # as TOML has them
    try:
        make_schedule(parts.pop("cron", ""), **parts)
    except CronError as error:
        return [Fault(keys=("cron",), message=f"cron = {show(values['cron'])}: {error}")]
    except ScheduleError as error:
        fault = Fault(keys=(error.key,), message=f"{error.key} = {show(error.value)}: {error.message}")
        others = {key: value for key, value in values.items() if key != error.key}
        return [fault, *schedule_faults(others)]
    return []


def _take_query(values: dict[str, Any], query_files: QueryFiles, found: list[Fault]) -> None:
    """Put the text of the query file into ``query``, or something that passes, so that one fault stays one."""
    query, file = values.get("query"), values.get("query_file")
    if file is not None and query is not None:
        found.append(Fault(keys=("query_file",), message="query and query_file exclude each other: remove one"))
    elif file is not None:
        text = query_files.get(file, Unreadable(reason="it is not there")) if _names_a_file(file) else "-"
        if isinstance(text, Unreadable):
            found.append(Fault(keys=("query_file",), message=f"query_file = {show(file)}: {text.reason}"))
            text = "-"
        values["query"] = query = text
    found += (
        Fault(keys=(key,), message=f"{key} holds a NUL character: remove it")
        for key in ("query", "description")
        if isinstance(values.get(key), str) and "\0" in values[key]
    )
    if isinstance(query, str) and not query.strip():
        key = "query" if file is None else "query_file"
        found.append(Fault(keys=(key,), message=f"{key} is empty: write the SQL"))


def _names_a_file(value: object) -> bool:
    """Whether the model will take it for the path of a file."""
    try:
        return isinstance(value, str) and check_path(value).strip() != ""
    except ValueError:
        return False


def _export(table: object, connections: Mapping[str, str | None], found: list[Fault]) -> Export | None:
    if not isinstance(table, Mapping):
        wrong = "export is missing" if table is None else f"export = {show(table)}: it is a table"
        found.append(Fault(keys=("export",), message=f"{wrong}: write [jobs.NAME.export] with connection = …"))
        return None
    options = dict(table)
    name = options.pop("connection", None)
    if not isinstance(name, str):
        wrong = "connection is missing" if name is None else f"connection = {show(name)}"
        found.append(
            Fault(keys=("export", "connection"), message=f"{wrong}: name the connection to export to, in quotes")
        )
        return None
    if faults := _connection_faults(("export", "connection"), name, connections, TARGET_TYPES):
        found += faults
        return None
    kind = connections[name]
    if kind is None:
        return None
    model = EXPORT_MODELS[kind]
    try:
        return Export(connection=name, options=model.model_validate(options))
    except ValidationError as error:
        found += under(("export",), model_faults(error, model=model, table=options))
        return None


def _connection_faults(
    keys: Keys, name: str, connections: Mapping[str, str | None], types: frozenset[str]
) -> list[Fault]:
    subject = f"{keys[-1]} = {show(name)}"
    if name not in connections:
        fix = nearest(name, connections) if connections else "the file has no [connections.NAME] yet"
        return [Fault(keys=keys, message=f"{subject}: connection not found; {fix}")]
    kind = connections[name]
    if kind is None or kind in types:
        return []
    role = "rows cannot be read from it" if types is SOURCE_TYPES else "rows cannot be written to it"
    fitting = sorted(each for each, other in connections.items() if other in types)
    fix = f"use {', '.join(fitting)}" if fitting else f"add a connection of type {' or '.join(sorted(types))}"
    return [Fault(keys=keys, message=f"{subject} is of type {kind}, and {role}: {fix}")]


def change_faults(job: Job) -> list[Fault]:
    """Return what about a job does not go with its ``changes``."""
    mode = getattr(job.export.options, "mode", None)
    if job.changes == "all":
        given = [key for key in ("changes_key", "max_deletes") if getattr(job, key) is not None]
        return [Fault(keys=(key,), message=f'{key} belongs to changes = "new", "changed" or "mirror"') for key in given]
    found: list[tuple[str, str]] = []
    subject = f'changes = "{job.changes}"'
    if mode == "truncate":
        found.append(
            ("changes", f'{subject}: mode = "truncate" sends every row after it has deleted all: use "update"')
        )
    elif job.changes == "mirror" and mode != "update":
        found.append(("changes", f'{subject} deletes by key: it needs a Salesforce export with mode = "update"'))
    elif mode == "update" and job.changes_key is not None:
        key = getattr(job.export.options, "key", None)
        found.append(("changes_key", f"rows are identified by the export's key {key}: remove changes_key"))
    elif mode != "update" and job.changes_key is None:
        found.append(("changes_key", f"changes_key is missing: {subject} needs the columns that identify a row"))
    if job.changes == "mirror" and job.max_deletes is None:
        found.append(("max_deletes", f'max_deletes is missing: {subject} needs it, such as max_deletes = 500 or "5%"'))
    if job.changes != "mirror" and job.max_deletes is not None:
        found.append(("max_deletes", 'max_deletes belongs to changes = "mirror": remove it'))
    if job.overlap == "allow":
        found.append(("overlap", f'overlap = "allow": with {subject} one run has to follow the other; use "queue"'))
    return [Fault(keys=(key,), message=message) for key, message in found]


def _segment_faults(job: Job) -> list[Fault]:
    """Return a fault for each built string that names a value which the job's segment does not have."""
    faults = []
    for position, column in enumerate(job.mapping.columns if job.mapping else ()):
        for number, parameter in enumerate(column.parameters):
            key = parameter.segment_key
            if key is not None and getattr(job.segment, key, None) is None:
                keys: Keys = ("mapping", "columns", position, "parameters", number)
                fix = f"set {key} under [jobs.{job.name}.segment]"
                faults.append(Fault(keys=keys, message=f'type = "{parameter.type}" has no value: {fix}'))
    return faults
