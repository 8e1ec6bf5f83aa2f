"""Which key goes where: a vendor's key never leaves for another host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.credentials import VENDOR_KEYS, host_matches, key_from_environment
from flexllm_core.errors import ConfigError

ALL_VENDOR_KEYS = {name: f"key-of-{name}" for _, names in VENDOR_KEYS for name in names}


def key(base_url: str | None, env: dict[str, str], provider: str = "auto") -> str | None:
    """The key as text."""
    found = key_from_environment(base_url, provider, env)
    return found.get_secret_value() if found else None


@pytest.mark.parametrize(("host", "names"), VENDOR_KEYS)
def test_each_vendor_gets_its_own_key(host: str, names: tuple[str, ...]) -> None:
    """At its host and at hosts below it, over https."""
    env = dict.fromkeys(names, "k")
    assert key(f"https://{host}/v1", env) == "k"
    assert key(f"https://eu.{host}/v1", env) == "k"
    assert key(f"https://{host}:8443/v1", env) == "k"


@pytest.mark.parametrize(("host", "names"), VENDOR_KEYS)
@pytest.mark.parametrize(
    "form",
    [
        "https://{}.evil.com/v1",
        "https://evil-{}/v1",
        "https://evil{}/v1",
        "https://evil.com/{}/v1",
        "https://evil.com/v1?x={}",
        "http://{}/v1",
        "https://localhost/v1",
        "https://{}@evil.com/v1",
    ],
)
def test_no_other_host_gets_it(host: str, names: tuple[str, ...], form: str) -> None:
    """Not by prefix, suffix without a dot, path, query or user name, and not in clear text."""
    assert key(form.format(host), dict.fromkeys(names, "k")) is None


@pytest.mark.parametrize(
    "host", ["my-bucket.oss-cn-hangzhou.aliyuncs.com", "1234.cn-hangzhou.fc.aliyuncs.com", "aliyuncs.com"]
)
def test_customers_of_a_cloud_do_not_get_the_vendors_key(host: str) -> None:
    """Hosts below a cloud's domain belong to anybody."""
    assert key(f"https://{host}/v1", ALL_VENDOR_KEYS) is None


@given(st.from_regex(r"\A[a-z0-9.-]{1,30}\.[a-z]{2,5}\Z"))
def test_an_unknown_host_gets_no_vendors_key(host: str) -> None:
    """Whatever its name, unless it is below a vendor's."""
    if not any(host_matches(host, suffix) for suffix, _ in VENDOR_KEYS):
        assert key(f"https://{host}/v1", ALL_VENDOR_KEYS) is None


@pytest.mark.parametrize(
    ("provider", "expected"),
    [
        ("auto", "OPENAI_API_KEY"),
        ("openai", "OPENAI_API_KEY"),
        ("claude", "ANTHROPIC_API_KEY"),
        ("gemini", "GOOGLE_API_KEY"),
        ("vertex", None),
    ],
)
def test_without_a_base_url_the_provider_decides(provider: str, expected: str | None) -> None:
    """Each provider's default host; vertex takes no key of anybody."""
    assert key(None, ALL_VENDOR_KEYS, provider) == (expected and f"key-of-{expected}")


def test_openai_key_belongs_to_openai_base_url() -> None:
    """To exactly that base URL, and to OpenAI's own host."""
    env = {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://gpu:8000/v1/"}
    assert key("http://gpu:8000/v1", env) == "k"
    assert key("http://gpu:8000/v2", env) is None
    assert key("http://gpu:8001/v1", env) is None
    assert key("https://api.openai.com/v1", env) == "k"


def test_flexllm_key_belongs_to_flexllm_base_url() -> None:
    """Where that is set; where it is not, to any endpoint that was given no key."""
    env = {"FLEXLLM_API_KEY": "k", "FLEXLLM_BASE_URL": "http://gpu:8000/v1"}
    assert key("http://gpu:8000/v1", env) == "k"
    assert key("http://other:8000/v1", env) is None
    assert key(None, env) is None
    assert key("http://other:8000/v1", {"FLEXLLM_API_KEY": "k"}) == "k"
    assert key("http://other:8000/v1", {"FLEXLLM_API_KEY": "k", "FLEXLLM_BASE_URL": "  "}) == "k"


def test_flexllm_key_wins_over_openai_key_and_that_over_the_vendors() -> None:
    """In the order of the documentation."""
    env = {"OPENAI_BASE_URL": "https://api.deepseek.com", "OPENAI_API_KEY": "o", "DEEPSEEK_API_KEY": "d"}
    assert key("https://api.deepseek.com", {**env, "FLEXLLM_API_KEY": "f"}) == "f"
    assert key("https://api.deepseek.com", env) == "o"
    assert key("https://api.deepseek.com/v1", env) == "d"


def test_a_vendors_first_variable_wins_and_blank_ones_do_not_count() -> None:
    """A variable that is set to nothing is not set."""
    url = "https://generativelanguage.googleapis.com/v1beta"
    assert key(url, {"GOOGLE_API_KEY": "a", "GEMINI_API_KEY": "b"}) == "a"
    assert key(url, {"GOOGLE_API_KEY": " \n", "GEMINI_API_KEY": "b"}) == "b"
    assert key(url, {"GOOGLE_API_KEY": " "}) is None


def test_a_key_is_stripped_and_a_broken_one_refused_without_showing_it() -> None:
    """A pasted newline at the end is harmless; one inside would smuggle a header."""
    assert key("https://api.openai.com/v1", {"OPENAI_API_KEY": " k\n"}) == "k"
    with pytest.raises(ConfigError, match="OPENAI_API_KEY: the key holds a control character") as caught:
        key("https://api.openai.com/v1", {"OPENAI_API_KEY": "my-secret\nx-evil: 1"})
    assert "my-secret" not in str(caught.value)


def test_the_key_is_a_secret() -> None:
    """Its repr and str do not show it."""
    found = key_from_environment("https://api.openai.com/v1", "openai", {"OPENAI_API_KEY": "my-secret"})
    assert "my-secret" not in repr(found) + str(found)
