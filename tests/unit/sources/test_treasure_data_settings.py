import pytest
from pydantic import SecretStr

from scheduler.config.build import ConfigError, parse

PLAIN = '[connections.td]\ntype = "treasure_data"\napi_key = "1/key"\ndatabase = "shop"\n'


def faults_of(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(PLAIN + text)
    return str(caught.value)


def test_what_is_not_said_has_its_default() -> None:
    td = parse(PLAIN).connections["td"]
    assert td.type == "treasure_data"
    assert isinstance(td.api_key, SecretStr)
    assert (td.endpoint, td.engine, td.priority) == ("https://api.treasuredata.com", "trino", 0)
    assert (td.query_retry_limit, td.retry_limit, td.initial_retry_delay) == (0, 5, 5)
    assert "1/key" not in repr(td)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://api.eu01.treasuredata.com/", "https://api.eu01.treasuredata.com"),
        ("https://api.treasuredata.co.jp", "https://api.treasuredata.co.jp"),
        ("http://127.0.0.1:8008", "http://127.0.0.1:8008"),
    ],
)
def test_an_endpoint_is_the_root_of_an_api(given: str, kept: str) -> None:
    td = parse(f'{PLAIN}endpoint = "{given}"\n').connections["td"]
    assert td.type == "treasure_data"
    assert td.endpoint == kept


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('endpoint = "http://api.treasuredata.com"', "use https"),
        ('endpoint = "api.treasuredata.com"', "https://api.treasuredata.com"),
        ('endpoint = "https://console.treasuredata.com"', "web console"),
        ('endpoint = "https://api.treasuredata.com/v3"', "no user, path or query"),
        ('endpoint = "https://api.treasuredata.com:x"', "https://api.treasuredata.com"),
        ('engine = "spark"', '"trino", "presto" or "hive"'),
        ("priority = 3", "priority = 3"),
        ("query_retry_limit = 33", "query_retry_limit = 33"),
    ],
)
def test_a_wrong_value_is_named_with_its_fix(text: str, says: str) -> None:
    assert says in faults_of(text)
