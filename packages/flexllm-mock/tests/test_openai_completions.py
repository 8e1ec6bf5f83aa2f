"""OpenAI's legacy completions over HTTP."""

from __future__ import annotations

import pytest

from flexllm_mock import FaultRule


def complete(client, prompt="Once upon a time", **options):
    return client.post("/v1/completions", {"model": "mock", "prompt": prompt, "max_tokens": 100, **options})


def texts_of(answer):
    assert answer.status == 200, answer.body
    return [choice["text"] for choice in answer.json["choices"]]


def streamed_texts(answer):
    texts = {}
    for event in answer.events:
        for choice in event["choices"]:
            texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
    return [texts[index] for index in sorted(texts)]


def test_document_has_the_fields_of_openai(client):
    """A single answer is a text_completion with its usage."""
    answer = complete(client)
    body = answer.json
    assert body["id"].startswith("cmpl-")
    assert answer.headers["x-request-id"].startswith("req_")
    tokens = len(texts_of(answer)[0].split())
    assert body == {
        "id": body["id"],
        "object": "text_completion",
        "created": 1763600000,
        "model": "mock",
        "choices": [{"text": texts_of(answer)[0], "index": 0, "logprobs": None, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": tokens, "total_tokens": 4 + tokens},
    }


def test_stream_says_the_same(client):
    """A stream has the text in tokens, then the reason, the usage if asked for, and [DONE]."""
    single = complete(client)
    streamed = complete(client, stream=True, stream_options={"include_usage": True})
    events = streamed.events
    assert streamed_texts(streamed) == texts_of(single)
    assert all(event["usage"] is None for event in events[:-1])
    assert (events[-1]["choices"], events[-1]["usage"]) == ([], single.json["usage"])
    assert events[-2]["choices"] == [{"text": "", "index": 0, "logprobs": None, "finish_reason": "stop"}]
    assert {(event["id"], event["object"]) for event in events} == {(single.json["id"], "text_completion")}
    assert not any("usage" in event for event in complete(client, stream=True).events)


def test_limit_is_sixteen_unless_given(client, serve):
    """Without max_tokens an answer has at most 16 tokens, as the vendor's."""
    long = serve(response_len=(50, 50))
    answer = long.post("/v1/completions", {"model": "mock", "prompt": "x"})
    assert answer.json["usage"]["completion_tokens"] == 16
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert complete(long, "x").json["usage"]["completion_tokens"] == 50
    assert texts_of(complete(long, "x"))[0].startswith(texts_of(answer)[0])
    nothing = complete(client, max_tokens=0)
    assert (texts_of(nothing), nothing.json["choices"][0]["finish_reason"]) == ([""], "length")


def test_stop_ends_the_text(client):
    """The text ends before the stop text."""
    whole = texts_of(complete(client))[0]
    word = whole.split()[3]
    assert texts_of(complete(client, stop=word)) == [whole[: whole.index(word)]]
    assert streamed_texts(complete(client, stop=[word], stream=True)) == [whole[: whole.index(word)]]


@pytest.mark.parametrize("prompt", [["a", "b"], [[1, 2], [3]]])
def test_choices_for_each_prompt(client, prompt):
    """There are n different choices for each prompt, in the order of the prompts, streamed as well."""
    answer = complete(client, prompt, n=3)
    assert [choice["index"] for choice in answer.json["choices"]] == list(range(6))
    assert len(set(texts_of(answer))) == 6
    assert streamed_texts(complete(client, prompt, n=3, stream=True)) == texts_of(answer)


def test_echo_repeats_the_prompt(client):
    """With echo each text begins with its prompt; tokens are shown as numbers."""
    plain, echoed = complete(client, ["a: ", "b: "], n=2), complete(client, ["a: ", "b: "], n=2, echo=True)
    prompts = ["a: ", "a: ", "b: ", "b: "]
    assert texts_of(echoed) == [prompt + text for prompt, text in zip(prompts, texts_of(plain), strict=True)]
    assert streamed_texts(complete(client, ["a: ", "b: "], n=2, echo=True, stream=True)) == texts_of(echoed)
    assert texts_of(complete(client, [7, 8], echo=True, max_tokens=0)) == ["7 8"]


def test_echo_model_repeats_too(client):
    """The model `echo` answers with the prompt."""
    assert texts_of(complete(client, ["one two", "three"], model="echo")) == ["one two", "three"]


def test_equal_requests_have_equal_bytes(client, serve):
    """The same request has the same bytes on another server, and other text with another seed."""
    for options in ({}, {"stream": True, "n": 2}):
        assert complete(client, **options).body == complete(serve(), **options).body
        assert complete(client, **options).body != complete(serve(seed=1), **options).body
        assert complete(client, **options).body != complete(client, seed=1, **options).body


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"model": None}, "model"),
        ({"prompt": None}, "prompt"),
        ({"prompt": {}}, "prompt"),
        ({"prompt": [None]}, "prompt"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"stop": ["a"] * 5}, "stop"),
        ({"stream": 1}, "stream"),
        ({"stream": True, "stream_options": 1}, "stream_options"),
        ({"echo": "yes"}, "echo"),
    ],
)
def test_bad_parameter_is_named(client, change, param):
    """A parameter that is missing or wrong gives 400 with its name."""
    answer = client.post("/v1/completions", {"model": "mock", "prompt": "x", **change})
    assert (answer.status, answer.error["param"]) == (400, param)


def test_models_faults_and_duplicates(serve):
    """Completions are generation requests: models, faults, prescribed answers and the log concern them."""
    assert complete(serve(strict_models=True), model="other").error["code"] == "model_not_found"
    assert complete(serve(error_rate=1)).status == 500
    client = serve(faults=[FaultRule(answer="exactly this text", times=2), FaultRule(raw_body="data: x\n\n", times=1)])
    assert texts_of(complete(client, max_tokens=1)) == ["exactly this text"]
    assert texts_of(complete(client, model="echo")) == ["exactly this text"]
    assert complete(client, stream=True).headers["content-type"] == "text/event-stream"
    assert client.server.stats().distinct == 2
