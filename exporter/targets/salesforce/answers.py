"""Reading the bodies that Salesforce answers with: errors in their several shapes, and Bulk API 1.0's XML. Pure."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from xml.etree import ElementTree as ET

_SHOWN = 200
"""How much of a body that is no error report is quoted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportedError:
    """An error as Salesforce words it. ``code`` is empty if the body held none: a proxy's page, a truncated answer."""

    code: str
    message: str


class UnreadableAnswerError(ValueError):
    """An answer of the wrong shape: cut short, or somebody else's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BulkJobInfo:
    """A BulkJob: ``state`` is Open, Closed, Aborted or Failed."""

    id: str
    state: str
    created_at: datetime | None


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchInfo:
    """A batch of a BulkJob: ``state`` is Queued, InProgress, Completed, Failed or NotProcessed."""

    id: str
    state: str
    message: str
    processed: int


def read_error(content: bytes) -> ReportedError:
    """Read the error in a body: REST's list, OAuth's object, the Bulk API's XML or JSON, a SOAP fault, or none."""
    text = content.decode("utf-8", errors="replace").strip().lstrip("\ufeff")
    found: ReportedError | None = None
    if text[:1] in "[{":
        found = _json_error(text)
    elif text[:1] == "<":
        found = _xml_error(text)
    return found or ReportedError(code="", message=_describe(text))


_OUTER = re.compile(r"(?P<code>[A-Za-z][A-Za-z0-9_]*) ?:(?P<message>.*)", re.DOTALL)
_CODE = r"[A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z][a-z]+(?:[A-Z][a-z]+)+"
_INNER = re.compile(rf"\s*Failed to process query: ?(?P<code>{_CODE})\b ?:?(?P<message>.*)", re.DOTALL)


def read_state_message(text: str) -> ReportedError:
    """Read what a batch or a BulkJob says of its failure: ``InvalidBatch : Field name not found : X``.

    Of a query, the code is the one inside: ``InvalidBatch : Failed to process query: QUERY_TIMEOUT: …``.
    """
    outer = _OUTER.fullmatch(text.strip())
    if outer is None:
        return ReportedError(code="", message=text.strip())
    inner = _INNER.fullmatch(outer["message"])
    found = inner or outer
    return ReportedError(code=found["code"], message=found["message"].strip() or text.strip())


def _json_error(text: str) -> ReportedError | None:
    try:
        body = json.loads(text)
    except ValueError:
        return None
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, Mapping):
        return None
    for code, message in (
        ("errorCode", "message"),
        ("exceptionCode", "exceptionMessage"),
        ("error", "error_description"),
    ):
        if isinstance(first.get(code), str) and first[code]:
            return ReportedError(code=first[code], message=str(first.get(message) or ""))
    return None


def _xml_error(text: str) -> ReportedError | None:
    try:
        root = parse_xml(text)
    except UnreadableAnswerError:
        return None
    code = find_text(root, "exceptionCode") or find_text(root, "faultcode").rpartition(":")[2]
    if not code:
        return None
    return ReportedError(code=code, message=find_text(root, "exceptionMessage") or find_text(root, "faultstring"))


def _describe(text: str) -> str:
    if not text:
        return "an empty answer"
    if text[:1] == "<" or "<html" in text[:_SHOWN].lower():
        return "a web page instead of an answer"
    return f"an unexpected answer: {text[:_SHOWN]}"


def parse_xml(content: str | bytes) -> ET.Element:
    """Parse one XML document. Raises UnreadableAnswerError."""
    start = content[:1000]
    declared = "<!DOCTYPE" in start if isinstance(start, str) else b"<!DOCTYPE" in start
    if declared:
        raise UnreadableAnswerError("a document type in an answer")
    try:
        return ET.fromstring(content)  # noqa: S314 - entities need a document type, which is refused above
    except (ET.ParseError, ValueError) as error:
        raise UnreadableAnswerError("the answer is no complete XML") from error


def find_text(element: ET.Element, name: str) -> str:
    """Return the text of the first descendant called ``name`` in any namespace, empty if there is none."""
    found = element.find(f".//{{*}}{name}")
    return (found.text or "").strip() if found is not None else ""


def find_texts(content: bytes, name: str) -> list[str]:
    """Return the texts of all descendants of an XML document called ``name``. Raises UnreadableAnswerError."""
    return [(found.text or "").strip() for found in parse_xml(content).iterfind(f".//{{*}}{name}")]


def read_bulk_job(content: bytes) -> BulkJobInfo:
    """Read a jobInfo. Raises UnreadableAnswerError."""
    root = parse_xml(content)
    job, state = find_text(root, "id"), find_text(root, "state")
    if not job or not state:
        raise UnreadableAnswerError("the answer is no jobInfo")
    return BulkJobInfo(id=job, state=state, created_at=_time(find_text(root, "createdDate")))


def read_batch(content: bytes) -> BatchInfo:
    """Read a batchInfo. Raises UnreadableAnswerError."""
    return _batch(parse_xml(content))


def read_batches(content: bytes) -> list[BatchInfo]:
    """Read a batchInfoList, in its order. Raises UnreadableAnswerError."""
    root = parse_xml(content)
    if not root.tag.endswith("batchInfoList"):
        raise UnreadableAnswerError("the answer is no batchInfoList")
    return [_batch(element) for element in root.findall("{*}batchInfo")]


def _batch(element: ET.Element) -> BatchInfo:
    batch, state = find_text(element, "id"), find_text(element, "state")
    if not batch or not state:
        raise UnreadableAnswerError("the answer is no batchInfo")
    processed = find_text(element, "numberRecordsProcessed")
    return BatchInfo(
        id=batch,
        state=state.replace("Not Processed", "NotProcessed"),  # the guide writes it both ways
        message=find_text(element, "stateMessage"),
        processed=int(processed) if processed.isdecimal() else 0,
    )


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def bulk_job_request(**fields: str | None) -> bytes:
    """Write a jobInfo with these fields in this order, which is the one that Salesforce's schema asks for."""
    root = ET.Element("jobInfo", xmlns="http://www.force.com/2009/06/asyncapi/dataload")
    for name, value in fields.items():
        if value is not None:
            ET.SubElement(root, name).text = value
    return b'<?xml version="1.0" encoding="UTF-8"?>' + ET.tostring(root)
