"""The flags of `add` and `edit`: one for each key of a job in the config file, under the same name."""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from exporter.host.regular_files import read_given
from scheduler.cli.arguments.options import connection_names
from scheduler.errors.operation_error import usage

if TYPE_CHECKING:
    from scheduler.errors.setting_faults import Fault


@dataclass(frozen=True, kw_only=True, slots=True)
class Flag:
    """A flag and the key that it stands for.

    ``kind`` is ``text``, ``whole`` (a number), ``words`` (with commas between), ``names`` (one each time), ``switch``,
    ``pairs`` (columns) or ``values`` (by name). ``was`` is how the option was spelled before: it still works, unseen.
    """

    key: tuple[str, ...]
    help: str
    metavar: str = "TEXT"
    kind: str = "text"
    option: str = ""
    was: str = ""

    @property
    def name(self) -> str:
        """The option as it is typed."""
        return self.option or "--" + self.key[-1].replace("_", "-")

    @property
    def parameter(self) -> str:
        """The option as Python names it."""
        return "flag_" + self.name.lstrip("-").replace("-", "_")


def _job(key: str, help_: str, metavar: str = "TEXT", kind: str = "text") -> Flag:
    return Flag(key=(key,), help=help_, metavar=metavar, kind=kind)


def _export(
    key: str, help_: str, metavar: str = "TEXT", kind: str = "text", *, option: str = "", was: str = ""
) -> Flag:
    return Flag(key=("export", key), help=help_, metavar=metavar, kind=kind, option=option, was=was)


_NUMBER = re.compile(r"-?(0|[1-9]\d{0,17})(\.\d+)?")

FLAGS = (
    _job("cron", "Cron schedule in the td dialect; empty: it runs only on request.", "CRON"),
    _job("after", "Instead of --cron: run when this job has succeeded for the slot; may be repeated.", "JOB", "names"),
    _job("timezone", "Time zone of the schedule; default: that of [daemon].", "ZONE"),
    _job("delay", "How long after its slot a run starts.", "TIME"),
    _job("starts_at", "Nothing fires before this time; without --cron the job runs once, at this time.", "TIME"),
    _job("ends_on", "The last day on which it fires.", "DATE"),
    _job("source", "Connection to query.", "NAME"),
    _job("query", "The SQL.", "SQL"),
    _job("query_file", "File with the SQL. Its text is stored; with --to-file, its name is.", "FILE"),
    Flag(
        key=("params",),
        help="Bind this value where the query says :NAME; may be repeated.",
        metavar="NAME=VALUE",
        kind="values",
        option="--param",
    ),
    _export("connection", "Connection to send the rows to.", "NAME", was="--to"),
    _export("object", "Salesforce object, by its API name.", "NAME"),
    _export(
        "mode",
        "append: insert; truncate: delete all records, then insert; update: change records by key.",
        "append|truncate|update",
    ),
    _export("key", "With update: the field that identifies the record.", "FIELD"),
    _export("upsert", "With update: also insert rows whose key is new.", kind="switch"),
    _export("hard_delete", "With truncate: delete permanently.", kind="switch"),
    _export("allow_empty", "With truncate: let an empty result delete all records.", kind="switch"),
    _export("concurrency_mode", "How Salesforce processes batches: in parallel or one by one.", "parallel|serial"),
    _export("batch_size", "Maximum number of rows in a batch.", "N", "whole"),
    _export("api_version", "Salesforce API version, such as 62.0.", "VERSION"),
    _export("bulk_api", "Version of the Bulk API.", "1|2"),
    _export("nulls", "What a NULL does on update: keep the field, or clear it.", "ignore|clear"),
    _export("naive_timezone", "Time zone of timestamps without one.", "ZONE"),
    _export(
        "retry_limit",
        "Maximum retries of one API call; overrides the connection's.",
        "N",
        "whole",
        option="--export-retry-limit",
        was="--call-retry-limit",
    ),
    _export(
        "initial_retry_delay",
        "Wait before the first retry of an API call; overrides the connection's.",
        "TIME",
        option="--export-initial-retry-delay",
        was="--call-initial-retry-delay",
    ),
    _export("file", "File name in the target's directory.", "NAME"),
    Flag(
        key=("mapping", "columns"),
        help="Send a column of the query under another name; may be repeated.",
        metavar="NAME=SOURCE",
        kind="pairs",
        option="--column",
    ),
    Flag(
        key=("mapping", "all_columns"),
        help="With --column: send the other columns too.",
        kind="switch",
        option="--all-columns",
    ),
    _job("changes", "Which rows are sent, compared with the rows sent before.", "all|new|changed|mirror"),
    _job("changes_key", "With --changes: the columns that identify a row, separated by commas.", "NAME,NAME", "words"),
    _job("max_deletes", "With --changes mirror: fail if a run would delete more records.", "ROWS|PERCENT%"),
    _job("step", "What */n means in day of month and month.", "multiples|offset"),
    _job("day_match", "What two restricted day fields mean.", "or|more-often|and"),
    _job("dst", "How daylight saving changes are handled; sets gap and fold.", "once|wallclock"),
    _job("gap", "What happens to a slot that the clock skips in spring.", "after|skip"),
    _job("fold", "Which slot runs when the clock repeats an hour in autumn.", "first|second|both"),
    _job("catch_up", "Which missed slots run after a downtime.", "latest|all|none"),
    _job("catch_up_window", "Missed slots older than this never run.", "TIME"),
    _job("overlap", "What happens to a slot that is due while the previous run is still running.", "queue|skip|allow"),
    _job("timeout", "Cancel a run that takes longer.", "TIME"),
    _job("retry_limit", "Maximum retries of a run after a transient failure.", "N", "whole"),
    _job("initial_retry_delay", "Wait before the first retry of a run.", "TIME"),
    _job(
        "disable_after", "Disable the job after this many consecutive configuration failures; 0: never.", "N", "whole"
    ),
    _job("max_rejected", "A run with more rejected rows is failed, not partial.", "ROWS|PERCENT%"),
    _job("notify", "What is notified, separated by commas; none: nothing.", "WORD,WORD", "words"),
    Flag(
        key=("email", "success"),
        help="Who is mailed when a run succeeded, separated by commas; none: nobody.",
        metavar="ADDRESS,ADDRESS",
        kind="words",
        option="--email-success",
    ),
    Flag(
        key=("email", "failure"),
        help="Who is mailed when a run failed, rows were rejected or the job was disabled; none: nobody.",
        metavar="ADDRESS,ADDRESS",
        kind="words",
        option="--email-failure",
    ),
    _job("description", "What the job is for."),
)


def takes_job_flags(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command every flag; those that were typed reach it as ``given``: a mapping from Flag to value."""
    own = inspect.signature(command)
    kept = [parameter for parameter in own.parameters.values() if parameter.name != "given"]
    added = [
        inspect.Parameter(flag.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(flag))
        for flag in FLAGS
    ]
    old = [replace(flag, option=flag.was) for flag in FLAGS if flag.was]
    added += [
        inspect.Parameter(
            flag.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(flag, hidden=True)
        )
        for flag in old
    ]

    @wraps(command)
    def wrapped(**values: Any) -> Any:  # noqa: ANN401 - a command's own arguments and result
        given = {flag: value for flag in FLAGS if (value := values.pop(flag.parameter)) not in (None, [])}
        for was in old:
            if (value := values.pop(was.parameter)) is not None:
                flag = next(flag for flag in FLAGS if flag.was == was.option)
                if flag in given:
                    raise usage(f"{was.option} is the old name of {flag.name}: give one of them")
                given[flag] = value
        return command(**values, given=given)

    head = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in kept]
    wrapped.__signature__ = own.replace(parameters=[head[0], *added, *head[1:]])  # type: ignore[attr-defined]  # what typer reads
    wrapped.__annotations__ = {parameter.name: parameter.annotation for parameter in [*kept, *added]}
    return wrapped


def job_table(
    given: Mapping[Flag, Any], base: Mapping[str, Any] | None = None, *, beside: Path | None = None
) -> dict[str, Any]:
    """Return a job's table as the config file would have it: ``base`` with what was typed put in.

    An empty text takes a key out of it, which then has its default. A query replaces a query file. What a query file
    holds is read; or, for a config file in the directory ``beside``, its name is kept, relative to that.
    """
    table: dict[str, Any] = {key: value for key, value in (base or {}).items() if not isinstance(value, Mapping)}
    table |= {key: dict(value) for key, value in (base or {}).items() if isinstance(value, Mapping)}
    for flag, value in given.items():
        *parents, key = flag.key
        place = table
        for parent in parents:
            place = place.setdefault(parent, {})
        if value in ("", [""]):
            place.pop(key, None)
        else:
            place[key] = _value(flag, value)
    if beside is None:
        _take_query_file(table)
    elif "query_file" in table:
        file = Path(table["query_file"]).absolute()
        table["query_file"] = str(file.relative_to(beside) if file.is_relative_to(beside) else file)
    return table


def as_typed(fault: "Fault") -> str:
    """Say a fault of a job's table as one of the flags that were typed, or that were not."""
    keys = tuple(key for key in fault.keys[2:] if isinstance(key, str))
    keys = ("export", "connection") if keys == ("export",) else keys
    flag = next((flag for flag in FLAGS if flag.key == keys[: len(flag.key)]), None)
    if flag is None:
        return f"{'.'.join(keys)}: {fault.message}" if keys else fault.message
    if re.match(r"\w+ is missing\b", fault.message):
        return f"{flag.name} is missing: {flag.help[0].lower()}{flag.help[1:].rstrip('.')}"
    return f"{flag.name}: {fault.message}"


def _value(flag: Flag, value: Any) -> Any:  # noqa: ANN401 - as typed, to as TOML has it
    if flag.kind == "pairs":
        return [_pair(flag, text) for text in value]
    if flag.kind == "values":
        return dict(_named_value(flag, text) for text in value)
    if flag.kind == "words":
        return [] if value.strip() == "none" else [word.strip() for word in value.split(",")]
    # Durations and limits are whole numbers or text in the config file; on the command line all is text.
    if flag.kind == "text" and flag.metavar in ("TIME", "ROWS|PERCENT%") and value.isdecimal():
        return int(value)
    return value


def _pair(flag: Flag, text: str) -> dict[str, str]:
    column, equals, source = text.partition("=")
    if not (equals and column and source):
        raise usage(f"{flag.name} {text!r}: write NAME=SOURCE, such as Email=email")
    return {"column": column, "source": source}


def _named_value(flag: Flag, text: str) -> tuple[str, Any]:
    """Read a value as TOML would without quotes, if it is a number or a boolean; all else is text, such as 007."""
    name, equals, value = text.partition("=")
    if not (equals and name):
        raise usage(f"{flag.name} {text!r}: write NAME=VALUE, such as region=EU")
    if value in ("true", "false"):
        return name, value == "true"
    return name, (float(value) if "." in value else int(value)) if _NUMBER.fullmatch(value) else value


def _take_query_file(table: dict[str, Any]) -> None:
    name = table.pop("query_file", None)
    if name is None:
        return
    try:
        table["query"] = read_given(Path(name)).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not valid UTF-8"
        raise usage(f"--query-file {name}: {why}") from error


def _annotation(flag: Flag, *, hidden: bool = False) -> Any:  # noqa: ANN401 - a type with typer's description of it
    if flag.kind == "switch":
        return Annotated[bool | None, typer.Option(f"{flag.name}/--no-{flag.name[2:]}", help=flag.help, hidden=hidden)]
    if flag.kind == "whole":
        return Annotated[int | None, typer.Option(flag.name, metavar=flag.metavar, help=flag.help, hidden=hidden)]
    kind: Any = list[str] | None if flag.kind in ("pairs", "values", "names") else str | None
    option = typer.Option(flag.name, metavar=flag.metavar, help=flag.help, autocompletion=_choices(flag), hidden=hidden)
    return Annotated[kind, option]


def _choices(flag: Flag) -> Callable[..., list[str]] | None:
    """Complete the flags that name a connection, and those whose placeholder lists the legal values."""
    if flag.key in (("source",), ("export", "connection")):
        return connection_names
    return (lambda: flag.metavar.split("|")) if flag.metavar.islower() and "|" in flag.metavar else None
