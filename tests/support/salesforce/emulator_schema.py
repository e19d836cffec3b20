"""An object of every kind of field, for tests of the emulator."""

from typing import Any

AIRPORT: dict[str, Any] = {
    "objects": {
        "Airport__c": {
            "label": "Airport",
            "fields": {
                "Ext__c": {"length": 40, "external_id": True, "unique": True, "required": True},
                "Code__c": {"length": 4, "unique": True, "case_sensitive": True, "external_id": True},
                "Kind__c": {"type": "picklist", "values": ["small", "large"], "restricted": True},
                "Uses__c": {"type": "multipicklist", "values": ["cargo", "public"], "restricted": True},
                "Elevation__c": {"type": "double", "precision": 8, "scale": 1},
                "Runways__c": {"type": "int"},
                "Opened__c": {"type": "date"},
                "Seen__c": {"type": "datetime"},
                "Closes__c": {"type": "time"},
                "Open__c": {"type": "boolean"},
                "Contact__c": {"type": "email"},
                "Notes__c": {"type": "textarea", "length": 131072},
                "City__c": {"type": "reference", "reference_to": ["Account"]},
            },
        }
    }
}
