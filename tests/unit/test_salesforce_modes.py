import pytest

from exporter.connections import SalesforceExport
from exporter.failures import ExportError, FailureKind
from exporter.targets.salesforce.modes import Operation, make_plan


@pytest.mark.parametrize(
    ("options", "operation", "key", "external_id"),
    [
        ({}, Operation.INSERT, None, None),
        ({"mode": "update", "key": "Ext__c", "upsert": True}, Operation.UPSERT, "Ext__c", "Ext__c"),
        ({"mode": "update", "key": "ID"}, Operation.UPDATE, "Id", None),
    ],
)
def test_options_become_an_operation_with_its_key(
    options: dict[str, object], operation: Operation, key: str | None, external_id: str | None
) -> None:
    plan = make_plan(SalesforceExport.model_validate({"object": "Contact", **options}))
    assert (plan.operation, plan.key, plan.external_id) == (operation, key, external_id)
    assert plan.concurrency == "Parallel"


def test_serial_and_old_versions_are_carried_over() -> None:
    plan = make_plan(SalesforceExport(object="Contact", concurrency_mode="serial", api_version="40.0"))
    assert (plan.concurrency, plan.is_old) == ("Serial", True)
    assert not make_plan(SalesforceExport(object="Contact", api_version="41.0")).is_old


def test_an_update_by_another_key_needs_upsert_whoever_let_it_through() -> None:
    settings = dict(SalesforceExport(object="Contact", mode="update", key="Id")) | {"key": "Ext__c"}
    with pytest.raises(ExportError, match="upsert = true") as caught:
        make_plan(SalesforceExport.model_construct(**settings))
    assert (caught.value.kind, caught.value.code) == (FailureKind.CONFIGURATION, "UPDATE_KEY")
