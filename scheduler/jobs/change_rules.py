"""From a job's definition to how its rows are compared, and to the words for where they go. Pure."""

from urllib.parse import urlsplit

from exporter.changes.rules import ChangeRules
from exporter.settings.connection import Connection, SalesforceConnection, SalesforceExport
from exporter.settings.salesforce import SHARED_LOGIN_HOSTS
from scheduler.jobs.definition import Job


def rules_of(job: Job) -> ChangeRules | None:
    """Return how a job's rows are compared with what was sent before; None if all are sent each time.

    Rows of an update are told apart by the export's key, as the target does: an Id by its first 15 characters, any
    other field without regard to case and outer spaces. Elsewhere ``changes_key`` is compared as it stands. Built
    strings with a Timestamp say when a row goes out, and make no change.
    """
    if job.changes == "all":
        return None
    passing = frozenset(
        column.column
        for column in (job.mapping.columns if job.mapping is not None else ())
        if any(parameter.type == "Timestamp" for parameter in column.parameters)
    )
    options = job.export.options
    if isinstance(options, SalesforceExport) and options.mode == "update" and options.key is not None:
        is_id = options.key.lower() == "id"
        key = "Id" if is_id else options.key
        return ChangeRules(mode=job.changes, key=(key,), form="id" if is_id else "folded", passing=passing)
    return ChangeRules(mode=job.changes, key=job.changes_key or (), form="exact", passing=passing)


def scope_of(job: Job, connection: Connection) -> str:
    """Return, in words, what a job's snapshot is of: the target that holds the rows, and what tells them apart."""
    rules = rules_of(job)
    by = ", ".join(rules.key) if rules is not None else ""
    options = job.export.options
    if isinstance(connection, SalesforceConnection) and isinstance(options, SalesforceExport):
        url = connection.login_url.lower().rstrip("/")
        # An address that serves every org says nothing of which it is; who logs in does.
        who = connection.username or connection.client_id if urlsplit(url).hostname in SHARED_LOGIN_HOSTS else None
        place = f"{url} as {who}" if who else url
        by = by.lower() if rules is not None and rules.form != "exact" else by
        return f"{options.object.lower()} at {place} by {by} ({options.mode})"
    directory = getattr(connection, "directory", "")
    return f"files in {directory} by {by}"
