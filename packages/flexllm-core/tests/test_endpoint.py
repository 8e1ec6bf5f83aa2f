"""EndpointConfig: names and aliases, checks with the key path, and no secret in any text."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.endpoint import EndpointConfig, endpoint_from, endpoint_with_key, known_endpoint_keys
from flexllm_core.errors import ConfigError

SECRET = "s3cret-key-000000"


def test_an_endpoint_from_a_dict_has_the_documented_names() -> None:
    """The names of the user's documents, `id` included, and sampling values beside them."""
    endpoint = endpoint_from(
        {
            "id": "qwen",
            "name": "fast",
            "base_url": " http://gpu1:8000/v1/ ",
            "api_key": f" {SECRET}\n",
            "concurrency_limit": 50,
            "max_qps": 500,
            "temperature": 1,
            "max_tokens": 5,
            "thinking": "off",
            "params": {"top_p": 0.5, "temperature": 0, "seed": None},
            "price": {"input": 1, "output": 2.5},
        }
    )
    assert endpoint.model == "qwen"
    assert endpoint.base_url == "http://gpu1:8000/v1"
    assert endpoint.api_key is not None
    assert endpoint.api_key.get_secret_value() == SECRET
    assert endpoint.params == {"temperature": 0.0, "max_tokens": 5, "thinking": False, "top_p": 0.5}
    assert type(endpoint.params["temperature"]) is float
    assert endpoint.price is not None
    assert (endpoint.price.input, endpoint.price.output, endpoint.price.cached) == (1, 2.5, None)


@pytest.mark.parametrize(
    ("given_name", "provider"), [("google", "gemini"), ("anthropic", "claude"), ("openai", "openai")]
)
def test_a_provider_may_be_called_by_its_vendor(given_name: str, provider: str) -> None:
    """Both names of the user's documents."""
    assert endpoint_from({"provider": given_name}).provider == provider


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"modle": "x"}, "unknown key 'modle'; did you mean 'model'"),
        ({5: 1}, "unknown key of type int"),
        ({"id": "a", "model": "b"}, "`id` and `model`"),
        ({"model": 5}, "model: "),
        ({"provider": "cohere"}, "provider: "),
        ({"concurrency_limit": 0}, "concurrency_limit: "),
        ({"concurrency_limit": 1.5}, "concurrency_limit: "),
        ({"max_qps": 0}, "max_qps: "),
        ({"max_qps": "fast"}, "max_qps: "),
        ({"timeout": -1}, "timeout: "),
        ({"timeout": float("inf")}, "timeout: "),
        ({"timeout": float("nan")}, "timeout: "),
        ({"retry_times": -1}, "retry_times: "),
        ({"headers": {"a": 1}}, "headers.a: "),
        ({"headers": "a"}, "headers: "),
        ({"params": [1]}, "params: "),
        ({"params": [1], "seed": 1}, "params: "),
        ({"params": {"temprature": 1}}, "params: unknown param 'temprature'; did you mean 'temperature'"),
        ({"params": {"thinking": "hard"}}, "params: thinking is 'hard'"),
        ({"params": {"thinking": 0}}, "params: thinking is 0"),
        ({"params": {"extra_body": [1]}}, "params: extra_body"),
        ({"params": {"response_format": 1}}, "params: response_format"),
        ({"thinking": [1]}, "params: thinking"),
        ({"price": {"input": -1, "output": 1}}, "price.input: "),
        ({"price": {"input": 1}}, "price.output: "),
        ({"price": {"input": 1, "output": 1, "cashed": 1}}, "price.cashed: "),
        ({"dialect": "vllm"}, "dialect: "),
        ({"verify": [1]}, "verify"),
        ({"api_key": 12345678}, "api_key: "),
    ],
)
def test_an_error_names_place_and_key(data: dict[Any, Any], said: str) -> None:
    """Where the entry stands, the key's path, and what was expected."""
    with pytest.raises(ConfigError) as caught:
        endpoint_from(data, "file.yaml: models[3]")
    assert str(caught.value).startswith("file.yaml: models[3]: ")
    assert said in str(caught.value)


@pytest.mark.parametrize("value", [None, 5, "http://h/v1", ["http://h/v1"]])
def test_what_is_no_mapping_is_a_config_error(value: Any) -> None:
    """A list of URLs in place of endpoints is told so."""
    with pytest.raises(ConfigError, match=r"^endpoint: expected an EndpointConfig or a dict"):
        endpoint_from(value)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api.openai.com/v1",
        "ftp://h/v1",
        "http://",
        "https:///v1",
        "http://h:99999/v1",
        "http://h:port/v1",
        "http://[::1/v1",
        "http://h/v 1",
        "http://h/v1\nx",
        "http://h/v1\x7f",
        "http://user:pw@h/v1",
        "http://token@h/v1",
        "http://good.com\\@evil.com/v1",
        "https://h/v1?api-version=1",
        "https://h/v1#x",
    ],
)
def test_an_unusable_base_url_is_refused_at_once(url: str) -> None:
    """Not when the first request is sent; and a URL never holds credentials."""
    with pytest.raises(ConfigError, match="base_url"):
        endpoint_from({"base_url": url})


@pytest.mark.parametrize("url", ["http://[::1]:8000/v1", "https://h", "http://127.0.0.1:1/a/b", "https://例え.jp/v1"])
def test_a_usable_base_url_is_kept(url: str) -> None:
    """IPv6, no path, deep paths and international names."""
    assert endpoint_from({"base_url": url}).base_url == url


@given(
    st.dictionaries(
        st.sampled_from([*sorted(known_endpoint_keys()), "x"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
            max_leaves=4,
        ),
        max_size=4,
    )
)
def test_any_mapping_is_an_endpoint_or_a_config_error(data: dict[str, Any]) -> None:
    """Files of any content give no other exception."""
    try:
        endpoint = endpoint_from(data)
    except ConfigError:
        return
    assert endpoint_from(endpoint.model_dump(exclude_unset=True)) == endpoint


@pytest.mark.parametrize("bad", ["line\nbreak", "tab\tinside", "nul\0", "del\x7f"])
def test_a_key_with_a_control_character_is_refused_and_not_shown(bad: str) -> None:
    """It could smuggle a header into the request."""
    with pytest.raises(ConfigError, match="control character") as caught:
        endpoint_from({"api_key": SECRET + bad})
    assert SECRET not in str(caught.value)


def test_secrets_are_in_no_repr() -> None:
    """Key, headers and proxy may all hold credentials."""
    endpoint = endpoint_from(
        {"api_key": SECRET, "headers": {"x-api-key": SECRET}, "proxy": f"http://u:{SECRET}@proxy:1"}
    )
    assert SECRET not in repr(endpoint) + str(endpoint)


@pytest.mark.parametrize(
    "data",
    [
        {"api_key": [SECRET]},
        {"api_key": SECRET, "timeout": "x"},
        {"headers": {"a": SECRET, "b": 5}},
        {"headers": SECRET},
        {"timeout": SECRET},
        {"proxy": [SECRET]},
        {"base_url": f"http://u:{SECRET}@h"},
        {"price": SECRET},
    ],
)
def test_secrets_are_in_no_error(data: dict[str, Any]) -> None:
    """An error about any key of the entry does not repeat its values, nor does its cause."""
    with pytest.raises(ConfigError) as caught:
        endpoint_from(data)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_no_key_is_none() -> None:
    """An empty text stands for none."""
    assert endpoint_from({"api_key": ""}).api_key is None
    assert endpoint_from({"api_key": "  "}).api_key is None
    assert endpoint_from({"api_key": None}).api_key is None


@pytest.mark.parametrize(
    ("data", "label"),
    [
        ({"name": "n", "model": "m", "base_url": "http://h/v1"}, "n"),
        ({"model": "m", "base_url": "http://h/v1"}, "http://h/v1"),
        ({"model": "m"}, "m"),
        ({}, "endpoint"),
    ],
)
def test_the_label_is_the_best_name_there_is(data: dict[str, Any], label: str) -> None:
    """Messages name the endpoint as the user does."""
    assert endpoint_from(data).label == label


def test_an_endpoint_is_passed_on_as_it_is() -> None:
    """Who has an EndpointConfig already gets the same."""
    endpoint = EndpointConfig(model="m")
    assert endpoint_from(endpoint) is endpoint


def test_endpoint_with_key_takes_the_environments_key_only_where_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The given key wins; the host decides which variable is looked at."""
    monkeypatch.setenv("DEEPSEEK_API_KEY", "from-env")
    bare = endpoint_from({"base_url": "https://api.deepseek.com/v1"})
    own = endpoint_from({"base_url": "https://api.deepseek.com/v1", "api_key": "own"})
    other = endpoint_from({"base_url": "https://example.com/v1"})
    found = endpoint_with_key(bare).api_key
    assert found is not None
    assert found.get_secret_value() == "from-env"
    assert endpoint_with_key(own) is own
    assert endpoint_with_key(other).api_key is None


def test_numbers_and_dates_of_yaml_are_taken_as_written() -> None:
    """A project may be named by its number, and a version by its date."""
    endpoint = endpoint_from({"project_id": 123456789, "location": "eu", "api_version": date(2026, 10, 21)})
    assert (endpoint.project_id, endpoint.location, endpoint.api_version) == ("123456789", "eu", "2026-10-21")
    with pytest.raises(ConfigError, match="endpoint: project_id: Input should be a valid string"):
        endpoint_from({"project_id": True})
