"""Which jobs may send changes, how their rows are told apart, and what their snapshots are of."""

from typing import Any

import pytest

from exporter.changes.rules import ChangeRules
from exporter.settings.connection import SalesforceConnection
from exporter.settings.file import FileConnection
from scheduler.errors.setting_faults import ConfigError
from scheduler.jobs.change_rules import rules_of, scope_of
from scheduler.jobs.definition import Job, parse_job

TYPES = {"warehouse": "duckdb", "files": "file", "crm": "salesforce"}
UPSERT = {"connection": "crm", "object": "Contact", "mode": "update", "key": "Ext_Id__c", "upsert": True}
APPEND = {"connection": "crm", "object": "Contact"}
FILE = {"connection": "files"}


def made(export: dict[str, Any], **keys: Any) -> Job:
    return parse_job("a", {"source": "warehouse", "query": "select 1", "export": export, **keys}, connections=TYPES)


def faults(export: dict[str, Any], **keys: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        made(export, **keys)
    return [".".join(map(str, fault.keys[2:])) for fault in caught.value.faults]


def test_rows_are_compared_by_the_key_that_the_target_goes_by() -> None:
    assert rules_of(made(UPSERT)) is None
    assert rules_of(made(UPSERT, changes="changed")) == ChangeRules(mode="changed", key=("Ext_Id__c",), form="folded")
    by_id = {**UPSERT, "key": "id", "upsert": False}
    assert rules_of(made(by_id, changes="mirror", max_deletes="5%")) == ChangeRules(
        mode="mirror", key=("Id",), form="id"
    )
    assert rules_of(made(APPEND, changes="new", changes_key="Email")) == ChangeRules(mode="new", key=("Email",))
    assert rules_of(made(FILE, changes="changed", changes_key=["a", "b"])) == ChangeRules(
        mode="changed", key=("a", "b")
    )


def test_a_built_string_with_the_time_of_the_export_makes_no_change() -> None:
    columns = [
        {"column": "Email", "source": "email"},
        {
            "column": "At__c",
            "string": "$1 $2",
            "parameters": [{"type": "String", "string": "x"}, {"type": "Timestamp"}],
        },
        {"column": "By__c", "string": "schedctl"},
    ]
    found = rules_of(made(UPSERT, changes="changed", mapping={"columns": columns}))
    assert found is not None
    assert found.passing == {"At__c"}


@pytest.mark.parametrize(
    ("export", "keys", "named"),
    [
        ({**APPEND, "mode": "truncate"}, {"changes": "new", "changes_key": "a"}, ["changes"]),
        (APPEND, {"changes": "new"}, ["changes_key"]),
        (FILE, {"changes": "changed"}, ["changes_key"]),
        (UPSERT, {"changes": "changed", "changes_key": "Email"}, ["changes_key"]),
        (UPSERT, {"changes": "mirror"}, ["max_deletes"]),
        (APPEND, {"changes": "mirror", "max_deletes": 5}, ["changes"]),
        (FILE, {"changes": "mirror", "changes_key": "a", "max_deletes": 5}, ["changes"]),
        (UPSERT, {"changes": "changed", "max_deletes": 5}, ["max_deletes"]),
        (UPSERT, {"changes": "changed", "overlap": "allow"}, ["overlap"]),
        (UPSERT, {"max_deletes": 5, "changes_key": "a"}, ["changes_key", "max_deletes"]),
        (UPSERT, {"changes": "some"}, ["changes"]),
        (UPSERT, {"changes": "mirror", "max_deletes": "500%"}, ["max_deletes"]),
        (APPEND, {"changes": "new", "changes_key": []}, ["changes_key"]),
        (APPEND, {"changes": "new", "changes_key": ["a", "a"]}, ["changes_key"]),
        (APPEND, {"changes": "new", "changes_key": 5}, ["changes_key"]),
    ],
)
def test_what_does_not_go_together_is_a_fault_of_its_key(
    export: dict[str, Any], keys: dict[str, Any], named: list[str]
) -> None:
    assert faults(export, **keys) == named


def test_a_snapshot_is_of_an_object_of_an_org_by_a_key_or_of_a_connection() -> None:
    crm = SalesforceConnection(
        type="salesforce",
        login_url="https://YourOrg.my.salesforce.com/",
        client_id="a",
        client_secret="b",  # type: ignore[arg-type] # as the config file has it
    )
    assert (
        scope_of(made(UPSERT, changes="changed"), crm)
        == "contact at https://yourorg.my.salesforce.com by ext_id__c (update)"
    )
    out = FileConnection(type="file", directory="out")
    assert scope_of(made(FILE, changes="new", changes_key=["a", "b"]), out) == "files in out by a, b"
