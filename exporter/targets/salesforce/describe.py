"""What the org says of its objects and fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from exporter.failures import ExportError
from exporter.targets.salesforce.answers import UnreadableAnswerError
from exporter.targets.salesforce.client import Client

_UNKNOWN = frozenset({"NOT_FOUND", "INVALID_TYPE"})


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field, in the words of Salesforce's describe."""

    name: str
    type: str
    createable: bool
    updateable: bool
    required: bool
    """Whether a new record needs it: neither nillable nor filled by default."""
    is_key: bool
    """Whether records can be found by it: an external id, or a field for id lookup."""
    case_sensitive: bool
    filterable: bool
    """Whether a query may look for its values."""
    relationship: str | None
    """The name by which a path leads through this field to its parent."""
    parents: tuple[str, ...]
    """The objects that it may refer to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectDescription:
    """An object and its fields, as the logged-in user may see them."""

    name: str
    createable: bool
    updateable: bool
    deletable: bool
    fields: tuple[Field, ...]

    def field(self, name: str) -> Field | None:
        """Return the field of that name, any case."""
        return next((field for field in self.fields if field.name.lower() == name.lower()), None)

    def by_relationship(self, name: str) -> Field | None:
        """Return the field through which a path called ``name``, any case, leads."""
        return next((field for field in self.fields if (field.relationship or "").lower() == name.lower()), None)


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
    )
