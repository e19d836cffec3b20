"""Reading the bodies that Salesforce answers with: errors in their several shapes, and Bulk API 1.0's XML. Pure.

What is valid by itself may still be no answer of Salesforce's: every oddity is an UnreadableAnswerError.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NoReturn
from xml.etree import ElementTree as ET

from exporter.safe_parsing.xml import XmlError, parse_plain

_SHOWN = 200
"""How much of a body that is no error report is quoted."""
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.:-]{0,99}")
_LONGEST_MESSAGE = 2000
"""Characters of an error's message that are kept."""
_ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
_COUNT = re.compile(r"[0-9]{1,15}")
_TOKEN = re.compile(r"[!-~]{1,20000}")
_MOST_VALUES = 2_000_000
"""Values of one answer in JSON: each takes some 60 bytes here, however short it is there."""
_MOST_ELEMENTS = 400_000
"""Elements of one answer in XML: 15,000 batches (Bulk API limits) have a dozen each."""
_HALF_LETTER = re.compile(rb"\\u[dD][89abAB][0-9a-fA-F]{2}|\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_LARGEST_EXPONENT = 400
"""Salesforce's numbers are doubles, which end at 1.8e308."""


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
_INNER_CODE = r"[A-Z][A-Z0-9]*_[A-Z0-9_]+|[A-Z][a-z]+(?:[A-Z][a-z]+)+"
_INNER = re.compile(rf"\s*Failed to process query: ?(?P<code>{_INNER_CODE})\b ?:?(?P<message>.*)", re.DOTALL)


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
        body = parse_json(text.encode("utf-8", errors="replace"))
    except UnreadableAnswerError:
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
            return _reported(first[code], str(first.get(message) or ""))
    return None


def _xml_error(text: str) -> ReportedError | None:
    try:
        root = parse_xml(text)
    except UnreadableAnswerError:
        return None
    code = find_text(root, "exceptionCode") or find_text(root, "faultcode").rpartition(":")[2]
    if not code:
        return None
    return _reported(code, find_text(root, "exceptionMessage") or find_text(root, "faultstring"))


def _reported(code: str, message: str) -> ReportedError | None:
    if not _CODE.fullmatch(code):
        return None
    shown = message if len(message) <= _LONGEST_MESSAGE else f"{message[:_LONGEST_MESSAGE]}…"
    return ReportedError(code=code, message=shown)


def _describe(text: str) -> str:
    if not text:
        return "an empty answer"
    if text[:1] == "<" or "<html" in text[:_SHOWN].lower():
        return "a web page instead of an answer"
    return f"an unexpected answer: {text[:_SHOWN]}"


def parse_json(content: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Parse one JSON document in UTF-8; fractions become Decimals. Raises UnreadableAnswerError.

    Refused too is what parsers take in different ways: a key twice, NaN, half of a letter, numbers beyond a double's.
    """
    if sum(content.count(mark) for mark in (b",", b"[", b"{")) > _MOST_VALUES:
        raise UnreadableAnswerError("the answer holds too many values")
    try:
        found = json.loads(
            content.decode("utf-8-sig"),
            parse_float=_fraction,
            parse_constant=_no_number,
            object_pairs_hook=_object,
        )
        if _HALF_LETTER.search(content):  # most come in pairs, which are a letter
            json.dumps(found, ensure_ascii=False, default=str).encode()
    except UnreadableAnswerError:
        raise
    except (ValueError, RecursionError) as error:
        raise UnreadableAnswerError("the answer is not complete JSON") from error
    return found


def _fraction(text: str) -> Decimal:
    found = Decimal(text)
    if abs(found.adjusted()) > _LARGEST_EXPONENT and found:
        raise UnreadableAnswerError("the answer holds a number that no field can have")
    return found


def _no_number(_text: str) -> NoReturn:
    raise UnreadableAnswerError("the answer holds what is not a number")


def _object(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise UnreadableAnswerError("the answer holds one key twice")
    return found


def parse_xml(content: str | bytes) -> ET.Element:
    """Parse one XML document. Raises UnreadableAnswerError."""
    try:
        return parse_plain(content, most=_MOST_ELEMENTS)
    except XmlError as error:
        raise UnreadableAnswerError(f"the answer is no XML to be read: {error}") from error


def read_id(text: object) -> str:
    """Return an Id of a record, a BulkJob, a batch or a result. Raises UnreadableAnswerError for any other text."""
    if not isinstance(text, str) or not _ID.fullmatch(text):
        raise UnreadableAnswerError("the answer holds what is not an Id")
    return text


def known_id(text: str) -> str | None:
    """Return an Id that an answer need not hold; None for any other text."""
    return text if _ID.fullmatch(text) else None


def read_token(text: object) -> str:
    """Return a token that an HTTP header can hold. Raises UnreadableAnswerError for any other text."""
    if not isinstance(text, str) or not _TOKEN.fullmatch(text):
        raise UnreadableAnswerError("the answer to the login holds no token that can be used: check login_url")
    return text


def find_text(element: ET.Element, name: str) -> str:
    """Return the text of the first descendant called ``name`` in any namespace, empty if there is none."""
    found = element.find(f".//{{*}}{name}")
    return (found.text or "").strip() if found is not None else ""


def read_result_ids(content: bytes) -> list[str]:
    """Read a result-list: the Ids of the parts of a bulk query's result. Raises UnreadableAnswerError."""
    root = parse_xml(content)
    if not root.tag.endswith("result-list"):
        raise UnreadableAnswerError("the answer is no result-list")
    return [read_id((found.text or "").strip()) for found in root.findall("{*}result")]


def read_bulk_job(content: bytes) -> BulkJobInfo:
    """Read a jobInfo. Raises UnreadableAnswerError."""
    root = parse_xml(content)
    job, state = find_text(root, "id"), find_text(root, "state")
    if not job or not state:
        raise UnreadableAnswerError("the answer is no jobInfo")
    return BulkJobInfo(id=read_id(job), state=state, created_at=_time(find_text(root, "createdDate")))


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
        id=read_id(batch),
        state=state.replace("Not Processed", "NotProcessed"),  # the guide writes it both ways
        message=find_text(element, "stateMessage"),
        processed=int(processed) if _COUNT.fullmatch(processed) else 0,
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
