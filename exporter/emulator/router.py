"""The gate: each request to the handler of its path, past version, session and limits, refusals in its API's form."""

import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from exporter.emulator.apis import bulk1, soap
from exporter.emulator.apis.admin import Admin
from exporter.emulator.apis.bulk1 import Bulk1
from exporter.emulator.apis.bulk2 import Bulk2
from exporter.emulator.apis.bulk_query import BulkQuery
from exporter.emulator.apis.composite import Composite
from exporter.emulator.apis.oauth import OAuth
from exporter.emulator.apis.rest import Rest
from exporter.emulator.apis.soap import Soap
from exporter.emulator.bulk.processing import Processor
from exporter.emulator.bulk.worker import Worker
from exporter.emulator.fault_injection import FaultBox
from exporter.emulator.http import RefusalError, Reply, Request, Route, oauth_refusal, reply_json, rest_refusal
from exporter.emulator.org.grants import Grants
from exporter.emulator.org.org import Org
from exporter.emulator.org.record_table import BatchError
from exporter.emulator.soql.queries import Queries

_log = logging.getLogger("schedctl.emulator")


class Gate:
    """All of the org's APIs behind one door."""

    def __init__(self, org: Org, *, batch_seconds: float = 0.0) -> None:
        self.org = org
        self.faults = FaultBox()
        self.worker = Worker(org, Processor(org, self.faults), batch_seconds=batch_seconds)
        self.calls: Counter[str] = Counter()
        """Requests by method and path, ids left out, since the emulator started."""
        self._lock = threading.Lock()
        self.routes = [*self._all_routes()]

    def _all_routes(self) -> Iterable[Route]:
        queries = Queries(self.org)
        yield from OAuth(self.org, Grants(self.org)).routes()
        yield from Soap(self.org).routes()
        yield from Rest(self.org, queries).routes()
        yield from Composite(self.org).routes()
        yield from Bulk1(self.org, self.worker).routes()
        yield from Bulk2(self.org, self.worker).routes()
        yield from BulkQuery(self.org, self.worker).routes()
        yield from Admin(self.org, self.worker, self.faults, self.counts).routes()

    def counts(self) -> dict[str, int]:
        """Return how often each endpoint was called."""
        with self._lock:
            return dict(sorted(self.calls.items()))

    def answer(self, request: Request) -> Reply:
        """Answer a request; whatever goes wrong inside is a 500, as there."""
        try:
            return self._dispatch(request)
        except RefusalError as error:
            return _refuse(request, error)
        except BatchError as error:  # a record, outside of any batch, that cannot be one
            return _refuse(request, RefusalError(400, "JSON_PARSER_ERROR", str(error).partition(" : ")[2]))
        except RecursionError:  # of the JSON parser: nothing else here goes deep
            return _refuse(request, RefusalError(400, "JSON_PARSER_ERROR", "The body is nested too deeply"))
        except Exception:  # noqa: BLE001 - the outer frame of a request: it must not end the others
            _log.exception("emulator.internal_error")
            return _refuse(request, RefusalError(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."))

    def _dispatch(self, request: Request) -> Reply:
        others = False
        for route in self.routes:
            names = route.match(request.path)
            if names is None:
                continue
            if route.method != request.method:
                others = True
                continue
            with self._lock:
                self.calls[f"{route.method} {route.path}"] += 1
            if route.needs_login:
                self._let_in(request, names)
            return route.handler(request, names)
        with self._lock:
            self.calls[f"{request.method} (unknown)"] += 1
        if others:
            raise RefusalError(405, "METHOD_NOT_ALLOWED", f"HTTP Method '{request.method}' not allowed.")
        raise RefusalError(404, "NOT_FOUND", "The requested resource does not exist")

    def _let_in(self, request: Request, names: Mapping[str, str]) -> None:
        """Check version and session, and count the call. Raises RefusalError as each API words it."""
        bulk = _is_bulk(request)
        try:
            self.org.check_version(names["version"])
        except RefusalError as error:
            if not bulk:
                raise
            raise RefusalError(400, "InvalidVersion", f"Api version is not supported: {names['version']}") from error
        token = request.headers.get("x-sfdc-session", "") if bulk else ""
        kind, _, bearer = request.headers.get("authorization", "").partition(" ")
        if not token and kind.lower() in {"bearer", "oauth"}:
            token = bearer
        if not self.org.session_alive(token):
            if bulk:
                raise RefusalError(400, "InvalidSessionId", "Invalid session id")
            raise RefusalError(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if not self.org.count_call():
            if bulk:
                raise RefusalError(400, "ExceededQuota", "TotalRequests Limit exceeded.")
            raise RefusalError(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.")


def _is_bulk(request: Request) -> bool:
    return request.path.startswith("/services/async/")


def _refuse(request: Request, error: RefusalError) -> Reply:
    if _is_bulk(request):
        return bulk1.refuse(request, error)
    if request.path.startswith("/services/Soap/"):
        return soap.refuse(error)
    if request.path.startswith("/services/oauth2/"):
        return oauth_refusal(error)
    if request.path.startswith("/_emulator/"):
        return reply_json({"error": error.message}, error.status)
    return rest_refusal(error)
