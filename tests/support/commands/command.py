"""The installed `schedctl`, with a config file and a state directory of its own."""

import contextlib
import io
import json
import logging
import os
import pty
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from support.commands import answers, forked

from scheduler.cli.main import run

SCHEDCTL = Path(sysconfig.get_path("scripts")) / "schedctl"
CONFIG = """
[connections.warehouse]
type = "duckdb"
[connections.files]
type = "file"
directory = "out"
[connections.crm]
type = "salesforce"
login_url = "http://127.0.0.1:9"
client_id = "3MVG"
client_secret = { env = "CRM_SECRET" }
"""
NIGHTLY = """
[jobs.nightly]
cron = "0 3 * * mon-fri"
timezone = "America/New_York"
delay = "10m"
source = "warehouse"
query = "select 1 as number, 'one' as word"
[jobs.nightly.export]
connection = "files"
file = "numbers.csv"
"""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The JSON error object."""
        error = self.json["error"]
        assert set(error) == {"kind", "message", "faults"}
        return dict(error)


class Command:
    """Runs `schedctl` in a directory with its own state; `environment` comes on top of a bare one.

    Unless ``afresh``, the process is forked from one that has imported everything; see :mod:`support.commands.forked`.
    """

    afresh = False

    def __init__(self, directory: Path, config: str = CONFIG + NIGHTLY) -> None:
        self.directory = directory
        self.config = directory / "config.toml"
        self.state = directory / "state" / "schedctl"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "XDG_STATE_HOME": str(directory / "state"),
            "SCHEDCTL_CONFIG": str(self.config),
        }
        self.write(config)

    def write(self, config: str) -> None:
        self.config.write_text(config, encoding="utf-8")
        self.config.chmod(0o600)

    def __call__(
        self,
        *arguments: str | Path,
        code: int | None = 0,
        environment: Mapping[str, str] | None = None,
        stdin: str | None = None,
    ) -> Answer:
        """Run a command and check its exit code, and that it shows no traceback."""
        answer = self.run([str(argument) for argument in arguments], {**self.environment, **(environment or {})}, stdin)
        assert "Traceback" not in answer.err, answer.err
        if code is not None:
            assert answer.code == code, answer
        if "--json" in arguments and answer.out:
            answers.check([str(argument) for argument in arguments], answer.out)
        return answer

    def run(self, arguments: list[str], environment: Mapping[str, str], stdin: str | None) -> Answer:
        """Run a command as a process."""
        if not self.afresh and forked.can_run(environment):
            done = forked.run(
                SCHEDCTL, arguments, environment=environment, directory=self.directory, stdin=stdin, timeout=60
            )
            return Answer(code=done.returncode, out=done.stdout, err=done.stderr)
        done = subprocess.run(
            [SCHEDCTL, *arguments],
            env=environment,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return Answer(code=done.returncode, out=done.stdout, err=done.stderr)

    def on_terminal(self, *arguments: str, environment: Mapping[str, str] | None = None, code: int | None = 0) -> str:
        """Run a command on a terminal of 80 columns and return what it shows there."""
        ours, theirs = pty.openpty()
        variables = {**self.environment, "TERM": "xterm-256color", "COLUMNS": "80", **(environment or {})}
        with subprocess.Popen(
            [SCHEDCTL, *arguments], env=variables, cwd=self.directory, stdin=theirs, stdout=theirs, stderr=theirs
        ) as process:
            os.close(theirs)
            shown = b""
            with contextlib.suppress(OSError):  # Linux tells the end of a terminal by EIO
                while chunk := os.read(ours, 4096):
                    shown += chunk
            os.close(ours)
            ended = process.wait(timeout=60)
            assert code in (None, ended), shown
        return shown.decode()

    def fails(self, *arguments: str | Path, code: int, says: str) -> Answer:
        """Run a command that is refused: one `schedctl:` line (or one per fault), also as JSON; return the latter."""
        plain = self(*arguments, code=code)
        assert plain.out == "", plain
        lines = [line for line in plain.err.splitlines() if not line.startswith("schedctl: warning: ")]
        assert lines, plain
        assert all(line.startswith("schedctl: ") for line in lines), plain
        assert says in plain.err, plain.err
        as_json = self(*arguments, "--json", code=code)
        assert as_json.error["message"]
        assert as_json.err.startswith("schedctl: "), as_json
        return as_json


@contextlib.contextmanager
def logging_as_it_was() -> Iterator[None]:
    """Undo what a command makes of this process's logging: with `run --wait` it would be silent for later tests."""
    loggers = [logging.getLogger(name) for name in (None, "schedctl", *logging.root.manager.loggerDict)]
    levels, handlers = [each.level for each in loggers], logging.root.handlers[:]
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)
        logging.root.handlers[:] = handlers
        logging.captureWarnings(capture=False)


class QuickCommand(Command):
    """The same command line inside this process, for tests of many small variations."""

    def run(self, arguments: list[str], environment: Mapping[str, str], stdin: str | None) -> Answer:
        """Run a command here."""
        out, err = io.StringIO(), io.StringIO()
        with (
            mock.patch.dict(os.environ, environment, clear=True),
            mock.patch("sys.stdin", io.StringIO(stdin or "")),
            contextlib.chdir(self.directory),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            logging_as_it_was(),
        ):
            code = run(arguments)
        return Answer(code=code, out=out.getvalue(), err=err.getvalue())
