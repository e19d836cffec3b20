"""Describe: what the REST API says of objects and fields. Pure."""

from typing import Any

from exporter.emulator.org.schema import MAX_LENGTH, TEXT_TYPES, Field, ObjectType, OrgSchema

_SOAP = {"id": "tns:ID", "reference": "tns:ID", "boolean": "xsd:boolean", "int": "xsd:int", "date": "xsd:date"}
_SOAP |= dict.fromkeys(("double", "currency", "percent"), "xsd:double")
_SOAP |= {"datetime": "xsd:dateTime", "time": "xsd:time"}
_BYTES_A_CHARACTER = 3


def describe_global(schema: OrgSchema, version: str) -> dict[str, Any]:
    """Return the list of all objects."""
    return {
        "encoding": "UTF-8",
        "maxBatchSize": 200,
        "sobjects": [summary(each, version) for each in schema.objects.values()],
    }


def summary(each: ObjectType, version: str) -> dict[str, Any]:
    """Return what the list of objects says of one."""
    root = f"/services/data/v{version}/sobjects/{each.name}"
    return {
        "activateable": False,
        "createable": each.createable,
        "custom": each.custom,
        "customSetting": False,
        "deletable": each.deletable,
        "deprecatedAndHidden": False,
        "feedEnabled": False,
        "hasSubtypes": False,
        "isInterface": False,
        "isSubtype": False,
        "keyPrefix": each.prefix,
        "label": each.label,
        "labelPlural": each.label_plural,
        "layoutable": True,
        "mergeable": False,
        "mruEnabled": True,
        "name": each.name,
        "queryable": True,
        "replicateable": True,
        "retrieveable": True,
        "searchable": True,
        "triggerable": True,
        "undeletable": each.deletable,
        "updateable": each.updateable,
        "urls": {"sobject": root, "describe": f"{root}/describe", "rowTemplate": f"{root}/{{ID}}"},
    }


def describe_object(schema: OrgSchema, each: ObjectType, version: str) -> dict[str, Any]:
    """Return everything about one object."""
    children = [
        {"childSObject": other.name, "field": field.name, "cascadeDelete": False, "relationshipName": None}
        for other in schema.objects.values()
        for field in other.fields.values()
        if each.name in field.reference_to
    ]
    return summary(each, version) | {
        "childRelationships": children,
        "fields": [_describe_field(field) for field in each.fields.values()],
        "recordTypeInfos": [],
    }


def _describe_field(field: Field) -> dict[str, Any]:
    text = field.type in TEXT_TYPES
    length = field.length if text or field.type in {"id", "reference"} else 0
    return {
        "aggregatable": True,
        "autoNumber": False,
        "byteLength": length * (_BYTES_A_CHARACTER if text else 1),
        "calculated": field.formula is not None,
        "calculatedFormula": None,
        "cascadeDelete": False,
        "caseSensitive": field.case_sensitive,
        "compoundFieldName": None,
        "controllerName": None,
        "createable": field.createable,
        "custom": field.name.endswith("__c"),
        "defaultValue": bool(field.default) if field.type == "boolean" else None,
        "defaultedOnCreate": field.has_default or (field.required and not field.createable),
        "dependentPicklist": False,
        "deprecatedAndHidden": False,
        "digits": 10 if field.type == "int" else 0,
        "externalId": field.external_id,
        "extraTypeInfo": None,
        "filterable": length <= MAX_LENGTH and field.type != "textarea",
        "groupable": field.type not in {"textarea", "double", "currency", "percent", "datetime"},
        "highScaleNumber": False,
        "htmlFormatted": False,
        "idLookup": field.id_lookup or field.external_id,
        "inlineHelpText": None,
        "label": field.label,
        "length": length,
        "name": field.name,
        "nameField": field.name == "Name",
        "nillable": not field.required,
        "permissionable": not field.required,
        "picklistValues": [
            {"active": True, "defaultValue": value == field.default, "label": value, "validFor": None, "value": value}
            for value in field.values
        ],
        "polymorphicForeignKey": len(field.reference_to) > 1,
        "precision": field.precision,
        "queryByDistance": False,
        "referenceTargetField": None,
        "referenceTo": list(field.reference_to),
        "relationshipName": field.relationship,
        "relationshipOrder": None,
        "restrictedDelete": False,
        "restrictedPicklist": field.restricted,
        "scale": field.scale,
        "searchPrefilterable": False,
        "soapType": _SOAP.get(field.type, "xsd:string"),
        "sortable": field.type != "textarea",
        "type": field.type,
        "unique": field.unique,
        "updateable": field.updateable,
        "writeRequiresMasterRead": False,
    }
