"""What the org says of its objects and fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from simple_salesforce.api import Salesforce

from exporter.failures import ExportError
from exporter.targets.salesforce.answers import UnreadableAnswerError, parse_json
from exporter.targets.salesforce.client import Client
from exporter.targets.salesforce.wire import LARGEST_LIST, OrgSession

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
    return ObjectDescription(
        name=_text(found, "name"),
        createable=bool(found.get("createable", True)),
        updateable=bool(found.get("updateable", True)),
        deletable=bool(found.get("deletable", True)),
        fields=fields,
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
    )
