"""The configuration file, the environment, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.config import (
    MAX_WARNINGS,
    Config,
    default_path,
    expand,
    load_config,
    parse_config,
)
from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import ConfigError, NotConfiguredError

WHOLE_EXAMPLE = """\
default: "gpt-4"                # the model that is used when none is named
models:
  - id: gpt-4
    name: gpt-4
    provider: openai
    base_url: https://api.openai.com/v1
    api_key: your-api-key
  - id: local-ollama
    name: local-ollama
    provider: openai
    base_url: http://localhost:11434/v1
    api_key: EMPTY
batch:
  concurrency: 10
  max_qps: 100
  timeout: 120
  cache: false
  return_usage: true
  track_cost: true
  endpoints:
    - base_url: http://fast-api.com/v1
      api_key: key1
      model: qwen
      concurrency_limit: 50
      max_qps: 500
    - base_url: http://slow-api.com/v1
      api_key: key2
      model: qwen
      concurrency_limit: 5
      max_qps: 50
  fallback: true
"""

FILE = Path("c.yaml")


def parse(text: str, env: dict[str, str] | None = None) -> Config:
    """A configuration from text."""
    return parse_config(text, FILE, env or {})


def key_of(endpoint: EndpointConfig) -> str | None:
    """An endpoint's key as text."""
    return endpoint.api_key.get_secret_value() if endpoint.api_key else None


def test_the_documented_example_is_valid_and_read_whole() -> None:
    """Every key of the user's documents works as written there, without a warning."""
    config = parse(WHOLE_EXAMPLE)
    assert config.warnings == ()
    assert config.default == "gpt-4"
    assert config.names() == ["gpt-4", "local-ollama"]
    found = config.find("gpt-4", {})
    assert found is not None
    assert (found.provider, found.base_url, key_of(found)) == ("openai", "https://api.openai.com/v1", "your-api-key")
    batch = config.batch
    assert (batch.concurrency, batch.max_qps, batch.timeout) == (10, 100, 120)
    assert (batch.cache, batch.return_usage, batch.track_cost, batch.fallback) == (False, True, True, True)
    fast, slow = batch.endpoints
    assert (fast.base_url, key_of(fast), fast.model, fast.concurrency_limit) == (
        "http://fast-api.com/v1",
        "key1",
        "qwen",
        50,
    )
    assert (slow.max_qps, slow.concurrency_limit) == (50, 5)


def test_a_name_alone_is_the_models_id_too() -> None:
    """And a name wins over another entry's id."""
    config = parse("models: [{name: a, base_url: http://h/v1}, {id: a, name: b}, {id: c, name: c2}]")
    for name, model, base_url in (("a", "a", "http://h/v1"), ("b", "a", None), ("c", "c", None), ("c2", "c", None)):
        found = config.find(name, {})
        assert found is not None
        assert (found.model, found.base_url) == (model, base_url)
    assert config.find("nobody", {}) is None


def test_unknown_keys_warn_with_a_suggestion_and_are_ignored() -> None:
    """At every level; a newer or misspelt key does not stop the work."""
    config = parse(
        """
        modles: []
        models: [{id: a, base_ulr: x, temprature: 1}]
        batch: {concurency: 1, endpoints: [{model: a, maxqps: 1}]}
        """
    )
    assert list(config.warnings) == [
        f"c.yaml: {place}unknown key {wrong!r}; did you mean {right!r}?; it is ignored"
        for place, wrong, right in (
            ("", "modles", "models"),
            ("models[0]: ", "base_ulr", "base_url"),
            ("models[0]: ", "temprature", "temperature"),
            ("batch: ", "concurency", "concurrency"),
            ("batch.endpoints[0]: ", "maxqps", "max_qps"),
        )
    ]
    assert config.find("a", {}) is not None


def test_the_number_of_warnings_is_bounded() -> None:
    """A file of nonsense does not take minutes to complain about."""
    assert len(parse("".join(f"nonsense{number}: 1\n" for number in range(5000))).warnings) == MAX_WARNINGS


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1]", "c.yaml: expected keys"),
        ("just text", "c.yaml: expected keys"),
        ("5", "c.yaml: expected keys"),
        ("default: 5", "c.yaml: default: expected the name of a model, found a number"),
        ("default: [a]", "c.yaml: default: "),
        ("models: {a: b}", "c.yaml: models: expected a list of entries, found a mapping"),
        ("models: gpt-4", "c.yaml: models: "),
        ("models: [gpt-4]", "c.yaml: models[0]: expected keys"),
        ("models: [{id: a}, {base_url: http://h/v1}]", "c.yaml: models[1]: has neither `id` nor `name`"),
        ("models: [{id: a, base_url: h}]", "c.yaml: models[0]: base_url: "),
        ("models: [{id: 4}]", "c.yaml: models[0]: id: "),
        ("models: [{id: a, timeout: soon}]", "c.yaml: models[0]: timeout: "),
        ("models: [{id: a, timeout: .inf}]", "c.yaml: models[0]: timeout: "),
        ("models: [{id: a, params: {thinking: hard}}]", "c.yaml: models[0]: params: thinking"),
        ("models: [{id: a, params: [1], seed: 1}]", "c.yaml: models[0]: params: "),
        ("models: [{id: a, price: {input: 1}}]", "c.yaml: models[0]: price.output: "),
        ("models: [{id: a, api_key: 5}]", "c.yaml: models[0]: api_key: "),
        ("models: [{id: a, model: b}]", "c.yaml: models[0]: `id` and `model`"),
        ("batch: [1]", "c.yaml: batch: expected keys, found a list"),
        ("batch: {concurrency: 0}", "c.yaml: batch.concurrency: "),
        ("batch: {max_qps: -1}", "c.yaml: batch.max_qps: "),
        ("batch: {timeout: x}", "c.yaml: batch.timeout: "),
        ("batch: {cache: maybe}", "c.yaml: batch.cache: "),
        ("batch: {save_input: first}", "c.yaml: batch.save_input"),
        ("batch: {endpoints: {a: b}}", "c.yaml: batch.endpoints: "),
        ("batch: {endpoints: [a]}", "c.yaml: batch.endpoints: "),
        ("batch: {endpoints: [{model: a, max_qps: 0}]}", "c.yaml: batch.endpoints[0]: max_qps: "),
        (
            "batch: {endpoints: [{model: a}, {proxy: '${NOT_SET}'}]}",
            "c.yaml: batch.endpoints[1].proxy: the environment",
        ),
        ("a: [", "c.yaml, line 1, column 5: not valid YAML"),
    ],
)
def test_every_error_names_the_file_and_the_key_path(text: str, said: str) -> None:
    """Found at reading, before anything is sent."""
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(said)


def test_an_empty_file_is_an_empty_configuration() -> None:
    """As is one with empty sections."""
    assert parse("").models == ()
    assert parse("models:\nbatch:\ndefault:\n").batch.endpoints == ()


def test_variables_are_expanded_when_an_entry_is_used() -> None:
    """At any depth; a missing one harms only the entry that needs it."""
    config = parse(
        """
        models:
          - {id: a, base_url: "${URL}", api_key: "${KEY}", timeout: "${T}", price: {input: "${P}", output: 2},
             headers: {x: "a-${KEY}-b"}, stop: ["${S}"], params: {extra_body: {deep: ["${KEY}", 5]}}}
          - {id: b, api_key: "${NOT_SET}"}
        """
    )
    found = config.find("a", {"URL": "http://h/v1/", "KEY": "k${T}", "T": "30", "P": "1.5", "S": "end"})
    assert found is not None
    assert (found.base_url, key_of(found), found.timeout) == ("http://h/v1", "k${T}", 30)
    assert found.headers == {"x": "a-k${T}-b"}
    assert found.params == {"stop": ["end"], "extra_body": {"deep": ["k${T}", 5]}}
    assert found.price is not None
    assert found.price.input == 1.5
    with pytest.raises(ConfigError, match=r"c\.yaml: models\[1\]\.api_key: the environment variable NOT_SET"):
        config.find("b", {})


def test_a_missing_variable_is_named_by_its_whole_path() -> None:
    """Through mappings and lists."""
    with pytest.raises(ConfigError, match=r"w\.params\.extra_body\[1\]\.x: the environment variable V is not set"):
        expand({"params": {"extra_body": [1, {"x": "${V}"}]}}, {}, "w")


@pytest.mark.parametrize("text", ["$HOME", "${}", "${1A}", "{HOME}", "$ {HOME}", "${A-B}"])
def test_other_uses_of_the_dollar_are_kept(text: str) -> None:
    """Only `${NAME}` is a variable."""
    assert expand({"a": text}, {"HOME": "x", "A": "y"}, "w") == {"a": text}


def test_the_default_file_need_not_exist_and_a_named_one_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is no error; a mistyped name is."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert default_path({}) == tmp_path / ".flexllm" / "config.yaml"
    assert load_config(env={}) == Config()
    for path, env in ((tmp_path / "no.yaml", {}), (None, {"FLEXLLM_CONFIG": str(tmp_path / "no.yaml")})):
        with pytest.raises(NotConfiguredError, match=r"no\.yaml: no such configuration file"):
            load_config(path, env)


def test_the_file_is_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The argument, then FLEXLLM_CONFIG, then the one of the home folder; `~` is the home folder."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    (tmp_path / ".flexllm").mkdir()
    for name in (".flexllm/config.yaml", "env.yaml", "arg.yaml"):
        (tmp_path / name).write_text(f"default: {name}\n")
    env = {"FLEXLLM_CONFIG": "~/env.yaml"}
    assert load_config("~/arg.yaml", env).default == "arg.yaml"
    assert load_config(None, env).default == "env.yaml"
    assert load_config(None, {}).default == ".flexllm/config.yaml"


def test_a_file_of_the_current_folder_is_not_read_unasked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's folder cannot redirect the prompts."""
    home, folder = tmp_path / "home", tmp_path / "folder"
    home.mkdir()
    folder.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(folder)
    for name in ("config.yaml", "flexllm_config.yaml", ".flexllm.yaml"):
        (folder / name).write_text("default: evil\n")
    assert load_config(env={}).default is None


def test_a_user_without_a_home_has_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers that run under an arbitrary user id."""

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert load_config(env={}) == Config()
    with pytest.raises(NotConfiguredError):
        load_config("~nobody-of-this-name/c.yaml", {})


def test_secrets_are_in_no_repr_and_no_error() -> None:
    """A configuration in a traceback shows no key."""
    secret = "s3cret-value-1"
    config = parse(f"models: [{{id: a, api_key: {secret}}}]\nbatch: {{endpoints: [{{model: a, api_key: {secret}}}]}}")
    assert secret not in repr(config) + repr(config.find("a", {}))
    with pytest.raises(ConfigError) as caught:
        parse(f"models: [{{id: a, api_key: {secret}, timeout: x}}]")
    assert secret not in str(caught.value)


YAML_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(["a", "", "${X}", "http://h/v1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["models", "batch", "default", "id", "name", "endpoints", "params", "price", "timeout", "cache", "x"]
            )
            | st.integers(),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(YAML_VALUES)
def test_any_yaml_is_a_configuration_or_a_config_error(value: Any) -> None:
    """Whatever the types, at every place; the error names the file."""
    import yaml

    said = ["c.yaml"]
    try:
        config = parse(yaml.safe_dump(value), {"X": "x"})
        for name in config.names():
            config.find(name, {"X": "x"})
    except ConfigError as error:
        said.append(str(error))
    assert all(text.startswith("c.yaml") for text in said)


KEYS = {
    "a key of a model": ("models: [{id: m, api_key: sk-abcdefgh}]", True),
    "a key of an endpoint": ("batch: {endpoints: [{model: m, base_url: 'http://h/v1', api_key: sk-abcdefgh}]}", True),
    "a variable": ("models: [{id: m, api_key: '${SOME_KEY}'}]", False),
    "a variable of an endpoint": (
        "batch: {endpoints: [{model: m, base_url: 'http://h/v1', api_key: '${SOME_KEY}'}]}",
        False,
    ),
    "no key": ("models: [{id: m, api_key: EMPTY}]", False),
}


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
@pytest.mark.parametrize(("text", "warns"), KEYS.values(), ids=KEYS)
def test_keys_that_others_can_read_give_a_warning(tmp_path, text, warns):
    """Only where a key itself is in the file; the warning has the mode and the remedy, and not the key."""
    file = tmp_path / "config.yaml"
    file.write_text(text)
    file.chmod(0o644)
    found = load_config(file, {"SOME_KEY": "sk-12345678"}).warnings
    assert bool(found) == warns
    assert all("644" in warning and "chmod 600" in warning and "sk-" not in warning for warning in found)
    file.chmod(0o600)
    assert load_config(file, {"SOME_KEY": "sk-12345678"}).warnings == ()
