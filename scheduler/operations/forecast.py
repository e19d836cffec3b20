"""The coming load of all jobs, with what their last runs took."""

from dataclasses import replace
from datetime import datetime

from exporter.settings.connection import SalesforceExport
from scheduler.operations.jobs import JobView, view_jobs
from scheduler.planning.forecast import Expected, Forecast, forecast
from storage.database import Database


def coming_load(database: Database, now: datetime, days: int) -> Forecast:
    """Count the runs of ``days`` days from this hour on; jobs that are disabled or run only when asked to add none.

    Nor do those that cannot be read: they are named.
    """
    views = view_jobs(database)
    found = forecast(filter(None, map(_expected, views)), start=now, days=days)
    unreadable = {view.name: view.fault for view in views if view.fault is not None and view.is_enabled}
    return replace(found, unreadable=unreadable)


def _expected(view: JobView) -> Expected | None:
    if view.fault is not None or view.stored.disabled_at is not None:
        return None
    schedule = view.common if view.after else view.job.schedule
    if schedule is None:
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
