"""What a check tries outside: connections are opened, columns and first rows are read; nothing is written anywhere."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from exporter.changes.rules import find_columns
from exporter.failures import ExportError
from exporter.settings.connection import (
    SOURCE_TYPES,
    TARGET_TYPES,
    ExportOptions,
    SalesforceConnection,
    SalesforceExport,
)
from exporter.settings.file import FileExport
from scheduler.config.build import Config
from scheduler.config.connections import make_ready
from scheduler.errors.operation_error import not_found
from scheduler.jobs.change_rules import rules_of
from scheduler.jobs.definition import Job
from scheduler.operations.preview import PreviewRow, first_rows, open_rows
from scheduler.secrets.resolve import SecretError, mask

_NO_JOBS = SalesforceExport(object="User")
"""What a login is tried with where no job exports to the org: every org has users."""
_FIRST_ROWS = 100
"""Rows of a query whose cells are checked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckResult:
    """One thing that was tried: what (``connection crm``, ``job contacts``), and how it went, in one line."""

    subject: str
    ok: bool
    message: str


def check_all(config: Config) -> Iterator[CheckResult]:
    """Try every connection, then every job's query and columns; yields as it goes on."""
    good: set[str] = set()
    for name in sorted(config.connections):
        result = check_connection(config, name)
        if result.ok:
            good.add(name)
        yield result
    for job in config.jobs.values():
        if {job.source, job.export.connection} <= good:
            yield from check_job(config, job, connections=False)


def check_connection(config: Config, name: str) -> CheckResult:
    """Log in at one connection, or open it, and with the settings of the jobs that export to it. Raises not-found."""
    connection = config.connections.get(name)
    if connection is None:
        known = ", ".join(sorted(config.connections)) or "none"
        raise not_found(f"there is no connection {name!r} (known: {known})")
    subject = f"connection {name}"
    did = "opened"
    try:
        if connection.type == "salesforce":
            did = _log_in(config, name)
        if connection.type in SOURCE_TYPES:
            _check_source(config, name)
        if connection.type in TARGET_TYPES:
            for options in _options(config, name):
                _check_target(config, name, options)
    except (ExportError, SecretError) as error:
        return CheckResult(subject=subject, ok=False, message=_words(error))
    return CheckResult(subject=subject, ok=True, message=f"{connection.type}, {did}")


def check_job(config: Config, job: Job, *, connections: bool = True) -> list[CheckResult]:
    """Try a job's connections, its query, and whether its target takes the columns and the first rows."""
    results = []
    if connections:
        results = [check_connection(config, name) for name in dict.fromkeys((job.source, job.export.connection))]
        if not all(result.ok for result in results):
            return results
    subject = f"job {job.name}"
    try:
        return [*results, _check_rows(config, job, subject)]
    except (ExportError, SecretError) as error:
        return [*results, CheckResult(subject=subject, ok=False, message=_words(error))]


def _log_in(config: Config, name: str) -> str:
    """Log in at an org; return who did, and how."""
    from exporter.targets.salesforce.auth.identity import HOW, identify  # noqa: PLC0415 - requests takes 0.3 s

    connection = make_ready(config, name)
    if not isinstance(connection, SalesforceConnection):
        raise TypeError(connection.type)
    found = identify(connection)
    who = f" as {found.username}" if found.username is not None else ""
    return f"logged in{who} by {HOW[connection.auth]}, at {found.instance_url}"


def _check_source(config: Config, name: str) -> None:
    from exporter.sources.registry import open_source  # noqa: PLC0415 - drivers, for those who ask for a check only

    open_source(make_ready(config, name)).check()


def _check_target(config: Config, name: str, options: ExportOptions) -> None:
    from exporter.targets.registry import open_target  # noqa: PLC0415 - the same

    try:
        open_target(make_ready(config, name), options).check()
    except ExportError as error:
        if not (options == _NO_JOBS and error.code == "UNKNOWN_OBJECT"):
            raise  # with the probe's object unknown, the login itself was good


def _check_rows(config: Config, job: Job, subject: str) -> CheckResult:
    """Ask the source for the query's columns and first rows, and the target whether it takes them."""
    from exporter.rows.casts import TextCast  # noqa: PLC0415 - the same
    from exporter.sources.source import ReadAgainError  # noqa: PLC0415 - the same
    from exporter.targets.registry import open_target  # noqa: PLC0415 - the same
    from exporter.targets.salesforce.target import SalesforceTarget  # noqa: PLC0415 - the same

    rows: tuple[PreviewRow, ...] = ()
    while True:
        try:
            with open_rows(config, job, now=datetime.now(UTC), batch_rows=_FIRST_ROWS) as reader:
                columns = reader.schema
                connection = make_ready(config, job.export.connection)
                target = open_target(connection, job.export.options, mirror=job.changes == "mirror")
                if isinstance(target, SalesforceTarget):
                    checks = target.cell_checks(columns)
                    rows, _ = first_rows(reader, TextCast(columns, target.text_rules()), _FIRST_ROWS, checks)
                else:
                    target.check(columns)
            break
        except ReadAgainError:
            continue
    if (rules := rules_of(job)) is not None:
        find_columns(rules.key, columns.names, any_case=rules.form != "exact")
    faults = [row.fault for row in rows if row.fault is not None]
    doubts = [row.doubt for row in rows if row.doubt is not None]
    fit = "1 column fits" if len(columns.names) == 1 else f"{len(columns.names)} columns fit"
    message = f"{fit} {job.export.connection}"
    for unfit, unless in ((faults, ""), (doubts, " unless the org corrects them first")):
        if unfit:
            message += f"; of the first {len(rows)} rows {len(unfit)} would be rejected{unless}: {unfit[0]}"
    return CheckResult(subject=subject, ok=not faults or len(faults) < len(rows), message=message)


def _options(config: Config, name: str) -> list[ExportOptions]:
    """Return the distinct settings with which jobs export to a connection, or some that any org takes."""
    used = [job.export.options for job in config.jobs.values() if job.export.connection == name]
    if used:
        return list({options.model_dump_json(): options for options in used}.values())
    salesforce = config.connections[name].type == "salesforce"
    return [_NO_JOBS if salesforce else FileExport()]


def _words(error: ExportError | SecretError) -> str:
    return mask(f"{error.code}: {error.message}" if isinstance(error, ExportError) else str(error))
