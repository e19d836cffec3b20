"""What a job would send, seen without sending it."""

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.changes.rules import ChangeCounts, ChangeRules, check_deletions
from exporter.failures import ExportError, FailureKind
from exporter.report import ExportReport
from exporter.settings.connection import SalesforceExport
from scheduler.config.build import Config
from scheduler.config.connections import make_ready
from scheduler.errors.operation_error import failed, usage
from scheduler.jobs.change_rules import rules_of, scope_of
from scheduler.jobs.definition import Job
from scheduler.secrets.resolve import SecretError
from storage.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

    from exporter.rows.casts import TextCast, TextRules
    from exporter.targets.salesforce.preparation.cell_check import CellChecks

_ABOUT_COLUMNS = frozenset({"UNFIT_COLUMNS", "UNKNOWN_OBJECT", "TYPE_NOT_SUPPORTED"})
"""Codes by which a target says that it does not take what a query gives."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewRow:
    """A row as it would go out; ``fault`` says why it would not. An empty cell, which tells nothing, is None.

    ``doubt`` says why the target refuses the row unless something there corrects it first.
    """

    number: int
    values: Mapping[str, str | None]
    fault: str | None = None
    doubt: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The first rows of a job's result as they would be sent, and of how many that is all.

    ``complete`` says that there are no more rows. ``existing`` is the number of records that a truncate would delete.
    ``changes`` are the counts of the whole result beside what the target is known to hold, where they were asked for:
    ``rows`` are then only those that would be sent. ``refusal`` is why a run would send nothing in spite of them, and
    ``unchecked`` why the target could not be asked whether it takes the rows.
    """

    columns: tuple[str, ...]
    rows: tuple[PreviewRow, ...]
    complete: bool
    existing: int | None = None
    changes: ChangeCounts | None = None
    refusal: str | None = None
    unchecked: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """What a target says of a result's columns."""

    checks: "CellChecks | None" = None
    refusal: str | None = None
    unchecked: str | None = None


def preview(config: Config, job: Job, *, limit: int, now: datetime) -> Preview:
    """Run a job's query as if its slot were now, and return the first rows. Writes nothing.

    Raises failed with what the source, the mapping or the target has to say.
    """
    try:
        return _preview(config, job, limit, now)
    except (ExportError, SecretError) as error:
        raise failed(f"job {job.name}: {error}") from error


def existing_records(config: Config, job: Job) -> int | None:
    """Return how many records a truncate would delete; None for other modes. Raises failed."""
    options = job.export.options
    if not isinstance(options, SalesforceExport) or options.mode != "truncate":
        return None
    from exporter.targets.salesforce.target import SalesforceTarget  # noqa: PLC0415 - drivers, for those who ask only

    try:
        connection = make_ready(config, job.export.connection)
        return SalesforceTarget(connection, options).existing() if connection.type == "salesforce" else None
    except (ExportError, SecretError) as error:
        raise failed(f"job {job.name}: {error}") from error


@contextmanager
def open_rows(config: Config, job: Job, *, now: datetime, batch_rows: int) -> "Iterator[pa.RecordBatchReader]":
    """Run a job's query as if its slot were now, and give its mapped rows. Raises ExportError and SecretError."""
    from exporter.rows.mapping import apply_mapping  # noqa: PLC0415 - drivers, for those who ask only
    from exporter.sources.registry import open_source  # noqa: PLC0415 - the same
    from exporter.sources.source import Query  # noqa: PLC0415 - the same
    from exporter.sql.dialects import dialect_of  # noqa: PLC0415 - the same
    from scheduler.sql.bind import bind  # noqa: PLC0415 - the same

    connection = make_ready(config, job.source)
    bound = bind(
        job.query,
        scheduled_time=now,
        last_scheduled_time=None,
        params=job.params,
        engine=connection.type,
        dialect=dialect_of(connection),
    )
    source = open_source(connection, directory=Path(config.name).absolute().parent)
    query = Query(sql=bound.sql, parameters=bound.parameters, scheduled_time=now)
    with source.read(query, batch_rows=batch_rows) as reader:
        yield apply_mapping(reader, job.mapping, segment=job.segment, exported_at=now)


def preview_changes(config: Config, database: Database, job: Job, *, limit: int, now: datetime) -> Preview:
    """Compare a job's whole result with what its target is known to hold; return the first rows that would be sent.

    Raises usage for a job without ``changes``, and failed as :func:`preview` does. What it needs on disk lies beside
    the spool while it works.
    """
    rules = rules_of(job)
    if rules is None:
        raise usage(f'job {job.name} sends every row each time: --changes is for jobs with changes = "new" and so on')
    try:
        return _compared(config, database, job, rules, limit, now)
    except (ExportError, SecretError) as error:
        raise failed(f"job {job.name}: {error}") from error


def _compared(  # noqa: PLR0917 - what is compared, by what, and how much of it is shown
    config: Config, database: Database, job: Job, rules: ChangeRules, limit: int, now: datetime
) -> Preview:
    from exporter.changes.staging import Staging  # noqa: PLC0415 - the same
    from exporter.rows.casts import TextCast  # noqa: PLC0415 - drivers, for those who ask only
    from exporter.sources.source import ReadAgainError  # noqa: PLC0415 - the same
    from scheduler.runs.change_tracking import find_base  # noqa: PLC0415 - the same

    text_rules = _text_rules(config, job)
    rules = _as_target(config, job, rules)
    base = find_base(database, job.name, scope_of(job, config.connections[job.export.connection]))
    staging = Staging(config.storage.spool / f"preview-{secrets.token_hex(4)}")
    try:
        while True:
            try:
                with open_rows(config, job, now=now, batch_rows=10_000) as reader:
                    staging.fill(reader, TextCast(reader.schema, text_rules), rules, control=Unhurried())
                    columns = tuple(reader.schema.names)
                break
            except ReadAgainError:
                staging.discard()
        counts = staging.compare(base.file, rules, doubts_arrived=base.doubts_arrived, resend=base.resend)
        selected = staging.selected()
        asked = _ask(config, job, selected.schema)
        rows, complete = first_rows(selected, TextCast(selected.schema, text_rules), limit, asked.checks)
    finally:
        staging.discard()
    refusal = asked.refusal or (_refused_deletion(job, rows, counts.unchanged) if complete else None)
    if refusal is None and rules.mode == "mirror" and job.max_deletes is not None:
        try:
            check_deletions(counts, job.max_deletes)
        except ExportError as error:
            refusal = str(error)
    return Preview(
        columns=columns,
        rows=rows,
        complete=complete,
        changes=counts,
        refusal=refusal,
        unchecked=asked.unchecked,
    )


def _preview(config: Config, job: Job, limit: int, now: datetime) -> Preview:
    from exporter.rows.casts import TextCast  # noqa: PLC0415 - drivers, for those who ask only
    from exporter.sources.source import ReadAgainError  # noqa: PLC0415 - the same

    while True:
        try:
            with open_rows(config, job, now=now, batch_rows=limit + 1) as reader:
                cast = TextCast(reader.schema, _text_rules(config, job))
                columns = tuple(reader.schema.names)
                asked = _ask(config, job, reader.schema)
                rows, complete = first_rows(reader, cast, limit, asked.checks)
            break
        except ReadAgainError:
            continue
    return Preview(
        columns=columns,
        rows=rows,
        complete=complete,
        existing=None if asked.refusal or asked.unchecked else existing_records(config, job),
        refusal=asked.refusal or (_refused_deletion(job, rows) if complete and job.changes == "all" else None),
        unchecked=asked.unchecked,
    )


def _ask(config: Config, job: Job, columns: "pa.Schema") -> _Asked:
    """Ask the target whether it takes the columns; if it cannot be asked, report that and show the rows."""
    from exporter.targets.registry import open_target  # noqa: PLC0415 - drivers, for those who ask only
    from exporter.targets.salesforce.target import SalesforceTarget  # noqa: PLC0415 - the same

    connection = make_ready(config, job.export.connection)
    target = open_target(connection, job.export.options, mirror=job.changes == "mirror")
    try:
        if isinstance(target, SalesforceTarget):
            return _Asked(checks=target.cell_checks(columns))
        target.check(columns)
    except ExportError as error:
        if error.kind is FailureKind.CONFIGURATION and error.code in _ABOUT_COLUMNS:
            return _Asked(refusal=str(error))
        return _Asked(unchecked=str(error))
    return _Asked()


def _refused_deletion(job: Job, rows: Sequence[PreviewRow], unchanged: int = 0) -> str | None:
    """Say why a truncate or a mirror of these rows, which are all to be sent, would delete nothing; else None."""
    from exporter.targets.salesforce.deletion.truncate_guard import check_refusals  # noqa: PLC0415 - for those who ask only

    options = job.export.options
    if not isinstance(options, SalesforceExport) or (options.mode != "truncate" and job.changes != "mirror"):
        return None
    faults, doubts = ([row for row in rows if getattr(row, kind) is not None] for kind in ("fault", "doubt"))
    found = ExportReport(read=len(rows) + unchanged, rejected=len(faults), unchanged=unchanged)
    try:
        check_refusals(options.object, found, len(doubts), (), job.max_rejected)
    except ExportError as error:
        return str(error)
    return None


def first_rows(
    reader: "pa.RecordBatchReader", cast: "TextCast", limit: int, checks: "CellChecks | None"
) -> tuple[tuple[PreviewRow, ...], bool]:
    """Return the first rows, with what ``checks`` say of them, and whether there are no more."""
    rows: list[PreviewRow] = []
    for batch in reader:
        text = cast.apply(batch.slice(0, limit + 1 - len(rows)))
        found = checks.look(text.batch.select(checks.names)) if checks is not None and checks.names else []
        doubts = {each.index: f"{each.code}: {each.message}" for each in found if each.doubtful}
        faults = {each.index: f"{each.code}: {each.message}" for each in found if not each.doubtful}
        faults |= {fault.index: f"{fault.code}: {fault.message}" for fault in text.faults}
        rows += [
            PreviewRow(
                number=len(rows) + index + 1,
                values={name: cell or None for name, cell in values.items()},
                fault=faults.get(index),
                doubt=doubts.get(index) if index not in faults else None,
            )
            for index, values in enumerate(text.batch.to_pylist())
        ]
        if len(rows) > limit:
            break
    return tuple(rows[:limit]), len(rows) <= limit


def _as_target(config: Config, job: Job, rules: ChangeRules) -> ChangeRules:
    """Return how a job's rows are told apart: by a key of the target as the target does. Raises ExportError."""
    from exporter.targets.registry import open_target  # noqa: PLC0415 - drivers, for those who ask only

    if rules.form == "exact":
        return rules
    target = open_target(make_ready(config, job.export.connection), job.export.options)
    return replace(rules, form=target.key_form(control=Unhurried(), listen=lambda _event: None) or rules.form)


def _text_rules(config: Config, job: Job) -> "TextRules":
    """Return how the job's target wants its text."""
    from exporter.targets.registry import open_target  # noqa: PLC0415 - drivers, for those who ask only

    return open_target(make_ready(config, job.export.connection), job.export.options).text_rules()


class Unhurried:
    """The Control of something that nobody stops."""

    def check(self) -> None:
        """Go on."""

    def wait(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    def on_stop(self, callback: Callable[[], None]) -> None:
        """Forget it: there is no stop."""
