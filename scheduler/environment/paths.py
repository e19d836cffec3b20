"""Which config file is meant, and where state lies when the file does not say. ``environ`` is an argument."""

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_CONFIG = Path("/etc/schedctl/config.toml")


def config_path(explicit: str | Path | None, environ: Mapping[str, str]) -> Path:
    """Return the config file: ``--config``, else ``$SCHEDCTL_CONFIG``, else the user's, else the system's.

    The user's counts only if it exists; the others are returned whether they exist or not, so that the error for a
    missing file names the one that was asked for.
    """
    if explicit is not None:
        return Path(explicit)
    if named := environ.get("SCHEDCTL_CONFIG"):
        return Path(named)
    users = _base_directory(environ, "XDG_CONFIG_HOME", ".config") / "schedctl" / "config.toml"
    return users if os.path.lexists(users) else SYSTEM_CONFIG


def config_names(path: Path) -> tuple[Path, ...]:
    """Return the absolute paths of a config file: as given, with its directory resolved, and with itself resolved.

    A link that is switched to another file, as a ConfigMap or a release does it, keeps the first two.
    """
    given = path.absolute()
    resolved = Path(os.path.realpath(given.parent)) / given.name
    return tuple(dict.fromkeys([given, resolved, Path(os.path.realpath(given))]))


def example_config() -> Path | None:
    """Return the config file that shows every key: in the package in an installation, else in the checkout."""
    here = Path(__file__).parents[1]
    places = (directory / "config.example.toml" for directory in (here, here.parent))
    return next((place for place in places if place.is_file()), None)


def state_directory(environ: Mapping[str, str]) -> Path:
    """Return systemd's ``$STATE_DIRECTORY`` (the first, if the unit has several), else the user's."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":", 1)[0])
    return _base_directory(environ, "XDG_STATE_HOME", ".local/state") / "schedctl"


def default_storage_url(state: Path) -> str:
    """Return the URL of the SQLite file in a state directory."""
    return f"sqlite:///{state / 'state.db'}"


def default_spool(url: str, state: Path) -> Path:
    """Return the spool directory: beside the SQLite file of ``url``, else in the state directory."""
    file = sqlite_file(url)
    return (file.parent if file is not None else state) / "spool"


def sqlite_file(url: str) -> Path | None:
    """Return the file that a database URL names, or None if it is no SQLite URL."""
    if not url.startswith("sqlite:///"):
        return None
    return Path(url.removeprefix("sqlite:///").split("?", 1)[0])


def _base_directory(environ: Mapping[str, str], variable: str, below_home: str) -> Path:
    """Return a base directory as the XDG specification has it: a relative value is ignored."""
    given = Path(environ.get(variable, ""))
    if given.is_absolute():
        return given
    home = environ.get("HOME") or Path.home()
    return Path(home, below_home)
