"""What may start beside what goes on: connections with room, objects with one writer, quotas that are used up."""

from datetime import UTC, datetime, timedelta
from typing import Any

from exporter.settings.connection import SalesforceConnection
from exporter.settings.databases import DuckdbConnection
from scheduler.outcomes.quota_hold import LONGEST, SHORTEST, Hold, next_hold
from scheduler.runs.concurrency import Demand, Gate, Limits

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ORG = "https://yourorg.my.salesforce.com"


def definition(mode: str = "append", name: str = "Contact", *, to: str = "crm", source: str = "db") -> dict[str, Any]:
    return {"source": source, "export": {"connection": to, "type": "salesforce", "object": name, "mode": mode}}


def hold(minutes: float, until: float) -> Hold:
    since, end = NOON + timedelta(minutes=minutes), NOON + timedelta(minutes=until)
    return Hold(connection="crm", code="REQUEST_LIMIT_EXCEEDED", message="m", since=since, until=end)


def gate(
    *running: dict[str, Any], begun: tuple[dict[str, Any], ...] = (), limits: Limits | None = None, **held: Hold
) -> Gate:
    made = Gate(limits or Limits(), held, NOON)
    made.begin(running, begun)
    return made


def admitted(made: Gate, *candidates: dict[str, Any]) -> list[bool]:
    return [made.admit(each, begun=False) for each in candidates]


def test_limits_are_read_off_the_connections() -> None:
    crm = SalesforceConnection(
        type="salesforce",
        login_url=ORG.upper().replace("HTTPS", "https"),
        client_id="a",
        client_secret="b",
        max_running=2,  # type: ignore[arg-type] # as the config file has it
    )
    limits = Limits.of({"crm": crm, "db": DuckdbConnection(type="duckdb")})
    assert (limits.max_running, limits.orgs) == ({"crm": 2}, {"crm": ORG})
    assert limits.demand(definition("update")) == Demand(
        connections=frozenset({"crm", "db"}), lane=f"{ORG} contact", alone=True
    )


def test_a_definition_that_says_nothing_takes_nothing() -> None:
    for odd in ({}, {"export": None}, {"export": "crm"}, {"source": 5, "export": {"connection": None}}):
        assert Limits().demand(odd) == Demand()
    to_a_file = {"source": "db", "export": {"connection": "out", "type": "file", "file": "x.csv"}}
    assert Limits().demand(to_a_file) == Demand(connections=frozenset({"db", "out"}))


def test_appends_to_one_object_go_side_by_side() -> None:
    assert admitted(gate(definition()), definition(), definition()) == [True, True]


def test_a_truncate_or_an_update_has_its_object_for_itself() -> None:
    for alone in ("truncate", "update"):
        assert admitted(gate(definition()), definition(alone)) == [False]
        assert admitted(gate(definition(alone)), definition(), definition("update")) == [False, False]
        assert admitted(gate(definition(alone)), definition("update", "Lead")) == [True]
        assert admitted(gate(), definition(alone), definition(alone)) == [True, False]


def test_one_object_of_one_org_is_one_whatever_the_connection_and_the_case() -> None:
    limits = Limits(orgs={"crm": ORG, "other": ORG, "sandbox": "https://test"})
    busy = definition("update", "CONTACT", to="other")
    assert admitted(gate(busy, limits=limits), definition("update")) == [False]
    assert admitted(gate(busy, limits=limits), definition("update", to="sandbox")) == [True]


def test_one_that_must_be_alone_is_not_overtaken_for_ever() -> None:
    candidates = [definition(), definition("truncate"), definition(), definition("truncate", "Lead")]
    assert admitted(gate(definition()), *candidates) == [True, False, False, True]


def test_a_run_that_has_begun_to_write_keeps_its_object_while_it_waits_for_its_next_try() -> None:
    truncate = definition("truncate")
    made = gate(begun=(truncate,))
    assert admitted(made, definition("update"), definition()) == [False, False]
    assert made.admit(truncate, begun=True), "it does not stand in its own way"


def test_a_connection_bears_so_many_runs_as_source_or_as_target() -> None:
    limits = Limits(max_running={"crm": 2, "db": 3})
    assert admitted(gate(definition(), limits=limits), definition(), definition()) == [True, False]
    elsewhere = definition(to="other")
    assert admitted(gate(elsewhere, limits=limits), elsewhere, elsewhere, elsewhere) == [True, True, False]


def test_a_held_connection_starts_nothing_and_then_one_run_that_tries() -> None:
    limits = Limits(max_running={"crm": 5})
    assert admitted(gate(limits=limits, crm=hold(-1, 4)), definition(), definition(to="other")) == [False, True]
    assert admitted(gate(limits=limits, crm=hold(-9, -4)), definition(), definition()) == [True, False]
    assert admitted(gate(definition(), crm=hold(-9, -4)), definition()) == [False]
    assert admitted(gate(crm=hold(60, 65)), definition()) == [True], "the clock was set back"


def test_names_to_lock_are_those_with_a_limit_and_the_object() -> None:
    limits = Limits(max_running={"crm": 2})
    assert gate(limits=limits).locks(definition()) == {"connection crm", "lane crm contact"}
    assert gate(limits=limits).locks({"source": "db", "export": {"connection": "files", "type": "file"}}) == set()


def test_the_pause_doubles_from_five_minutes_to_an_hour_and_errors_within_it_do_not_count() -> None:
    found: Hold | None = None
    now, pauses = NOON, []
    for _ in range(6):
        found = next_hold(found, "crm", "LIMIT_EXCEEDED", "m", now)
        assert next_hold(found, "crm", "LIMIT_EXCEEDED", "m", now + timedelta(seconds=9)) is found
        pauses.append(found.until - found.since)
        now = found.until
    assert pauses == [SHORTEST, 2 * SHORTEST, 4 * SHORTEST, 8 * SHORTEST, LONGEST, LONGEST]


def by_changes(name: str = "accounts", **export: Any) -> dict[str, Any]:
    return definition(**export) | {"name": name, "changes": "new"}


def test_a_run_that_sends_changes_writes_alone_and_waits_for_one_of_its_job_that_has_begun() -> None:
    assert Limits().demand(by_changes()).alone
    assert admitted(gate(begun=(by_changes(),)), by_changes()) == [False]
    assert gate(begun=(by_changes(),)).admit(by_changes(), begun=True)
    assert admitted(gate(by_changes()), definition()) == [False]
    file = by_changes() | {"export": {"connection": "out", "type": "file", "file": "a.csv"}}
    assert admitted(gate(begun=(file,)), file, file | {"name": "other"}) == [False, True]


def test_no_run_of_a_resting_job_starts() -> None:
    made = Gate(Limits(), {}, NOON, resting={"leads"})
    made.begin((), ())
    assert admitted(made, definition() | {"name": "leads"}, definition() | {"name": "others"}) == [False, True]
