import threading
from typing import Any

import pytest

from exporter.failures import ExportError, FailureKind
from exporter.rows.rechunk import BATCH_BYTES
from exporter.sources.source import Query, Source


def rows_of(source: Source, sql: str, **parameters: object) -> list[dict[str, Any]]:
    with source.read(Query(sql=sql, parameters=parameters), batch_rows=1000) as reader:
        return list(reader.read_all().to_pylist())


def fault_of(source: Source, sql: str, **parameters: object) -> ExportError:
    with pytest.raises(ExportError) as caught:
        rows_of(source, sql, **parameters)
    assert "\n" not in caught.value.message
    return caught.value


def test_all_rows_come_in_the_order_of_the_query_in_bounded_batches(sample: Any) -> None:
    with sample.source.read(Query(sql=sample.ordered), batch_rows=1000) as reader:
        batches = list(reader)
    assert max(batch.num_rows for batch in batches) <= 2048
    assert [int(n) for batch in batches for n in batch.column("n").to_pylist()] == list(range(30_000))
    assert batches[-1].column("name").to_pylist()[-1] == "n29999"


def test_rows_of_long_texts_come_in_batches_that_are_bounded_by_bytes(sample: Any) -> None:
    with sample.source.read(Query(sql=sample.wide), batch_rows=1000) as reader:
        sizes = [(batch.num_rows, batch.nbytes) for batch in reader]
    assert sum(rows for rows, _ in sizes) == 300
    assert max(size for _, size in sizes) <= BATCH_BYTES


def test_parameters_are_bound_and_never_pasted(sample: Any) -> None:
    assert rows_of(sample.source, sample.by_parameter, wanted=7) == [{"name": "n7"}]
    assert rows_of(sample.source, sample.by_parameter, wanted=None) == []
    fault_of(sample.source, sample.by_parameter, wanted="7' or 'x' = 'x")


def test_a_value_that_the_query_does_not_name_is_left_out_and_a_missing_one_is_configuration(sample: Any) -> None:
    assert len(rows_of(sample.source, sample.by_parameter, wanted=7, other=8)) == 1
    fault = fault_of(sample.source, sample.by_parameter, other=8)
    assert fault.kind is FailureKind.CONFIGURATION
    assert "wanted" in fault.message


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("selec n from numbers", "selec"),
        ("select n from number", "number"),
        ("select m from numbers", "m"),
        ("select n as a, name as a from numbers", "a"),
        ('select n as " " from numbers', "1"),
        ("-- nothing here", "0"),
        ("select n from numbers; select n from numbers", "2"),
        ("", "0"),
        ("delete from numbers", "DELETE"),
        ("create table other as select 1 as x", "CREATE"),
    ],
)
def test_what_only_a_person_can_mend_in_the_query_is_configuration_and_named(sample: Any, sql: str, named: str) -> None:
    fault = fault_of(sample.source, sql)
    assert fault.kind is FailureKind.CONFIGURATION
    assert named in fault.message
    assert len(rows_of(sample.source, sample.ordered)) == 30_000


def test_an_address_that_is_not_there_is_configuration(sample: Any) -> None:
    for attempt in (sample.broken.check, lambda: rows_of(sample.broken, "select 1 as x")):
        with pytest.raises(ExportError) as caught:
            attempt()
        assert caught.value.kind is FailureKind.CONFIGURATION
    sample.source.check()


def test_a_failure_in_the_middle_of_the_rows_is_an_export_error_without_row_data(sample: Any) -> None:
    fault = fault_of(sample.source, sample.late_failure)
    assert fault.kind is FailureKind.CONFIGURATION
    assert "no number" not in fault.message


def test_a_query_is_canceled_from_another_thread(sample: Any) -> None:
    started, outcome = threading.Event(), list[ExportError]()

    def work() -> None:
        started.set()
        outcome.append(fault_of(sample.source, sample.endless))

    thread = threading.Thread(target=work)
    thread.start()
    assert started.wait(10)
    deadline = threading.Event()
    while thread.is_alive():  # a cancel before the query began finds none to stop
        sample.source.cancel()
        deadline.wait(0.05)
        thread.join(0.05)
    assert (outcome[0].kind, outcome[0].code) == (FailureKind.TRANSIENT, "QUERY_CANCELED")
    assert rows_of(sample.source, sample.by_parameter, wanted=1) == [{"name": "n1"}]


def test_a_cancel_between_two_batches_stops_the_reader_and_not_the_next_one(sample: Any) -> None:
    with sample.source.read(Query(sql=sample.ordered), batch_rows=1000) as reader:
        reader.read_next_batch()
        sample.source.cancel()
        with pytest.raises(ExportError, match="QUERY_CANCELED"):
            reader.read_all()
    sample.source.cancel()
    assert len(rows_of(sample.source, sample.ordered)) == 30_000


def test_leaving_in_the_middle_releases_everything(sample: Any) -> None:
    for _ in range(3):
        with sample.source.read(Query(sql=sample.ordered), batch_rows=1000) as reader:
            assert reader.read_next_batch().num_rows > 0
    with pytest.raises(KeyError), sample.source.read(Query(sql=sample.ordered), batch_rows=1000):
        raise KeyError("ours")
    assert len(rows_of(sample.source, sample.ordered)) == 30_000
