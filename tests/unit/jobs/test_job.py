"""Jobs as values: to JSON and back, made from tables, with their schedules."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from exporter.settings.connection import SalesforceExport
from exporter.settings.file import FileExport
from exporter.settings.mapping import MappedColumn, MappingParameter, OutputMapping, Segment
from scheduler.errors.setting_faults import ConfigError
from scheduler.jobs.definition import Export, Job, Unreadable, UnreadableJobError, parse_job
from scheduler.schedules.expression import CronError

TABLE = {"source": "warehouse", "query": "select 1", "export": {"connection": "files"}}
TYPES = {"warehouse": "duckdb", "files": "file", "crm": "salesforce", "broken": None}

SECONDS = st.integers(0, 36_500 * 86_400)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1).filter(str.strip)
NAMES = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True)
SALESFORCE = st.builds(
    SalesforceExport,
    object=st.sampled_from(["Contact", "Ext__c"]),
    mode=st.just("update"),
    key=st.sampled_from(["Ext__c", "Ext_Id__c"]),
    upsert=st.just(True),  # noqa: FBT003 - a strategy
    batch_size=st.integers(1, 10_000),
    nulls=st.sampled_from(["ignore", "clear"]),
    initial_retry_delay=st.none() | SECONDS,
)
FILES = st.builds(FileExport, file=st.sampled_from(["a.csv", "{job}-{date}.jsonl", "{scheduled_time}.parquet"]))
BUILT = st.builds(
    MappedColumn,
    column=st.just("built"),
    string=st.just("$1 $2"),
    parameters=st.just(
        (MappingParameter(type="SegmentName"), MappingParameter(type="Timestamp", format="%Y")),
    ),
)
PLAIN = st.builds(MappedColumn, column=TEXT.filter(lambda name: name != "built"), source=TEXT)
JOBS = st.builds(
    Job,
    name=NAMES,
    description=st.none() | TEXT,
    cron=st.sampled_from(["", "0 3 * * *", "*/5 9-17 * * mon-fri", "@daily"]),
    timezone=st.sampled_from(["UTC", "America/New_York"]),
    delay=st.integers(0, 365 * 86_400),
    step=st.sampled_from(["multiples", "offset"]),
    day_match=st.sampled_from(["or", "more-often", "and"]),
    dst=st.sampled_from(["once", "wallclock"]),
    gap=st.sampled_from([None, "after", "skip"]),
    fold=st.sampled_from([None, "first", "second", "both"]),
    catch_up=st.sampled_from(["latest", "all", "none"]),
    catch_up_window=SECONDS,
    overlap=st.sampled_from(["queue", "skip", "allow"]),
    timeout=SECONDS.filter(bool),
    disable_after=st.integers(0, 1000),
    retry_limit=st.integers(0, 100),
    initial_retry_delay=SECONDS,
    max_rejected=st.none() | st.integers(0, 10**9) | st.just("2.5%"),
    source=NAMES,
    query=TEXT,
    query_file=st.none() | st.just("a.sql"),
    export=st.builds(Export, connection=NAMES, options=SALESFORCE | FILES),
    mapping=st.none() | st.builds(lambda *columns: OutputMapping(columns=columns), PLAIN, BUILT),
    segment=st.none() | st.builds(Segment, id=st.none() | TEXT, name=TEXT),
)


@settings(deadline=None)
@given(JOBS)
def test_a_job_survives_json(job: Job) -> None:
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@settings(deadline=None)
@given(JOBS)
def test_a_job_is_made_again_from_its_own_dict_as_a_table(job: Job) -> None:
    definition = job.to_dict()
    table = without_none(definition)
    del table["name"], table["export"]["type"]
    table.pop("query_file", None)
    types = {job.source: "duckdb", job.export.connection: job.export.type}
    if job.source == job.export.connection or (job.mapping and not job.segment):
        return
    again = parse_job(job.name, table, connections=types)
    assert again == job.model_copy(update={"query_file": None, "cron": again.cron})
    assert again.schedule == job.schedule


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_none(inner) for key, inner in value.items() if inner is not None}
    return [without_none(inner) for inner in value] if isinstance(value, list) else value


def test_the_stored_form_is_flat_and_counts_in_seconds() -> None:
    table = {**TABLE, "timeout": "2h", "export": {"connection": "crm", "object": "Contact"}}
    stored = parse_job("a", table, connections=TYPES).to_dict()
    assert (stored["timeout"], stored["query"], stored["overlap"]) == (7200, "select 1", "queue")
    assert stored["export"]["connection"] == "crm"
    assert (stored["export"]["type"], stored["export"]["object"]) == ("salesforce", "Contact")


def test_a_definition_from_before_a_key_existed_takes_its_default() -> None:
    job = parse_job("a", TABLE, connections=TYPES)
    stored = job.to_dict()
    del stored["max_rejected"], stored["segment"], stored["export"]["file"]
    assert Job.from_dict(stored) == job


UNREADABLE: dict[str, tuple[dict[str, Any], str]] = {
    "a key of another version": ({"colour": "red"}, "colour: unknown key"),
    "such a key of the export": (
        {"export": {"connection": "a", "type": "file", "colour": 1}},
        "export.colour: unknown key",
    ),
    "a value of another version": ({"timeout": "soon"}, 'timeout = "soon"'),
    "a kind of connection": ({"export": {"connection": "a", "type": "ftp"}}, 'export.type = "ftp": this version'),
    "no export": ({"export": None}, "export = "),
    "a zone that is gone": ({"timezone": "Mars/Base"}, "timezone = \"Mars/Base\": 'Mars/Base' is no IANA time zone"),
    "a cron": ({"cron": "0 99 * * *"}, "cron = \"0 99 * * *\": hour: '99': 99 is not from 0 to 23"),
    "a last day in such a zone": ({"after": ["b"], "ends_on": "2026-12-01", "timezone": "Mars/Base"}, "Mars/Base"),
}


@pytest.mark.parametrize("case", UNREADABLE)
def test_a_stored_job_that_this_version_cannot_read_is_refused_with_key_and_value_on_one_line(case: str) -> None:
    change, says = UNREADABLE[case]
    stored = parse_job("a", {**TABLE, "cron": "0 3 * * *"}, connections=TYPES).to_dict()
    with pytest.raises(UnreadableJobError) as refused:
        Job.from_dict({**stored, **change})
    assert says in refused.value.reason
    assert refused.value.message.startswith("the stored job a cannot be read: ")
    assert "\n" not in refused.value.message


def test_a_job_without_cron_has_no_schedule() -> None:
    assert parse_job("a", TABLE, connections=TYPES).schedule is None
    assert parse_job("a", {**TABLE, "cron": " "}, connections=TYPES).schedule is None


def test_the_schedule_has_all_of_its_keys() -> None:
    keys = {"cron": "30 2 * * *", "timezone": "America/New_York", "delay": 60, "gap": "skip"}
    schedule = parse_job("a", {**TABLE, **keys}, connections=TYPES).schedule
    assert schedule is not None
    fire = schedule.next_after(datetime(2026, 3, 7, 12, tzinfo=UTC))
    assert fire is not None
    assert fire.scheduled_time == datetime(2026, 3, 9, 6, 30, tzinfo=UTC)  # the 8th has no 02:30 there
    assert (fire.run_time - fire.scheduled_time).total_seconds() == 60


def test_a_job_that_was_made_by_hand_with_a_wrong_cron_says_so_when_asked() -> None:
    job = parse_job("a", TABLE, connections=TYPES).model_copy(update={"cron": "61 * * * *"})
    with pytest.raises(CronError):
        _ = job.schedule


def test_a_table_is_not_changed_by_reading_it() -> None:
    table: dict[str, Any] = {**TABLE, "export": {"connection": "files"}, "query_file": "x"}
    before = json.dumps(table)
    with pytest.raises(ConfigError):
        parse_job("a", table, connections=TYPES)
    assert json.dumps(table) == before


def test_a_query_file_that_could_not_be_read_says_why() -> None:
    table = {"source": "warehouse", "query_file": "a.sql", "export": {"connection": "files"}}
    with pytest.raises(ConfigError, match=r'query_file = "a\.sql": it is locked'):
        parse_job("a", table, connections=TYPES, query_files={"a.sql": Unreadable(reason="it is locked")})


def test_faults_of_a_job_from_elsewhere_have_keys_and_no_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_job("a.b", {**TABLE, "cron": "x", "source": "wharehouse"}, connections=TYPES)
    assert {fault.keys for fault in caught.value.faults} == {("jobs", "a.b", "cron"), ("jobs", "a.b", "source")}
    assert all(fault.line is None for fault in caught.value.faults)
    assert str(caught.value).startswith('jobs."a.b".')


def test_a_job_cannot_be_changed() -> None:
    job = parse_job("a", TABLE, connections=TYPES)
    with pytest.raises(ValidationError, match="frozen"):
        job.cron = "@daily"


def test_params_that_differ_in_case_only_are_a_fault() -> None:
    table = {**TABLE, "query": "select :a, :A", "params": {"a": 1, "A": 2}}
    with pytest.raises(ConfigError, match="a and A differ in case only"):
        parse_job("x", table, connections=TYPES)
