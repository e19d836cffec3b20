"""Which config file is meant and where state lies."""

from pathlib import Path

import pytest

from scheduler.environment.paths import config_path, default_spool, default_storage_url, sqlite_file, state_directory


def test_the_named_file_comes_first_then_the_variable_then_the_users_then_the_systems(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path)}
    assert config_path(None, environ) == Path("/etc/schedctl/config.toml")
    users = tmp_path / ".config" / "schedctl" / "config.toml"
    users.parent.mkdir(parents=True)
    users.touch()
    assert config_path(None, environ) == users
    assert config_path(None, {**environ, "SCHEDCTL_CONFIG": "x.toml"}) == Path("x.toml")
    assert config_path("y.toml", {**environ, "SCHEDCTL_CONFIG": "x.toml"}) == Path("y.toml")


def test_the_users_directory_may_be_elsewhere_but_not_relative(tmp_path: Path) -> None:
    (tmp_path / "schedctl").mkdir()
    (tmp_path / "schedctl" / "config.toml").touch()
    environ = {"HOME": "/nowhere", "XDG_CONFIG_HOME": str(tmp_path)}
    assert config_path(None, environ) == tmp_path / "schedctl" / "config.toml"
    assert config_path(None, {**environ, "XDG_CONFIG_HOME": "relative"}) == Path("/etc/schedctl/config.toml")


@pytest.mark.parametrize(
    ("environ", "state"),
    [
        ({"STATE_DIRECTORY": "/var/lib/schedctl", "HOME": "/h"}, "/var/lib/schedctl"),
        ({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, "/var/lib/a"),
        ({"XDG_STATE_HOME": "/s", "HOME": "/h"}, "/s/schedctl"),
        ({"STATE_DIRECTORY": "", "HOME": "/h"}, "/h/.local/state/schedctl"),
    ],
)
def test_state_lies_where_systemd_says_else_with_the_user(environ: dict[str, str], state: str) -> None:
    assert state_directory(environ) == Path(state)


def test_the_spool_lies_beside_the_state_file() -> None:
    assert default_storage_url(Path("/s")) == "sqlite:////s/state.db"
    assert default_spool("sqlite:////data/x.db?timeout=1", Path("/s")) == Path("/data/spool")
    assert default_spool("postgresql+psycopg://h/d", Path("/s")) == Path("/s/spool")


def test_only_a_sqlite_url_names_a_file() -> None:
    assert sqlite_file("sqlite:///a/b.db?x=1") == Path("a/b.db")
    assert sqlite_file("postgresql+psycopg:///d") is None
