"""ChatRequest and its fingerprint: what decides the answer is in it, and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import InputError
from flexllm_core.fingerprint import Fingerprints, request_fingerprint
from flexllm_core.messages import ROLES
from flexllm_core.options import PARAM_NAMES
from flexllm_core.requests import ChatRequest, clean_params

MESSAGES = [{"role": "user", "content": "hi"}]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text(max_size=6), JSON, max_size=5)


def shuffled(value: Any) -> Any:
    """The same JSON value with the keys of every object in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(value)}
    if isinstance(value, list):
        return [shuffled(item) for item in value]
    return value


@given(OBJECTS, OBJECTS)
def test_the_order_of_keys_does_not_change_the_fingerprint(message: dict[str, Any], params: dict[str, Any]) -> None:
    """Two programs that write the same request differently share journal and cache."""
    one = ChatRequest([message], "m", params)
    other = ChatRequest([shuffled(message)], "m", shuffled(params))
    assert one.fingerprint() == other.fingerprint()


@given(OBJECTS, OBJECTS)
def test_different_params_give_different_fingerprints(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Equal fingerprints mean equal JSON: nothing that decides the answer is dropped or mixed up."""
    same = ChatRequest(MESSAGES, "m", one).fingerprint() == ChatRequest(MESSAGES, "m", other).fingerprint()
    assert same == (canonical(one) == canonical(other))


@given(st.lists(OBJECTS, min_size=1, max_size=3), st.lists(OBJECTS, min_size=1, max_size=3))
def test_different_messages_give_different_fingerprints(one: list[Any], other: list[Any]) -> None:
    """The same for the messages, their order and number included."""
    same = ChatRequest(one, "m").fingerprint() == ChatRequest(other, "m").fingerprint()
    assert same == (canonical(one) == canonical(other))


def canonical(value: Any) -> Any:
    """A form in which True and 1, or 1 and 1.0, differ as they do in JSON."""
    if isinstance(value, dict):
        return ("object", frozenset((key, canonical(item)) for key, item in value.items()))
    if isinstance(value, list):
        return ("list", tuple(canonical(item) for item in value))
    return (type(value).__name__, repr(value))


TEXTS = st.text(alphabet=st.characters(exclude_categories=()), max_size=12)


@given(
    st.lists(st.fixed_dictionaries({"role": st.sampled_from(sorted(ROLES)), "content": TEXTS}), max_size=3),
    TEXTS | st.none(),
    OBJECTS,
)
def test_the_fingerprint_is_that_of_the_canonical_json(
    messages: list[Any], model: str | None, params: dict[str, Any]
) -> None:
    """Messages of roles and texts alone, which are written in a quicker way, are known by the same fingerprint."""
    text = json.dumps([model, messages, params], sort_keys=True, separators=(",", ":"))
    wanted = blake2b(text.encode(), digest_size=16).hexdigest()
    assert ChatRequest(messages, model, params).fingerprint() == wanted
    assert request_fingerprint(messages, model, params) == wanted
    assert request_fingerprint(tuple(messages), model, params) == wanted
    assert Fingerprints(model, params).of(messages) == wanted
    text = json.dumps([model, messages, params, 3], sort_keys=True, separators=(",", ":"))
    wanted = blake2b(text.encode(), digest_size=16).hexdigest()
    assert request_fingerprint(messages, model, params, 3) == wanted
    assert request_fingerprint(tuple(messages), model, params, 3) == wanted
    assert Fingerprints(model, params, 3).of(messages) == wanted


@pytest.mark.parametrize("name", sorted(PARAM_NAMES))
def test_every_param_is_part_of_the_fingerprint(name: str) -> None:
    """No option that decides the answer is forgotten, whichever it is."""
    prints = {ChatRequest(MESSAGES, "m", params).fingerprint() for params in ({}, {name: "a"}, {name: "b"})}
    assert len(prints) == 3


def test_model_messages_and_params_cannot_stand_for_each_other() -> None:
    """The parts are told apart: a model called as a param is not that param."""
    requests = [
        ChatRequest(MESSAGES, None),
        ChatRequest(MESSAGES, "null"),
        ChatRequest(MESSAGES, "m"),
        ChatRequest(MESSAGES, "m", {"seed": 1}),
        ChatRequest(MESSAGES, "m", {"seed": "1"}),
        ChatRequest(MESSAGES, "m", {"extra_body": {"seed": 1}}),
        ChatRequest([*MESSAGES, *MESSAGES], "m"),
        ChatRequest([{"role": "user", "content": "hi "}], "m"),
        ChatRequest([{"role": "system", "content": "hi"}], "m"),
    ]
    assert len({request.fingerprint() for request in requests}) == len(requests)


def test_headers_and_keep_raw_are_not_part_of_the_fingerprint() -> None:
    """What does not decide the answer does not buy it again."""
    plain = ChatRequest(MESSAGES, "m", {"seed": 1})
    other = ChatRequest(MESSAGES, "m", {"seed": 1}, extra_headers={"x-trace": "1"}, keep_raw=True)
    assert plain.fingerprint() == other.fingerprint()


def test_the_fingerprint_is_the_same_in_another_process() -> None:
    """Resume and cache work on the next day: no hash seed or order of this process is in it."""
    code = (
        "from flexllm_core.requests import ChatRequest\n"
        "request = ChatRequest([{'content': 'hé\\ud83d', 'role': 'user'}], 'm', {'b': 1.5, 'a': [True, None]})\n"
        "print(request.fingerprint())"
    )
    here = ChatRequest([{"role": "user", "content": "hé\ud83d"}], "m", {"a": [True, None], "b": 1.5}).fingerprint()
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert there == here
    assert len(here) == 32


def deep(levels: int) -> list[Any]:
    """Lists within lists."""
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    "bad",
    [float("nan"), float("inf"), {1}, object(), b"x", deep(5000)],
    ids=["nan", "inf", "set", "object", "bytes", "deep"],
)
def test_what_json_cannot_hold_is_an_input_error(bad: Any) -> None:
    """A typed error instead of a TypeError or RecursionError in the middle of a run."""
    with pytest.raises(InputError):
        ChatRequest(MESSAGES, "m", {"extra_body": {"x": bad}}).fingerprint()


def test_a_circular_request_is_an_input_error() -> None:
    """So is a list that holds itself."""
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(InputError):
        ChatRequest(MESSAGES, "m", {"stop": loop}).fingerprint()


@pytest.mark.parametrize("name", ["temperature", "top_p", "presence_penalty", "frequency_penalty"])
def test_whole_sampling_values_are_floats(name: str) -> None:
    """1 of a YAML file and 1.0 of the command line are one setting."""
    cleaned = clean_params({name: 1})
    assert cleaned == {name: 1.0}
    assert type(cleaned[name]) is float


def test_clean_params_drops_none_and_keeps_falsy_values() -> None:
    """False, 0 and empty texts are settings; None is none."""
    params: Mapping[str, Any] = {"seed": 0, "stop": "", "thinking": False, "top_p": None, "max_tokens": 5}
    assert clean_params(params) == {"seed": 0, "stop": "", "thinking": False, "max_tokens": 5}


def test_a_number_beyond_floats_is_left_to_the_endpoint() -> None:
    """A row of a stranger may hold any whole number."""
    assert clean_params({"temperature": 10**400}) == {"temperature": 10**400}


def test_with_params_replaces_and_removes() -> None:
    """None removes; the original stays as it was."""
    request = ChatRequest(MESSAGES, "m", {"seed": 1, "top_p": 0.5}, extra_headers={"a": "b"}, keep_raw=True)
    changed = request.with_params(seed=None, temperature=1)
    assert changed.params == {"top_p": 0.5, "temperature": 1.0}
    assert (changed.extra_headers, changed.keep_raw) == ({"a": "b"}, True)
    assert request.params == {"seed": 1, "top_p": 0.5}


def test_the_repr_shows_neither_messages_nor_headers() -> None:
    """A request in a log or traceback gives away neither the prompt nor a key."""
    request = ChatRequest([{"role": "user", "content": "my-prompt"}], "m", extra_headers={"x-key": "my-secret"})
    assert "my-prompt" not in repr(request)
    assert "my-secret" not in repr(request)
