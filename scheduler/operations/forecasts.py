"""The coming load of all jobs, with what their last runs took."""

from datetime import datetime

from exporter.connections import SalesforceExport
from scheduler.forecast import Expected, Forecast, forecast
from scheduler.operations.jobs import JobView, view_jobs
from storage.database import Database


def coming_load(database: Database, now: datetime, days: int) -> Forecast:
    """Count the runs of ``days`` days from this hour on; jobs that are disabled or run only when asked to add none."""
    views = view_jobs(database)
    return forecast(filter(None, map(_expected, views)), start=now, days=days)


def _expected(view: JobView) -> Expected | None:
    schedule = view.common if view.after else view.job.schedule
    if schedule is None or view.stored.disabled_at is not None:
        return None
    options, last = view.job.export.options, view.last_run
    seconds = None
    if last is not None and last.started_at is not None and last.finished_at is not None:
        seconds = (last.finished_at - last.started_at).total_seconds()
    return Expected(
        name=view.name,
        schedule=schedule,
        batch_size=options.batch_size if isinstance(options, SalesforceExport) else None,
        rows=last.rows_read if last is not None else None,
        seconds=seconds,
    )
