"""The flags of add and edit against the keys of a job in the config file."""

from pathlib import Path

import pytest

from exporter.settings.connection import EXPORT_MODELS
from scheduler.cli.arguments.job_flags import FLAGS, Flag, job_table
from scheduler.errors.operation_error import OperationError
from scheduler.jobs.definition import Job

BY_NAME = {flag.name: flag for flag in FLAGS}
NOT_TYPED = {"name", "export", "mapping", "segment", "email"}
"""Keys that are no single value: the name is an argument, the tables have flags for what fits on a line."""


def flag(name: str) -> Flag:
    return BY_NAME[name]


def test_every_key_of_a_job_has_a_flag_of_its_name() -> None:
    typed = {f.key[0] for f in FLAGS if len(f.key) == 1}
    assert typed == set(Job.model_fields) - NOT_TYPED
    assert all(f.name in ("--param", "--" + f.key[0].replace("_", "-")) for f in FLAGS if len(f.key) == 1)


def test_a_jobs_own_values_are_numbers_booleans_or_text() -> None:
    given = ["region=EU", "n=10", "share=-0.5", "on=true", "code=007", "empty=", "note=a=b", "big=1e3"]
    assert job_table({flag("--param"): given})["params"] == {
        "region": "EU",
        "n": 10,
        "share": -0.5,
        "on": True,
        "code": "007",
        "empty": "",
        "note": "a=b",
        "big": "1e3",
    }
    with pytest.raises(OperationError, match="write NAME=VALUE"):
        job_table({flag("--param"): ["region"]})


def test_every_key_of_an_export_has_a_flag() -> None:
    typed = {f.key[1] for f in FLAGS if f.key[0] == "export"}
    assert typed == {"connection"}.union(*(model.model_fields for model in EXPORT_MODELS.values()))


def test_no_two_flags_have_the_same_name() -> None:
    assert len(BY_NAME) == len(FLAGS)


def test_what_is_typed_becomes_the_table_that_the_config_file_would_have() -> None:
    given = {
        flag("--cron"): "0 3 * * *",
        flag("--delay"): "600",
        flag("--timeout"): "6h",
        flag("--max-rejected"): "5%",
        flag("--retry-limit"): 2,
        flag("--connection"): "crm",
        flag("--object"): "Contact",
        flag("--upsert"): True,
        flag("--api-version"): "62.0",
        flag("--column"): ["Email=email", "Note=a=b"],
    }
    assert job_table(given) == {
        "cron": "0 3 * * *",
        "delay": 600,
        "timeout": "6h",
        "max_rejected": "5%",
        "retry_limit": 2,
        "export": {"connection": "crm", "object": "Contact", "upsert": True, "api_version": "62.0"},
        "mapping": {"columns": [{"column": "Email", "source": "email"}, {"column": "Note", "source": "a=b"}]},
    }


def test_an_edit_changes_only_what_was_given_and_an_empty_value_removes_a_key() -> None:
    base = {"cron": "0 3 * * *", "gap": "skip", "export": {"connection": "crm", "object": "Contact"}}
    edited = job_table({flag("--gap"): "", flag("--object"): "Lead"}, base)
    assert edited == {"cron": "0 3 * * *", "export": {"connection": "crm", "object": "Lead"}}
    assert base["export"] == {"connection": "crm", "object": "Contact"}, "the base is not touched"


def test_a_query_file_is_read_and_its_text_replaces_the_query(tmp_path: Path) -> None:
    file = tmp_path / "job.sql"
    file.write_text("select 1", encoding="utf-8")
    assert job_table({flag("--query-file"): str(file)}, {"query": "select 0"}) == {"query": "select 1"}


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_query_file_that_cannot_be_read_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "job.sql"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(OperationError, match=r"--query-file .*job\.sql: (No such file|it is not valid UTF-8)"):
        job_table({flag("--query-file"): str(file)})


@pytest.mark.parametrize("text", ["Email", "=email", "Email="])
def test_a_column_needs_both_of_its_names(text: str) -> None:
    with pytest.raises(OperationError, match="write NAME=SOURCE"):
        job_table({flag("--column"): [text]})


def test_words_are_typed_with_commas_and_none_is_an_empty_list() -> None:
    assert job_table({flag("--notify"): "failed, succeeded"}) == {"notify": ["failed", "succeeded"]}
    assert job_table({flag("--notify"): "none"}) == {"notify": []}
    assert job_table({flag("--notify"): ""}, {"notify": ["failed"]}) == {}


def test_what_a_job_runs_after_is_named_one_by_one_and_an_empty_name_takes_it_away() -> None:
    table = job_table({flag("--after"): ["a", "b"]}, {"cron": "0 3 * * *"})
    assert table == {"cron": "0 3 * * *", "after": ["a", "b"]}
    assert job_table({flag("--after"): [""], flag("--cron"): "0 4 * * *"}, table) == {"cron": "0 4 * * *"}


def test_recipients_stand_in_a_table_of_their_own_and_none_is_nobody() -> None:
    table = job_table({flag("--email-success"): "a@x.org, b@x.org", flag("--email-failure"): "none"})
    assert table == {"email": {"success": ["a@x.org", "b@x.org"], "failure": []}}
