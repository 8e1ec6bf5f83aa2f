"""Chat completions over HTTP: documents, streams, limits, determinism."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEEP_SERVER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def usage_of(answer):
    return answer.json["usage"]


def test_document_has_the_fields_of_openai(client):
    """A single answer is a chat.completion with every field that OpenAI sends."""
    answer = client.chat()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("req_")
    body = answer.json
    assert list(body) == [
        "id",
        "object",
        "created",
        "model",
        "choices",
        "usage",
        "service_tier",
        "system_fingerprint",
    ]
    assert body["object"] == "chat.completion"
    assert body["model"] == "mock"
    assert body["id"].startswith("chatcmpl-")
    [choice] = body["choices"]
    assert choice == {
        "index": 0,
        "message": {"role": "assistant", "content": choice["message"]["content"], "refusal": None},
        "logprobs": None,
        "finish_reason": "stop",
    }
    usage = body["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert usage["prompt_tokens_details"] == {"cached_tokens": 0, "audio_tokens": 0}
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 0
    assert usage["completion_tokens"] == len(answer.text.split())


def test_stream_has_the_order_of_openai(client):
    """A stream is role, content, finish, [DONE], without any usage unless it is asked for."""
    answer = client.chat(stream=True)
    assert answer.headers["content-type"] == "text/event-stream"
    events = answer.events
    assert events[0]["choices"] == [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]
    assert all(set(event["choices"][0]["delta"]) == {"content"} for event in events[1:-1])
    assert events[-1]["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert {(event["id"], event["created"], event["model"], event["object"]) for event in events} == {
        (events[0]["id"], events[0]["created"], "mock", "chat.completion.chunk")
    }
    assert not any("usage" in event for event in events)


def test_stream_usage_comes_last_and_agrees(client):
    """With include_usage every chunk has a null usage, and one without choices brings the same counts as a document."""
    events = client.chat(stream=True, stream_options={"include_usage": True}).events
    assert all(event["usage"] is None for event in events[:-1])
    assert events[-1]["choices"] == []
    assert events[-1]["usage"] == usage_of(client.chat())


def test_stream_and_document_say_the_same(client):
    """Streaming changes neither text nor id."""
    streamed, single = client.chat(stream=True), client.chat()
    assert streamed.joined("content") == single.text
    assert streamed.events[0]["id"] == single.json["id"]


def test_equal_requests_have_equal_bytes_at_any_concurrency(client, serve):
    """Many clients at once get, byte for byte, what one client gets from another server."""
    prompts = [f"Prompt {number}" for number in range(40)] * 2
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(client.chat, prompts))
    alone = serve()
    expected = [alone.chat(prompt) for prompt in prompts]
    assert [(answer.body, answer.headers) for answer in answers] == [(each.body, each.headers) for each in expected]
    assert len({answer.text for answer in answers}) == 40


def test_layout_of_the_request_does_not_matter(client):
    """Key order and spaces in the body do not change the answer."""
    message = {"role": "user", "content": "Hi"}
    one = json.dumps({"model": "m", "messages": [message], "temperature": 1}, indent=2).encode()
    other = json.dumps({"temperature": 1, "messages": [dict(reversed(message.items()))], "model": "m"}).encode()
    assert client.post("/v1/chat/completions", one).body == client.post("/v1/chat/completions", other).body


@pytest.mark.parametrize("change", [{"seed": 7}, {"temperature": 0.5}, {"model": "other"}, {"user": "u"}])
def test_parameters_change_the_answer(client, change):
    """Seed, model and parameters are part of what an answer is drawn from."""
    assert client.chat(**change).text != client.chat().text
    assert client.chat(**change).body == client.chat(**change).body


def test_server_seed_changes_answers_and_ids(client, serve):
    """Another server seed gives other text and other ids."""
    other = serve(seed=1).chat()
    assert other.text != client.chat().text
    assert other.json["id"] != client.chat().json["id"]


def test_max_tokens_cuts_and_counts(client):
    """A limit cuts the same text short, says so, and the usage counts what is left."""
    whole = client.chat()
    for name in ("max_tokens", "max_completion_tokens"):
        cut = client.chat(**{name: 3})
        assert cut.json["choices"][0]["finish_reason"] == "length"
        assert whole.text.startswith(cut.text)
        assert usage_of(cut)["completion_tokens"] == len(cut.text.split()) == 3
        streamed = client.chat(stream=True, **{name: 3})
        assert streamed.events[-1]["choices"][0]["finish_reason"] == "length"
        assert streamed.joined("content") == cut.text


def test_limit_of_the_exact_length_is_no_cut(client):
    """An answer that just fits stops by itself."""
    whole = client.chat()
    exact = client.chat(max_tokens=usage_of(whole)["completion_tokens"])
    assert exact.json["choices"] == whole.json["choices"]


def test_stop_text_ends_the_answer_and_is_not_in_it(client):
    """The text ends before the first of the stop texts, and the usage counts what is left."""
    whole = client.chat().text
    words = whole.split()
    for stop, left in ((words[4], whole.index(words[4])), ([words[6], words[5]], whole.index(words[5]))):
        cut = client.chat(stop=stop)
        assert cut.text == whole[:left]
        assert cut.json["choices"][0]["finish_reason"] == "stop"
        assert client.chat(stop=stop, stream=True).joined("content") == whole[:left]
        assert usage_of(cut)["completion_tokens"] < usage_of(client.chat())["completion_tokens"]


def test_stop_text_that_does_not_come(client):
    """A stop text that is not in the answer changes nothing."""
    assert client.chat(stop="nowhere to be found").json["choices"] == client.chat().json["choices"]


def test_stop_at_the_first_character_leaves_nothing(client):
    """A stop text at the very beginning gives an empty answer of no tokens, streamed or not."""
    first = client.chat().text[0]
    cut = client.chat(stop=first)
    assert (cut.text, usage_of(cut)["completion_tokens"]) == ("", 0)
    streamed = client.chat(stop=first, stream=True)
    assert streamed.joined("content") == ""
    assert streamed.events[-1]["choices"][0]["finish_reason"] == "stop"


def test_n_gives_different_choices(client):
    """Each of n choices has its index and a text of its own; the usage counts all; the stream carries the same."""
    answer = client.chat(n=3)
    choices = answer.json["choices"]
    assert [choice["index"] for choice in choices] == [0, 1, 2]
    texts = [choice["message"]["content"] for choice in choices]
    assert len(set(texts)) == 3
    assert usage_of(answer)["completion_tokens"] == sum(len(text.split()) for text in texts)
    streamed = ["", "", ""]
    finished = []
    for event in client.chat(n=3, stream=True).events:
        for choice in event["choices"]:
            streamed[choice["index"]] += choice["delta"].get("content", "")
            finished += [choice["index"]] if choice["finish_reason"] else []
    assert streamed == texts
    assert finished == [0, 1, 2]


@KEEP_SERVER
@given(text=st.text(st.characters(exclude_categories=())))
def test_echo_returns_any_text(client, text):
    """The model `echo` says the last user text verbatim, lone surrogates included, streamed or not."""
    messages = [
        {"role": "user", "content": "earlier"},
        {"role": "assistant", "content": "reply"},
        {"role": "user", "content": text},
    ]
    single = client.chat(model="echo", messages=messages)
    streamed = client.chat(model="echo", messages=messages, stream=True, stream_options={"include_usage": True})
    # A high and a low surrogate beside each other are one character once they have been through JSON.
    expected = json.loads(json.dumps(text))
    assert single.text == expected
    assert json.loads(json.dumps(streamed.joined("content"))) == expected
    assert streamed.events[-1]["usage"] == usage_of(single)


def test_echo_joins_text_parts_and_honours_limits(client):
    """Echo takes the text parts of a message, and max_tokens cuts it as any answer."""
    parts = [{"type": "text", "text": "one two "}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert client.chat(parts, model="echo").text == "one two "
    assert client.chat("one two three", model="echo", max_tokens=2).text == "one two"
    assert client.chat(None, model="echo").text == ""
    assert client.chat(model="echo", messages=[{"role": "system", "content": "x"}]).text == ""


@pytest.mark.parametrize(
    "asks",
    [
        {"enable_thinking": True},
        {"thinking": {"type": "enabled"}},
        {"reasoning_effort": "low"},
        {"chat_template_kwargs": {"enable_thinking": True}},
        {"chat_template_kwargs": {"thinking": True}},
        {"reasoning": {"enabled": True}},
        {"reasoning": {"effort": "high"}},
    ],
)
def test_reasoning_when_asked_for(client, asks):
    """Each of the dialects that ask for thinking gives reasoning_content and counts its tokens."""
    answer = client.chat(**asks)
    reasoning = answer.message["reasoning_content"]
    usage = usage_of(answer)
    assert usage["completion_tokens_details"]["reasoning_tokens"] == len(reasoning.split()) > 0
    assert usage["completion_tokens"] == len(reasoning.split()) + len(answer.text.split())
    streamed = client.chat(**asks, stream=True)
    assert streamed.joined("reasoning_content") == reasoning
    assert streamed.joined("content") == answer.text
    assert streamed.deltas[0] == {"role": "assistant", "content": ""}
    kinds = ["reasoning_content" in delta for delta in streamed.deltas[1:-1]]
    assert kinds == sorted(kinds, reverse=True)


@pytest.mark.parametrize(
    "asks",
    [
        {"enable_thinking": False},
        {"thinking": {"type": "disabled"}},
        {"reasoning_effort": "none"},
        {"chat_template_kwargs": {"thinking": False}},
        {"reasoning": {"enabled": False, "effort": "none"}},
        {"reasoning_effort": None, "thinking": None},
    ],
)
def test_no_reasoning_when_switched_off(client, asks):
    """The same keys with their off values give none."""
    assert "reasoning_content" not in client.chat(**asks).message


def test_limit_counts_reasoning_first(client):
    """max_completion_tokens that reasoning uses up leaves no answer, as reasoning models do."""
    answer = client.chat(enable_thinking=True, max_completion_tokens=4)
    assert answer.text == ""
    assert len(answer.message["reasoning_content"].split()) == 4
    assert answer.json["choices"][0]["finish_reason"] == "length"
    assert usage_of(answer)["completion_tokens"] == 4


def test_long_instructions_count_as_cached(client):
    """Instructions of 1,024 tokens or more are reported as cached, in steps of 128, the same each time."""
    messages = [{"role": "system", "content": "x" * 5000}, {"role": "user", "content": "hi"}]
    usages = [usage_of(client.chat(messages=messages)) for _ in range(2)]
    assert usages[0] == usages[1]
    assert usages[0]["prompt_tokens_details"]["cached_tokens"] == 1152
    assert usages[0]["prompt_tokens"] > 1152


def test_response_len_bounds_answers(serve):
    """Answers have between the least and the most tokens that were set."""
    client = serve(response_len=(5, 7))
    lengths = {usage_of(client.chat(f"Question {number}"))["completion_tokens"] for number in range(40)}
    assert lengths == {5, 6, 7}


def test_long_answers_are_possible(serve):
    """An answer of thousands of tokens is text to its end."""
    answer = serve(response_len=(5000, 5000)).chat()
    assert len(answer.text.split()) == 5000
    assert answer.text.endswith(".")


@pytest.mark.parametrize("prefix", ["/v1", "", "/api/openai/v1", "/v1beta/openai"])
def test_any_prefix_serves(client, prefix):
    """The endpoints work under whatever prefix a client was given."""
    body = {"model": "mock", "messages": [{"role": "user", "content": "Hello there"}]}
    assert client.post(f"{prefix}/chat/completions", body).text == client.chat().text
    assert client.get(f"{prefix}/models").json["data"][0]["id"] == "mock"


def test_models_are_listed_and_described(serve):
    """The model list holds the configured names; a name with a slash can be asked for; others are 404."""
    client = serve(models=("a", "org/b"))
    listed = client.get("/v1/models").json
    assert listed["object"] == "list"
    assert [model["id"] for model in listed["data"]] == ["a", "org/b"]
    assert client.get("/v1/models/org/b").json == listed["data"][1]
    assert client.get("/v1/models/c").error["code"] == "model_not_found"


def test_other_models_answer_unless_strict(client, serve):
    """A model that is not listed is answered, or 404 with strict_models."""
    assert client.chat(model="whatever").json["model"] == "whatever"
    strict = serve(strict_models=True, models=("a",))
    assert strict.chat(model="a").status == 200
    refused = strict.chat(model="b")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "model_not_found", "model")
