"""docs/tutorial.md word for word: the wheel is built and installed under a prefix of its own, and all blocks are run.

Only the packages that schedctl stands on are not fetched again: this test talks to no network, so they are those of the
environment that runs it.
"""

import os
import re
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```sh\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Give a directory with the built wheel in dist/, as `make dist` leaves it."""
    command = [
        sys.executable,
        "-m",
        "build",
        "--wheel",
        "--no-isolation",
        "--outdir",
        str(tmp_path / "dist"),
        str(ROOT),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return tmp_path


def test_the_wheel_brings_the_man_page_and_nothing_of_the_tests(checkout: Path) -> None:
    (wheel,) = (checkout / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("share/man/man1/schedctl.1")]
    assert "scheduler/config.example.toml" in names
    assert {name.split("/")[0] for name in names} - {"_schedctl.py", "scheduler", "exporter", "storage"} == {
        name.split("/")[0] for name in names if ".dist-info/" in name or ".data/" in name
    }


@pytest.mark.timeout(400)
def test_the_tutorial_goes_through_as_it_stands(checkout: Path) -> None:
    blocks = BLOCK.findall(PAGE.read_text(encoding="utf-8"))
    blocks.append('~/schedctl/bin/python -c "import scheduler; print(scheduler.__file__)"\n')
    script = "set -eu\n" + "\n".join(f"echo '=== {number}'\n{block}" for number, block in enumerate(blocks))
    home = checkout / "home"
    home.mkdir()
    environment = {
        "HOME": str(home),
        "PATH": os.environ["PATH"],
        "PIP_NO_DEPS": "1",
        "PIP_NO_INDEX": "1",
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PYTHONPATH": sysconfig.get_path("purelib"),
        "COLUMNS": "200",
    }
    # -m gives each job of the shell a process group of its own, as in a terminal.
    done = subprocess.run(
        ["/bin/bash", "-m", "-c", script],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=380,
        check=False,
    )
    said = [part.partition("\n")[2] for part in done.stdout.split("=== ")[1:]]
    assert done.returncode == 0, (done.stdout[-3000:], done.stderr[-3000:])
    assert len(said) == len(blocks)
    everything = done.stdout
    assert said[-1].startswith(str(home / "schedctl")), "it is the installed wheel that ran"
    assert "ok     job people: 3 columns fit crm" in everything
    assert re.search(r"1 .*people.*partial", everything)
    assert "INVALID_EMAIL_ADDRESS" in everything
    assert "the daemon has read" in everything
    assert "succeeded, 2 read, 2 accepted, 0 rejected" in everything
    assert "the daemon has ended" in everything
    log = (home / "first-job" / "daemon.log").read_text(encoding="utf-8")
    assert '"event": "daemon.stopped"' in log
    assert "Traceback" not in log + done.stderr
