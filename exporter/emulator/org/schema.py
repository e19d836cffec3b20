"""What an org holds: objects and their fields, from plain values to a checked schema. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

TEXT_TYPES = frozenset({"string", "textarea", "email", "phone", "url", "picklist", "multipicklist"})
NUMBER_TYPES = frozenset({"int", "double", "currency", "percent"})
TYPES = TEXT_TYPES | NUMBER_TYPES | {"boolean", "date", "datetime", "time", "reference", "id"}
_LENGTHS = {"string": 255, "textarea": 32768, "email": 80, "phone": 40, "url": 255, "picklist": 255}
_LENGTHS |= {"multipicklist": 4099, "reference": 18, "id": 18}
_SCALE = 8
"""Decimals of a number whose definition gives neither precision nor scale."""
MAX_LENGTH = 131_072
"""Characters in one field: Bulk API limits."""
_NAME = re.compile(r"[A-Za-z](?:[A-Za-z0-9]|_(?!$))*")
_CUSTOM = "__c"
FOLD = "sf_fold"
"""The SQL function that makes texts alike as Salesforce compares them; SQLite's NOCASE knows the letters of ASCII."""
USER = "{user}"
"""In a default or a formula: the Id of the user that everyone logs in as."""


class SchemaError(ValueError):
    """A schema file that cannot be used; the message names the object, the field and the fault."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Field:
    """A field. ``length`` counts characters; ``formula`` is SQL that computes a field which nobody can write."""

    name: str
    type: str = "string"
    label: str = ""
    length: int = 0
    precision: int = 0
    scale: int = 0
    required: bool = False
    default: str | int | float | bool | None = None
    external_id: bool = False
    unique: bool = False
    case_sensitive: bool = False
    id_lookup: bool = False
    values: tuple[str, ...] = ()
    restricted: bool = False
    reference_to: tuple[str, ...] = ()
    relationship: str | None = None
    createable: bool = True
    updateable: bool = True
    formula: str | None = None

    @property
    def is_key(self) -> bool:
        """Whether an upsert or a relationship may find records by it."""
        return self.external_id or self.id_lookup or self.type == "id"

    @property
    def tells_case(self) -> bool:
        """Whether records are found by it with regard to case.

        An upsert ignores case only where a custom field is unique and not case-sensitive (Apex Developer Guide,
        "Upserting Records").
        """
        return self.case_sensitive or (self.external_id and not self.unique and self.name.endswith(_CUSTOM))

    @property
    def has_default(self) -> bool:
        """Whether Salesforce fills it on create where a row brings nothing."""
        return self.default is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectType:
    """An object: Account, or a custom one. ``prefix`` begins the Ids of its records."""

    name: str
    label: str
    label_plural: str
    prefix: str
    fields: Mapping[str, Field]
    """By lower-case name, in the order of describe."""
    relationships: Mapping[str, Field]
    """The reference fields by the lower-case name of their relationship."""
    createable: bool = True
    updateable: bool = True
    deletable: bool = True

    @property
    def custom(self) -> bool:
        """Whether it is not one of Salesforce's own."""
        return self.name.endswith(_CUSTOM)

    def field(self, name: str) -> Field | None:
        """Return the field of that name, any case."""
        return self.fields.get(name.lower())


@dataclass(frozen=True, kw_only=True, slots=True)
class OrgSchema:
    """All objects, by lower-case name."""

    objects: Mapping[str, ObjectType]

    def find(self, name: str) -> ObjectType | None:
        """Return the object of that name, any case."""
        return self.objects.get(name.lower())


def build_schema(*layers: Mapping[str, Any]) -> OrgSchema:
    """Make a schema of plain values, ``{"objects": {name: {"fields": {name: {…}}}}}``; later layers add and change.

    A field's keys are those of :class:`Field`. Raises SchemaError.
    """
    merged: dict[str, dict[str, Any]] = {}
    for layer in layers:
        _only({"objects"}, layer, "the schema")
        for name, definition in _table(layer.get("objects", {}), "objects").items():
            _merge(merged, name, _table(definition, name))
    prefixes = _prefixes(merged)
    found = {name.lower(): _object(name, definition, prefixes[name]) for name, definition in merged.items()}
    for each in found.values():
        for field in each.fields.values():
            for parent in field.reference_to:
                if parent.lower() not in found:
                    raise SchemaError(f"{each.name}.{field.name}: reference_to names {parent}, which is no object")
    return OrgSchema(objects=found)


def _merge(merged: dict[str, dict[str, Any]], name: str, definition: Mapping[str, Any]) -> None:
    known = next((each for each in merged if each.lower() == name.lower()), name)
    if known not in merged and not name.endswith(_CUSTOM) and "prefix" not in definition:
        raise SchemaError(f"{name} is no standard object of the emulator: a custom object ends in {_CUSTOM}")
    target = merged.setdefault(known, {"fields": {}})
    target |= {key: value for key, value in definition.items() if key != "fields"}
    fields = target["fields"] = dict(target["fields"])
    for field, attributes in _table(definition.get("fields", {}), f"{name}.fields").items():
        same = next((each for each in fields if each.lower() == field.lower()), field)
        fields[same] = {**fields.get(same, {}), **_table(attributes, f"{name}.{field}")}


def _prefixes(merged: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """Give custom objects the prefixes a00, a01, … in the order of their definition."""
    custom = [name for name, definition in merged.items() if "prefix" not in definition]
    return {name: str(definition["prefix"]) for name, definition in merged.items() if "prefix" in definition} | {
        name: f"a{number:02d}" for number, name in enumerate(custom)
    }


_OBJECT_KEYS = {"label", "label_plural", "prefix", "fields", "createable", "updateable", "deletable"}


def _object(name: str, definition: Mapping[str, Any], prefix: str) -> ObjectType:
    _check_name(name, name)
    _only(_OBJECT_KEYS, definition, name)
    custom = name.endswith(_CUSTOM)
    label = str(definition.get("label", name.removesuffix(_CUSTOM).replace("_", " ")))
    given = dict(definition["fields"])
    own = {"Name": {"length": 80}, **given} if custom else given
    fields = {field.name.lower(): field for field in _all_fields(name, own, custom=custom)}
    return ObjectType(
        name=name,
        label=label,
        label_plural=str(definition.get("label_plural", f"{label}s")),
        prefix=prefix,
        fields=fields,
        relationships={field.relationship.lower(): field for field in fields.values() if field.relationship},
        **{key: bool(definition.get(key, True)) for key in ("createable", "updateable", "deletable")},
    )


def _all_fields(name: str, own: Mapping[str, Mapping[str, Any]], *, custom: bool) -> Iterator[Field]:
    """Yield the fields that every object has around its own. Id, IsDeleted and dates are kept by the emulator."""
    yield _kept("Id", "id", "Record ID", id_lookup=True)
    yield _kept("IsDeleted", "boolean", "Deleted", default=False)
    if custom or "OwnerId" in own:
        owner = Field(name="OwnerId", type="reference", label="Owner ID", reference_to=("User",), default=USER)
        yield _complete(replace(owner, required=True))
    for field, attributes in own.items():
        if field != "OwnerId":
            yield _field(name, field, attributes)
    yield _kept("CreatedDate", "datetime", "Created Date")
    yield _kept("LastModifiedDate", "datetime", "Last Modified Date")
    yield _kept("SystemModstamp", "datetime", "System Modstamp", formula='"LastModifiedDate"')
    for field, label in (("CreatedById", "Created By ID"), ("LastModifiedById", "Last Modified By ID")):
        yield _kept(field, "reference", label, reference_to=("User",), formula=USER)


def _kept(name: str, kind: str, label: str, **others: object) -> Field:
    """Make a field that the emulator keeps itself and nobody writes."""
    field = Field(name=name, type=kind, label=label, required=True, createable=False, updateable=False)
    return _complete(replace(field, **cast("Any", others)))


def _field(owner: str, name: str, attributes: Mapping[str, Any]) -> Field:
    where = f"{owner}.{name}"
    _check_name(name, where)
    known = set(Field.__dataclass_fields__) - {"name"}
    _only(known, attributes, where)
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()}
    for key, value in values.items():
        wanted = _KINDS.get(key, (str, int, float, bool))
        if not isinstance(value, wanted) or (wanted is int and isinstance(value, bool)):
            raise SchemaError(f"{where}: {key} cannot be {attributes[key]!r}")
    field = _complete(Field(name=name, **cast("Any", values)))
    if field.type not in TYPES:
        raise SchemaError(f"{where}: there is no type {field.type}; types: {', '.join(sorted(TYPES))}")
    if field.length > MAX_LENGTH:
        raise SchemaError(f"{where}: length is at most {MAX_LENGTH}")
    if field.type == "reference" and not field.reference_to:
        raise SchemaError(f"{where}: a reference needs reference_to")
    if field.restricted and not field.values:
        raise SchemaError(f"{where}: a restricted picklist needs values")
    return field


_KINDS: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("type", "label", "relationship", "formula"), str),
    **dict.fromkeys(("length", "precision", "scale"), int),
    **dict.fromkeys(("required", "external_id", "unique", "case_sensitive", "id_lookup", "restricted"), bool),
    **dict.fromkeys(("createable", "updateable"), bool),
    **dict.fromkeys(("values", "reference_to"), tuple),
}


def _complete(field: Field) -> Field:
    """Fill what follows from the type: lengths, digits, a checkbox's default, a reference's relationship name."""
    filled = replace(
        field,
        label=field.label or field.name.removesuffix(_CUSTOM).replace("_", " "),
        length=field.length or _LENGTHS.get(field.type, 0),
    )
    if field.type in {"double", "currency", "percent"} and not field.precision:
        filled = replace(filled, precision=18, scale=field.scale or _SCALE)
    if field.type == "boolean":
        filled = replace(filled, required=True, default=bool(field.default))
    if field.type == "reference" and field.relationship is None:
        custom = field.name.endswith(_CUSTOM)
        name = f"{field.name[:-1]}r" if custom else field.name.removesuffix("Id")
        filled = replace(filled, relationship=name)
    if field.formula is not None:
        filled = replace(filled, createable=False, updateable=False)
    return filled


def _check_name(name: str, where: str) -> None:
    if not _NAME.fullmatch(name):
        raise SchemaError(f"{where}: a name consists of letters, digits and underscores")


def _only(known: set[str], given: Mapping[str, Any], where: str) -> None:
    unknown = sorted(set(given) - known)
    if unknown:
        raise SchemaError(f"{where}: unknown key {unknown[0]}; known: {', '.join(sorted(known))}")


def _table(value: object, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise SchemaError(f"{where} has to be a table")
    return value
