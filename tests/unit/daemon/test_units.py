"""The unit of an installation: its paths, what a user's manager gets of it, and what will not start."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from scheduler.errors.operation_error import ErrorKind, OperationError
from scheduler.operations.systemd_units import NAME, Unit, doubts, install, make_unit, quoted, unit_directory

SOURCE = Path(__file__).parents[3] / "systemd" / NAME
COMMAND, CONFIG = Path("/opt/schedctl/bin/schedctl"), Path("/etc/schedctl/config.toml")


def unit(tmp_path: Path, *, command: Path = COMMAND, config: Path = CONFIG, user: bool = False) -> Unit:
    return make_unit(command=command, config=config, directory=tmp_path, user=user)


def settings(text: str) -> list[str]:
    return [line.partition("=")[0] for line in text.splitlines() if re.match(r"[A-Za-z]", line)]


def test_the_unit_in_the_package_is_the_one_of_the_repository(tmp_path: Path) -> None:
    assert unit(tmp_path).text == SOURCE.read_text(encoding="utf-8")
    assert unit(tmp_path).path == tmp_path / "schedctl.service"


def test_start_and_reload_are_by_the_paths_of_the_installation(tmp_path: Path) -> None:
    made = unit(tmp_path, command=Path("/srv/s/bin/schedctl"), config=Path("/srv/s/my config.toml"))
    lines = [line for line in made.text.splitlines() if line.startswith("Exec")]
    assert lines == [
        'ExecStart=/srv/s/bin/schedctl daemon --config "/srv/s/my config.toml"',
        'ExecReload=/srv/s/bin/schedctl reload --config "/srv/s/my config.toml"',
    ]


@pytest.mark.parametrize(
    ("path", "word"),
    [
        ("/etc/schedctl/config.toml", "/etc/schedctl/config.toml"),
        ("/a b", '"/a b"'),
        ("/100%", '"/100%%"'),
        ("/$HOME", '"/$$HOME"'),
        ('/a"b', '"/a\\"b"'),
        ("/a\\b", '"/a\\\\b"'),
        ("/a;b", '"/a;b"'),
        ("/käse", '"/käse"'),
    ],
)
def test_a_path_is_written_as_systemd_reads_it(path: str, word: str) -> None:
    assert quoted(Path(path)) == word


def test_in_the_command_itself_no_variable_is_replaced() -> None:
    assert quoted(Path("/$x/schedctl"), is_command=True) == '"/$x/schedctl"'


@pytest.mark.parametrize("path", ['/a"b', "/it's", "/a\\b"])
def test_a_command_whose_path_systemd_refuses_is_refused_first(path: str) -> None:
    with pytest.raises(OperationError, match="cannot stand in a unit"):
        quoted(Path(path), is_command=True)


@pytest.mark.parametrize("path", ["/a\nExecStartPre=/bin/evil", "/a\tb", "/a\x1bb"])
def test_a_path_that_would_end_its_line_is_refused(path: str) -> None:
    with pytest.raises(OperationError) as refused:
        quoted(Path(path))
    assert refused.value.kind is ErrorKind.USAGE


def test_a_users_unit_has_nothing_that_only_the_systems_manager_can_give(tmp_path: Path) -> None:
    text = unit(tmp_path, user=True).text
    left_out = set(settings(unit(tmp_path).text)) - set(settings(text))
    assert left_out >= {
        "DynamicUser",
        "StateDirectory",
        "ProtectSystem",
        "PrivateTmp",
        "CapabilityBoundingSet",
        "Wants",
    }
    assert {"Type", "WatchdogSec", "NoNewPrivileges", "SystemCallFilter", "UMask"} <= set(settings(text))
    assert not any(name.startswith(("Private", "Protect")) for name in settings(text))
    assert text.endswith("[Install]\nWantedBy=default.target\n")
    assert "network-online" not in text


def test_where_units_belong() -> None:
    assert unit_directory({}, user=False) == Path("/etc/systemd/system")
    assert unit_directory({"HOME": "/home/a"}, user=True) == Path("/home/a/.config/systemd/user")
    assert unit_directory({"HOME": "/home/a", "XDG_CONFIG_HOME": "/c"}, user=True) == Path("/c/systemd/user")
    assert unit_directory({"HOME": "/home/a", "XDG_CONFIG_HOME": "c"}, user=True) == Path(
        "/home/a/.config/systemd/user"
    )


def test_what_the_sandbox_would_hide_is_told_before_the_daemon_fails_on_it(tmp_path: Path) -> None:
    found = doubts(unit(tmp_path, command=Path("/root/venv/bin/schedctl"), config=Path("/home/a/config.toml")))
    assert found[0].startswith("there is no config file /home/a/config.toml yet")
    assert any("the command is /root/venv/bin/schedctl, which ProtectHome=" in line for line in found)
    assert any("the config is /home/a/config.toml, which ProtectHome=" in line for line in found)
    found = doubts(unit(tmp_path, config=Path("/var/tmp/config.toml")))  # noqa: S108 - a name, no file
    assert any("the config is /var/tmp/config.toml, which PrivateTmp=" in line for line in found)


def test_a_config_file_that_the_units_user_cannot_read_is_told(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.touch(mode=0o600)
    assert any("cannot read" in line and "chmod 644" in line for line in doubts(unit(tmp_path, config=config)))
    config.chmod(0o644)
    assert not any("cannot read" in line for line in doubts(unit(tmp_path, config=config)))
    config.chmod(0o600)
    assert doubts(unit(tmp_path, config=config, user=True)) == []


def test_a_unit_that_differs_is_overwritten_only_by_force(tmp_path: Path) -> None:
    made = unit(tmp_path / "not" / "yet")
    assert install(made, force=False)
    assert made.path.read_text(encoding="utf-8") == made.text
    assert made.path.stat().st_mode & 0o777 == 0o644
    assert not install(made, force=False), "it is there as it is to be"
    made.path.write_text(made.text + "# mine\n", encoding="utf-8")
    with pytest.raises(OperationError, match="--force overwrites it"):
        install(made, force=False)
    assert made.path.read_text(encoding="utf-8").endswith("# mine\n")
    assert install(made, force=True)
    assert made.path.read_text(encoding="utf-8") == made.text
    assert [path.name for path in made.path.parent.iterdir()] == [NAME]


def test_a_directory_that_cannot_be_written_is_a_line_with_advice(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OperationError, match=r"cannot be written: .*; use sudo, or --user, or --directory"):
        install(replace(unit(tmp_path), path=tmp_path / "file" / NAME), force=False)
