"""Fields as describe tells of them, for tests that need no org."""

from typing import Any

from exporter.targets.salesforce.fields import Field


def make_field(**others: Any) -> Field:
    """Return a text field that anyone may write, but for what ``others`` say."""
    shape: dict[str, Any] = {
        "name": "F__c",
        "type": "string",
        "createable": True,
        "updateable": True,
        "required": False,
        "is_key": False,
        "case_sensitive": False,
        "filterable": True,
        "relationship": None,
        "parents": (),
    }
    return Field(**(shape | others))
