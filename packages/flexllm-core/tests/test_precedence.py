"""Which endpoint arguments, environment and file name together, row by row of the documented order."""

from __future__ import annotations

from pathlib import Path

import pytest

from flexllm_core.config import Config, parse_config
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, NotConfiguredError
from flexllm_core.resolve import resolve_endpoint, resolve_endpoints

FILE = """
default: def
models:
  - {id: m-def, name: def, base_url: http://def/v1, api_key: k-def, temperature: 0.5}
  - {id: m-ent, name: ent, base_url: http://ent/v1, api_key: k-ent, headers: {x-auth: h-ent}, verify: false}
  - {id: m-bare, name: bare, base_url: http://bare/v1}
"""
F_URL, F_KEY, F_MODEL = (
    {"FLEXLLM_BASE_URL": "http://flex/v1"},
    {"FLEXLLM_API_KEY": "k-flex"},
    {"FLEXLLM_MODEL": "m-flex"},
)
O_URL, O_KEY, O_MODEL = (
    {"OPENAI_BASE_URL": "http://open/v1"},
    {"OPENAI_API_KEY": "k-open"},
    {"OPENAI_MODEL": "m-open"},
)
FLEX, OPEN = F_URL | F_KEY | F_MODEL, O_URL | O_KEY | O_MODEL
BOTH = FLEX | OPEN
A = "http://a/v1"
NEW, ENT, URL, KEY = {"model": "new"}, {"model": "ent"}, {"base_url": A}, {"api_key": "k"}
VENDOR = "https://api.openai.com/v1"

Row = tuple[str, dict[str, str], dict[str, str], tuple[str | None, str | None, str | None]]

ROWS: list[Row] = [  # what it shows, arguments, environment, expected base URL, model and key
    ("arguments beat all", NEW | URL | KEY, BOTH, (A, "new", "k")),
    ("url and model arguments take no other url's key", NEW | URL, BOTH, (A, "new", None)),
    ("the named entry beats both environments", ENT, BOTH, ("http://ent/v1", "m-ent", "k-ent")),
    ("the entry is found by its id", {"model": "m-ent"}, {}, ("http://ent/v1", "m-ent", "k-ent")),
    ("the key argument beats the entry's", ENT | KEY, BOTH, ("http://ent/v1", "m-ent", "k")),
    ("the url argument beats the entry's, without its key", ENT | URL, {}, (A, "m-ent", None)),
    (
        "the entry's own url keeps its key",
        ENT | {"base_url": "http://ent/v1/"},
        {},
        ("http://ent/v1", "m-ent", "k-ent"),
    ),
    ("an entry without a key takes FLEXLLM_API_KEY", {"model": "bare"}, F_KEY, ("http://bare/v1", "m-bare", "k-flex")),
    ("but not one that belongs to another url", {"model": "bare"}, FLEX, ("http://bare/v1", "m-bare", None)),
    ("nor OPENAI_API_KEY", {"model": "bare"}, O_KEY, ("http://bare/v1", "m-bare", None)),
    ("FLEXLLM beats OPENAI and the default", {}, BOTH, ("http://flex/v1", "m-flex", "k-flex")),
    ("OPENAI beats the default", {}, OPEN, ("http://open/v1", "m-open", "k-open")),
    ("the default entry is last", {}, {}, ("http://def/v1", "m-def", "k-def")),
    ("an unknown model goes to FLEXLLM_BASE_URL", NEW, BOTH, ("http://flex/v1", "new", "k-flex")),
    ("an unknown model goes to OPENAI_BASE_URL", NEW, OPEN, ("http://open/v1", "new", "k-open")),
    ("an unknown model with OPENAI_API_KEY goes to OpenAI", NEW, O_KEY, (VENDOR, "new", "k-open")),
    ("FLEXLLM_MODEL may name an entry", {}, {"FLEXLLM_MODEL": "ent"}, ("http://ent/v1", "m-ent", "k-ent")),
    ("that entry beats OPENAI_BASE_URL", {}, OPEN | {"FLEXLLM_MODEL": "ent"}, ("http://ent/v1", "m-ent", "k-ent")),
    ("OPENAI_MODEL may name an entry", {}, {"OPENAI_MODEL": "ent"}, ("http://ent/v1", "m-ent", "k-ent")),
    ("FLEXLLM_MODEL with OPENAI_BASE_URL", {}, F_MODEL | OPEN, ("http://open/v1", "m-flex", "k-open")),
    ("FLEXLLM_MODEL with OPENAI_API_KEY", {}, F_MODEL | O_KEY, (VENDOR, "m-flex", "k-open")),
    ("FLEXLLM_BASE_URL with OPENAI_MODEL", {}, F_URL | O_MODEL | O_KEY, ("http://flex/v1", "m-open", None)),
    ("FLEXLLM_BASE_URL alone asks the default's model", {}, F_URL, ("http://flex/v1", "m-def", None)),
    ("FLEXLLM_BASE_URL sends an entry's id", {}, F_URL | {"FLEXLLM_MODEL": "ent"}, ("http://flex/v1", "m-ent", None)),
    ("OPENAI_BASE_URL alone asks the default's model", {}, O_URL, ("http://open/v1", "m-def", None)),
    ("the url argument with FLEXLLM_MODEL", URL, F_MODEL, (A, "m-flex", None)),
    ("the url argument with OPENAI_MODEL", URL, O_MODEL, (A, "m-open", None)),
    ("the url argument alone asks the default's model", URL, {}, (A, "m-def", None)),
    ("the url argument takes a FLEXLLM_API_KEY without a url", URL, F_KEY, (A, "m-def", "k-flex")),
    ("the key argument goes to the default entry", KEY, {}, ("http://def/v1", "m-def", "k")),
    ("blank variables are not set", {}, dict.fromkeys(BOTH, " "), ("http://def/v1", "m-def", "k-def")),
]


def parse(text: str) -> Config:
    """A configuration from text."""
    return parse_config(text, Path("c.yaml"), {})


def resolve(config: Config, arguments: dict[str, str], env: dict[str, str]) -> EndpointConfig:
    """`resolve_endpoint` with its arguments in a dict."""
    return resolve_endpoint(
        config,
        model=arguments.get("model"),
        base_url=arguments.get("base_url"),
        api_key=arguments.get("api_key"),
        provider=arguments.get("provider"),
        env=env,
    )


def key_of(endpoint: EndpointConfig) -> str | None:
    """An endpoint's key as text."""
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


@pytest.mark.parametrize(("arguments", "env", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_precedence(
    arguments: dict[str, str], env: dict[str, str], expected: tuple[str | None, str | None, str | None]
) -> None:
    """Arguments > the named entry > FLEXLLM_* > OPENAI_* > the default entry, for each value on its own."""
    endpoint = resolve(parse(FILE), arguments, env)
    assert (endpoint.base_url, endpoint.model, key_of(endpoint)) == expected


def test_the_environment_is_the_processes_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no other is given."""
    for name, value in FLEX.items():
        monkeypatch.setenv(name, value)
    endpoint = resolve_endpoint(parse(FILE))
    assert (endpoint.base_url, endpoint.model, key_of(endpoint)) == ("http://flex/v1", "m-flex", "k-flex")


def test_without_a_default_the_first_entry_is_it() -> None:
    """`default` may be left out."""
    assert resolve(parse(FILE.replace("default: def", "")), {}, {}).model == "m-def"


def test_an_entry_keeps_its_other_settings() -> None:
    """Params, headers and the like come with it; the provider argument wins."""
    assert resolve(parse(FILE), {}, {}).params == {"temperature": 0.5}
    assert resolve(parse(FILE), ENT, {}).headers == {"x-auth": "h-ent"}
    assert resolve(parse(FILE), ENT | {"provider": "claude"}, {}).provider == "claude"


def test_headers_and_verify_do_not_follow_to_another_host() -> None:
    """Headers may hold a key, and a host that was trusted without a certificate is not another one."""
    moved = resolve(parse(FILE), ENT | {"base_url": "http://evil/v1"}, {})
    assert (moved.headers, moved.verify, moved.api_key) == ({}, True, None)


def test_a_provider_with_a_model_needs_no_base_url() -> None:
    """Each vendor has its own; OpenAI's variables are not for another vendor."""
    claude = resolve(Config(), NEW | {"provider": "claude"}, OPEN | {"ANTHROPIC_API_KEY": "k-claude"})
    assert (claude.provider, claude.base_url, key_of(claude)) == ("claude", None, "k-claude")
    assert key_of(resolve(Config(), NEW | {"provider": "gemini"}, OPEN)) is None


@pytest.mark.parametrize(
    ("text", "arguments", "env", "said"),
    [
        ("", {}, {}, "no model is configured"),
        ("default: nobody", {}, {}, "the default model 'nobody' is not among the models"),
        (FILE, NEW, {}, "unknown model 'new'"),
        (FILE, NEW, {}, "configured: def, ent, bare"),
        (FILE, {}, {"FLEXLLM_MODEL": "new"}, "unknown model 'new'"),
        ("", {}, F_URL, "no model is configured"),
        ("", URL, {}, "no model is configured"),
    ],
)
def test_what_is_missing_is_said_with_what_to_do(
    text: str, arguments: dict[str, str], env: dict[str, str], said: str
) -> None:
    """Nothing is sent anywhere by guessing."""
    with pytest.raises(NotConfiguredError) as caught:
        resolve(parse(text), arguments, env)
    assert said in str(caught.value)
    assert "flexllm init" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "env", "said"),
    [
        (NEW | {"base_url": "h"}, {}, "options: base_url"),
        (NEW, {"FLEXLLM_BASE_URL": "h"}, "FLEXLLM_BASE_URL: base_url"),
        (NEW, {"OPENAI_BASE_URL": "h"}, "OPENAI_BASE_URL: base_url"),
        ({"api_key": "a\nb"}, {}, "def: api_key"),
        ({"provider": "cohere"}, {}, "def: provider"),
        (NEW | URL, {"FLEXLLM_API_KEY": "a\0b"}, "FLEXLLM_API_KEY: "),
    ],
)
def test_an_unusable_value_is_told_with_its_source(arguments: dict[str, str], env: dict[str, str], said: str) -> None:
    """The option or variable that it came from."""
    with pytest.raises(ConfigError) as caught:
        resolve(parse(FILE), arguments, env)
    assert str(caught.value).startswith(said)


SEVERAL = """
default: several
models:
  - {id: m, name: several, endpoints: [{base_url: http://one/v1}, {base_url: http://two/v1}]}
  - {id: m-one, name: single, base_url: http://single/v1}
"""
SHARED = """
batch:
  endpoints: [{base_url: http://shared/v1, model: m}, {base_url: http://shared2/v1, model: m}]
"""
BOTH_OF_THEM, BATCH = ["http://one/v1", "http://two/v1"], ["http://shared/v1", "http://shared2/v1"]


@pytest.mark.parametrize(
    ("text", "model", "env", "for_batch", "expected"),
    [
        (SEVERAL + SHARED, None, {}, True, BATCH),
        (SEVERAL + SHARED, None, FLEX, True, BATCH),
        (SEVERAL + SHARED, None, {}, False, BOTH_OF_THEM),
        (SEVERAL + SHARED, "m", FLEX, True, BOTH_OF_THEM),
        (SEVERAL + SHARED, "single", {}, False, ["http://single/v1"]),
        (SEVERAL, None, {}, True, BOTH_OF_THEM),
        (SEVERAL, None, FLEX, True, ["http://flex/v1"]),
        (SEVERAL, None, {"FLEXLLM_MODEL": "several"} | O_URL, False, BOTH_OF_THEM),
        (SEVERAL, None, {"OPENAI_MODEL": "several"}, True, BOTH_OF_THEM),
        (SEVERAL, None, F_URL | {"FLEXLLM_MODEL": "several"}, True, ["http://flex/v1"]),
        (SHARED, None, {}, False, BATCH),
        (SHARED, None, FLEX, False, ["http://flex/v1"]),
        (SHARED, "new", FLEX, True, ["http://flex/v1"]),
    ],
)
def test_several_endpoints(
    text: str, model: str | None, env: dict[str, str], for_batch: bool, expected: list[str]
) -> None:
    """The named entry's; for a batch those of its section; for a question these only where nothing else is there."""
    found = resolve_endpoints(parse(text), model=model, env=env, for_batch=for_batch)
    assert [endpoint.base_url for endpoint in found] == expected


def test_an_entry_that_is_not_used_may_lack_its_variables() -> None:
    """The default model's key is nobody's concern where a batch goes elsewhere."""
    text = SEVERAL.replace("id: m,", "id: m, api_key: '${NOT_SET}',") + SHARED
    assert len(resolve_endpoints(parse(text), env={})) == 2
