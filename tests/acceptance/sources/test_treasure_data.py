"""Queries in Treasure Data under the installed command: one job per run over kill -9, drains and lost answers."""

import csv
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.commands.command import SCHEDCTL, Command
from support.databases.td_server import DATABASE, KEY, TdServer, td_server

CONFIG = """
[daemon]
drain_timeout = "1s"
[connections.td]
type = "treasure_data"
api_key = {{ env = "TD_KEY" }}
endpoint = "{url}"
database = "{database}"
initial_retry_delay = 0
[connections.files]
type = "file"
directory = "out"
[jobs.rows]
timeout = "{timeout}"
initial_retry_delay = 0
source = "td"
query = "{query}"
{params}
[jobs.rows.export]
connection = "files"
file = "rows.csv"
"""
QUERY = "select n, TD_SCHEDULED_TIME() as slot, :scheduled_time as at, :region as region from numbers order by n"
PARAMS = """params = { region = "it's -- \\"EU\\"" }"""


class Site:
    """An installation whose rows come from a Treasure Data on this machine."""

    def __init__(self, directory: Path, server: TdServer) -> None:
        self.server = server
        self.command = Command(directory, "")
        self.command.environment["TD_KEY"] = KEY
        self.configure()

    def configure(self, *, query: str = QUERY, params: str = PARAMS, timeout: str = "1h") -> None:
        settings = {"query": query, "params": params, "timeout": timeout}
        self.command.write(CONFIG.format(url=self.server.url, database=DATABASE, **settings))

    @contextmanager
    def daemon(self) -> Iterator[subprocess.Popen[bytes]]:
        with (self.command.directory / "daemon.log").open("ab") as log:
            arguments = [SCHEDCTL, "daemon"]
            place = self.command.directory
            process = subprocess.Popen(arguments, env=self.command.environment, cwd=place, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def until(self, holds: Callable[[], object]) -> None:
        limit = time.monotonic() + 60
        while not holds():
            assert time.monotonic() < limit, (self.command.directory / "daemon.log").read_text()[-4000:]
            time.sleep(0.05)

    def run(self) -> dict[str, object]:
        """Return the newest run."""
        return dict(self.command("runs", "rows", "--json").json["runs"][0])

    def jobs(self) -> list[str]:
        return [job.status for job in list(self.server.jobs.values())]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with td_server() as server:
        server.engine.execute("create table numbers as select n from range(3000) t(n)")
        yield Site(tmp_path, server)


def test_a_run_sends_the_slot_and_the_values_as_literals_and_every_row_arrives(site: Site) -> None:
    at = datetime(2026, 11, 23, 3, tzinfo=UTC)
    site.command("run", "rows", "--at", "2026-11-23T03:00:00Z", "--wait")
    with (site.command.directory / "out" / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["n"]) for row in rows] == list(range(3000))
    assert {(row["slot"], row["region"]) for row in rows} == {(str(int(at.timestamp())), 'it\'s -- "EU"')}
    assert {datetime.fromisoformat(row["at"]) for row in rows} == {at}
    (job,) = site.server.jobs.values()
    assert job.form["scheduled_time"] == str(int(at.timestamp()))
    assert "TD_SCHEDULED_TIME" not in job.form["query"]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_daemon_that_goes_takes_its_job_up_again_when_it_is_back(site: Site, how: signal.Signals) -> None:
    site.server.go_on.clear()
    with site.daemon() as daemon:
        site.until(lambda: site.command("status", code=None).code == 0)
        site.command("run", "rows")
        site.until(lambda: "running" in site.jobs())
        daemon.send_signal(how)
        daemon.wait(timeout=40)
    assert site.jobs() == ["running"]
    site.server.go_on.set()
    with site.daemon():
        site.until(lambda: site.run()["outcome"] is not None)
    assert (site.run()["outcome"], site.jobs()) == ("succeeded", ["success"])
    posts = [call for call in site.server.calls if call.startswith("POST")]
    assert [call.partition("/job/")[2].split("/")[0] for call in posts] == ["issue", "issue"]


def test_an_answer_that_is_lost_before_kill_9_leads_back_to_the_job(site: Site) -> None:
    site.server.plant("^POST /v3/job/issue/", lost=True)
    site.server.plant("^POST /v3/job/issue/", status=503, times=99)
    with site.daemon() as daemon:
        site.until(lambda: site.command("status", code=None).code == 0)
        site.command("run", "rows")
        site.until(lambda: site.server.jobs)
        daemon.kill()
        daemon.wait()
    site.server.faults.clear()
    with site.daemon():
        site.until(lambda: site.run()["outcome"] is not None)
    assert (site.run()["outcome"], site.jobs()) == ("succeeded", ["success"])


def test_a_cancel_kills_the_job(site: Site) -> None:
    site.server.go_on.clear()
    with site.daemon():
        site.until(lambda: site.command("status", code=None).code == 0)
        site.command("run", "rows")
        site.until(lambda: "running" in site.jobs())
        site.command("cancel", str(site.run()["id"]))
        site.until(lambda: site.run()["outcome"] is not None)
    assert (site.run()["outcome"], site.jobs()) == ("canceled", ["killed"])


def test_a_timeout_kills_the_job_and_the_next_run_has_one_of_its_own(site: Site) -> None:
    site.configure(timeout="2s")
    site.server.go_on.clear()
    with site.daemon():
        site.until(lambda: site.command("status", code=None).code == 0)
        site.command("run", "rows")
        site.until(lambda: site.run()["outcome"] is not None)
    assert (site.run()["outcome"], site.jobs()) == ("failed", ["killed"])
    site.server.go_on.set()
    site.command("run", "rows", "--wait")
    assert site.jobs() == ["killed", "success"]


@pytest.mark.parametrize(
    ("query", "code", "says"),
    [
        ("select gone from numbers", "JOB_FAILED", "gone"),
        ("delete from numbers", "NOT_A_SELECT", "DELETE"),
        ("select n from numbers; select 1", "NOT_ONE_QUERY", "2 statements"),
    ],
)
def test_a_query_that_only_a_person_can_mend_is_told_in_one_line(site: Site, query: str, code: str, says: str) -> None:
    site.configure(query=query, params="")
    site.command("run", "rows", "--wait", code=1)
    failure = site.run()["failure"]
    assert isinstance(failure, dict)
    assert (failure["kind"], failure["code"]) == ("configuration", code)
    assert says in failure["message"]
    assert "\n" not in failure["message"]


def test_a_check_says_which_key_is_wrong_and_never_shows_it(site: Site) -> None:
    assert "td" in site.command("check", "--connections").out
    site.command.environment["TD_KEY"] = "1/planted-key"
    answer = site.command("check", "--connections", code=None)
    assert answer.code != 0
    assert "correct api_key" in answer.out + answer.err
    assert "planted" not in answer.out + answer.err


def test_a_preview_shows_rows_and_leaves_nothing_running(site: Site) -> None:
    shown = site.command("preview", "rows", "-n", "2", "--json").json
    assert [row["values"]["n"] for row in shown["rows"]] == ["0", "1"]
    assert site.jobs() == ["success"]
