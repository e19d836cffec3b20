"""What the failures of Treasure Data's API and of its jobs ask for. Pure."""

import json
import re
from collections.abc import Mapping

from exporter.failures import ExportError, configuration, transient
from exporter.sources.shared.redact_values import hide_values

_MOST_SHOWN = 500
_TELLING = re.compile(r"(?i)\bfailed:|\berror\b|exception")
_QUERY_NUMBER = re.compile(r"^Query \S+ failed: ")
_OF_THE_TEXT = re.compile(r"^(?:\w+: )?line \d+:\d+:|FAILED: (?:Semantic|Parse)Exception")
"""Errors found before a row was read: what they quote is the query. All others may quote rows."""
_BRACED = re.compile(r"\{.*\}|\[.*\]")
_BARE = re.compile(r"\b((?:[Cc]annot be cast to|not supported|[Ii]nvalid|[Uu]nknown|out of range)[a-z ()-]*): (?!').*")
"""A value that stands without quotes behind a colon."""
_PASSING = re.compile(
    r"(?i)exceeded\b.*\bmemory limit|too many errors talking to a worker|insufficient resources|no nodes available"
    r"|internal (?:server )?error|too many (?:queued|running|requests)|server is (?:shutting down|still initializing)"
    r"|could not communicate|page transport|connection (?:reset|refused|timed out)|no worker|GC overhead limit"
    r"|container (?:was )?(?:killed|preempted)|administratively killed|cluster is (?:overloaded|out of memory)"
)
"""What engines say when they, not the query, are at fault."""
_TOO_MANY = 429
_REQUEST_TIMEOUT = 408
_SERVER_FAULT = 500
_ADVICE = {
    401: "Treasure Data does not know this API key at {host}: correct api_key, or set endpoint to the account's region",
    403: "The user of this API key may not do this in database {database}",
    404: "There is no such thing at {host}: correct database ({database}), or set endpoint to the account's region",
}


def query_canceled() -> ExportError:
    """Make the error that a reader gets once its query was canceled."""
    return transient("QUERY_CANCELED", "The query was canceled")


def answer_fault(status: int, body: bytes, headers: Mapping[str, str], *, host: str, database: str) -> ExportError:
    """Return the ExportError for an HTTP answer of the API that is no success."""
    text = _said(body)
    if status >= _SERVER_FAULT or status in (_TOO_MANY, _REQUEST_TIMEOUT):
        return transient(
            f"HTTP_{status}", f"Treasure Data answered {status}{text}", retry_after=_seconds(headers.get("retry-after"))
        )
    advice = _ADVICE.get(status, "Treasure Data refused the call with {status}")
    return configuration(f"HTTP_{status}", f"{advice.format(host=host, database=database, status=status)}{text}")


def conflicting_job(body: bytes) -> str | None:
    """Return the job that an answer 409 names as the one that has the domain key already."""
    try:
        details = json.loads(body)["details"]
        found = details["conflicts_with"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(found) if found else None


def _said(body: bytes) -> str:
    """Return what the answer says of itself, behind a colon; empty if that is for no person."""
    try:
        answer = json.loads(body)
    except ValueError:
        return ""
    if not isinstance(answer, dict):
        return ""
    text = answer.get("error") or answer.get("message") or answer.get("text")
    return f": {_shortened(str(text))}" if text else ""


def _seconds(value: str | None) -> float | None:
    return float(value) if value is not None and re.fullmatch(r"[0-9]{1,6}", value.strip()) else None


def job_fault(job_id: str, debug: object) -> ExportError:
    """Return the ExportError for a job that failed, from its output; values of rows are left out."""
    text = _QUERY_NUMBER.sub("", _telling_line(debug))
    if not _OF_THE_TEXT.search(text) and not _PASSING.search(text):
        text = _BARE.sub(r"\1: …", hide_values(_BRACED.sub("'…'", text)))
    message = f"Treasure Data job {job_id} failed: {_shortened(text) or 'it gives no reason; see its output log'}"
    return transient("JOB_FAILED", message) if _PASSING.search(text) else configuration("JOB_FAILED", message)


def job_killed(job_id: str) -> ExportError:
    """Make the error of a job that somebody else ended."""
    return transient("JOB_KILLED", f"Treasure Data job {job_id} was killed there, not by this run")


def job_gone(job_id: str) -> ExportError:
    """Make the error of a job that is not found, or has no result: both are kept for some days only."""
    return transient(
        "JOB_GONE", f"Treasure Data has no job {job_id} any more, or no result of it: run it again with schedctl retry"
    )


def _telling_line(debug: object) -> str:
    """Return the line that says why: the last that speaks of an error, of what is on stderr first."""
    outputs = [str(debug.get(name) or "") for name in ("stderr", "cmdout")] if isinstance(debug, dict) else []
    written = [[line.strip() for line in output.splitlines() if line.strip()] for output in outputs]
    for lines in written:
        for line in reversed(lines):
            if _TELLING.search(line) and not line.startswith(("at ", "executing query")):
                return line
    return next((lines[-1] for lines in written if lines), "")


def _shortened(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[:_MOST_SHOWN]}…"
