"""What an org says of an object and its fields: values only. Pure."""

from dataclasses import dataclass


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
    unique: bool | None = None
    """Whether no two records may have the same value; None where describe says nothing of it."""
    length: int = 0
    """Characters that a text may have; 0 for other types, and where describe says nothing of it."""
    precision: int = 0
    scale: int = 0
    """Digits of a number in all, and after its point; both 0 where describe says nothing of them."""
    digits: int = 0
    """Digits of a whole number; 0 where describe says nothing of them."""
    nillable: bool = True
    auto_number: bool = False
    calculated: bool = False
    """Whether a formula or a roll-up computes it."""
    html: bool = False
    restricted: bool = False
    """Whether it takes the ``values`` only."""
    values: tuple[str, ...] = ()
    """The values of a picklist and their labels."""
    compound: str | None = None
    """The field that it is a part of, such as ``MailingAddress``."""
    plain_id: bool = True
    """Of a reference: whether it holds an Id, and not the key of a record in another system."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectDescription:
    """An object and its fields, as the logged-in user may see them."""

    name: str
    createable: bool
    updateable: bool
    deletable: bool
    fields: tuple[Field, ...]
    key_prefix: str | None = None
    """The three characters that the Ids of its records begin with."""
    queryable: bool = True

    def field(self, name: str) -> Field | None:
        """Return the field of that name, any case."""
        return next((field for field in self.fields if field.name.lower() == name.lower()), None)

    def by_relationship(self, name: str) -> Field | None:
        """Return the field through which a path called ``name``, any case, leads."""
        return next((field for field in self.fields if (field.relationship or "").lower() == name.lower()), None)
