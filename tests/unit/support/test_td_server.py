"""The test's Treasure Data, judged by Treasure Data's own client."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tdclient
from support.databases.td_server import DATABASE, KEY, TdServer, td_server
from tdclient.errors import AlreadyExistsError, AuthError, NotFoundError


@pytest.fixture
def server() -> Iterator[TdServer]:
    with td_server() as server:
        yield server


@pytest.fixture
def client(server: TdServer) -> Iterator[tdclient.Client]:
    with tdclient.Client(apikey=KEY, endpoint=server.url) as client:
        yield client


def ended(client: tdclient.Client, sql: str, **options: Any) -> Any:
    job = client.query(DATABASE, sql, type="trino", **options)
    job.wait(timeout=30, wait_interval=0.01)
    return job


def test_a_query_runs_and_its_rows_and_columns_come_back(client: tdclient.Client) -> None:
    job = ended(client, "select 1 as n, 'é''\n' as t, 1.50::decimal(4,2) as d, [1, 2] as a, null as x")
    assert job.status() == "success"
    assert list(job.result()) == [[1, "é'\n", "1.50", [1, 2], None]]
    assert job.result_schema == [
        ["n", "integer"],
        ["t", "varchar"],
        ["d", "decimal(4,2)"],
        ["a", "array(integer)"],
        ["x", "unknown"],
    ]
    assert job.num_records == 1


def test_the_client_downloads_a_result_in_ranges(client: tdclient.Client, tmp_path: Path) -> None:
    job = ended(client, "select range as n from range(1000)")
    rows = client.api.job_result_format_each(job.job_id, "msgpack", store_tmpfile=True)
    assert sum(1 for _ in rows) == 1000
    assert list(tmp_path.iterdir()) == []


def test_a_query_that_fails_says_why_in_its_output(client: tdclient.Client) -> None:
    job = ended(client, "select x from nowhere")
    assert job.status() == "error"
    assert "line 1:1" in job.debug["stderr"]
    assert "nowhere" in job.debug["stderr"]


def test_a_job_that_goes_on_is_killed(server: TdServer, client: tdclient.Client) -> None:
    server.go_on.clear()
    job = client.query(DATABASE, "select 1", type="trino")
    assert job.kill() in ("queued", "running")
    job.update()
    assert job.status() == "killed"


def test_a_domain_key_has_one_job(server: TdServer, client: tdclient.Client) -> None:
    first = ended(client, "select 1", domain_key="a")
    with pytest.raises(AlreadyExistsError) as caught:
        client.query(DATABASE, "select 1", type="trino", domain_key="a")
    answer = json.loads(str(caught.value).partition(": ")[2])
    assert answer["details"]["conflicts_with"] == first.job_id
    ended(client, "select 1", domain_key="b")
    assert len(server.jobs) == 2


def test_wrong_keys_and_names_are_refused(server: TdServer, client: tdclient.Client) -> None:
    with tdclient.Client(apikey="1/wrong", endpoint=server.url) as stranger, pytest.raises(AuthError):
        stranger.api.list_tables(DATABASE)
    assert client.api.list_tables(DATABASE) == {}
    with pytest.raises(NotFoundError):
        client.query("elsewhere", "select 1", type="trino")
    with pytest.raises(NotFoundError):
        client.job("999")


def test_forms_are_taken_as_the_api_s_description_has_them_too(server: TdServer) -> None:
    request = urllib.request.Request(  # noqa: S310 - our own address
        f"{server.url}/v3/job/issue/hive/{DATABASE}",
        data=b"query=select+1&priority=-2",
        headers={"Authorization": f"TD1 {KEY}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:  # noqa: S310 - the same
        job = server.jobs[json.load(answer)["job_id"]]
    assert (job.type, job.form) == ("hive", {"query": "select 1", "priority": "-2"})
