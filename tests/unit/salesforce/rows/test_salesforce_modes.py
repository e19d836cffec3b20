import pytest

from exporter.settings.connection import SalesforceExport
from exporter.targets.salesforce.export_plan import Operation, make_plan


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


def test_an_update_by_another_key_looks_up_the_ids() -> None:
    plan = make_plan(SalesforceExport(object="Contact", mode="update", key="Ext__c"))
    assert (plan.operation, plan.key, plan.lookup, plan.row_key) == (Operation.UPDATE, "Ext__c", True, "Id")
    assert not make_plan(SalesforceExport(object="Contact", mode="update", key="id")).lookup


@pytest.mark.parametrize(("hard", "operation"), [(False, Operation.DELETE), (True, Operation.HARD_DELETE)])
def test_a_truncate_deletes_by_id_and_then_inserts(hard: bool, operation: Operation) -> None:  # noqa: FBT001 - a parameter
    plan = make_plan(SalesforceExport(object="Contact", mode="truncate", hard_delete=hard, bulk_api="2"))
    assert (plan.operation, plan.removal) == (Operation.INSERT, operation)
    removing = plan.removing()
    assert (removing.operation, removing.key, removing.removal) == (operation, "Id", None)
    assert (removing.object, removing.bulk_api) == ("Contact", "2")
