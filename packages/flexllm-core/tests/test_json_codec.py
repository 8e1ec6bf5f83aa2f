"""JSON in and out: round trips, surrogates, NaN, depth, and what is refused."""

from __future__ import annotations

import json
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC
from enum import Enum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from flexllm_core.errors import InputError
from flexllm_core.json_codec import MAX_DEPTH, decode_json, encode_json


class Colour(Enum):
    RED = "red"


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Size:
    width: int


class Name(str):
    __slots__ = ()


# Texts with lone surrogates, which servers produce when a limit cuts an emoji.
TEXTS = st.text(st.characters(codec=None, categories=None))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=15,
)


@given(JSON)
def test_a_value_comes_back_from_its_json(value: Any) -> None:
    """Encode and decode lose nothing, whatever the text."""
    assert decode_json(encode_json(value)) == value


@given(JSON)
def test_what_is_written_is_strict_json_in_utf8(value: Any) -> None:
    """Any other reader reads it too."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    text = encode_json(value).decode("utf-8")
    assert json.loads(text, parse_constant=refuse) == value


@given(
    st.binary(max_size=40)
    | st.text(st.sampled_from('[]{}",:0123456789.eE+-truefalsn\\ud8 '), max_size=40).map(str.encode)
)
def test_any_bytes_are_a_value_or_a_value_error(data: bytes) -> None:
    """Servers may send anything; and what was read can be written again."""
    try:
        value = decode_json(data)
    except ValueError:
        return
    encode_json(value)


PLAIN_TEXTS = st.text(st.characters(codec="utf-8"))
VALUES_OF_PYTHON = st.one_of(
    st.floats(),
    st.integers(),
    PLAIN_TEXTS,
    st.dates(),
    st.datetimes(timezones=st.none() | st.just(UTC)),
    st.times(),
    st.uuids(),
    st.sampled_from([Colour.RED, Point(1, 2), Size(3), Name("n"), OrderedDict(a=1), 2**64 - 1, 2**64, -(2**63) - 1]),
)


@given(
    st.recursive(
        VALUES_OF_PYTHON,
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.tuples(inner)
            | st.dictionaries(PLAIN_TEXTS | st.integers() | st.just(Colour.RED), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_both_fast_writers_write_the_same(value: Any) -> None:
    """Which of them takes a value must not show: lines of earlier runs are compared with those of now."""
    assert encode_json(value) == to_json(value, inf_nan_mode="null")


def test_a_lone_surrogate_is_written_escaped() -> None:
    """One such answer does not stop a run."""
    assert encode_json({"a": "x\ud83d"}) == b'{"a":"x\\ud83d"}'
    assert decode_json(b'"\\ud83d"') == "\ud83d"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("text", ["x", "x\ud83d"])
def test_nan_and_the_infinities_are_null(number: float, text: str) -> None:
    """In the fast way and in the slow one."""
    assert json.loads(encode_json([text, {"n": number}, (number,)])) == [text, {"n": None}, [None]]


def test_other_texts_are_not_escaped() -> None:
    """Chinese stays readable in the output."""
    assert encode_json(["你好"]) == '["你好"]'.encode()


@pytest.mark.parametrize("value", [object(), {"a": object()}, b"\xff", [{1: {2: object()}}]])
def test_what_json_cannot_write_is_an_input_error(value: Any) -> None:
    """A typed error."""
    with pytest.raises(InputError):
        encode_json(value)


def test_a_circular_value_is_an_input_error() -> None:
    """And no RecursionError."""
    loop: dict[str, Any] = {}
    loop["a"] = loop
    with pytest.raises(InputError):
        encode_json(loop)


@pytest.mark.parametrize("depth", [MAX_DEPTH // 2, MAX_DEPTH - 1])
def test_what_is_nested_up_to_the_limit_can_be_read_and_written(depth: int) -> None:
    """With and without a surrogate inside, which takes the slow way."""
    for core in (b"1", b'"\\ud83d"'):
        value = decode_json(b"[" * depth + core + b"]" * depth)
        assert decode_json(encode_json(value)) == value


@pytest.mark.parametrize("depth", [MAX_DEPTH + 5, 900, 1100, 100_000])
@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_what_is_nested_deeper_is_a_value_error(depth: int, opening: bytes) -> None:
    """Not a RecursionError, and nothing that could not be written again."""
    closing = b"]" if opening == b"[" else b"}"
    with pytest.raises(ValueError, match="nested too deeply"):
        decode_json(opening * depth + b"1" + closing * depth)


@pytest.mark.parametrize("data", [b"", b"   ", b"{", b"nul", b'{"a":1}x', b"\xff\xfe", b"1" * 5000, b'"\xff"', b"[1,]"])
def test_what_is_not_json_is_a_value_error(data: bytes) -> None:
    """Every kind of damage."""
    with pytest.raises(ValueError):
        decode_json(data)


def test_blank_lines_and_a_byte_order_mark_are_skipped() -> None:
    """DeepSeek sends blank lines while it waits; some proxies a byte order mark."""
    assert decode_json(b'\n\r\n \n{"a":1}\n') == {"a": 1}
    assert decode_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}


def test_bytes_of_media_are_refused_with_what_to_do() -> None:
    """A picture that was read from a file, put into a message as it is."""
    with pytest.raises(InputError, match=r"data URI \(data:image/png;base64"):
        encode_json({"url": b"\x89PNG"})
