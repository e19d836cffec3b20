"""What goes over HTTP, as values: requests, replies, and refusals in the form of each API. Pure."""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from xml.etree import ElementTree as ET

JSON_KIND = "application/json;charset=UTF-8"
XML_KIND = "application/xml;charset=UTF-8"
BULK_NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request read to its end, its body decompressed. Header names are lower-case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def form(self) -> dict[str, str]:
        """Return the fields of a form body."""
        return dict(parse_qsl(self.body.decode("utf-8", errors="replace"), keep_blank_values=True))

    def json(self) -> dict[str, Any]:
        """Return the JSON object in the body. Raises ValueError."""
        found = json.loads(self.body or b"{}")
        if not isinstance(found, dict):
            raise TypeError("the body is no JSON object")
        return found

    def wants_json(self) -> bool:
        """Whether a Bulk API 1.0 call speaks JSON rather than XML."""
        return "json" in self.headers.get("content-type", "") or "json" in self.headers.get("accept", "")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """An answer, not compressed yet."""

    status: int = 200
    body: bytes = b""
    kind: str = JSON_KIND
    headers: Mapping[str, str] = field(default_factory=dict)


class RefusalError(Exception):
    """A refused call, by the words of the API that was called; the server gives it that API's form."""

    def __init__(self, status: int, code: str, message: str, *fields: str) -> None:
        self.status = status
        self.code = code
        self.message = message
        self.fields = fields
        super().__init__(f"{code}: {message}")


Handler = Callable[[Request, Mapping[str, str]], Reply]


@dataclass(frozen=True, kw_only=True, slots=True)
class Route:
    """A path with ``{names}`` in it; a name takes one segment, ``{rest…}`` takes all that follows."""

    method: str
    path: str
    handler: Handler
    needs_login: bool = True

    def match(self, path: str) -> Mapping[str, str] | None:
        """Return what the names stand for in a path, percent signs decoded; None if it is another path."""
        found = _pattern(self.path).fullmatch(path)
        return {name: unquote(value) for name, value in found.groupdict().items()} if found else None


_PATTERNS: dict[str, re.Pattern[str]] = {}


def _pattern(path: str) -> re.Pattern[str]:
    if path not in _PATTERNS:
        literal = re.escape(path).replace("\\{", "{").replace("\\}", "}")
        several = re.sub(r"\{(\w+)…\}", r"(?P<\1>.+)", literal)
        _PATTERNS[path] = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", several) + "/?")
    return _PATTERNS[path]


def split_target(target: str) -> tuple[str, dict[str, str]]:
    """Split a request's target into its path, as it came, and its query's fields."""
    parts = urlsplit(target)
    return parts.path, dict(parse_qsl(parts.query, keep_blank_values=True))


def reply_json(body: object, status: int = 200, **headers: str) -> Reply:
    """Answer with JSON."""
    content = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return Reply(status=status, body=content.encode("utf-8", errors="replace"), headers=headers)


def reply_xml(root: ET.Element, status: int = 200) -> Reply:
    """Answer with XML."""
    content = b'<?xml version="1.0" encoding="UTF-8"?>' + ET.tostring(root)
    return Reply(status=status, body=content, kind=XML_KIND)


def xml_tree(tag: str, fields: Mapping[str, object], *, namespace: str | None = None) -> ET.Element:
    """Make an element with a child per field; fields without a value are left out."""
    root = ET.Element(tag, {"xmlns": namespace} if namespace else {})
    for name, value in fields.items():
        if value is not None:
            text = str(value).lower() if isinstance(value, bool) else str(value)
            ET.SubElement(root, name).text = text
    return root


def rest_refusal(error: RefusalError) -> Reply:
    """Give a refusal the form of the REST API: a list."""
    body: dict[str, Any] = {"message": error.message, "errorCode": error.code}
    if error.fields:
        body["fields"] = list(error.fields)
    return reply_json([body], error.status)


def bulk_refusal(error: RefusalError, *, as_json: bool) -> Reply:
    """Give a refusal the form of Bulk API 1.0."""
    body = {"exceptionCode": error.code, "exceptionMessage": error.message}
    if as_json:
        return reply_json(body, error.status)
    return reply_xml(xml_tree("error", body, namespace=BULK_NAMESPACE), error.status)


def oauth_refusal(error: RefusalError) -> Reply:
    """Give a refusal the form of the token endpoint."""
    return reply_json({"error": error.code, "error_description": error.message}, error.status)
