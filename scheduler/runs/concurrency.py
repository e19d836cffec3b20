"""Which due runs may start beside those that go on: room on a connection, and one writer to an object. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from exporter.settings.connection import Connection, SalesforceConnection
from scheduler.jobs.outline import Outline


class Held(Protocol):
    """What is asked of a held connection."""

    def is_in_force(self, now: datetime) -> bool:
        """Whether nothing may be started yet."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Demand:
    """What a run takes: its connections; and the object that it writes to, alone unless it only appends.

    A run that sends changes only writes alone too, to a file as well: what it sends hangs on what arrived before.
    """

    connections: frozenset[str] = frozenset()
    lane: str | None = None
    alone: bool = False


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What the config file says: how many runs a connection bears, and to which org each leads."""

    max_running: Mapping[str, int] = field(default_factory=dict)
    orgs: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, connections: Mapping[str, Connection]) -> "Limits":
        """Read them off the connections by name."""
        return cls(
            max_running={name: each.max_running for name, each in connections.items() if each.max_running is not None},
            orgs={
                name: each.login_url.lower()
                for name, each in connections.items()
                if isinstance(each, SalesforceConnection)
            },
        )

    def demand(self, definition: Mapping[str, Any]) -> Demand:
        """Return what a run of this definition takes; of a definition that says nothing, nothing."""
        outline = Outline(definition)
        export, target, name = outline.export, outline.target, outline.export.get("object")
        if not export:
            return Demand()
        names, by_changes = frozenset(outline.connections), not outline.sends_all
        if by_changes and export.get("type") != "salesforce":
            return Demand(connections=names, lane=f"job {outline.name}", alone=True)
        if export.get("type") != "salesforce" or not target or not isinstance(name, str):
            return Demand(connections=names)
        lane = f"{self.orgs.get(target, target)} {name.lower()}"
        return Demand(connections=names, lane=lane, alone=by_changes or export.get("mode") in {"truncate", "update"})


class Gate:
    """Lets due runs pass one by one, those due longest first, and counts them as running from then on."""

    def __init__(
        self, limits: Limits, held: Mapping[str, Held], now: datetime, *, resting: AbstractSet[str] = frozenset()
    ) -> None:
        """``held`` are the connections with a used-up quota, ``resting`` the jobs of which no run is started."""
        self._limits = limits
        self._resting = resting
        # Once a hold is over, one run at a time tries how things are.
        rooms = {name: 0 if hold.is_in_force(now) else 1 for name, hold in held.items()}
        self._rooms = {**limits.max_running}
        for name, room in rooms.items():
            self._rooms[name] = min(room, self._rooms.get(name, room))
        self._busy: Counter[str] = Counter()
        self._writing: Counter[str] = Counter()
        self._alone: Counter[str] = Counter()
        self._begun: Counter[str] = Counter()
        self._begun_alone: Counter[str] = Counter()
        self._awaited: set[str] = set()

    def locks(self, definition: Mapping[str, Any]) -> AbstractSet[str]:
        """Return the names that nobody else may decide about at the same time."""
        demand = self._limits.demand(definition)
        names = {f"connection {name}" for name in demand.connections & self._rooms.keys()}
        return names if demand.lane is None else names | {f"lane {demand.lane}"}

    def begin(self, running: Iterable[Mapping[str, Any]], begun: Iterable[Mapping[str, Any]]) -> None:
        """Take note of what goes on: runs that run, and runs that wait but have written something already."""
        for counter in (self._busy, self._writing, self._alone, self._begun, self._begun_alone):
            counter.clear()
        for definition in running:
            self._count(self._limits.demand(definition))
        for definition in begun:
            demand = self._limits.demand(definition)
            if demand.lane is not None:
                self._begun[demand.lane] += 1
                self._begun_alone[demand.lane] += demand.alone

    def admit(self, definition: Mapping[str, Any], *, begun: bool) -> bool:
        """Say whether a run may start now, and count it if so. ``begun``: it has written something already.

        A run that must write alone and has to wait keeps younger ones of its object waiting too, or it might never
        find the object free.
        """
        if Outline(definition).name in self._resting:
            return False
        demand = self._limits.demand(definition)
        if any(self._busy[name] >= self._rooms[name] for name in demand.connections & self._rooms.keys()):
            return False
        lane = demand.lane
        if lane is not None:
            others = self._writing[lane] + (0 if begun else self._begun[lane])
            others_alone = self._alone[lane] + (0 if begun else self._begun_alone[lane])
            blocked = others if demand.alone else others_alone
            if blocked or (lane in self._awaited and not begun):
                if demand.alone:
                    self._awaited.add(lane)
                return False
        self._count(demand)
        return True

    def _count(self, demand: Demand) -> None:
        self._busy.update(demand.connections)
        if demand.lane is not None:
            self._writing[demand.lane] += 1
            self._alone[demand.lane] += demand.alone
