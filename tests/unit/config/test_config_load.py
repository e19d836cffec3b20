"""Reading a config file from disk: the files it names, what cannot be read, and who else may read it."""

import os
from pathlib import Path

import pytest

from scheduler.config.build import Config, ConfigError, load
from scheduler.secrets.resolve import mask

CRM = """\
[connections.warehouse]
type = "duckdb"
[connections.crm]
type = "salesforce"
login_url = "https://yourorg.my.salesforce.com"
client_id = "3MVG"
client_secret = {secret}
"""
JOB = """\
[jobs.contacts]
source = "warehouse"
query_file = "sql/contacts.sql"
export = { connection = "crm", object = "Contact" }
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def read(path: Path, text: str, mode: int = 0o600) -> Config:
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return load(path, environ={"STATE_DIRECTORY": "/var/lib/schedctl"})


def fault(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigError) as caught:
        load(path)
    return str(caught.value)


def test_a_query_file_is_read_beside_the_config(path: Path) -> None:
    (path.parent / "sql").mkdir()
    (path.parent / "sql" / "contacts.sql").write_bytes(b"\xef\xbb\xbfselect 1\r\n")
    config = read(path, CRM.format(secret='{ env = "A" }') + JOB)
    assert config.jobs["contacts"].query.strip() == "select 1"
    assert config.storage.url == "sqlite:////var/lib/schedctl/state.db"
    assert (config.name, config.warnings) == (str(path), ())


def test_a_path_given_relative_still_makes_whole_paths(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_text("[storage]\nurl = 'sqlite:///s.db'")
    monkeypatch.chdir(path.parent)
    assert load(Path("config.toml")).storage.url == f"sqlite:///{path.parent}/s.db"


def test_a_missing_query_file_is_a_fault_of_its_key(path: Path) -> None:
    text = CRM.format(secret='{ env = "A" }') + JOB
    expected = f'{path}:10: jobs.contacts.query_file: query_file = "sql/contacts.sql": {path.parent}/sql/contacts.sql'
    assert fault(path, text) == f"{expected} cannot be read: No such file or directory"


def test_a_query_file_in_another_encoding_is_a_fault(path: Path) -> None:
    (path.parent / "sql").mkdir()
    (path.parent / "sql" / "contacts.sql").write_bytes("select 'ä'".encode("latin-1"))
    assert "is not UTF-8: save it as UTF-8" in fault(path, CRM.format(secret='{ env = "A" }') + JOB)


@pytest.mark.parametrize("query_file", ["'a\\u0000b'", "'~/x'", "''", "5", "'.'"])
def test_a_query_file_that_is_no_path_is_one_fault(path: Path, query_file: str) -> None:
    text = CRM.format(secret='{ env = "A" }') + JOB.replace('"sql/contacts.sql"', query_file.replace("'", '"'))
    assert fault(path, text).count("\n") == 0


def test_a_missing_config_file_says_what_to_do(path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read: No such file or directory: copy /.+config\.example\.toml"):
        load(path)


def test_a_directory_is_no_config_file(path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: it is a directory, not a regular file"):
        load(path.parent)


def test_a_pipe_is_no_config_file_and_nobody_waits_for_it(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="cannot be read: it is a pipe, not a regular file"):
        load(path)


def test_a_shells_pipe_is_read_once_for_a_look_and_refused_for_all_else(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)
    reader, writer = os.pipe()
    os.write(writer, b'[connections.files]\ntype = "file"\ndirectory = "out"\n')
    os.close(writer)
    with pytest.raises(ConfigError, match="only schedctl check reads a pipe"):
        load(Path(f"/dev/fd/{reader}"))
    files = load(Path(f"/dev/fd/{reader}"), pipes=True).connections["files"]
    os.close(reader)
    assert files.directory == str(path.parent / "out")  # type: ignore[union-attr] # it is a file connection


def test_text_in_another_encoding_names_its_line(path: Path) -> None:
    assert fault(path, b"# one\n# two\na = '\xe4'") == (
        f"{path}:3: not valid TOML: this line is not UTF-8; save the file as UTF-8"
    )


def test_a_byte_order_mark_is_no_fault(path: Path) -> None:
    path.write_bytes(b"\xef\xbb\xbf[daemon]\r\nmax_running = 2\r\n")
    assert load(path).daemon.max_running == 2


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602])
def test_plain_secrets_in_a_file_that_others_can_read_bring_a_warning_each(path: Path, mode: int) -> None:
    text = CRM.format(secret='"hunter2pw"') + "[notify]\nurls = ['mailtos://u:hunter3pw@h']\n"
    config = read(path, text + "[storage]\nurl = 'postgresql+psycopg://u:hunter4pw@h/d'", mode)
    assert [(each.path, each.line) for each in config.warnings] == [
        ("connections.crm.client_secret", 7),
        ("notify.urls[0]", 9),
        ("storage.url", 11),
    ]
    assert f"chmod 600 {path}" in config.warnings[0].message
    assert "hunter" not in str(config.warnings)
    assert "hunter" not in repr(config)


def test_plain_secrets_in_a_private_file_bring_none(path: Path) -> None:
    assert read(path, CRM.format(secret='"hunter2pw"')).warnings == ()


def test_references_in_a_file_for_all_bring_none(path: Path) -> None:
    assert read(path, CRM.format(secret='{ env = "A" }'), 0o644).warnings == ()


def test_plain_secrets_are_masked_as_soon_as_the_file_is_read(path: Path) -> None:
    read(path, CRM.format(secret='"hunter5pw"') + "[storage]\nurl = 'postgresql+psycopg://u:hunter%2F6pw@h/d'")
    assert mask("with hunter5pw and hunter%2F6pw or hunter/6pw") == "with *** and *** or ***"
