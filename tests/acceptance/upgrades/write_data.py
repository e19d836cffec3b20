"""What a version leaves behind, as data for the tests of later ones: `python tests/acceptance/upgrades/write_data.py`.

It writes a folder named by the version: a config file, a state database, and the spool of a run that waits for its next
attempt. Run it once, when the version is released; the folder never changes afterwards.
"""

import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1]))

from support.runs.whole_runs import SECRET, Workplace  # noqa: E402 - once it is found

from exporter.emulator.fault_injection import CallFault  # noqa: E402 - the same
from exporter.emulator.server import Emulator  # noqa: E402 - the same

ADDRESS = "http://127.0.0.1:1"
JOB = 'cron = "0 3 1 1 *"\n[jobs.things.export]\nconnection = "crm"\nobject = "Contact"\nbatch_size = 2\n'
GOOD = [{"LastName": f"first {number}"} for number in range(3)]
PARTLY = [{"LastName": "second"}, {"LastName": None}]
WAITING = [{"LastName": f"third {number}"} for number in range(5)]


def main() -> None:
    """Write the folder of this version: a run that succeeded, one with a rejected row, and one that waits."""
    kept = HERE / version("schedctl")
    directory = Path(tempfile.gettempdir()) / f"schedctl-{kept.name}"  # states and spools name where they were written
    for old in (kept, directory):
        shutil.rmtree(old, ignore_errors=True)
    with Emulator() as emulator:
        emulator.org.rights = replace(emulator.org.rights, client_secret=SECRET)
        work = Workplace(directory, url=emulator.url, job=JOB, storage="sqlite:///state.db")
        outcomes = [work.run(GOOD).outcome, work.run(PARTLY).outcome]
        emulator.faults.add(CallFault(pattern=r"POST .*/job$", action="answer", nth=tuple(range(1, 99))))
        work.put(WAITING)
        waiting = work.attempt(work.ask())
    assert (outcomes, waiting and waiting.state) == (["succeeded", "partial"], "waiting"), (outcomes, waiting)
    work.file.write_text(work.file.read_text(encoding="utf-8").replace(emulator.url, ADDRESS), encoding="utf-8")
    (directory / "rows.parquet").unlink()
    with closing(sqlite3.connect(directory / "state.db")) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("VACUUM")
    shutil.move(directory, kept)
    for path in sorted(kept.rglob("*")):
        print(path.relative_to(HERE), path.stat().st_size if path.is_file() else "")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
