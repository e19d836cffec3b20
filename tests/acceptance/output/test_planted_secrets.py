"""A secret planted wherever one may stand is found nowhere: in no log, state, file, answer, metric or argument."""

import re
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.commands.command import Command
from support.loopback.receivers import free_port

from exporter.emulator.server import Emulator
from exporter.settings.connection import CONNECTION_MODELS
from scheduler.config.build import load
from scheduler.operations.jobs import sync_file_jobs
from storage.database import open_database

PLANT = "pl4nted"
FORMS = ("plain", "env", "file", "credential")
BROKEN = {"env": "%zz", "file": "/dor3", "credential": "@dor3"}
"""What makes of a password in a URL, by form, something that is read as none, or as a host or a port."""
DAEMON = """
import logging, sys
from pathlib import Path
import scheduler.daemon.daemon
import scheduler.runs.runner
from scheduler.observability import logging_setup

open_target = scheduler.runs.runner.open_target


def crash(connection, options, *, mirror):
    if getattr(connection, "username", None) == "crash":
        raise RuntimeError(f"{connection!r} {connection.password.get_secret_value()}")
    return open_target(connection, options, mirror=mirror)


scheduler.runs.runner.open_target = crash
logging_setup.configure(level="debug", mode="json")
for name in ("", "schedctl", "sqlalchemy.engine", "urllib3", "requests", "apscheduler", "apprise", "simple_salesforce",
             "tdclient", "trino"):
    logging.getLogger(name).setLevel(1)
sys.exit(scheduler.daemon.daemon.main(Path(sys.argv[1])))
"""
SALESFORCE = {
    "client_secret": 'client_id = "emulator"',
    "password": 'auth = "credentials"\nusername = "u"',
    "security_token": 'auth = "credentials"\nusername = "u"\npassword = "pl4nted-password"',
    "session_id": 'auth = "session_id"',
    "private_key": 'auth = "jwt"\nclient_id = "emulator"\nusername = "u"',
    "proxy": 'client_id = "emulator"\nclient_secret = "pl4nted-behind"',
}
POSTGRESQL = {"url": "", "password": 'host = "127.0.0.1"\nport = 1\ndatabase = "d"\nuser = "u"'}
TREASURE_DATA = {"api_key": 'endpoint = "http://127.0.0.1:1"\ndatabase = "d"\nretry_limit = 0'}
ADBC = {"uri": 'driver = "flightsql"', "options": 'driver = "flightsql"\nuri = "grpc://127.0.0.1:1"'}
MYSQL = {"url": "", "password": 'host = "127.0.0.1"\nport = 1\ndatabase = "d"\nuser = "u"'}
TRINO = {"password": 'host = "127.0.0.1"\nport = 1\nhttp_scheme = "http"\nuser = "u"'}
SQLALCHEMY = {"url": ""}
KINDS = {
    "salesforce": SALESFORCE,
    "postgresql": POSTGRESQL,
    "treasure_data": TREASURE_DATA,
    "adbc": ADBC,
    "mysql": MYSQL,
    "trino": TRINO,
    "sqlalchemy": SQLALCHEMY,
}


class Garden:
    """Plants secrets, each with a name of its own, in every form."""

    def __init__(self, command: Command) -> None:
        self._command = command
        self._credentials = command.directory / "credentials"
        self._credentials.mkdir()
        command.environment["CREDENTIALS_DIRECTORY"] = str(self._credentials)

    def plant(self, secret: str, form: str) -> str:
        """Put a secret where ``form`` has it, and return what the config file says of it."""
        name = f"S{len(list(self._credentials.iterdir()))}{len(self._command.environment)}"
        if form == "plain":
            return f"'{secret}'"
        if form == "env":
            self._command.environment[name] = secret
            return f'{{ env = "{name}" }}'
        path = self._credentials / name
        path.write_text(secret, encoding="utf-8")
        path.chmod(0o600)
        return f'{{ credential = "{name}" }}' if form == "credential" else f'{{ file = "{path}" }}'


SCHEMES = {"postgresql": "postgresql", "mysql": "mysql", "sqlalchemy": "postgresql+psycopg"}


def planted(key: str, form: str, kind: str = "postgresql") -> str:
    """Return a secret as it would stand under a key of that kind of connection."""
    secret = f"{PLANT}-{form}+/s3cret"
    wrapped = {
        "url": f"{SCHEMES.get(kind)}://u:{PLANT}-{form}{BROKEN.get(form, '')}@127.0.0.1:1/d",
        "proxy": f"http://u:{PLANT}-{form}@127.0.0.1:1",
        "uri": f"grpc://u:{PLANT}-{form}@127.0.0.1:1/{PLANT}",
    }
    return wrapped.get(key, secret)


def config(garden: Garden, org: str, metrics: int, hook: int) -> tuple[str, list[str]]:
    """Return a config file with a job for each key and form of a secret, and the names of the jobs."""
    urls = [garden.plant(f"json://u:{PLANT}-{form}@127.0.0.1:{hook}/{PLANT}", form) for form in FORMS]
    parts = [
        f'[metrics]\nlisten = "127.0.0.1:{metrics}"\ntextfile = "metrics.prom"\n[daemon]\nmax_running = 8',
        f"[notify]\nurls = [{', '.join(urls)}]",
        '[connections.here]\ntype = "duckdb"\n[connections.files]\ntype = "file"\ndirectory = "out"',
    ]
    names = []
    for kind, keys in KINDS.items():
        for key, rest in keys.items():
            for form in FORMS:
                name = f"{kind}-{key}-{form}"
                address = f'login_url = "{org}"\nretry_limit = 0' if kind == "salesforce" else ""
                reference = garden.plant(planted(key, form, kind), form)
                if key == "options":
                    reference = f'{{ password = {reference}, username = "u" }}'
                parts.append(f'[connections.{name}]\ntype = "{kind}"\n{address}\n{rest}\n{key} = {reference}')
                source, target = ("here", name) if kind == "salesforce" else (name, "files")
                parts.append(job(name, source, target, kind))
                names.append(name)
    rest = f'type = "salesforce"\nlogin_url = "{org}"\nauth = "credentials"\nusername = "crash"'
    parts.append(f"[connections.crash]\n{rest}\npassword = {garden.plant(planted('password', 'file'), 'file')}")
    parts.append(job("crash", "here", "crash", "salesforce"))
    return "\n".join(parts), [*names, "crash"]


def job(name: str, source: str, target: str, kind: str) -> str:
    object_ = 'object = "Contact"' if kind == "salesforce" else ""
    return (
        f'[jobs.{name}]\ncron = "@hourly"\nsource = "{source}"\nretry_limit = 0\nquery = "select 1 as a"\n'
        f'[jobs.{name}.export]\nconnection = "{target}"\n{object_}'
    )


@pytest.fixture
def org() -> Iterator[Emulator]:
    """Give a Salesforce that lets none of these secrets in."""
    with Emulator() as org:
        yield org


def clean(text: str | bytes, where: str) -> None:
    """Fail, with the place, if a planted secret is in a text."""
    data = text if isinstance(text, bytes) else text.encode()
    at = data.find(PLANT.encode())
    assert at < 0, f"{where}: …{data[max(0, at - 300) : at + 60]!r}"


def test_every_key_of_a_secret_is_planted() -> None:
    known = {
        (kind, key)
        for kind, model in CONNECTION_MODELS.items()
        for key, field in model.model_fields.items()
        if "Secret" in str(field.annotation)
    }
    assert known == {(kind, key) for kind, keys in KINDS.items() for key in keys}


def test_a_secret_planted_everywhere_is_found_nowhere(tmp_path: Path, org: Emulator) -> None:
    command = Command(tmp_path)
    metrics = free_port()
    text, names = config(Garden(command), org.url, metrics, free_port())
    command.write(text)
    owe_a_slot(command)
    log = tmp_path / "daemon.log"
    with log.open("wb") as stream:
        arguments = [sys.executable, "-c", DAEMON, str(command.config)]
        daemon = subprocess.Popen(arguments, env=command.environment, cwd=tmp_path, stdout=stream, stderr=stream)
    try:
        until(log, lambda text: "metrics.listening" in text)
        until(log, lambda text: len(re.findall(r'"event": "run.(?:settled|crashed)"', text)) >= len(names))
        until(log, lambda text: "notice.not_sent" in text)
        clean(Path(f"/proc/{daemon.pid}/cmdline").read_bytes(), "the daemon's arguments")
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=20) as answer:
            clean(answer.read(), "metrics")
        look_at_all_commands(command, names)
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(timeout=60)
    finally:
        daemon.kill()
        daemon.wait()
    text = log.read_text(encoding="utf-8")
    codes = set(re.findall(r'"event": "run.settled".*"code": "([A-Z_a-z]+)"', text))
    assert not codes & {"SECRET_UNAVAILABLE", "UNKNOWN_CONNECTION"}  # each got as far as using its secret
    assert len(codes) >= 4, codes
    assert "Traceback" in text
    assert '"level": "debug"' in text
    for each in text.splitlines():
        clean(each, "the daemon's log")
    assert (tmp_path / "metrics.prom").is_file()
    looked_at = [path for path in tmp_path.rglob("*") if path.is_file() and path != command.config]
    looked_at = [path for path in looked_at if path.parent.name != "credentials"]
    assert any(path.name == "state.db" for path in looked_at)
    for path in looked_at:
        clean(path.read_bytes(), str(path))


def owe_a_slot(command: Command) -> None:
    """Let the jobs be defined an hour ago, so that the daemon owes a slot of each when it starts."""
    database = open_database(f"sqlite:///{command.state / 'state.db'}")
    sync_file_jobs(database, load(command.config), datetime.now(UTC) - timedelta(hours=1))
    database.close()


def look_at_all_commands(command: Command, names: list[str]) -> None:
    """Ask for everything there is to be told, with tracebacks, and look for secrets in it."""
    looks = [
        ["list"],
        ["status"],
        ["runs", "--limit", "100"],
        ["check"],
        ["connections"],
        ["audit"],
        ["forecast"],
        *(["show", name] for name in names[:: len(FORMS) + 1]),
        *(["runs", "show", str(number)] for number in (1, len(names) // 2, len(names))),
        *(["connections", "test", name] for name in names[:: len(FORMS) + 1]),
        ["notify", "test"],
        ["run", names[1], "--wait"],
        ["preview", "postgresql-url-file"],
    ]
    debugging = {**command.environment, "SCHEDCTL_DEBUG": "1"}
    for look in looks:
        answer = command.run([*look, "--json"], debugging, None)
        assert answer.code in (0, 1), (look, answer)
        clean(answer.out, f"{look} stdout")
        clean(answer.err, f"{look} stderr")


def until(log: Path, holds: object) -> None:
    """Wait for the log to say something."""
    limit = time.monotonic() + 120
    while not holds(log.read_text(encoding="utf-8")):  # type: ignore[operator]
        assert time.monotonic() < limit, log.read_text(encoding="utf-8")[-3000:]
        time.sleep(0.1)


def test_the_search_finds_what_is_there() -> None:
    with pytest.raises(AssertionError, match="here"):
        clean(f"x {PLANT}-y", "here")
