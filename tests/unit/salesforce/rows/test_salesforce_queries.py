"""Query results page by page: all of the records, or an error that says there are fewer."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from exporter.failures import ExportError, FailureKind, configuration
from exporter.targets.salesforce.api.query import Queries

if TYPE_CHECKING:
    from exporter.targets.salesforce.api.client import Client

FIRST = "/services/data/v62.0/query?q="
Pages = Mapping[str, object]


def page(ids: list[str], *, total: int, following: object = None) -> dict[str, object]:
    body: dict[str, object] = {"totalSize": total, "done": following is None, "records": [{"Id": each} for each in ids]}
    return body if following is None else body | {"nextRecordsUrl": following}


class PagesClient:
    """A client whose org answers each path with its page, or raises what stands there."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def exchange(self, _method: str, url: str, **_: object) -> SimpleNamespace:
        path = url.removeprefix("https://org.example")
        answer = self._pages[FIRST if path.startswith(FIRST) else path]
        if isinstance(answer, Exception):
            raise answer
        return SimpleNamespace(content=json.dumps(answer).encode())

    def call(self, act: Callable[[Any, Any], object]) -> object:
        org = SimpleNamespace(base_url="https://org.example/services/data/v62.0/", session_id="s")
        return act(org, self)


def ids(tmp_path: Path, pages: Pages) -> list[str]:
    queries = Queries(cast("Client", PagesClient(pages)), tmp_path)
    return [row[0] for rows in queries.rows("SELECT Id FROM Thing__c", ["Id"]) for row in rows]


def test_pages_are_read_to_the_last(tmp_path: Path) -> None:
    pages = {
        FIRST: page(["a", "b"], total=3, following="/services/data/v62.0/query/01g0000000000001-2"),
        "/services/data/v62.0/query/01g0000000000001-2": page(["c"], total=3),
    }
    assert ids(tmp_path, pages) == ["a", "b", "c"]


@pytest.mark.parametrize(
    "pages",
    [
        {FIRST: page(["a", "b"], total=3)},
        {FIRST: page(["a", "b"], total=1)},
        {
            FIRST: page(["a"], total=3, following="/services/data/v62.0/query/01g0000000000001-1"),
            "/services/data/v62.0/query/01g0000000000001-1": page(
                ["b"], total=3, following="/services/data/v62.0/query/01g0000000000001-1"
            ),
        },
        {
            FIRST: page([], total=3, following="/services/data/v62.0/query/01g0000000000001-1"),
            "/services/data/v62.0/query/01g0000000000001-1": page(
                [], total=3, following="/services/data/v62.0/query/01g0000000000001-1"
            ),
        },
        {
            FIRST: page(["a"], total=2, following="/services/data/v62.0/query/01g0000000000001-1"),
            "/services/data/v62.0/query/01g0000000000001-1": configuration(
                "INVALID_QUERY_LOCATOR", "invalid query locator"
            ),
        },
    ],
    ids=["too-few", "too-many", "one-page-twice", "without-end", "locator-gone"],
)
def test_other_records_than_were_promised_are_a_failure_that_may_pass(tmp_path: Path, pages: Pages) -> None:
    with pytest.raises(ExportError) as caught:
        ids(tmp_path, pages)
    assert (caught.value.kind, caught.value.code) == (FailureKind.TRANSIENT, "QUERY_INCOMPLETE")


@pytest.mark.parametrize("answer", [[], "text", 3, {"records": []}, page([], total=0, following=7)])
def test_an_answer_that_is_no_page_is_not_taken_for_one(tmp_path: Path, answer: object) -> None:
    with pytest.raises(Exception, match="no query result"):
        ids(tmp_path, {FIRST: answer})
