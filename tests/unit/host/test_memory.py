"""What a process may take, by the machine and by its control groups; and that freed memory goes back."""

from pathlib import Path

import pytest

from exporter.host.memory import give_back, machine_memory, use_little_memory


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({}, None),
        ({"": "max", "system.slice": "max"}, None),
        ({"system.slice/schedctl.service": "200000000"}, 200_000_000),
        ({"system.slice": "100000000", "system.slice/schedctl.service": "200000000"}, 100_000_000),
        ({"system.slice/other.service": "1000"}, None),
    ],
)
def test_the_smallest_limit_on_the_way_up_holds(tmp_path: Path, limits: dict[str, str], expected: int | None) -> None:
    for group, limit in limits.items():
        (tmp_path / "cgroup" / group).mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / group / "memory.max").write_text(f"{limit}\n")
    membership = tmp_path / "membership"
    membership.write_text("0::/system.slice/schedctl.service\n")
    whole = machine_memory(cgroups=tmp_path / "none", membership=tmp_path / "none")
    assert machine_memory(cgroups=tmp_path / "cgroup", membership=membership) == (expected or whole)


def test_giving_back_and_taking_little_do_no_harm_at_any_time() -> None:
    give_back()
    use_little_memory()
    use_little_memory()
    give_back()
