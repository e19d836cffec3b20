"""The daemon as installed, killed in the middle of a truncate: nothing is lost, doubled or left over."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.commands.command import Command
from support.commands.service import JOB, SCHEMA, Service

from exporter.emulator.server import Emulator

ROWS = 4_000
TRUNCATE = JOB.replace("* * * * *", "0 0 1 1 *") + 'mode = "truncate"\nbulk_api = "{api}"\n'


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    with Emulator(state=tmp_path / "org.db", schema=SCHEMA) as org:
        yield Service(Command(tmp_path), org)


@pytest.mark.parametrize("api", ["1", "2"])
@pytest.mark.parametrize("moment", ["while it deletes", "while it inserts"])
def test_kill_9_in_a_truncate_and_a_restart_end_with_the_new_rows_exactly(
    service: Service, moment: str, api: str
) -> None:
    service.configure(JOB.format(name="seed", rows=ROWS, object="Row__c", size=500).replace("select i", "select -i"))
    service.command("run", "seed", "--wait")
    service.configure(TRUNCATE.format(name="rows", rows=ROWS, object="Row__c", size=100, api=api))
    service.command("reload", "--confirm")

    def begun() -> bool:
        there = service.org.org.count("Row__c")
        deleted = service.org.org.count("Row__c", deleted=True)
        return deleted > 0 if moment == "while it deletes" else deleted == ROWS and there > 0

    with service.daemon() as daemon:
        service.until(lambda: service.command("status", code=None).code == 0)
        service.command("run", "rows")
        service.until(begun)
        daemon.kill()
        daemon.wait()
    with service.daemon():
        service.until(lambda: service.runs("rows")[0].state == "finished")
        spools = service.command.state / "spool"
        service.until(lambda: [path for path in spools.glob("run-*") if not path.name.endswith("-deleted")] == [])
    run = service.runs("rows")[0]
    assert (run.outcome, run.rows_read, run.rows_accepted, run.rows_deleted) == ("succeeded", ROWS, ROWS, ROWS)
    assert service.numbers() == dict.fromkeys(range(ROWS), 1)
    shown = service.command("runs", "show", str(run.id))
    assert f"{ROWS:,}" in next(line for line in shown.out.splitlines() if line.startswith("deleted"))
    assert [path.is_dir() for path in (service.command.state / "spool").glob(f"run-{run.id}-*-deleted")] == [True]
