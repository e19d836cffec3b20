"""What a job would send, seen without sending it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.connections import SalesforceExport
from exporter.failures import ExportError
from scheduler.config import Config
from scheduler.connections import make_ready
from scheduler.errors import failed
from scheduler.job import Job
from scheduler.secrets import SecretError

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, slots=True)
class PreviewRow:
    """A row as it would go out; ``fault`` says why it would not. An empty cell, which tells nothing, is None."""

    number: int
    values: Mapping[str, str | None]
    fault: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Preview:
    """The first rows of a job's result as they would be sent, and of how many that is all.

    ``complete`` says that there are no more rows. ``existing`` is the number of records that a truncate would delete.
    """

    columns: tuple[str, ...]
    rows: tuple[PreviewRow, ...]
    complete: bool
    existing: int | None = None


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
    from exporter.mapping import apply_mapping  # noqa: PLC0415 - drivers, for those who ask only
    from exporter.sources import Query  # noqa: PLC0415 - the same
    from exporter.sources.opening import open_source  # noqa: PLC0415 - the same
    from exporter.sql.dialects import dialect_of  # noqa: PLC0415 - the same
    from scheduler.query import bind  # noqa: PLC0415 - the same

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


def _preview(config: Config, job: Job, limit: int, now: datetime) -> Preview:
    from exporter.casts import TextCast, TextRules, salesforce_rules  # noqa: PLC0415 - the same

    options = job.export.options
    rules = TextRules()
    if isinstance(options, SalesforceExport):
        rules = salesforce_rules(nulls=options.nulls, naive_timezone=options.naive_timezone)
    rows: list[PreviewRow] = []
    with open_rows(config, job, now=now, batch_rows=limit + 1) as reader:
        cast = TextCast(reader.schema, rules)
        columns = tuple(reader.schema.names)
        for batch in reader:
            text = cast.apply(batch.slice(0, limit + 1 - len(rows)))
            faults = {fault.index: f"{fault.code}: {fault.message}" for fault in text.faults}
            rows += [
                PreviewRow(
                    number=len(rows) + index + 1,
                    values={name: cell or None for name, cell in values.items()},
                    fault=faults.get(index),
                )
                for index, values in enumerate(text.batch.to_pylist())
            ]
            if len(rows) > limit:
                break
    return Preview(
        columns=columns,
        rows=tuple(rows[:limit]),
        complete=len(rows) <= limit,
        existing=existing_records(config, job),
    )
