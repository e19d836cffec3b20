"""Treasure Data's schedules as jobs: what is carried over, and what is told of the rest."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.commands.command import CONFIG, QuickCommand

from scheduler.jobs.import_treasure_data import Carried, carry_over, read_schedules

RESULT = {"type": "sfdc_v2", "object": "Contact", "mode": "append"}
SECRET = "hunter2"


def schedule(**keys: Any) -> dict[str, Any]:
    plain = {"name": "nightly", "cron": "0 3 * * mon-fri", "timezone": "Asia/Tokyo", "delay": 600}
    there = {"database": "sales", "type": "trino", "query": "select 1 as a", "result": json.dumps(RESULT)}
    return {**plain, **there, "priority": 0, "retry_limit": 0, "next_time": "2026-11-25T18:00:00Z", **keys}


def carried(**keys: Any) -> Carried:
    (one,) = carry_over([schedule(**keys)], source=None, target="crm")
    return one


def lost(one: Carried) -> list[tuple[str, object]]:
    return [(each.key, each.value) for each in one.not_carried]


def test_a_schedule_fires_queries_and_exports_as_it_did() -> None:
    one = carried()
    assert one.table == {
        "cron": "0 3 * * mon-fri",
        "timezone": "Asia/Tokyo",
        "delay": 600,
        "source": "td_sales_trino",
        "query": "select 1 as a",
        "export": {"connection": "crm", "object": "Contact", "mode": "append"},
    }
    assert one.source == {"type": "treasure_data", "database": "sales", "engine": "trino"}
    assert (one.name, one.fault, lost(one)) == ("nightly", None, [])


@pytest.mark.parametrize("cron", [None, ""])
def test_a_saved_query_without_a_schedule_runs_when_asked_to(cron: str | None) -> None:
    assert "cron" not in carried(cron=cron, delay=None, timezone=None).table


@pytest.mark.parametrize(
    ("result", "export"),
    [
        ({"mode": "UPDATE", "unique": "Ext__c", "upsert": True}, {"mode": "update", "key": "Ext__c", "upsert": True}),
        ({"mode": "append", "unique": "Id", "upsert": True, "hard_delete": True}, {"mode": "append"}),
        ({"mode": "truncate", "hard_delete": "true"}, {"mode": "truncate", "hard_delete": True}),
        ({"concurrency_mode": "SERIAL", "batch_size": "200"}, {"concurrency_mode": "serial", "batch_size": 200}),
        (
            {"api_version": "58.0", "initial_retry_delay": 7, "retry_limit": "3"},
            {"api_version": "58.0", "initial_retry_delay": 7, "retry_limit": 3},
        ),
        ({"mode": "", "unique": None}, {}),
    ],
)
def test_the_settings_of_a_result_have_their_names_here(result: dict[str, Any], export: dict[str, Any]) -> None:
    one = carried(result={**RESULT, **result})
    assert one.table["export"] == {"connection": "crm", "object": "Contact", "mode": "append", **export}
    assert (one.fault, one.not_carried) == (None, ())


@pytest.mark.parametrize("kind", ["sfdc", "sfdc_v2", "SFDC_V2", "salesforce", "salesforce_v2"])
def test_a_result_may_be_a_url_and_what_it_logs_in_with_is_never_shown(kind: str) -> None:
    url = f"{kind}://me%40x.com:{SECRET}@login.salesforce.com/Lead?mode=update&unique=Id&token={SECRET}"
    one = carried(result=url)
    assert one.table["export"] == {"connection": "crm", "object": "Lead", "mode": "update", "key": "Id"}
    assert lost(one) == [("result.login", None), ("result.token", None)]
    assert SECRET not in repr(one)


def test_secrets_and_unknown_keys_of_a_result_are_told_without_their_values() -> None:
    one = carried(result={**RESULT, "client_secret": SECRET, "odd": SECRET})
    assert lost(one) == [("result.client_secret", None), ("result.odd", None)]
    assert SECRET not in repr(one)


def test_the_engine_priority_and_retries_are_the_sources() -> None:
    one = carried(type="hive", priority=-1, retry_limit=2, pool_name="big")
    assert one.source == {
        "type": "treasure_data",
        "database": "sales",
        "engine": "hive",
        "priority": -1,
        "query_retry_limit": 2,
    }
    assert one.table["source"] == "td_sales_hive_p-1_r2"
    assert lost(one) == [("pool_name", None)]
    (elsewhere,) = carry_over([schedule(priority=1, retry_limit=2)], source="warehouse", target="crm")
    assert (elsewhere.table["source"], elsewhere.source) == ("warehouse", {})
    assert lost(elsewhere) == [("priority", 1), ("retry_limit", 2)]


LONG = "customer_data_platform_production_europe_west_marketing_sales"
"""A database whose name leaves no room for what comes after it in 64 characters."""


@pytest.mark.parametrize(
    "pair",
    [
        [{"database": f"{LONG}_a", "type": "trino"}, {"database": f"{LONG}_b", "type": "hive"}],
        [{"database": LONG, "type": "trino"}, {"database": LONG, "type": "hive"}],
        [{"database": LONG, "priority": 1}, {"database": LONG, "priority": 2}],
        [{"database": "sales a"}, {"database": "sales-a"}],
        [{"database": "日本"}, {"database": "中国"}],
        [{"database": "sales_trino", "type": "hive"}, {"database": "sales", "type": "trino"}],
    ],
)
def test_each_database_and_engine_has_a_connection_of_its_own_whatever_they_are_called(
    pair: list[dict[str, Any]],
) -> None:
    schedules = [schedule(name=f"job-{number}", **keys) for number, keys in enumerate([*pair, *pair])]
    made = carry_over(schedules, source=None, target="crm")
    names = [one.table["source"] for one in made]
    assert len(set(names)) == 2
    assert names[:2] == names[2:]
    assert all(len(name) <= 64 for name in names)
    assert [one.source["database"] for one in made] == [keys["database"] for keys in [*pair, *pair]]


def test_a_source_is_never_named_like_the_target() -> None:
    (one,) = carry_over([schedule()], source=None, target="td_sales_trino")
    assert one.table["source"] == "td_sales_trino-2"


def test_names_become_legal_and_differ() -> None:
    names = ["a b", "a/b", "a-b", "日本", "x" * 80, "x" * 70]
    made = carry_over([schedule(name=name) for name in names], source=None, target="crm")
    assert [one.name for one in made] == ["a-b", "a-b-2", "a-b-3", "schedule", "x" * 64, "x" * 62 + "-2"]
    assert made[0].table["description"] == "Treasure Data's schedule 'a b'"
    assert "description" not in carried().table


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"result": ""}, "exports no result"),
        ({"result": "s3://KEY:SECRET@bucket/x"}, "goes to s3, not to Salesforce"),
        ({"result": "s3_v2://KEY:SECRET@bucket/x"}, "goes to s3_v2, not to Salesforce"),
        ({"result": "my_connection"}, "neither a URL nor JSON"),
        ({"result": f"sfdc_v2:me:{SECRET}@login/Lead?next=https://x"}, "neither a URL nor JSON"),
        ({"result": "sfdc_v2://me:pw@[login/Lead"}, "neither a URL nor JSON"),
        ({"result": "sfdc_v2://me:pw@login.salesforce.com/"}, "object is missing"),
        ({"result": "{no JSON"}, "neither a URL nor JSON"),
        ({"result": {**RESULT, "mode": "replace"}}, "mode"),
        ({"cron": "0 0 ? * *"}, "cron"),
        ({"timezone": "PST"}, "America/Los_Angeles"),
        ({"query": ""}, "query"),
        ({"delay": -5}, "delay"),
        ({"result": {**RESULT, "mode": "update"}}, "key"),
    ],
)
def test_a_schedule_that_cannot_be_a_job_says_why(keys: dict[str, Any], says: str) -> None:
    fault = carried(**keys).fault
    assert fault is not None
    assert says in fault
    assert SECRET not in fault


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "not valid JSON"),
        ("5", "no list of schedules"),
        ('{"jobs": []}', "no list of schedules"),
        ("[" * 100_000, "not valid JSON"),
    ],
)
def test_what_is_no_list_of_schedules_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        read_schedules(text)


def test_both_forms_of_the_list_are_read() -> None:
    assert read_schedules('[{"name": "a"}]') == read_schedules('{"schedules": [{"name": "a"}]}') == [{"name": "a"}]
    assert read_schedules("\ufeff[]") == []


def test_what_is_no_schedule_is_told_and_the_rest_is_carried_over() -> None:
    made = carry_over([schedule(), 5, {"cron": ""}, schedule(name=7), schedule(name="b")], source=None, target="crm")
    assert [(one.schedule, one.fault) for one in made if one.fault is not None] == [
        ("schedule 2 of 5", "it is no object with a name and more"),
        ("schedule 3 of 5", "it has no name"),
        ("schedule 4 of 5", "it has no name"),
    ]
    assert [one.name for one in made if one.fault is None] == ["nightly", "b"]


@pytest.mark.parametrize(
    ("keys", "left"),
    [
        ({"priority": 9, "retry_limit": 99}, [("priority", 9, "use at most 2"), ("retry_limit", 99, "use at most 32")]),
        ({"priority": -3}, [("priority", -3, "use at least -2")]),
        ({"priority": "high"}, [("priority", "high", "write a whole number, without quotes")]),
    ],
)
def test_settings_that_the_connection_would_not_take_are_left_out_and_told(
    keys: dict[str, Any], left: list[tuple[str, object, str]]
) -> None:
    one = carried(**keys)
    assert one.source == {"type": "treasure_data", "database": "sales", "engine": "trino"}
    assert [(each.key, each.value, each.reason) for each in one.not_carried] == left
    assert one.table["source"] == "td_sales_trino"


def test_every_fault_of_a_schedule_is_told_not_only_that_it_exports_nothing() -> None:
    fault = carried(cron="0 0 ? * *", timezone="PST", database="", result="").fault
    assert fault is not None
    for says in ("database", "exports no result", "cron = ", "timezone = "):
        assert says in fault


HALF = "\ud800"


@pytest.mark.parametrize("key", ["cron", "timezone", "query", "database", "result"])
def test_half_a_character_keeps_a_schedule_from_being_a_job(key: str) -> None:
    value = json.dumps({**RESULT, "object": f"Lead{HALF}"}) if key == "result" else f"select {HALF}"
    fault = carried(**{key: value}).fault
    assert fault is not None
    fault.encode()
    assert carried(type=f"trino{HALF}").fault is None


def test_a_name_with_half_a_character_is_replaced_and_shown_as_json_writes_it() -> None:
    one = carried(name=f"a{HALF}b")
    assert (one.name, one.schedule, one.fault) == ("a-b", "a\\ud800b", None)
    assert one.table["description"] == "Treasure Data's schedule 'a\\ud800b'"


QUERIES = [
    "select 1 as a",
    "select 'it''s', \"a\"\nfrom t -- '''\nwhere x = '\"\"\"' and y like 'a\\_b'",
    "select\n\t'é 日本'\r\n  as a\n",
]


@pytest.mark.parametrize("query", QUERIES)
def test_what_is_printed_is_a_config_that_holds_the_same_query(query: str, tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path, 'include = ["td.toml"]\n' + CONFIG)
    (tmp_path / "td.json").write_text(json.dumps([schedule(query=query), schedule(name="b.c")]), encoding="utf-8")
    quick("import", "td", "td.json", "--to", "crm", "--to-file", "td.toml")
    jobs = tomllib.loads((tmp_path / "td.toml").read_text(encoding="utf-8"))["jobs"]
    assert jobs["nightly"]["query"] == query.replace("\r\n", "\n")
    assert jobs["b.c"]["export"]["object"] == "Contact"
    assert "2 jobs, 4 connections, 0 faults" in quick("check").out
    again = quick("import", "td", "td.json", "--to-file", "td.toml", code=2)
    assert "name a new file" in again.err


def test_the_exit_code_tells_that_a_whole_schedule_was_left_out(tmp_path: Path) -> None:
    quick = QuickCommand(tmp_path)
    text = json.dumps({"schedules": [schedule(), schedule(name="other", result="")]})
    answer = quick("import", "td", "-", "--to", "crm", "--json", stdin=text, code=1)
    assert [job["name"] for job in answer.json["jobs"]] == ["nightly"]
    assert [fault["schedule"] for fault in answer.json["faults"]] == ["other"]
    assert "schedctl: other: not carried over: it exports no result" in answer.err
