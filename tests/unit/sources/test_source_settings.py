import pytest
from pydantic import SecretStr

from exporter.failures import ExportError
from exporter.settings.connection import MysqlConnection, TrinoConnection
from exporter.sources.mysql.address import read_address
from scheduler.config.build import ConfigError, parse

MYSQL = '[connections.c]\ntype = "mysql"\n'
TRINO = '[connections.c]\ntype = "trino"\nhost = "trino.example.com"\nuser = "reader"\n'


def faults_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    return str(caught.value)


def test_what_is_not_said_has_its_default() -> None:
    mysql = parse(f'{MYSQL}database = "shop"\npassword = "hunter2pw"\n').connections["c"]
    assert isinstance(mysql, MysqlConnection)
    assert (mysql.host, mysql.port, mysql.user, mysql.ssl_mode, mysql.ca_file) == (None, None, None, None, None)
    trino = parse(TRINO).connections["c"]
    assert isinstance(trino, TrinoConnection)
    assert (trino.port, trino.http_scheme, trino.catalog, trino.schema, trino.password) == (
        None,
        "https",
        None,
        None,
        None,
    )
    assert "hunter2" not in repr(mysql)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MYSQL, "name the database"),
        (f'{MYSQL}url = "mysql://h/d"\ndatabase = "d"', "name the database"),
        (f'{MYSQL}url = "mysql://h/d"\nuser = "u"', "user stands in url already"),
        (f'{MYSQL}url = "mysql://h/d"\npassword = "hunter2pw"', "password stands in url already"),
        (f'{MYSQL}database = "d"\nssl_mode = "on"', '"disabled", "preferred", "required", "verify_ca" or'),
        (f'{MYSQL}database = "d"\nssl_mode = "required"\nca_file = "ca.pem"', "ca_file is used to check"),
        (f'{TRINO}http_scheme = "http"\npassword = "hunter2pw"', "use https"),
        (f'{TRINO}http_scheme = "http"\nca_file = "ca.pem"', "ca_file belongs to https"),
        (TRINO.replace("trino.example", "https://trino.example"), "write the coordinator's name only"),
        ('[connections.c]\ntype = "trino"\nhost = "h"\n', "user is missing"),
        ('[connections.c]\ntype = "sqlalchemy"\n', "url is missing"),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(text: str, says: str) -> None:
    fault = faults_of(text)
    assert says in fault
    assert "hunter2" not in fault


def test_a_password_may_go_to_this_machine_in_the_clear() -> None:
    text = TRINO.replace("trino.example.com", "127.0.0.1")
    assert parse(f'{text}http_scheme = "http"\npassword = "p"').connections["c"].type == "trino"


def address_of(url: str) -> tuple[object, ...]:
    found = read_address(MysqlConnection(type="mysql", url=SecretStr(url)))
    return found.host, found.port, found.socket, found.database, found.user, found.password


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mysql://h/d", ("h", None, None, "d", None, None)),
        ("mysql+pymysql://u:p%40%2F%C3%BC@h:3307/d%20e", ("h", 3307, None, "d e", "u", "p@/ü")),
        ("mariadb://u@[::1]:3306/d", ("::1", 3306, None, "d", "u", None)),
        ("mysql://u@/d?unix_socket=/run/my.sock", (None, None, "/run/my.sock", "d", "u", None)),
    ],
)
def test_a_url_of_mysql_is_read(url: str, address: tuple[object, ...]) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://h/d",
        "mysql://h",
        "mysql://h:port/d",
        "mysql://h/d/e",
        "mysql://u:hunter2pw@h/d?ssl_ca=x",
        "nothing",
    ],
)
def test_any_other_is_configuration_and_not_shown(url: str) -> None:
    with pytest.raises(ExportError, match=r"^URL: url: ") as caught:
        address_of(url)
    assert "hunter2" not in caught.value.message
