"""Where the state of a config file is when the file does not say: the same answer for every user and environment.

The config file decides, not who asks. A marker beside it names the state directory; a daemon that runs on it says where
its state is; /etc/schedctl means /var/lib/schedctl, where the systemd unit keeps its state. Only then do the variables
of a process count. docs/design.md says why. Light to import: the quick commands use it.
"""

import json
import os
import pwd
import re
import shlex
import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from exporter.counted import counted
from exporter.host.regular_files import read_text
from exporter.safe_parsing.toml import loads
from scheduler.environment.paths import SYSTEM_CONFIG, config_names, sqlite_file, state_directory
from scheduler.environment.users import user_name
from scheduler.state.config_lock import Holder, below_links, holder_of
from scheduler.state.seen_files import SYNCED
from storage.fast_read import NoGlance, count_runs, read_settings

CONFIG_FILE = "config_file"
"""The setting that names the config file whose state a database is; whoever stores that file's jobs writes it."""
DAEMON_CONFIG = "config_path"
"""The setting that names the config file of the last daemon."""
SYSTEM_STATE = Path("/var/lib/schedctl")
"""What ``StateDirectory=schedctl`` of the systemd unit is (the systemd.exec(5) manual page)."""
HINTS = Path("/var/tmp")  # noqa: S108 - what others write there leads nobody to a state: see _hinted()
"""Where a daemon leaves word of its state if it can write nothing beside its config file; it survives a reboot."""
_FILE = "state.db"
_LONGEST_MARKER = 65_536
_SECTION = re.compile(r"^\[storage\][ \t]*(?:#.*)?$\n?(.*?)(?=^[ \t]*\[|\Z)", re.MULTILINE | re.DOTALL)
_ELSEWHERE = re.compile(r"""^[ \t]*(?:\[\s*)*["']?storage\b""", re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """The state directory of a config file.

    ``found`` says how it was found: by the ``marker``, by the ``daemon`` that runs, because a state ``exists`` there,
    or not at all: ``new``. ``problem`` is one line that says why no state may be used or made there, empty where one
    may. ``unstarted`` is one line that says why no command may make the state, but only a daemon; empty where one may.
    ``neighbor`` is the usual state directory where it holds the state of another config file. ``displaced`` is the
    directory that the marker names, where that one does not count: see :func:`locate`.
    """

    directory: Path
    found: Literal["marker", "daemon", "exists", "new"]
    problem: str = ""
    unstarted: str = ""
    neighbor: Path | None = None
    displaced: Path | None = None

    @property
    def file(self) -> Path:
        """The SQLite file of the state."""
        return self.directory / _FILE


@dataclass(frozen=True, kw_only=True, slots=True)
class _Marker:
    """What a marker says: the state directory, the config file that it was written for, and on which host.

    ``is_begun`` is False where it was written before there was a state, for a unit that was not started yet.
    ``is_used`` says whether a daemon has used the state, None in a marker of an older version. ``uid`` is who wrote it.
    ``url`` is what the config file named as its state, without a password; empty where it named none.
    """

    path: Path
    directory: Path
    config: Path
    host: str
    is_begun: bool
    is_used: bool | None
    uid: int
    url: str = ""


def is_same_config(one: Path, other: Path) -> bool:
    """Whether two paths name one config file, now or as they are written."""
    if set(config_names(one)) & set(config_names(other)):
        return True
    with suppress(OSError, ValueError):
        return one.samefile(other)
    return False


def locate(config: Path, environ: Mapping[str, str]) -> Location:
    """Return where the state of a config file without ``[storage] url`` is.

    Where a unit's state directory holds a state that a daemon of the config file has used, and the marker names one
    that none has, or that is gone, the unit's counts: somebody without its variables has begun the other one.
    """
    holder = holder_of(config)
    found = _said(config, environ, holder) or _found(config, environ)
    if found.found != "daemon" and not environ.get("STATE_DIRECTORY"):
        found = _hinted(config, found) or found
    if found.found == "new" and holder is not None and not holder.is_own and holder.state is None:
        problem = (
            f"a daemon of {config} runs ({holder.words}), but does not say where its state is: try again, or name url "
            "in [storage]"
        )
        return replace(found, problem=problem)
    return found


def _said(config: Path, environ: Mapping[str, str], holder: Holder | None) -> Location | None:
    """Return what this process, the marker or the daemon that runs says; None where none of them does."""
    if holder is not None and holder.is_own:
        return Location(directory=_directory_of(holder, config, environ), found="daemon")
    marker = _marker(config)
    if marker is not None and not marker.url:
        return _marked(config, environ, marker)
    file = sqlite_file(holder.state) if holder is not None and holder.state is not None else None
    if holder is not None and file is not None and _is_trusted(holder.uid, config):
        return Location(directory=file.parent, found="daemon")
    if marker is not None:
        return Location(directory=marker.directory, found="marker", problem=_unnamed(config, marker))
    return None


def _marked(config: Path, environ: Mapping[str, str], marker: _Marker) -> Location:
    """Return where the state is by the marker of a config file."""
    if units := _units(config, environ, marker):
        if marker.is_used and _is_there(marker.directory / _FILE) and _last_daemons(marker.directory / _FILE) is None:
            return Location(
                directory=marker.directory,
                found="marker",
                problem=_two(config, marker.directory / _FILE, units / _FILE),
            )
        return Location(directory=units, found="exists", displaced=marker.directory)
    if _is_there(marker.directory / _FILE):
        return Location(directory=marker.directory, found="marker")
    if marker.directory == SYSTEM_STATE and not marker.is_begun:
        nearest = SYSTEM_STATE if _is_there(SYSTEM_STATE) else SYSTEM_STATE.parent
        problem = "" if os.access(nearest, os.W_OK | os.X_OK) else _unstarted(config)
        return Location(directory=SYSTEM_STATE, found="new", problem=problem)
    return Location(directory=marker.directory, found="marker", problem=_gone(config, marker))


def _units(config: Path, environ: Mapping[str, str], marker: _Marker) -> Path | None:
    """Return a unit's state directory, where a daemon has used its state and the marked one cannot be shown to count.

    The unit's user may not read the marked one: somebody else has begun it, without the unit's variables.
    """
    if not environ.get("STATE_DIRECTORY"):
        return None
    given = state_directory(environ)
    if _is_same_directory(given, marker.directory):
        return None
    used = _last_daemons(given / _FILE)
    if not used or not is_same_config(Path(used), config):
        return None
    return None if _last_daemons(marker.directory / _FILE) and _is_there(marker.directory / _FILE) else given


def _last_daemons(file: Path) -> str | None:
    """Return the config file of the last daemon on a SQLite file, empty without one; None if that cannot be read."""
    try:
        return read_settings(file, (DAEMON_CONFIG,)).get(DAEMON_CONFIG, "")
    except NoGlance:
        return None


def _hinted(config: Path, found: Location) -> Location | None:
    """Return what a daemon has left word of, that could write no marker, where no daemon has used the state found.

    Everybody can write such a word. So one of a user who has no say over the config file only refuses what would begin
    a second state, or go on with it.
    """
    for place in _hint_places(config):
        hint = _read_marker(place, config, is_hint=True)
        if hint is None or not is_same_config(hint.config, config):
            continue
        if not hint.url and not _is_there(hint.directory / _FILE):
            continue
        marker = _marker(config)
        if (
            _is_same_directory(hint.directory, found.directory)
            or (marker is not None and marker.is_used)
            or _last_daemons(found.file)
        ):
            return None
        if hint.url:
            return replace(found, problem=_unnamed(config, hint))
        if _is_trusted(hint.uid, config):
            return Location(directory=hint.directory, found="marker")
        file = hint.directory / _FILE
        problem = (
            f"user {user_name(hint.uid)} has left word in {place} that the daemon of {config} keeps its state in "
            f'{file}: write url = "sqlite:///{file}" under [storage], or use {way_in(config, file, hint.uid)}. If '
            f"that user has no daemon of this file, remove {place}"
        )
        return replace(found, problem=problem)
    return None


def _hint_places(config: Path) -> list[Path]:
    places: list[Path] = []
    for directory, rest in [*below_links(config), (Path(os.path.realpath(config.absolute().parent)), config.name)]:
        with suppress(OSError, ValueError):
            found = directory.stat()
            places.append(HINTS / f"schedctl-{found.st_dev:x}-{found.st_ino:x}-{rest.replace('/', '+')[-40:]}.state")
    return places


def _found(config: Path, environ: Mapping[str, str]) -> Location:
    """Return where a state of the config file is found, else where a new one belongs."""
    taken: list[Path] = []
    problem = ""
    bases = list(_bases(config, environ))
    for directory in (each for base in bases for each in (_own(base, config), base)):
        file = directory / _FILE
        if not _is_there(file):
            continue
        theirs = recorded_config(file)
        if theirs is None or is_same_config(theirs, config):
            return Location(directory=directory, found="exists")
        taken.append(directory)
        if not _exists(theirs):
            problem = problem or _orphan(config, theirs, file)
    first, unstarted = bases[0], ""
    if first == SYSTEM_STATE and os.geteuid() != 0 and not _is_there(first):
        first, unstarted = bases[1], _unstarted(config)  # the service would know nothing of what a command does there
    return Location(
        directory=_own(first, config) if first in taken else first,
        found="new",
        problem=problem or ("" if environ.get("STATE_DIRECTORY") or first == SYSTEM_STATE else _roots(config, environ)),
        unstarted=unstarted,
        neighbor=taken[0] if taken else None,
    )


def local_directory(config: Path, environ: Mapping[str, str]) -> Path:
    """Return where a host keeps what belongs to a state in PostgreSQL: spools, snapshots and tokens."""
    if not environ.get("STATE_DIRECTORY") and _is_system(config) and _is_there(SYSTEM_STATE):
        return SYSTEM_STATE
    return state_directory(environ)


def remember(config: Path, directory: Path, *, instead_of: Path | None = None) -> str:
    """Write down beside a config file where its state is; return why that cannot be done, empty if it was.

    The marker also says whether a daemon has used the state, for users who may not read that. Raises FileExistsError,
    with the other directory, if another one than ``instead_of`` is written down there.
    """
    marker = _marker(config)
    allowed = [directory, *([instead_of] if instead_of is not None else [])]
    if marker is not None and not any(_is_same_directory(marker.directory, each) for each in allowed):
        raise FileExistsError(marker.directory)
    is_begun = _is_there(directory / _FILE) or (marker is not None and marker.is_begun)
    is_known = marker is not None and _is_same_directory(marker.directory, directory)
    holder = holder_of(config)
    is_used = (
        (holder is not None and holder.is_own)
        or (marker is not None and is_known and marker.is_used is True)
        or bool(_last_daemons(directory / _FILE))
    )
    return _write_all(config, {"state": str(directory.absolute()), "begun": is_begun, "used": is_used}, holder)


def remember_url(config: Path, url: str) -> None:
    """Write down beside a config file that it names its state, and which, if that can be written there.

    A file that was cut off, or replaced by another, may have lost ``[storage] url``; without this, a second and empty
    state would be begun in the usual place. ``url`` is without a password.
    """
    file = sqlite_file(url)
    directory = config.absolute().parent if file is None else config.absolute().parent / file.parent
    _write_all(config, {"state": str(directory), "url": url, "begun": True, "used": True}, holder_of(config))


def _write_all(config: Path, said: Mapping[str, str | bool], holder: Holder | None) -> str:
    """Write a marker to each place; return why none could be written, empty if one was."""
    places = _places(config)
    reasons = [reason for reason in (_write(place, config, said) for place in places) if reason]
    if len(reasons) < len(places):
        return ""
    if holder is not None and holder.is_own:
        for place in _hint_places(config):
            _write(place, config, said)
    return reasons[0]


def marker_beside(config: Path) -> Path:
    """Return the path of the marker of a config file."""
    return config.with_name(f".{config.name}.state")


def marked_directory(config: Path) -> Path | None:
    """Return the state directory that the marker of a config file names; None without one, or where a URL counts."""
    marker = _marker(config)
    return None if marker is None or marker.url else marker.directory


def recorded_config(file: Path) -> Path | None:
    """Return the config file whose state a SQLite file is, by what was stored in it; None if that is not known."""
    try:
        found = read_settings(file, (CONFIG_FILE, DAEMON_CONFIG, SYNCED))
        synced = found.get(SYNCED)
        named = found.get(CONFIG_FILE) or found.get(DAEMON_CONFIG) or (json.loads(synced)["config"] if synced else None)
    except (NoGlance, ValueError, KeyError, TypeError):
        return None
    return Path(named) if isinstance(named, str) and named else None


def other_owner(file: Path, config: Path) -> Path | None:
    """Return another config file that still keeps its state in a SQLite file; None if it is ``config``'s alone."""
    theirs = recorded_config(file)
    if theirs is None or is_same_config(theirs, config) or not _exists(theirs):
        return None
    return theirs if _claims(theirs, file) else None


def storage_section(text: str) -> str | None:
    """Return what stands under ``[storage]``, None without such a table. Raises NoGlance where a look cannot tell."""
    sections = _SECTION.findall(text)
    if len(_ELSEWHERE.findall(text)) != len(sections) or len(sections) > 1:
        raise NoGlance
    return sections[0] if sections else None


def stated_file(config: Path) -> Path | None:
    """Return the SQLite file that ``[storage] url`` names, by a look at that table alone; None without ``url``.

    Raises NoGlance where it is unsure, also for PostgreSQL, and OSError or ValueError.
    """
    section = storage_section(read_text(config))
    url = loads(section or "").get("url")
    if not url:
        return None
    file = sqlite_file(url)
    if file is None or any(char in url for char in "%?"):
        raise NoGlance
    return config.absolute().parent / file


def differs_from_daemon(config: Path, url: str) -> str:
    """Say that a daemon runs on a config file, but with another state than ``url``; empty where none does.

    ``url`` and what is said are without a password.
    """
    holder = holder_of(config)
    if holder is None or holder.is_own or holder.state is None:
        return ""
    file, theirs = sqlite_file(url), sqlite_file(holder.state)
    if holder.state == url or (
        file and theirs and _is_same_directory(file.parent, theirs.parent) and file.name == theirs.name
    ):
        return ""
    trust = "" if _is_trusted(holder.uid, config) else f", which nobody but user {user_name(holder.uid)} vouches for"
    return (
        f"the daemon of {config} ({holder.words}) keeps its state in {holder.state}{trust}, not in {url}: restart that "
        "daemon if [storage] url was changed, or name its state as url in [storage]"
    )


def other_state(config: Path, location: Location, environ: Mapping[str, str]) -> str:
    """Say that a unit's state directory is not where the state of the config file is; empty if it is, or none is given.

    A daemon must not choose: with the wrong one of two states it fires every slot again.
    """
    if not environ.get("STATE_DIRECTORY"):
        return ""
    given = state_directory(environ)
    if location.found == "new" or _is_same_directory(given, location.directory):
        return ""
    to_keep = f'write url = "sqlite:///{location.file}" under [storage]'
    theirs = recorded_config(given / _FILE)
    if theirs is not None and is_same_config(theirs, config):
        return _two(config, location.file, given / _FILE)
    return (
        f"the state of {config} is in {location.directory}, but this unit's STATE_DIRECTORY is {given}, and a second "
        f"state would fire every slot again: move what is in {location.directory} there and remove "
        f"{marker_beside(config)}, or {to_keep}"
    )


def displaced_state(config: Path, location: Location) -> str:
    """Say that a state of the config file does not count, so that nobody goes on with it; empty if there is none."""
    if location.displaced is None or not _is_there(location.displaced / _FILE):
        return ""
    return (
        f"{config} has another state, {_described(location.displaced / _FILE)}, which no daemon has used, as far as "
        f"is known: it is left alone, and what was changed there does not count. From now on commands use "
        f"{location.file}"
    )


def _two(config: Path, marked: Path, units: Path) -> str:
    """Say that a config file has two states, and how to keep the one or the other."""
    return (
        f"{config} has two states: {_described(marked)}, and in this unit's STATE_DIRECTORY {_described(units)}. "
        f'To keep the first, write url = "sqlite:///{marked}" under [storage]; to keep the second, move the first '
        f"away and remove {marker_beside(config)}"
    )


def _described(file: Path) -> str:
    try:
        runs, last = count_runs(file)
    except NoGlance:
        return str(file)
    return f"{file} ({counted(runs, 'run')}{f', the last at {last:%Y-%m-%dT%H:%M:%SZ}' if last else ''})"


def unreadable(config: Path, file: Path) -> str:
    """Say whose state it is that this process may not use, and how to get there; empty if it may, or none is there."""
    try:
        status = file.stat()
    except PermissionError:
        status = None
    except OSError:
        return ""
    if status is not None and os.access(file, os.R_OK | os.W_OK):
        return ""
    holder = holder_of(config)
    runs = f"; its daemon runs ({holder.words})" if holder is not None and not holder.is_own else ""
    uid = status.st_uid if status is not None else _nearest_owner(file)
    owner = "the schedctl service" if _is_services(file) else f"user {user_name(uid)}"
    return f"the state of {config} is {file} and belongs to {owner}{runs}: use {way_in(config, file, uid)}"


def way_in(config: Path, file: Path, uid: int) -> str:
    """Return the command line by which the user to whom a state file belongs uses it."""
    command = f"schedctl COMMAND --config {shlex.quote(str(config))}"
    if _is_services(file):
        properties = '-E SUDO_USER="$USER" -p DynamicUser=yes -p User=schedctl -p StateDirectory=schedctl'
        return f"sudo systemd-run -qPG {properties} {command} (docs/systemd.md)"
    name = user_name(uid)
    if name == str(uid):
        name = f"'#{uid}'"
    return f"sudo -u {name} {command}"


def others_state(config: Path, file: Path) -> str:
    """Say that a SQLite file is another user's, where this process is root's; empty if it is not.

    What root writes beside it (spools, tokens) the user's daemon cannot read.
    """
    try:
        uid = file.stat().st_uid
    except OSError:
        return ""
    if os.geteuid() != 0 or uid == 0:
        return ""
    return (
        f"the state {file} belongs to user {user_name(uid)}, who cannot read the files of a run that root executes: "
        f"leave it to the daemon of that user, or use {way_in(config, file, uid)}"
    )


def exposed(file: Path) -> str:
    """Say that others can write or lock the directory of a SQLite file; empty where they cannot.

    Who can open a directory for reading can lock it (the flock(2) manual page), and keep commands and daemons waiting.
    """
    try:
        mode = file.parent.stat().st_mode
    except OSError:
        return ""
    others = (stat.S_IRGRP | stat.S_IROTH, stat.S_IWGRP | stat.S_IWOTH)
    can = [word for bits, word in zip(others, ("lock", "write"), strict=True) if mode & bits]
    if not can:
        return ""
    return (
        f"other users can {' and '.join(can)} the state directory {file.parent}: chmod 700 {file.parent}, or give the "
        "state a directory of its own"
    )


def _directory_of(holder: Holder, config: Path, environ: Mapping[str, str]) -> Path:
    """Return the state directory of this very process, which must not move under it."""
    file = sqlite_file(holder.state or "")
    if file is not None:
        return file.parent
    return marked_directory(config) or state_directory(environ)


def _bases(config: Path, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the directories in which states were kept before there were markers, the likeliest first."""
    if environ.get("STATE_DIRECTORY"):
        yield state_directory(environ)
    if _is_system(config):
        yield SYSTEM_STATE
    yield state_directory({key: value for key, value in environ.items() if key != "STATE_DIRECTORY"})
    with suppress(OSError, KeyError):
        owner = pwd.getpwuid(config.stat().st_uid)
        theirs = Path(owner.pw_dir, ".local/state/schedctl")
        if owner.pw_uid != os.geteuid() and os.access(theirs, os.X_OK):
            yield theirs


def _own(usual: Path, config: Path) -> Path:
    """Return the directory for a config file where another one has the usual directory."""
    from hashlib import sha256  # noqa: PLC0415 - OpenSSL, which the quick commands do without

    name = str(Path(os.path.realpath(config.absolute().parent)) / config.name)
    return usual / "configs" / f"{config.stem}-{sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:12]}"


def _is_system(config: Path) -> bool:
    return any(name.is_relative_to(SYSTEM_CONFIG.parent) for name in config_names(config))


def _places(config: Path) -> list[Path]:
    """Return where a marker of a config file belongs: beside the file, and beside the links that lead to it.

    Those beside links to directories come first: they stay when a link is switched to another release.
    """
    directory = Path(os.path.realpath(config.absolute().parent))
    beside = [marker_beside(directory / config.name), marker_beside(Path(os.path.realpath(config)))]
    links = [
        parent / f".{rest.replace('/', '+')}.state"
        for parent, rest in below_links(config)
        if parent != Path(parent.anchor)  # a link there is the system's
    ]
    return list(dict.fromkeys([*links, *beside]))


def _marker(config: Path) -> _Marker | None:
    """Return the marker of a config file that counts: not one that others could forge, nor one that was copied."""
    for place in _places(config):
        found = _read_marker(place, config)
        if found is None:
            continue
        if is_same_config(found.config, config):
            return found
        if not _exists(found.config):  # else the file is a copy of that one
            return _moved(found, config)
    return None


def _moved(marker: _Marker, config: Path) -> _Marker:
    """Return a marker that was moved with its config file; a state below the directory of both came along."""
    before = marker.config.parent
    if not marker.directory.is_relative_to(before):
        return marker
    for now in (marker.path.parent, config.absolute().parent):
        beside = now / marker.directory.relative_to(before)
        if _is_there(beside / _FILE):
            return replace(marker, directory=beside)
    return marker


def _read_marker(place: Path, config: Path, *, is_hint: bool = False) -> _Marker | None:
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            status, beside = os.fstat(descriptor), place.parent.stat()
            if not stat.S_ISREG(status.st_mode):
                return None
            if (
                not is_hint
                and beside.st_mode & stat.S_IWOTH
                and not (_is_trusted(status.st_uid, config) or status.st_uid == beside.st_uid)
            ):
                return None
            said = json.loads(os.read(descriptor, _LONGEST_MARKER))
        finally:
            os.close(descriptor)
        marker = _Marker(
            path=place,
            directory=Path(str(said["state"])),
            config=Path(str(said["config"])),
            host=str(said.get("host", "")),
            is_begun=said.get("begun") is not False,
            is_used=None if "used" not in said else said["used"] is True,
            uid=status.st_uid,
            url=str(said.get("url", "")),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    return marker if marker.directory.is_absolute() and marker.config.is_absolute() else None


def _write(place: Path, config: Path, said: Mapping[str, str | bool]) -> str:
    about = "schedctl keeps the state of this config file in the directory named here: docs/configuration.md"
    if "url" in said:
        about = "schedctl keeps the state of this config file where its [storage] url says: docs/configuration.md"
    said = {"about": about, "config": str(config.absolute()), "host": socket.gethostname(), **said}
    content = json.dumps(said, indent=1, ensure_ascii=False) + "\n"
    new = place.with_name(f"{place.name}.{os.urandom(4).hex()}")
    try:
        with suppress(OSError, UnicodeDecodeError):
            if place.read_text(encoding="utf-8") == content:
                return ""
        descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            os.fchmod(descriptor, 0o644)  # whatever the umask: every user who reads the config file needs it
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        new.replace(place)
    except OSError as error:
        with suppress(OSError):
            new.unlink()
        return f"{place} cannot be written: {error.strerror}"
    return ""


def _claims(config: Path, file: Path) -> bool:
    """Whether a config file that is there still keeps its state in a SQLite file; True where that is not known."""
    try:
        stated = stated_file(config)
        if stated is None:
            marked = marked_directory(config)
            stated = file if marked is None else marked / _FILE
        return _is_same_directory(stated.parent, file.parent) and stated.name == file.name
    except NoGlance:
        return False  # PostgreSQL, or so written that it names another place than a plain file
    except (OSError, ValueError):
        return True


def _is_trusted(uid: int, config: Path) -> bool:
    """Whether a user may say where the state of a config file is: root, the file's owner, or this process's user."""
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        trusted.add(config.stat().st_uid)
    return uid in trusted


def _is_there(path: Path) -> bool:
    """Whether something is at a path; also where this process may not look, as it then belongs to somebody else."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def _exists(config: Path) -> bool:
    return _is_there(config) or os.path.lexists(config)


def _is_same_directory(one: Path, other: Path) -> bool:
    return os.path.realpath(one) == os.path.realpath(other)


def _is_services(file: Path) -> bool:
    return file.parent == SYSTEM_STATE or _is_same_directory(file.parent, SYSTEM_STATE)


def _nearest_owner(path: Path) -> int:
    for each in path.parents:
        with suppress(OSError):
            return each.stat().st_uid
    return 0


def _unstarted(config: Path) -> str:
    return (
        f"{config} has no state yet, and its service makes it, in {SYSTEM_STATE}: start it (systemctl start schedctl), "
        "use sudo, or name url in [storage]"
    )


def _gone(config: Path, marker: _Marker) -> str:
    here = socket.gethostname()
    where = f" on host {marker.host}" if marker.host and marker.host != here else ""
    return (
        f"the state of {config} was in {marker.directory}{where}, says {marker.path}, and is not there: bring it back, "
        f"or name where it is as url in [storage]. To begin with an empty state, remove {marker.path}; rows that were "
        "sent before are then not known"
    )


def _unnamed(config: Path, marker: _Marker) -> str:
    """Say that a config file does not name its state any more, which it did."""
    hidden = " (with its password)" if sqlite_file(marker.url) is None else ""
    return (
        f"{config} named its state as url under [storage], and does not any more: write url = "
        f'"{marker.url}" there again{hidden}. If another state is meant, which knows nothing of what was sent before, '
        f"remove {marker.path}"
    )


def _orphan(config: Path, theirs: Path, file: Path) -> str:
    return (
        f"{file} holds the state of {theirs}, which is not there any more. If {config} is that file, moved, write "
        f'url = "sqlite:///{file}" under [storage]; if not, write url = "sqlite:///state.db" there for a state of '
        "its own"
    )


def _roots(config: Path, environ: Mapping[str, str]) -> str:
    """Say that a new state would be root's, although the config file belongs to the user who typed sudo."""
    try:
        uid = int(environ.get("SUDO_UID", "0"))
        if os.geteuid() != 0 or uid == 0 or config.stat().st_uid != uid:
            return ""
    except (OSError, ValueError):
        return ""
    return (
        f"{config} belongs to user {user_name(uid)} and has no state yet; made by sudo, it would be root's: run "
        "schedctl without sudo first, or name url in [storage]"
    )
