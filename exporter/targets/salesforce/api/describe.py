"""What the org says of its objects and fields."""

import re
from collections.abc import Mapping
from typing import Any, cast

from simple_salesforce.api import Salesforce

from exporter.failures import ExportError
from exporter.targets.salesforce.api.client import Client
from exporter.targets.salesforce.fields import Field, ObjectDescription
from exporter.targets.salesforce.http.http_session import LARGEST_LIST, OrgSession
from exporter.targets.salesforce.http.responses import UnreadableAnswerError, parse_json

_UNKNOWN = frozenset({"NOT_FOUND", "INVALID_TYPE"})
_LARGEST_COUNT = 10**9
"""More characters or digits than any field has: a pattern is made of some of these numbers."""
_NAME = re.compile(r"[A-Za-z]\w*", re.ASCII)
"""Names of objects become part of addresses."""


def describe(client: Client, name: str) -> ObjectDescription | None:
    """Ask for the description of an object; None if there is none of that name for this user. Raises ExportError."""
    try:
        return client.call(lambda org, session: _read_object(_ask(org, session, f"sobjects/{name}/describe")))
    except ExportError as error:
        if error.code in _UNKNOWN:
            return None
        raise


def object_names(client: Client) -> list[str]:
    """Return the names of all objects that the user may see. Raises ExportError."""
    return client.call(
        lambda org, session: [_text(each, "name") for each in _list(_ask(org, session, "sobjects"), "sobjects")]
    )


def key_prefixes(client: Client) -> dict[str, str]:
    """Return the three characters that an object's Ids begin with, by its name in lower case, where it has any.

    One call tells it of all objects that the user may see. Raises ExportError.
    """

    def read(org: Salesforce, session: OrgSession) -> dict[str, str]:
        listed = _list(_ask(org, session, "sobjects"), "sobjects")
        named = ((_text(each, "name").lower(), _name(each.get("keyPrefix"))) for each in listed)
        return {name: prefix for name, prefix in named if prefix is not None}

    return client.call(read)


def _ask(org: Salesforce, session: OrgSession, path: str) -> object:
    headers = {"Authorization": f"Bearer {org.session_id}", "Accept": "application/json"}
    return parse_json(session.exchange("GET", f"{org.base_url}{path}", headers=headers, largest=LARGEST_LIST).content)


def _list(answer: object, key: str) -> list[Mapping[str, Any]]:
    found = answer.get(key) if isinstance(answer, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise UnreadableAnswerError("the answer is no describe")
    return found


def _text(answer: Mapping[str, Any], key: str) -> str:
    found = answer.get(key)
    if not isinstance(found, str) or not found:
        raise UnreadableAnswerError("the answer is no describe")
    return found


def _read_object(answer: object) -> ObjectDescription:
    fields = tuple(_field(field) for field in _list(answer, "fields"))
    found = cast("Mapping[str, Any]", answer)
    parents = [parent for field in fields for parent in field.parents]
    if not all(_NAME.fullmatch(name) for name in (_text(found, "name"), *parents)):
        raise UnreadableAnswerError("the answer is no describe")
    return ObjectDescription(
        name=_text(found, "name"),
        createable=bool(found.get("createable", True)),
        updateable=bool(found.get("updateable", True)),
        deletable=bool(found.get("deletable", True)),
        fields=fields,
        key_prefix=_name(found.get("keyPrefix")),
        queryable=bool(found.get("queryable", True)),
    )


def _field(field: Mapping[str, Any]) -> Field:
    relationship, parents = field.get("relationshipName"), field.get("referenceTo") or ()
    if not isinstance(relationship, str | None) or not all(isinstance(each, str) for each in parents):
        raise UnreadableAnswerError("the answer is no describe")
    return Field(
        name=_text(field, "name"),
        type=str(field.get("type", "string")),
        createable=bool(field.get("createable", True)),
        updateable=bool(field.get("updateable", True)),
        required=bool(field.get("createable", True))
        and not field.get("nillable", True)
        and not field.get("defaultedOnCreate", False),
        is_key=bool(field.get("externalId") or field.get("idLookup")),
        case_sensitive=bool(field.get("caseSensitive")),
        filterable=bool(field.get("filterable", True)),
        relationship=relationship or None,
        parents=tuple(parents),
        unique=bool(field["unique"]) if "unique" in field else None,
        length=_whole(field.get("length")),
        precision=_whole(field.get("precision")),
        scale=_whole(field.get("scale")),
        digits=_whole(field.get("digits")),
        nillable=bool(field.get("nillable", True)),
        auto_number=bool(field.get("autoNumber")),
        calculated=bool(field.get("calculated")),
        html=bool(field.get("htmlFormatted")),
        restricted=bool(field.get("restrictedPicklist")),
        values=tuple(
            text
            for each in _choices(field)
            for text in dict.fromkeys((each.get("value"), each.get("label")))
            if isinstance(text, str)
        ),
        compound=_name(field.get("compoundFieldName")),
        plain_id=not field.get("referenceTargetField") and not str(field.get("extraTypeInfo") or "").endswith("lookup"),
    )


def _choices(field: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = field.get("picklistValues") or []
    if not isinstance(choices, list) or not all(isinstance(each, Mapping) for each in choices):
        raise UnreadableAnswerError("the answer is no describe")
    return choices


def _name(found: object) -> str | None:
    return found if isinstance(found, str) and found else None


def _whole(number: object) -> int:
    """Return a count; 0 for none, and for one that no field has."""
    return number if isinstance(number, int) and 0 <= number <= _LARGEST_COUNT else 0
