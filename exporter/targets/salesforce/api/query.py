"""Reading records: SOQL over REST, page by page, or as a bulk query where that takes fewer calls.

Whatever way, the rows that came are counted against what Salesforce said there would be: fewer are never taken for all.
A bulk query's BulkJob changes nothing at Salesforce; the ledger does not know of it.
"""

import csv
import io
import re
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode, urlsplit

from simple_salesforce.api import Salesforce

from exporter.failures import ExportError, transient
from exporter.host.durable_files import disk_fault
from exporter.targets.salesforce.api.bulk1 import Bulk1
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.http.error_codes import Where, classify
from exporter.targets.salesforce.http.http_session import LARGEST_LIST, CallError, OrgSession, Received
from exporter.targets.salesforce.http.message_values import without_values
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, parse_json, read_state_message

PAGE = 2000
"""Records of one REST answer, at most."""
LONGEST_URL = 12_000
"""Bytes of SOQL, as a URL writes it, in one request: the whole request line may have 16,384 (REST API guide)."""
BULK_FROM = 20_000
"""Records from which a bulk query takes fewer calls than pages do."""
_NEXT_PAGE = re.compile(r"/services(?:/(?!\.{1,2}(?:[/?]|\Z))[\w.~+,:=-]+)+(?:\?[\w.~+,:=&%-]*)?", re.ASCII)
"""An address of an answer stays on the host that the session is for, and below the API, however a server reads it: no
part of its path is empty, a dot or two, or escaped. Real ones are ``/services/data/v62.0/query/01gD00…AW-2000``."""
_MOST_RECORDS = 10**12
_ROWS_AT_ONCE = 2000
_SHORTEST_POLL, _LONGEST_POLL = 0.1, 15.0
Row = tuple[str, ...]


class Queries:
    """Queries to one org. ``directory`` takes what is too large for memory. Every method raises ExportError."""

    def __init__(self, client: Client, directory: Path) -> None:
        self._client = client
        self._bulk = Bulk1(client)
        self._directory = directory

    def count(self, name: str) -> int:
        """Return how many records an object has, those in the recycle bin left out."""
        return int(self._page(f"SELECT COUNT() FROM {name}")["totalSize"])  # noqa: S608 - an API name, checked

    def rows(self, soql: str, columns: Sequence[str], *, bulk_object: str | None = None) -> Iterator[list[Row]]:
        """Yield the records of a query, some at a time, each as the texts of ``columns`` (no value: empty).

        With ``bulk_object``, the object that is queried, it is a bulk query.
        """
        if bulk_object is None:
            yield from self._pages(soql, columns)
        else:
            yield from self._bulk_rows(soql, columns, bulk_object)

    def _pages(self, soql: str, columns: Sequence[str]) -> Iterator[list[Row]]:
        page = self._page(soql)
        expected, came = int(page["totalSize"]), 0
        asked: set[str] = set()
        while True:
            records = page["records"]
            came += len(records)
            if came > expected:
                break
            if records:
                yield [tuple(_text(_value(record, column)) for column in columns) for record in records]
            following = page.get("nextRecordsUrl")
            if page.get("done", True) or not following:
                break
            if following in asked:  # the count alone would not tell if one page came for another of its length
                raise transient("QUERY_INCOMPLETE", "a query gave the same page twice")
            asked.add(following)
            page = self._next_page(following)
        if came != expected:
            raise transient("QUERY_INCOMPLETE", f"a query gave {came} of {expected} records")

    def _page(self, soql: str) -> Mapping[str, Any]:
        def ask(org: Salesforce, session: OrgSession) -> Mapping[str, Any]:
            return _get_page(org, session, f"{org.base_url}query?{urlencode({'q': soql})}")

        return self._client.call(ask)

    def _next_page(self, path: str) -> Mapping[str, Any]:
        def ask(org: Salesforce, session: OrgSession) -> Mapping[str, Any]:
            root = urlsplit(org.base_url)
            return _get_page(org, session, f"{root.scheme}://{root.netloc}{path}")

        try:
            return self._client.call(ask)
        except ExportError as error:
            if error.code == "INVALID_QUERY_LOCATOR":  # it was kept no longer; a query from the start gets a new one
                raise transient("QUERY_INCOMPLETE", f"a query ended too early: {error}") from error
            raise

    def _bulk_rows(self, soql: str, columns: Sequence[str], name: str) -> Iterator[list[Row]]:
        bulk_job = self._bulk.create_query(name)
        try:
            batch = self._bulk.send_query(bulk_job, soql)
            expected = self._finished(bulk_job, batch)
            came = 0
            for result in self._bulk.query_results(bulk_job, batch):
                for rows in self._result(bulk_job, batch, result, columns):
                    came += len(rows)
                    yield rows
            if came != expected:
                raise transient("QUERY_INCOMPLETE", f"bulk query {bulk_job} gave {came} of {expected} records")
        finally:
            with suppress(ExportError):  # it ends by itself too; the first error is the one to tell
                self._bulk.end(bulk_job, "Closed")

    def _finished(self, bulk_job: str, batch: str) -> int:
        """Wait for a bulk query and return its number of records."""
        pause = _SHORTEST_POLL
        while True:
            info = next((each for each in self._bulk.batches(bulk_job) if each.id == batch), None)
            if info is not None and info.state == "Completed":
                return info.processed
            if info is not None and info.state in {"Failed", "NotProcessed"}:
                reported = read_state_message(info.message)
                rule = classify(Where.BATCH, reported.code, reported.message)
                text = f"bulk query {bulk_job} failed: {without_values(reported.message) or info.state}"
                raise CallError(rule, reported.code or "QUERY_FAILED", text, received=Received.NO).outward()
            self._client.pause(pause)
            pause = min(_LONGEST_POLL, pause * 2)

    def _result(self, bulk_job: str, batch: str, result: str, columns: Sequence[str]) -> Iterator[list[Row]]:
        """Store one part of a bulk query's result, and then yield its rows: a caller may be slow."""
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                self._bulk.store_query_result(bulk_job, batch, result, file)
                file.seek(0)
                yield from _read_rows(file, columns)
        except OSError as error:
            raise disk_fault(error, self._directory) from error


def _get_page(org: Salesforce, session: OrgSession, url: str) -> Mapping[str, Any]:
    headers = {"Authorization": f"Bearer {org.session_id}", "Accept": "application/json"}
    page = parse_json(session.exchange("GET", url, headers=headers, largest=LARGEST_LIST).content)
    if isinstance(page, Mapping):
        records, total, following = page.get("records"), page.get("totalSize"), page.get("nextRecordsUrl")
        is_counted = isinstance(total, int) and not isinstance(total, bool) and 0 <= total < _MOST_RECORDS
        is_whole = isinstance(records, list) and all(isinstance(each, Mapping) for each in records)
        leads_on = following is None or (isinstance(following, str) and _NEXT_PAGE.fullmatch(following))
        if is_counted and is_whole and leads_on:
            return page
    raise UnreadableAnswerError("the answer is no query result")


def _value(record: Mapping[str, Any], column: str) -> object:
    found = next((value for name, value in record.items() if name.lower() == column.lower()), None)
    return record.get(column, found)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | Decimal):
        raise transient("UNREADABLE_ANSWER", "a query gave a value that no field has")
    return format(value, "f") if isinstance(value, Decimal) else str(value)


def _read_rows(file: IO[bytes], columns: Sequence[str]) -> Iterator[list[Row]]:
    wrapped = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        lines = csv.reader(wrapped, strict=True)
        names = [name.lower() for name in next(lines, [])]
        if "records not found for this query" in "".join(names):  # what an empty result says
            return
        order = [names.index(column.lower()) for column in columns]
        held: list[Row] = []
        for line in lines:
            held.append(tuple(line[index] for index in order))
            if len(held) == _ROWS_AT_ONCE:
                yield held
                held = []
        if held:
            yield held
    except (csv.Error, UnicodeDecodeError, ValueError, IndexError) as error:
        raise transient("UNREADABLE_ANSWER", "the result of a bulk query cannot be read") from error
    finally:
        wrapped.detach()
