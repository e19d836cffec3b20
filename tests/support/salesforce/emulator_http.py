"""Calls to an emulator in their plainest form."""

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests

from exporter.emulator.server import Emulator

XML = "application/xml; charset=UTF-8"
_NAMESPACE = "http://www.force.com/2009/06/asyncapi/dataload"


class Caller:
    """A logged-in client of Bulk API 1.0 and REST."""

    def __init__(self, url: str, session: requests.Session, version: str = "60.0") -> None:
        self.url = url
        self.session = session
        self.version = version
        self.token = self.log_in().json()["access_token"]

    def log_in(self, **changes: str) -> requests.Response:
        form = {"grant_type": "client_credentials", "client_id": "emulator", "client_secret": "secret"} | changes
        return self.session.post(f"{self.url}/services/oauth2/token", data=form, timeout=30)

    def rest(self, method: str, path: str, **others: Any) -> requests.Response:
        others["headers"] = {"Authorization": f"Bearer {self.token}"} | others.get("headers", {})
        return self.session.request(method, f"{self.url}/services/data/v{self.version}/{path}", timeout=30, **others)

    def bulk(self, method: str, path: str, data: Any = None, kind: str = XML, **headers: str) -> requests.Response:
        sent = {"X-SFDC-Session": self.token, "Content-Type": kind} | headers
        url = f"{self.url}/services/async/{self.version}/{path}"
        return self.session.request(method, url, data=data, headers=sent, timeout=30)

    def open_job(self, operation: str = "insert", object_name: str = "Airport__c", **fields: str) -> str:
        return tag(self.bulk("POST", "job", job_info(operation=operation, object=object_name, **fields)), "id")

    def add(self, job: str, content: bytes, kind: str = "text/csv; charset=UTF-8") -> str:
        return tag(self.bulk("POST", f"job/{job}/batch", content, kind), "id")

    def state(self, job: str, batch: str) -> str:
        return tag(self.bulk("GET", f"job/{job}/batch/{batch}"), "state")

    def finish(self, job: str, batch: str) -> str:
        """Wait until a batch is over; return its state."""
        deadline = time.monotonic() + 30
        while (state := self.state(job, batch)) in {"Queued", "InProgress"}:
            assert time.monotonic() < deadline, state
            time.sleep(0.01)
        return state

    def result(self, job: str, batch: str) -> requests.Response:
        self.finish(job, batch)
        return self.bulk("GET", f"job/{job}/batch/{batch}/result")


def job_info(**fields: str) -> str:
    """Write a jobInfo; CSV unless told."""
    given = {"contentType": "CSV"} | fields if "operation" in fields else fields
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in given.items())
    return f'<?xml version="1.0" encoding="UTF-8"?><jobInfo xmlns="{_NAMESPACE}">{inner}</jobInfo>'


def tag(answer: requests.Response, name: str) -> str:
    """Return the text of the first element of that name."""
    match = re.search(f"<{name}>(.*?)</{name}>", answer.text, re.DOTALL)
    assert match is not None, (answer.status_code, answer.text)
    return match[1]


@contextmanager
def calling(emulator: Emulator, version: str = "60.0") -> Iterator[Caller]:
    """Log in at an emulator."""
    with requests.Session() as session:
        session.trust_env = False
        yield Caller(emulator.url, session, version)
