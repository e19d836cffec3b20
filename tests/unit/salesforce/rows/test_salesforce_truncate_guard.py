import pytest

from exporter.failures import ExportError, FailureKind
from exporter.settings.connection import SalesforceExport
from exporter.spool.spool import SpooledBatch, SpoolManifest
from exporter.targets.salesforce.deletion.truncate_guard import check_truncate


def manifest(rows: int, rejected: int = 0) -> SpoolManifest:
    kept = rows - rejected
    batch = SpooledBatch(number=1, file="000001.csv", rows=kept, bytes=1, sha256="", first_row=1)
    return SpoolManifest(columns=(), batches=(batch,) if kept else (), rows=rows, rejected=rejected, format="csv")


def options(mode: str = "truncate", **others: object) -> SalesforceExport:
    return SalesforceExport.model_validate({"object": "Contact", "mode": mode, **others})


def test_an_empty_result_does_not_wipe_an_object() -> None:
    with pytest.raises(ExportError, match=r"EMPTY_RESULT.*Contact.*allow_empty = true") as caught:
        check_truncate(options(), manifest(0))
    assert caught.value.kind is FailureKind.DATA


def test_an_empty_result_may_wipe_an_object_where_that_is_asked_for() -> None:
    check_truncate(options(allow_empty=True), manifest(0))


@pytest.mark.parametrize("allow_empty", [True, False])
def test_rows_of_which_none_can_be_sent_never_wipe_an_object(allow_empty: bool) -> None:  # noqa: FBT001 - pytest's parameter
    with pytest.raises(ExportError, match=r"EMPTY_RESULT.*none of the 3 rows") as caught:
        check_truncate(options(allow_empty=allow_empty), manifest(3, rejected=3))
    assert caught.value.kind is FailureKind.DATA


def test_one_row_that_can_be_sent_is_enough() -> None:
    check_truncate(options(), manifest(3, rejected=2))


def test_other_modes_may_have_nothing_to_send() -> None:
    check_truncate(options("append"), manifest(0))
    check_truncate(options("update", key="Id"), manifest(2, rejected=2))
