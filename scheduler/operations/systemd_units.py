"""The systemd unit of this installation: its text from the one in the package, and the file that it is written to."""

import os
import re
import stat
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from exporter.host.regular_files import read_regular
from scheduler.errors.operation_error import failed, usage
from scheduler.state.location import SYSTEM_STATE, locate, marker_beside, remember, stated_file
from storage.fast_read import NoGlance

NAME = "schedctl.service"
SYSTEM_DIRECTORY = Path("/etc/systemd/system")
SYSTEM_ONLY = "# Only the system's service manager can give what follows"
"""The line of the unit from which on, up to [Install], it is not for a user's service manager."""
_COMMAND = "/opt/schedctl/bin/schedctl"
_CONFIG = "/etc/schedctl/config.toml"
_HIDDEN = {
    "ProtectHome=": (Path("/home"), Path("/root"), Path("/run/user")),
    "PrivateTmp=": (Path("/tmp"), Path("/var/tmp")),  # noqa: S108 - told apart, not used
}
"""What the unit's sandbox hides from the daemon."""
_PLAIN = re.compile(r"[A-Za-z0-9/._@:+,=-]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A unit file as it is to be: ``path`` is where, ``text`` is all of it."""

    path: Path
    text: str
    command: Path
    config: Path
    user: bool

    @property
    def steps(self) -> tuple[str, ...]:
        """The commands that come next: each also works where the unit was there before."""
        systemctl = "systemctl --user" if self.user else "sudo systemctl"
        steps = (f"{systemctl} daemon-reload", f"{systemctl} enable schedctl", f"{systemctl} restart schedctl")
        return (*steps, "loginctl enable-linger") if self.user else steps


def unit_directory(environ: Mapping[str, str], *, user: bool) -> Path:
    """Return where unit files of an administrator, or of a user, belong (the systemd.unit(5) manual page)."""
    if not user:
        return SYSTEM_DIRECTORY
    given = Path(environ.get("XDG_CONFIG_HOME", ""))
    home = given if given.is_absolute() else Path(environ.get("HOME") or Path.home(), ".config")
    return home / "systemd" / "user"


def this_command() -> Path:
    """Return the console script of this installation; OperationError if there is none."""
    script = Path(sysconfig.get_path("scripts"), "schedctl")
    started = Path(sys.argv[0]).absolute()
    for found in (script, started):
        if found.name == "schedctl" and os.access(found, os.X_OK):
            return found
    raise failed(
        f"this installation has no command {script}; install schedctl with pip, into an environment of its own"
    )


def make_unit(*, command: Path, config: Path, directory: Path, user: bool) -> Unit:
    """Return the unit that runs ``command`` on ``config``, both absolute. OperationError if one cannot stand in it."""
    source = (files("scheduler") / "units" / NAME).read_text(encoding="utf-8")
    return Unit(
        path=directory.absolute() / NAME,
        text=unit_text(source, command=command, config=config, user=user),
        command=command,
        config=config,
        user=user,
    )


def unit_text(source: str, *, command: Path, config: Path, user: bool) -> str:
    """Return the text of a unit: ``source`` with these paths, and for a user's manager without what only root's has."""
    lines: list[str] = []
    is_system_only = False
    for line in source.splitlines():
        is_system_only = line.startswith(SYSTEM_ONLY) or (is_system_only and not line.startswith("["))
        if user and (is_system_only or "network-online.target" in line):  # a user's manager knows no such target
            continue
        lines.append(_with_paths(line, command, config) if line.startswith("Exec") else line)
    text = "\n".join(lines) + "\n"
    return text.replace("WantedBy=multi-user.target", "WantedBy=default.target") if user else text


def _with_paths(line: str, command: Path, config: Path) -> str:
    return line.replace(_COMMAND, quoted(command, is_command=True), 1).replace(_CONFIG, quoted(config), 1)


def quoted(path: Path, *, is_command: bool = False) -> str:
    """Return a path as a word of ExecStart=, by the systemd.service(5) manual page: in the command no $ is replaced."""
    text = str(path)
    if not text.isprintable() or (is_command and set(text) & set("\"'\\")):  # which systemd refuses in a command
        raise usage(f"{text!r} holds a character that cannot stand in a unit; use another path")
    if _PLAIN.fullmatch(text):
        return text
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{text}"' if is_command else f'"{text.replace("$", "$$")}"'


def doubts(unit: Unit) -> list[str]:
    """Say what will keep the daemon from starting under this unit, a line each: what it cannot see or read."""
    found = [] if unit.config.is_file() else [f"there is no config file {unit.config} yet; the daemon needs one"]
    if unit.user:
        return found
    needed = (
        ("the command", unit.command),
        ("its Python", Path(sys.executable).resolve()),
        ("the config", unit.config),
    )
    for what, path in needed:
        for setting, places in _HIDDEN.items():
            if any(path.is_relative_to(place) for place in places):
                found.append(
                    f"{what} is {path}, which {setting} of the unit hides: put it elsewhere, such as /opt or /etc"
                )
    if unit.config.is_file() and not unit.config.stat().st_mode & stat.S_IROTH:
        fix = f"chmod 644 {unit.config}, and give it secrets by {{ credential = … }}"
        found.append(f"the unit's user cannot read {unit.config}: {fix}")
    if earlier := _earlier_state(unit):
        found.append(
            f"the state of {unit.config} is in {earlier} so far, and the unit's is {SYSTEM_STATE}: before it starts, "
            f"move what is in {earlier} there and remove {marker_beside(unit.config)}, or the unit's daemon does not "
            "start or knows nothing of what was sent"
        )
    return found


def note_state(unit: Unit) -> str:
    """Write down where a system's unit keeps the state of its config file, so that commands find it.

    Returns why that cannot be done; empty if it was, or need not be, or there is a state elsewhere.
    """
    if unit.user or not unit.config.is_file() or _names_state(unit.config) or _earlier_state(unit):
        return ""
    return remember(unit.config, SYSTEM_STATE)


def _earlier_state(unit: Unit) -> Path | None:
    """Return where a config file has its state, if that is not where the unit will keep it."""
    if not unit.config.is_file() or _names_state(unit.config):
        return None
    found = locate(unit.config, {key: value for key, value in os.environ.items() if key != "STATE_DIRECTORY"})
    return found.directory if found.found != "new" and found.directory != SYSTEM_STATE else None


def _names_state(config: Path) -> bool:
    """Whether a config file says itself where its state is."""
    try:
        return stated_file(config) is not None
    except (NoGlance, OSError, ValueError):
        return True


def install(unit: Unit, *, force: bool) -> bool:
    """Write the unit file whole or not at all; return False if it was there as it is to be.

    OperationError if another text is there and not ``force``, or if it cannot be written.
    """
    try:
        there = read_regular(unit.path).decode("utf-8", errors="replace") if unit.path.exists() else None
        if there == unit.text:
            return False
        if there is not None and not force:
            raise failed(
                f"{unit.path} is there and differs; --force overwrites it (changes of your own belong in "
                f"{unit.path}.d/*.conf, see `systemctl edit schedctl`), --dry-run shows what would be written"
            )
        unit.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = unit.path.with_name(f".{NAME}.unfinished")
        unfinished.write_text(unit.text, encoding="utf-8")
        unfinished.chmod(0o644)
        unfinished.replace(unit.path)
    except OSError as error:
        advice = "" if unit.user else "; use sudo, or --user, or --directory"
        raise failed(f"{unit.path} cannot be written: {error.strerror or error}{advice}") from error
    return True
