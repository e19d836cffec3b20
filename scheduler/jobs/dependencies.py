"""What is wrong with jobs that run after others: keys of a schedule, parents that there are not, circles. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from scheduler.errors.setting_faults import Fault, nearest, show

KEY = "after"
UNSET: Mapping[str, object] = {
    "cron": "",
    "starts_at": None,
    "step": "multiples",
    "day_match": "or",
    "dst": "once",
    "gap": None,
    "fold": None,
    "catch_up_window": 7 * 86_400,
}
"""The keys that a follower has no use for, at the values that say nothing: its slots are those of its parents."""
_FEW = 10
"""So many jobs are named in a fault; there may be thousands."""


def key_faults(table: Mapping[str, object]) -> list[Fault]:
    """Return what a job's table says of a schedule although it names parents, and a parent that is named twice."""
    parents = table.get(KEY)
    if not isinstance(parents, list | tuple) or not parents:
        return []
    why = "its slots are those of the jobs in `after`: remove one of the two"
    found = [
        Fault(keys=(key,), message=f"{key} = {show(table[key])} and after exclude each other: {why}")
        for key, unset in UNSET.items()
        if table.get(key) not in (None, unset)
    ]
    twice = sorted({each for each in parents if isinstance(each, str) and list(parents).count(each) > 1})
    return [*found, *(Fault(keys=(KEY,), message=f"after names {each} twice: remove one") for each in twice)]


def graph_faults(
    parents: Mapping[str, Sequence[str]], known: Collection[str], *, where: str = "", names: Iterable[str]
) -> list[Fault]:
    """Return, for the jobs in ``names``, the parents that there are not, and the circles that they are part of.

    ``parents`` has what each job runs after, and no entry need be there for one that runs after none; ``known`` are the
    names of all jobs, ``where`` says in which place they stand.
    """
    found: list[Fault] = []
    for name in names:
        place = ("jobs", name, KEY)
        for parent in parents.get(name, ()):
            if parent not in known:
                near = _nearest(parent, set(known) - {name})
                found.append(Fault(keys=place, message=f"after {show(parent)}: job not found{where}; {near}"))
        if circle := _circle(name, parents):
            told = (
                "it cannot run after itself"
                if len(circle) == 1
                else f"a dependency cycle: {' after '.join([*circle, name])}"
            )
            found.append(Fault(keys=place, message=f"{told}; remove one of these from its after"))
    return found


def _nearest(parent: str, known: Collection[str]) -> str:
    words = nearest(parent, known)
    return words if len(known) <= _FEW or words.startswith("did") else "schedctl list shows those that there are"


def _circle(name: str, parents: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the way from a job over what it runs after back to itself, without its end; empty if there is none."""
    ways, seen = [[name]], {name}
    while ways:
        way = ways.pop(0)
        for parent in parents.get(way[-1], ()):
            if parent == name:
                return way
            if parent not in seen:
                seen.add(parent)
                ways.append([*way, parent])
    return []
