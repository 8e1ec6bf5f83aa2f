"""OpenAI's embeddings over HTTP."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_mock import FaultRule
from flexllm_mock.embedding import as_base64, as_json, unit_vector


def embed(client, content, **options):
    return client.post("/v1/embeddings", {"model": "mock", "input": content, **options})


def vectors_of(answer):
    assert answer.status == 200, answer.body
    return [each["embedding"] for each in answer.json["data"]]


def dot(one, other):
    return sum(left * right for left, right in zip(one, other, strict=True))


def test_answer_has_the_fields_of_openai(client):
    """An answer is a list of embeddings with their indexes, the model and the usage."""
    answer = embed(client, ["Hello there", "x"])
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.json == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": index, "embedding": vector}
            for index, vector in enumerate(vectors_of(answer))
        ],
        "model": "mock",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert [len(vector) for vector in vectors_of(answer)] == [1536, 1536]


@pytest.mark.parametrize("dimensions", [None, 1, 3, 256, 3072])
def test_vectors_have_length_one(client, dimensions):
    """Whatever their dimensions, vectors are unit vectors, and those of different texts differ."""
    one, other = vectors_of(embed(client, ["a", "b"], dimensions=dimensions))
    assert len(one) == (dimensions or 1536)
    assert dot(one, one) == pytest.approx(1, abs=1e-5)
    assert dimensions == 1 or one != other


def test_fewer_dimensions_are_a_part_of_more(client):
    """A short vector has the direction of the beginning of a long one."""
    [long] = vectors_of(embed(client, "text"))
    [short] = vectors_of(embed(client, "text", dimensions=8))
    norm = dot(long[:8], long[:8]) ** 0.5
    assert short == pytest.approx([value / norm for value in long[:8]], rel=1e-4)


def test_same_text_same_vector(client, serve):
    """A vector depends on text, model and seed, not on what stands beside the text."""
    [alone] = vectors_of(embed(client, "text"))
    assert vectors_of(embed(client, ["other", "text"]))[1] == alone
    assert vectors_of(embed(serve(), "text")) == [alone]
    assert vectors_of(embed(client, "text", model="other")) != [alone]
    assert vectors_of(embed(serve(seed=1), "text")) != [alone]
    assert embed(client, "text").body == embed(client, "text").body


def test_base64_holds_the_same_floats(client):
    """base64 is the little-endian 32-bit floats that the JSON list shows."""
    [shown] = vectors_of(embed(client, "text", dimensions=100))
    [encoded] = vectors_of(embed(client, "text", dimensions=100, encoding_format="base64"))
    floats = struct.unpack("<100f", base64.b64decode(encoded, validate=True))
    assert floats == struct.unpack("<100f", struct.pack("<100f", *shown))


@given(key=st.binary(max_size=40), dimensions=st.integers(1, 200))
def test_vectors_survive_their_spellings(key, dimensions):
    """Both ways of writing a vector keep every bit of it."""
    vector = unit_vector(key, dimensions)
    packed = struct.pack(f"<{dimensions}f", *vector)
    assert base64.b64decode(as_base64(vector)) == packed
    assert struct.pack(f"<{dimensions}f", *[float(text) for text in as_json(vector)[1:-1].split(",")]) == packed


@pytest.mark.parametrize(
    ("content", "count", "tokens"),
    [("word", 1, 1), ([5, 6, 7], 1, 3), ([[5], [6, 7]], 2, 3), (["a", "b"], 2, 2), (["a", [1, 2]], 2, 3)],
)
def test_kinds_of_input(client, content, count, tokens):
    """Input is a text, tokens, or a list of either; tokens count as themselves."""
    answer = embed(client, content, dimensions=4)
    assert len(vectors_of(answer)) == count
    assert answer.json["usage"]["prompt_tokens"] == tokens


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"model": 5}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": ["a", ""]}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": [1.5]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [True]}, "input"),
        ({"input": [[]]}, "input"),
        ({"input": ["a"] * 2049}, "input"),
        ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "4"}, "dimensions"),
        ({"encoding_format": "hex"}, "encoding_format"),
    ],
)
def test_bad_parameter_is_named(client, change, param):
    """A parameter that is missing or wrong gives 400 with its name."""
    answer = client.post("/v1/embeddings", {"model": "mock", "input": "x", **change})
    assert (answer.status, answer.error["param"]) == (400, param)


def test_strict_models_faults_and_duplicates(serve):
    """Embeddings are generation requests: models, faults, random errors and the log concern them."""
    assert embed(serve(strict_models=True), "x", model="other").error["code"] == "model_not_found"
    assert embed(serve(error_rate=1), "x").status == 500
    client = serve(faults=[FaultRule(status=429, times=1)])
    assert [embed(client, "x").status for _ in range(3)] == [429, 200, 200]
    assert client.server.stats().duplicate_answers == 1
