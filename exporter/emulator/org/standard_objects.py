"""The objects that every org of the emulator has, with the fields that integrations use most. Data only.

Names, types and lengths are those of the Object Reference for the Salesforce Platform. ``Ext_Id__c`` stands for the
external id that an administrator would add first.
"""

from typing import Any

_EXTERNAL = {"type": "string", "length": 255, "label": "External Id", "external_id": True, "unique": True}
_PERSON = "trim(coalesce(\"FirstName\", '') || ' ' || coalesce(\"LastName\", ''))"
_SOURCES = ["Web", "Phone Inquiry", "Partner Referral", "Purchased List", "Other"]
_RATINGS = ["Hot", "Warm", "Cold"]
_INDUSTRIES = ["Agriculture", "Banking", "Education", "Energy", "Healthcare", "Retail", "Technology", "Other"]
_STAGES = ["Prospecting", "Qualification", "Needs Analysis", "Proposal/Price Quote", "Closed Won", "Closed Lost"]


def _text(length: int, label: str, **others: object) -> dict[str, Any]:
    return {"type": "string", "length": length, "label": label, **others}


def _address(prefix: str, label: str) -> dict[str, Any]:
    return {
        f"{prefix}Street": {"type": "textarea", "length": 255, "label": f"{label} Street"},
        f"{prefix}City": _text(40, f"{label} City"),
        f"{prefix}State": _text(80, f"{label} State/Province"),
        f"{prefix}PostalCode": _text(20, f"{label} Zip/Postal Code"),
        f"{prefix}Country": _text(80, f"{label} Country"),
    }


def _picklist(values: list[str], label: str, **others: object) -> dict[str, Any]:
    return {"type": "picklist", "values": values, "label": label, **others}


_ACCOUNT: dict[str, Any] = {
    "label": "Account",
    "prefix": "001",
    "fields": {
        "OwnerId": {},
        "Name": _text(255, "Account Name", required=True),
        "Type": _picklist(["Prospect", "Customer", "Partner", "Other"], "Account Type"),
        "ParentId": {"type": "reference", "reference_to": ["Account"], "label": "Parent Account ID"},
        **_address("Billing", "Billing"),
        **_address("Shipping", "Shipping"),
        "Phone": {"type": "phone", "label": "Account Phone"},
        "Website": {"type": "url", "label": "Website"},
        "AccountNumber": _text(40, "Account Number"),
        "Industry": _picklist(_INDUSTRIES, "Industry"),
        "AnnualRevenue": {"type": "currency", "precision": 18, "scale": 0, "label": "Annual Revenue"},
        "NumberOfEmployees": {"type": "int", "label": "Employees"},
        "Rating": _picklist(_RATINGS, "Account Rating"),
        "Description": {"type": "textarea", "length": 32000, "label": "Account Description"},
        "Ext_Id__c": _EXTERNAL,
    },
}
_CONTACT: dict[str, Any] = {
    "label": "Contact",
    "prefix": "003",
    "fields": {
        "OwnerId": {},
        "AccountId": {"type": "reference", "reference_to": ["Account"], "label": "Account ID"},
        "LastName": _text(80, "Last Name", required=True),
        "FirstName": _text(40, "First Name"),
        "Salutation": _picklist(["Mr.", "Ms.", "Mx.", "Dr.", "Prof."], "Salutation"),
        "Name": _text(121, "Full Name", formula=_PERSON),
        **_address("Mailing", "Mailing"),
        "Phone": {"type": "phone", "label": "Business Phone"},
        "MobilePhone": {"type": "phone", "label": "Mobile Phone"},
        "Email": {"type": "email", "label": "Email", "id_lookup": True},
        "Title": _text(128, "Title"),
        "Department": _text(80, "Department"),
        "LeadSource": _picklist(_SOURCES, "Lead Source"),
        "Birthdate": {"type": "date", "label": "Birthdate"},
        "DoNotCall": {"type": "boolean", "label": "Do Not Call"},
        "HasOptedOutOfEmail": {"type": "boolean", "label": "Email Opt Out"},
        "Description": {"type": "textarea", "length": 32000, "label": "Contact Description"},
        "Ext_Id__c": _EXTERNAL,
    },
}
_LEAD: dict[str, Any] = {
    "label": "Lead",
    "prefix": "00Q",
    "fields": {
        "OwnerId": {},
        "LastName": _text(80, "Last Name", required=True),
        "FirstName": _text(40, "First Name"),
        "Name": _text(121, "Full Name", formula=_PERSON),
        "Company": _text(255, "Company", required=True),
        "Title": _text(128, "Title"),
        "Email": {"type": "email", "label": "Email", "id_lookup": True},
        "Phone": {"type": "phone", "label": "Phone"},
        **_address("", "Address"),
        "LeadSource": _picklist(_SOURCES, "Lead Source"),
        "Status": _picklist(
            ["Open - Not Contacted", "Working - Contacted", "Closed - Converted", "Closed - Not Converted"],
            "Status",
            required=True,
            default="Open - Not Contacted",
        ),
        "Industry": _picklist(_INDUSTRIES, "Industry"),
        "Rating": _picklist(_RATINGS, "Rating"),
        "AnnualRevenue": {"type": "currency", "precision": 18, "scale": 0, "label": "Annual Revenue"},
        "NumberOfEmployees": {"type": "int", "label": "Employees"},
        "Ext_Id__c": _EXTERNAL,
    },
}
_OPPORTUNITY: dict[str, Any] = {
    "label": "Opportunity",
    "label_plural": "Opportunities",
    "prefix": "006",
    "fields": {
        "OwnerId": {},
        "AccountId": {"type": "reference", "reference_to": ["Account"], "label": "Account ID"},
        "Name": _text(120, "Name", required=True),
        "Description": {"type": "textarea", "length": 32000, "label": "Description"},
        "StageName": _picklist(_STAGES, "Stage", required=True),
        "Amount": {"type": "currency", "precision": 18, "scale": 2, "label": "Amount"},
        "Probability": {"type": "percent", "precision": 3, "scale": 0, "label": "Probability (%)"},
        "CloseDate": {"type": "date", "label": "Close Date", "required": True},
        "LeadSource": _picklist(_SOURCES, "Lead Source"),
        "Ext_Id__c": _EXTERNAL,
    },
}
_TASK: dict[str, Any] = {
    "label": "Task",
    "prefix": "00T",
    "fields": {
        "OwnerId": {},
        "Subject": _text(255, "Subject"),
        "WhoId": {"type": "reference", "reference_to": ["Contact", "Lead"], "label": "Name ID", "relationship": "Who"},
        "WhatId": {"type": "reference", "reference_to": ["Account", "Opportunity"], "label": "Related To ID"},
        "ActivityDate": {"type": "date", "label": "Due Date Only"},
        "Status": _picklist(["Not Started", "In Progress", "Completed"], "Status", default="Not Started"),
        "Description": {"type": "textarea", "length": 32000, "label": "Description"},
    },
}
_USER: dict[str, Any] = {
    "label": "User",
    "prefix": "005",
    "createable": False,
    "deletable": False,
    "fields": {
        "Username": _text(80, "Username", required=True, id_lookup=True),
        "LastName": _text(80, "Last Name", required=True),
        "FirstName": _text(40, "First Name"),
        "Name": _text(121, "Full Name", formula=_PERSON),
        "Email": {"type": "email", "label": "Email", "required": True, "id_lookup": True},
        "IsActive": {"type": "boolean", "label": "Active", "default": True},
    },
}
STANDARD: dict[str, Any] = {
    "objects": {
        "Account": _ACCOUNT,
        "Contact": _CONTACT,
        "Lead": _LEAD,
        "Opportunity": _OPPORTUNITY,
        "Task": _TASK,
        "User": _USER,
    }
}
"""In the form of a schema file."""
