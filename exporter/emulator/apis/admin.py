"""``/_emulator``: what a test or a person may see and do that no Salesforce would allow. No login."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace

from exporter.emulator.bulk.worker import Worker
from exporter.emulator.fault_injection import FaultBox, read_fault
from exporter.emulator.http import RefusalError, Reply, Request, Route, reply_json
from exporter.emulator.org.org import Org, Rights


class Admin:
    """The emulator's own endpoints."""

    def __init__(self, org: Org, worker: Worker, faults: FaultBox, calls: Callable[[], Mapping[str, int]]) -> None:
        self._org = org
        self._worker = worker
        self._faults = faults
        self._calls = calls

    def routes(self) -> Iterable[Route]:
        """Return the paths of the emulator's own."""
        for method, path, handler in (
            ("GET", "/_emulator/state", self._state),
            ("POST", "/_emulator/sessions/expire", self._expire),
            ("PUT", "/_emulator/worker", self._work),
            ("GET", "/_emulator/faults", self._list_faults),
            ("POST", "/_emulator/faults", self._add_fault),
            ("DELETE", "/_emulator/faults", self._clear_faults),
            ("PATCH", "/_emulator/rights", self._change_rights),
        ):
            yield Route(method=method, path=path, handler=handler, needs_login=False)

    def _state(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        names = [each.name for each in self._org.schema.objects.values()]
        with self._org.store.reading() as db:
            jobs = db.execute("SELECT id, api, operation, object, state FROM sys_job ORDER BY id").fetchall()
            batches = db.execute("SELECT state, count(*) AS n FROM sys_batch GROUP BY state ORDER BY state").fetchall()
        return reply_json(
            {
                "records": {name: self._org.count(name) for name in names},
                "recycle_bin": {name: self._org.count(name, deleted=True) for name in names},
                "jobs": [dict(row) for row in jobs],
                "batches": {row["state"]: row["n"] for row in batches},
                "calls": self._calls(),
                "worker_paused": self._worker.paused,
            }
        )

    def _expire(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        return reply_json({"ended": self._org.expire_sessions()})

    def _work(self, request: Request, _names: Mapping[str, str]) -> Reply:
        try:
            paused = request.json()["paused"]
        except (ValueError, TypeError, KeyError) as error:
            raise RefusalError(400, "", 'the body has to be {"paused": true} or {"paused": false}') from error
        self._worker.pause(paused=bool(paused))
        return reply_json({"paused": self._worker.paused})

    def _list_faults(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        return reply_json({"faults": self._faults.listed()})

    def _add_fault(self, request: Request, _names: Mapping[str, str]) -> Reply:
        try:
            self._faults.add(read_fault(request.json()))
        except (ValueError, TypeError, re.error) as error:
            raise RefusalError(400, "", str(error)) from error
        return reply_json({"faults": self._faults.listed()}, 201)

    def _clear_faults(self, _request: Request, _names: Mapping[str, str]) -> Reply:
        self._faults.clear()
        return Reply(status=204)

    def _change_rights(self, request: Request, _names: Mapping[str, str]) -> Reply:
        """Change who may do what, and how much; passwords and keys are taken but not shown."""
        try:
            changes = request.json()
        except (ValueError, TypeError) as error:
            raise RefusalError(400, "", str(error)) from error
        kinds = {each.name: type(each.default) for each in fields(Rights)}
        for name, value in changes.items():
            if name not in kinds:
                raise RefusalError(400, "", f"unknown key {name}; known: {', '.join(kinds)}")
            wanted = (int, float) if kinds[name] is float else kinds[name]
            if not isinstance(value, wanted) or (kinds[name] is not bool and isinstance(value, bool)):
                raise RefusalError(400, "", f"{name} cannot be {value!r}")
        rights = self._org.rights = replace(self._org.rights, **changes)
        return reply_json({each.name: getattr(rights, each.name) for each in fields(Rights) if each.repr})
