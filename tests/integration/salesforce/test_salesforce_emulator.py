"""The whole way from Arrow rows into the local Salesforce, which other clients vouch for."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from support.properties import examples
from support.runs.exports import ListLedger, QuickControl, make_context, make_target

from exporter.emulator.org.org import Rights
from exporter.emulator.server import Emulator
from exporter.events import Event, RowsSpooled
from exporter.failures import ExportError, FailureKind
from exporter.rows.mapping import apply_mapping
from exporter.settings.mapping import MappedColumn, OutputMapping
from exporter.spool.spool import Spool
from exporter.targets.salesforce.target import SalesforceTarget

SCHEMA = {
    "objects": {
        "Thing__c": {
            "label": "Thing",
            "fields": {
                "Name": {"type": "string", "length": 80},
                "Ext_Id__c": {"type": "string", "length": 20, "external_id": True, "unique": True},
                "Score__c": {"type": "double", "precision": 18, "scale": 2},
                "Born__c": {"type": "date"},
                "Seen__c": {"type": "datetime"},
                "Active__c": {"type": "boolean"},
            },
        }
    }
}
AWKWARD = ['a "quote", a comma', "two\r\nlines\nand\rmore", "ü😀\u2028", "x" * 80, "  blanks  ", "x"]


class LiveControl(QuickControl):
    """A control that waits, but not for long."""

    def wait(self, seconds: float) -> None:
        time.sleep(min(seconds, 0.05))


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(schema=SCHEMA) as served:
        yield served


def target(emulator: Emulator, **options: Any) -> SalesforceTarget:
    connection = {"client_id": "emulator", "client_secret": SecretStr("secret"), "initial_retry_delay": 0}
    return make_target(emulator.url, connection=connection, **({"object": "Thing__c"} | options))


def send(
    emulator: Emulator, columns: dict[str, Any], spool: Spool, ledger: ListLedger, **options: Any
) -> tuple[int, int]:
    """Fill a spool with the columns, export it, and return the numbers of accepted and rejected rows."""
    table = pa.table(columns)
    opened = target(emulator, **options)
    events: list[Event] = []
    opened.fill(table.to_reader(max_chunksize=3), spool, control=LiveControl(), listen=events.append)
    assert sum(event.rows for event in events if isinstance(event, RowsSpooled)) == table.num_rows
    report = opened.export(spool, make_context(ledger, control=LiveControl()))
    assert report.read == table.num_rows
    return report.accepted, report.rejected


def stored(emulator: Emulator, *names: str) -> list[tuple[Any, ...]]:
    return [tuple(record[name] for name in names) for record in emulator.org.records("Thing__c")]


@pytest.mark.parametrize("mode", ["parallel", "serial"])
def test_what_goes_in_as_rows_comes_out_as_records(emulator: Emulator, tmp_path: Path, mode: str) -> None:
    columns = {
        "Name": AWKWARD,
        "Ext_Id__c": [f"k{number}" for number in range(6)],
        "Score__c": pa.array([Decimal("1.50"), None, Decimal("-0.01"), Decimal(0), Decimal("9999.99"), Decimal(3)]),
        "Born__c": pa.array([0, 1, None, 20_000, -5, 7], pa.int32()).cast(pa.date32()),
        "Active__c": [True, False, True, False, None, True],
    }
    ledger = ListLedger()
    assert send(emulator, columns, Spool(tmp_path / "s"), ledger, batch_size=4, concurrency_mode=mode) == (6, 0)
    found = {
        key: (name, score, active)
        for key, name, score, active in stored(emulator, "Ext_Id__c", "Name", "Score__c", "Active__c")
    }
    assert [found[f"k{number}"][0].strip() for number in range(6)] == [name.strip() for name in AWKWARD]
    assert [found[f"k{number}"][1] for number in range(6)] == [1.5, None, -0.01, 0, 9999.99, 3]
    assert found["k0"][2] == 1
    with emulator.org.store.reading() as db:
        [job] = db.execute("SELECT state, concurrency FROM sys_job").fetchall()
    assert tuple(job) == ("Closed", mode.capitalize())


def test_an_upsert_twice_leaves_each_record_once(emulator: Emulator, tmp_path: Path) -> None:
    options = {"mode": "update", "upsert": True, "key": "Ext_Id__c", "batch_size": 2}
    keys = [f"k{number}" for number in range(5)]
    for attempt in ("first", "second"):
        columns = {"Ext_Id__c": keys, "Name": [f"{attempt} {key}" for key in keys]}
        assert send(emulator, columns, Spool(tmp_path / attempt), ListLedger(), **options) == (5, 0)
    assert sorted(stored(emulator, "Name")) == [(f"second {key}",) for key in keys]


def test_an_update_by_id_changes_the_records(emulator: Emulator, tmp_path: Path) -> None:
    assert send(emulator, {"Name": ["a", "b"]}, Spool(tmp_path / "1"), ListLedger()) == (2, 0)
    ids = [identity for (identity,) in stored(emulator, "Id")]
    columns = {"Id": [*ids, "a00000000000099AAA"], "Name": ["A", "B", "C"]}
    ledger = ListLedger()
    assert send(emulator, columns, Spool(tmp_path / "2"), ledger, mode="update", key="Id") == (2, 1)
    assert sorted(stored(emulator, "Name")) == [("A",), ("B",)]
    assert [row.number for row in ledger.rejected.values()] == [3]


def test_refused_rows_come_back_with_the_orgs_reason(emulator: Emulator, tmp_path: Path) -> None:
    columns = {"Name": ["fine", "y" * 81, "fine too"], "Ext_Id__c": ["1", "2", "1"]}
    ledger = ListLedger()
    assert send(emulator, columns, Spool(tmp_path), ledger) == (1, 2)
    assert {number: row.code for number, row in ledger.rejected.items()} == {2: "STRING_TOO_LONG", 3: "DUPLICATE_VALUE"}
    assert ledger.rejected[2].values == {"Name": "y" * 81, "Ext_Id__c": "2"}


def test_sessions_that_end_while_batches_are_sent_and_polled_cost_one_login_each(tmp_path: Path) -> None:
    with Emulator(schema=SCHEMA, batch_seconds=0.05) as emulator:

        class EndingLedger(ListLedger):
            def append(self, entry: Any, *, rejected: Any = ()) -> None:
                super().append(entry, rejected=rejected)
                if (entry.step, entry.mark) in {("batch.send", "done"), ("batch.settled", "done")}:
                    emulator.org.expire_sessions()

        columns = {"Name": [f"n{number}" for number in range(9)]}
        assert send(emulator, columns, Spool(tmp_path), EndingLedger(), batch_size=2) == (9, 0)
        assert len(stored(emulator, "Id")) == 9
        with emulator.org.store.reading() as db:
            assert db.execute("SELECT count(*) FROM sys_job").fetchone()[0] == 1


def test_a_wrong_secret_and_a_wrong_object_are_configuration(emulator: Emulator) -> None:
    wrong = {"client_id": "emulator", "client_secret": SecretStr("no"), "initial_retry_delay": 0}
    with pytest.raises(ExportError, match="check client_id and client_secret") as caught:
        make_target(emulator.url, connection=wrong).check()
    assert caught.value.kind is FailureKind.CONFIGURATION
    with pytest.raises(ExportError, match=r"nearest: .*Thing__c"):
        target(emulator, object="Thin__c").check()
    target(emulator).check(pa.schema([("name", pa.string()), ("ext_id__c", pa.int64())]))
    target(emulator, object="User").check()


def test_a_used_up_batch_quota_is_transient_and_the_next_day_ends_it(tmp_path: Path) -> None:
    rights = Rights(batches_a_day=2)
    with Emulator(schema=SCHEMA, rights=rights) as emulator:
        ledger, spool = ListLedger(), Spool(tmp_path)
        with pytest.raises(ExportError, match="ExceededQuota") as caught:
            send(emulator, {"Name": ["a", "b", "c", "d", "e"]}, spool, ledger, batch_size=2)
        assert caught.value.kind is FailureKind.TRANSIENT
        with emulator.org.store.writing() as db:
            db.execute("UPDATE sys_batch SET created = created - 86401")
        report = target(emulator, batch_size=2).export(spool, make_context(ledger, control=LiveControl()))
        assert (report.accepted, len(stored(emulator, "Id"))) == (5, 5)


def test_abort_leaves_batches_that_were_not_begun_undone(emulator: Emulator, tmp_path: Path) -> None:
    class Stop(Exception):  # noqa: N818 - the owner's own, and no error
        pass

    class StoppingControl(LiveControl):
        def wait(self, seconds: float) -> None:
            raise Stop(seconds)

    emulator.gate.worker.pause(paused=True)
    spool, ledger, opened = Spool(tmp_path), ListLedger(), target(emulator, batch_size=2)
    rows = pa.table({"Name": ["a", "b", "c"]})
    opened.fill(rows.to_reader(), spool, control=LiveControl(), listen=lambda _event: None)
    with pytest.raises(Stop):
        opened.export(spool, make_context(ledger, control=StoppingControl()))
    target(emulator).abort(spool, make_context(ledger, control=LiveControl()))
    emulator.gate.worker.pause(paused=False)
    assert stored(emulator, "Id") == []
    with emulator.org.store.reading() as db:
        assert [row["state"] for row in db.execute("SELECT state FROM sys_job")] == ["Aborted"]


def test_each_column_says_whether_its_nulls_empty_the_field(emulator: Emulator, tmp_path: Path) -> None:
    first = {"Name": ["a"], "Ext_Id__c": ["1"], "Score__c": [1.5], "Born__c": [date(2020, 1, 1)]}
    send(emulator, first, Spool(tmp_path / "1"), ListLedger())
    fields = [pa.field("Ext_Id__c", pa.string()), pa.field("Score__c", pa.float64()), pa.field("Born__c", pa.date32())]
    mapping = OutputMapping(
        all_columns=True, columns=(MappedColumn(column="Born__c", source="Born__c", nulls="clear"),)
    )
    rows = pa.table([["1"], [None], [None]], schema=pa.schema(fields)).to_reader()
    mapped = apply_mapping(rows, mapping, segment=None, exported_at=datetime.now(UTC))
    opened, spool = target(emulator, mode="update", upsert=True, key="Ext_Id__c"), Spool(tmp_path / "2")
    opened.fill(mapped, spool, control=LiveControl(), listen=lambda _event: None)
    assert opened.export(spool, make_context(ListLedger(), control=LiveControl())).accepted == 1
    assert stored(emulator, "Score__c", "Born__c") == [(1.5, None)]


def test_timestamps_without_a_zone_need_one_and_are_then_read_in_it(emulator: Emulator, tmp_path: Path) -> None:
    columns = {"Name": ["a"], "Seen__c": pa.array([datetime(2026, 7, 1, 12)], pa.timestamp("us"))}  # noqa: DTZ001 - it has none
    with pytest.raises(ExportError, match="set naive_timezone") as caught:
        send(emulator, columns, Spool(tmp_path / "1"), ListLedger())
    assert caught.value.kind is FailureKind.CONFIGURATION
    send(emulator, columns, Spool(tmp_path / "2"), ListLedger(), naive_timezone="Europe/Berlin")
    [(seen,)] = stored(emulator, "Seen__c")
    assert str(seen).startswith("2026-07-01T10:00:00")


ROW = st.fixed_dictionaries(
    {
        "Name": st.text(
            st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=80
        ).filter(lambda text: text.strip() == text and text != "#N/A" and len(text.encode("utf-16-le")) <= 160),
        "Score__c": st.none() | st.decimals(min_value=-(10**12), max_value=10**12, places=2),
        "Born__c": st.none() | st.dates(date(1700, 1, 1), date(4000, 12, 31)),
        "Seen__c": st.none() | st.datetimes(datetime(1700, 1, 2), datetime(3999, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001 - hypothesis takes naive bounds
        "Active__c": st.booleans(),
    }
)
TYPES = {
    "Name": pa.string(),
    "Score__c": pa.decimal128(18, 2),
    "Born__c": pa.date32(),
    "Seen__c": pa.timestamp("us", "UTC"),
    "Active__c": pa.bool_(),
}


@pytest.mark.parametrize("options", [{}, {"bulk_api": "2"}, {"mode": "update", "upsert": True, "key": "Ext_Id__c"}])
def test_whatever_goes_in_comes_out_value_by_value(emulator: Emulator, tmp_path: Path, options: dict[str, Any]) -> None:
    runs = itertools.count(1)

    @examples(12)
    @given(st.lists(ROW, min_size=1, max_size=12))
    def check(rows: list[dict[str, Any]]) -> None:
        number = next(runs)
        keys = [f"{number}-{place}" for place in range(len(rows))]
        columns = {name: pa.array([row[name] for row in rows], kind) for name, kind in TYPES.items()}
        accepted, rejected = send(
            emulator, columns | {"Ext_Id__c": keys}, Spool(tmp_path / str(number)), ListLedger(), **options
        )
        assert (accepted, rejected) == (len(rows), 0)
        stored_rows = {
            record["Ext_Id__c"]: record
            for record in emulator.org.records("Thing__c")
            if record["Ext_Id__c"] in set(keys)
        }
        for key, row in zip(keys, rows, strict=True):
            found = stored_rows[key]
            assert found["Name"] == row["Name"]
            assert bool(found["Active__c"]) is row["Active__c"]
            assert (found["Born__c"] or None) == (row["Born__c"] and row["Born__c"].isoformat())
            if row["Score__c"] is None:
                assert found["Score__c"] is None
            else:
                assert Decimal(str(found["Score__c"])) == row["Score__c"]
            if row["Seen__c"] is None:
                assert found["Seen__c"] is None
            else:
                seen = datetime.fromisoformat(found["Seen__c"])
                assert seen == row["Seen__c"].replace(microsecond=row["Seen__c"].microsecond // 1000 * 1000)

    check()
