"""What the org says of its objects and fields."""

from collections.abc import Mapping
from typing import Any

from exporter.failures import ExportError
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.client import Client
from exporter.targets.salesforce.fields import Field, ObjectDescription

_UNKNOWN = frozenset({"NOT_FOUND", "INVALID_TYPE"})


def describe(client: Client, name: str) -> ObjectDescription | None:
    """Ask for the description of an object; None if there is none of that name for this user. Raises ExportError."""
    try:
        found = client.call(lambda org, _: _mapping(org.restful(f"sobjects/{name}/describe"), "fields"))
    except ExportError as error:
        if error.code in _UNKNOWN:
            return None
        raise
    return ObjectDescription(
        name=str(found["name"]),
        createable=bool(found.get("createable", True)),
        updateable=bool(found.get("updateable", True)),
        deletable=bool(found.get("deletable", True)),
        fields=tuple(_field(field) for field in found["fields"]),
        key_prefix=found.get("keyPrefix") or None,
        queryable=bool(found.get("queryable", True)),
    )


def object_names(client: Client) -> list[str]:
    """Return the names of all objects that the user may see. Raises ExportError."""
    found = client.call(lambda org, _: _mapping(org.describe(), "sobjects"))
    return [str(each["name"]) for each in found["sobjects"]]


def _mapping(answer: object, key: str) -> Mapping[str, Any]:
    if not isinstance(answer, Mapping) or not isinstance(answer.get(key), list):
        raise UnreadableAnswerError("the answer is no describe")
    return answer


def _field(field: Mapping[str, Any]) -> Field:
    return Field(
        name=str(field["name"]),
        type=str(field.get("type", "string")),
        createable=bool(field.get("createable", True)),
        updateable=bool(field.get("updateable", True)),
        required=bool(field.get("createable", True))
        and not field.get("nillable", True)
        and not field.get("defaultedOnCreate", False),
        is_key=bool(field.get("externalId") or field.get("idLookup")),
        case_sensitive=bool(field.get("caseSensitive")),
        filterable=bool(field.get("filterable", True)),
        relationship=field.get("relationshipName") or None,
        parents=tuple(field.get("referenceTo") or ()),
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
            for each in field.get("picklistValues") or ()
            for text in dict.fromkeys((each.get("value"), each.get("label")))
            if isinstance(text, str)
        ),
        compound=field.get("compoundFieldName") or None,
        plain_id=not field.get("referenceTargetField") and not str(field.get("extraTypeInfo") or "").endswith("lookup"),
    )


def _whole(number: object) -> int:
    return number if isinstance(number, int) else 0
