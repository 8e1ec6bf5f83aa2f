"""Fixtures: which requests they match and what they answer, on every wire."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_mock.fixtures.conversation import read_conversation
from flexllm_mock.fixtures.files import FixtureError


def write(path, rules):
    path.write_text("".join(json.dumps(rule) + "\n" for rule in rules))
    return path


def answer(text="scripted", **match):
    return {"match": match, "answer": text}


WEATHER = {"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object"}}}
NAMES = st.sampled_from(
    [
        "messages",
        "contents",
        "input",
        "prompt",
        "system",
        "systemInstruction",
        "instructions",
        "tools",
        "functionDeclarations",
        "role",
        "content",
        "parts",
        "text",
        "type",
        "tool_calls",
        "function",
        "functionCall",
        "functionResponse",
        "response",
        "name",
        "arguments",
        "args",
        "image_url",
        "url",
        "source",
        "data",
        "inlineData",
        "output",
        "result",
        "thought",
    ]
)
CALL = {"name": "get_weather", "arguments": {"city": "Paris"}, "id": "call_1"}


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        ({}, True),
        ({"model": "mo*"}, True),
        ({"model": "gpt-*"}, False),
        ({"user": "Hello there"}, True),
        ({"user": "Hello"}, False),
        ({"user_contains": "lo th"}, True),
        ({"user_contains": "lo  th"}, False),
        ({"user_regex": r"^H\w+ there$"}, True),
        ({"user_regex": r"^there"}, False),
        ({"system": "Be kind."}, True),
        ({"system_contains": "kind"}, True),
        ({"system_regex": r"k..d"}, True),
        ({"system": "Be"}, False),
        ({"tool": "get_weather"}, True),
        ({"tool": "other"}, False),
        ({"header": {"X-Tenant": "a*"}}, True),
        ({"header": {"x-tenant": "b*"}}, False),
        ({"header": {"x-none": "*"}}, False),
        ({"vendor": "openai"}, True),
        ({"vendor": "claude"}, False),
        ({"path": "/chat/completions"}, True),
        ({"path": "/completions"}, True),
        ({"path": "/messages"}, False),
        ({"call": 1}, True),
        ({"call": 2}, False),
        ({"nth": "1-3"}, True),
        ({"nth": "2+"}, False),
        ({"messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}]}, True),
        ({"messages": [{"role": "user", "content": "Hello there"}]}, False),
    ],
)
def test_what_a_rule_matches(serve, match, fits):
    """Each matcher looks at its own part of the request."""
    client = serve(fixtures=[answer(**match)])
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}]
    body = {"model": "mock", "messages": messages, "tools": [WEATHER], "tool_choice": "none"}
    reply = client.post("/v1/chat/completions", body, **{"X-Tenant": "acme"})
    assert (reply.text == "scripted") is fits


def test_the_first_rule_that_matches_decides(serve):
    """Also where rules are looked up by what they match exactly."""
    rules = [answer("a", user_contains="x"), answer("b", user="xy"), answer("c", user="yz"), answer("d")]
    client = serve(fixtures=rules)
    assert [client.chat(text).text for text in ("xy", "yz", "none")] == ["a", "c", "d"]


def test_what_no_rule_matches_is_answered_as_usual(serve, client):
    """By the mock itself, with the same text as without fixtures."""
    assert serve(fixtures=[answer(user="other")]).chat().text == client.chat().text


def test_a_request_that_is_not_valid_is_refused_all_the_same(serve):
    """The vendor's 400 comes before any fixture."""
    assert serve(fixtures=[answer()]).post("/v1/chat/completions", {"model": "mock"}).status == 400


@pytest.mark.parametrize("stream", [False, True])
def test_text_thinking_and_calls_on_chat(serve, stream):
    """One answer may have all three, whole and streamed."""
    script = {"text": "Let me look.", "thinking": "Hm, weather.", "tool_calls": [CALL], "model": "m-2026"}
    reply = serve(fixtures=[{"answer": script}]).chat(stream=stream)
    if stream:
        assert (reply.joined("content"), reply.joined("reasoning_content")) == ("Let me look.", "Hm, weather.")
        parts = [call for delta in reply.deltas for call in delta.get("tool_calls", ())]
        assert parts[0]["id"] == "call_1"
        assert "".join(part["function"]["arguments"] for part in parts) == '{"city":"Paris"}'
        assert reply.events[-1]["choices"][0]["finish_reason"] == "tool_calls"
        assert reply.events[0]["model"] == "m-2026"
    else:
        message = reply.message
        assert (message["content"], message["reasoning_content"]) == ("Let me look.", "Hm, weather.")
        function = {"name": "get_weather", "arguments": '{"city":"Paris"}'}
        assert message["tool_calls"] == [{"id": "call_1", "type": "function", "function": function}]
        assert reply.json["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("stream", [False, True])
def test_text_thinking_and_calls_on_claude(serve, stream):
    """As the blocks that Claude has for them."""
    reply = serve(fixtures=[{"answer": {"text": "Hi.", "thinking": "Hm.", "tool_calls": [CALL]}}]).messages(
        stream=stream
    )
    if stream:
        deltas = [event["delta"] for event in reply.claude_events if event["type"] == "content_block_delta"]
        joined = {
            name: "".join(delta.get(name, "") for delta in deltas) for name in ("thinking", "text", "partial_json")
        }
        assert joined == {"thinking": "Hm.", "text": "Hi.", "partial_json": '{"city":"Paris"}'}
        assert any(event.get("delta", {}).get("stop_reason") == "tool_use" for event in reply.claude_events)
    else:
        thinking, text, call = reply.json["content"]
        assert (thinking["thinking"], text["text"]) == ("Hm.", "Hi.")
        assert call == {"type": "tool_use", "id": "call_1", "name": "get_weather", "input": {"city": "Paris"}}
        assert reply.json["stop_reason"] == "tool_use"


@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse"])
def test_text_thinking_and_calls_on_gemini(serve, verb):
    """As parts; thoughts are shown to who asked for them."""
    client = serve(fixtures=[{"answer": {"text": "Hi.", "thinking": "Hm.", "tool_calls": [CALL]}}])
    reply = client.generate(verb=verb, generationConfig={"thinkingConfig": {"includeThoughts": True}})
    chunks = reply.gemini_chunks if "stream" in verb else [reply.json]
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"].get("parts", ())]
    assert "".join(part["text"] for part in parts if part.get("thought")) == "Hm."
    assert "".join(part["text"] for part in parts if "text" in part and not part.get("thought")) == "Hi."
    [call] = [part["functionCall"] for part in parts if "functionCall" in part]
    assert (call["name"], call["args"], call["id"]) == ("get_weather", {"city": "Paris"}, "call_1")


@pytest.mark.parametrize("stream", [False, True])
def test_text_on_completions(serve, stream):
    """The prompt is the last user text."""
    client = serve(fixtures=[answer("there was a mock.", user="Once")])
    reply = client.post("/v1/completions", {"model": "mock", "prompt": "Once", "stream": stream})
    texts = [each["choices"][0]["text"] for each in (reply.events if stream else [reply.json])]
    assert "".join(texts) == "there was a mock."


@pytest.mark.parametrize("stream", [False, True])
def test_text_thinking_and_calls_on_responses(serve, stream):
    """As the items of a response, and the conversation is found in its input."""
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello there"}]
    rule = {"match": {"messages": messages}, "answer": {"text": "Hi.", "tool_calls": [CALL], "model": "m-2026"}}
    client = serve(fixtures=[rule])
    item = {"role": "user", "content": [{"type": "input_text", "text": "Hello there"}]}
    body = {"model": "mock", "instructions": "Be kind.", "input": [item], "stream": stream}
    reply = client.post("/v1/responses", body)
    response = reply.json if not stream else None
    if stream:
        data = [line.removeprefix("data: ") for line in reply.body.decode().split("\n") if line.startswith("data: {")]
        response = json.loads(data[-1])["response"]
    message, call = response["output"]
    assert message["content"][0]["text"] == "Hi."
    assert (call["call_id"], call["name"], call["arguments"]) == ("call_1", "get_weather", '{"city":"Paris"}')
    assert response["model"] == "m-2026"


def test_embeddings_are_not_answered_with_text(serve, client):
    """A text has no place there; a status has."""
    body = {"model": "mock", "input": "Hello"}
    assert serve(fixtures=[answer()]).post("/v1/embeddings", body).body == client.post("/v1/embeddings", body).body
    assert serve(fixtures=[{"status": 503}]).post("/v1/embeddings", body).status == 503


def test_usage_is_reported_as_prescribed(serve):
    """In each vendor's words, whole and streamed."""
    usage = {
        "prompt_tokens": 100, "completion_tokens": 50, "cached_tokens": 40, "reasoning_tokens": 7, "total_tokens": 150
    }  # fmt: skip
    client = serve(fixtures=[{"answer": {"text": "Hi.", "usage": usage}}])
    chat = client.chat().json["usage"]
    assert (chat["prompt_tokens"], chat["completion_tokens"], chat["total_tokens"]) == (100, 50, 150)
    assert chat["prompt_tokens_details"]["cached_tokens"] == 40
    assert chat["completion_tokens_details"]["reasoning_tokens"] == 7
    assert client.chat(stream=True, stream_options={"include_usage": True}).events[-1]["usage"] == chat
    claude = client.messages().json["usage"]
    assert (claude["input_tokens"], claude["cache_read_input_tokens"], claude["output_tokens"]) == (60, 40, 50)
    gemini = client.generate().json["usageMetadata"]
    assert (gemini["promptTokenCount"], gemini["cachedContentTokenCount"]) == (100, 40)
    assert (gemini["candidatesTokenCount"], gemini["thoughtsTokenCount"], gemini["totalTokenCount"]) == (43, 7, 150)
    last = client.generate(verb="streamGenerateContent?alt=sse").gemini_chunks[-1]["usageMetadata"]
    assert last == gemini


def test_refusals_and_finish_reasons_in_each_vendors_words(serve):
    """A refusal, a filtered answer, a cut one, and a reason that only one vendor has."""
    client = serve(
        fixtures=[
            {"match": {"user": "refuse"}, "answer": {"refusal": "I cannot."}},
            {"match": {"user": "filter"}, "answer": {"text": "", "finish_reason": "content_filter"}},
            {"match": {"user": "cut"}, "answer": {"text": "half", "finish_reason": "length"}},
            {"match": {"user": "own"}, "answer": {"text": "half", "finish_reason": "pause_turn"}},
        ]
    )
    words = ("refuse", "filter", "cut", "own")
    chats = [client.chat(word).json["choices"][0] for word in words]
    assert [chat["finish_reason"] for chat in chats] == ["stop", "content_filter", "length", "pause_turn"]
    assert (chats[0]["message"]["content"], chats[0]["message"]["refusal"]) == (None, "I cannot.")
    assert client.chat("refuse", stream=True).joined("refusal") == "I cannot."
    claude = [client.messages(word).json["stop_reason"] for word in words]
    assert claude == ["refusal", "refusal", "max_tokens", "pause_turn"]
    gemini = [client.generate(word).json["candidates"][0]["finishReason"] for word in words]
    assert gemini == ["SAFETY", "SAFETY", "MAX_TOKENS", "pause_turn"]


def test_templates(serve):
    """Placeholders stand for what was asked; texts that are put in are not read as templates again."""
    rule = {
        "match": {"user_regex": r"weather in (?P<city>\w+) (\w+)"},
        "answer": {
            "text": "{{ model }}/{{call}}/{{header.x-a}}/{{group.city}}/{{group.2}}/{{group.0}}/{{vendor}} {not} {{}}",
            "tool_calls": [{"name": "f", "arguments": {"say": "{{last_user}}"}}],
        },
    }
    client = serve(fixtures=[rule])
    text = 'weather in Rome "today" {{model}}'
    body = {"model": "mock", "messages": [{"role": "user", "content": text.replace('"today"', "today")}]}
    expected = "mock/{}/A/Rome/today/weather in Rome today/openai {{not}} {{{{}}}}"
    for call in (1, 2):
        reply = client.post("/v1/chat/completions", body, **{"X-A": "A", "Authorization": "Bearer sk-1"})
        assert reply.text == expected.format(call)
    arguments = reply.message["tool_calls"][0]["function"]["arguments"]
    assert json.loads(arguments) == {"say": "weather in Rome today {{model}}"}


def test_a_verbatim_text_and_a_masked_key(serve):
    """`verbatim` keeps braces; a key in a header is never repeated."""
    client = serve(
        fixtures=[
            {"match": {"user": "v"}, "answer": {"text": "{{model}} {{x}}", "verbatim": True}},
            answer("{{header.authorization}}"),
        ]
    )
    assert client.chat("v").text == "{{model}} {{x}}"
    body = {"model": "mock", "messages": [{"role": "user", "content": "k"}]}
    assert client.post("/v1/chat/completions", body, Authorization="Bearer sk-secret").text == "***"


def test_a_sequence_runs_for_each_content_of_its_own(serve):
    """First two 429, then ok: whatever else is asked in between."""
    steps = [{"status": 429, "headers": {"retry-after": "1"}, "times": 2}, {"answer": "ok"}]
    client = serve(fixtures=[{"sequence": steps}])
    asked = [client.chat(text).status for text in ("a", "b", "a", "b", "a", "a", "b")]
    assert asked == [429, 429, 429, 429, 200, 200, 200]
    assert client.chat("c").headers["retry-after"] == "1"
    client.post("/__mock__/reset", b"")
    assert client.chat("a").status == 429


def test_a_sequence_for_the_rule_as_a_whole(serve):
    """With `per: rule` every request moves it on, and `times` ends the rule."""
    steps = [{"status": 503}, {"answer": "ok"}]
    client = serve(fixtures=[{"sequence": steps, "per": "rule", "times": 3}, answer("after")])
    replies = [client.chat(text) for text in "abcd"]
    assert [reply.status for reply in replies] == [503, 200, 200, 200]
    assert [reply.text for reply in replies[1:]] == ["ok", "ok", "after"]


def test_errors_with_words_of_their_own(serve):
    """A status alone gives the vendor's usual error, `error` says something else, in the vendor's shape."""
    rule = {"status": 400, "error": {"message": "Prompt is bad.", "code": "bad_prompt"}, "headers": {"x-a": "b"}}
    client = serve(fixtures=[{"match": {"user": "plain"}, "status": 402}, rule])
    assert client.chat("plain").error["message"] == "Insufficient balance."
    reply = client.chat()
    assert (reply.status, reply.error["message"], reply.error["code"]) == (400, "Prompt is bad.", "bad_prompt")
    assert reply.headers["x-a"] == "b"
    assert client.messages().claude_error["message"] == "Prompt is bad."
    assert client.generate().gemini_error["message"] == "Prompt is bad."


def test_an_answer_with_headers_and_a_body_as_it_is(serve):
    """Fields of faults work beside an answer, and instead of one."""
    rules = [{"match": {"user": "raw"}, "raw_body": "not json"}, {"answer": "hi", "headers": {"x-a": "b"}}]
    client = serve(fixtures=rules)
    assert client.chat("raw").body == b"not json"
    reply = client.chat()
    assert (reply.text, reply.headers["x-a"]) == ("hi", "b")


def test_the_same_conversation_on_every_wire(serve):
    """`messages` in OpenAI's shape matches what Claude's and Gemini's clients make of it."""
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "Look:"},
                                     {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]},
        {"role": "assistant", "content": None, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
        {"role": "user", "content": "So?"},
    ]  # fmt: skip
    client = serve(fixtures=[answer("same", messages=messages)])
    claude = [
        {"role": "user", "content": [
            {"type": "text", "text": "Look:"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "x", "content": "42"}, {"type": "text", "text": "So?"}]},
    ]  # fmt: skip
    contents = [
        {"role": "user", "parts": [{"text": "Look:"}, {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"a": 1}}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"result": 42}}}]},
        {"role": "user", "parts": [{"text": "So?"}]},
    ]
    assert client.chat(messages=messages).text == "same"
    reply = client.messages(messages=claude, system="Be kind.")
    assert reply.json["content"][0]["text"] == "same"
    system = {"parts": [{"text": "Be kind."}]}
    reply = client.generate(model="gemini-2", contents=contents, system_instruction=system)
    assert reply.json["candidates"][0]["content"]["parts"][0]["text"] == "same"
    messages[0]["content"] = "Be rude."
    assert client.chat(messages=messages).text != "same"


def test_files_and_folders(serve, tmp_path):
    """JSON, JSON Lines and whole folders, in the order of their names."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.json").write_text(json.dumps([answer("json", user="1"), answer("json", user="2")]))
    (tmp_path / "b.json").write_text(json.dumps({"fixtures": [answer("wrapped", user="3")]}))
    (tmp_path / "c.json").write_text(json.dumps(answer("single", user="4")))
    write(tmp_path / "sub" / "d.jsonl", [answer("line\u2028", user="5"), answer("hidden", user="1")])
    (tmp_path / "notes.txt").write_text("not a fixture")
    client = serve(fixtures=tmp_path)
    assert [client.chat(text).text for text in "12345"] == ["json", "json", "wrapped", "single", "line\u2028"]


def test_yaml(serve, tmp_path):
    """The same rules in YAML."""
    pytest.importorskip("yaml")
    file = tmp_path / "f.yaml"
    file.write_text("- match: {user_contains: hello}\n  answer: hi\n- sequence:\n  - {status: 429}\n  - answer: ok\n")
    client = serve(fixtures=str(file))
    assert client.chat("say hello").text == "hi"
    assert [client.chat("x").status for _ in range(2)] == [429, 200]


def test_yaml_without_pyyaml_names_the_extra(serve, tmp_path, monkeypatch):
    """The error says what to install."""
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    (tmp_path / "f.yaml").write_text("- answer: hi\n")
    with pytest.raises(FixtureError, match=r"flexllm-mock\[yaml\]"):
        serve(fixtures=tmp_path / "f.yaml")


def test_a_changed_file_is_read_again(tmp_path, caplog):
    """At most once a second; a broken edit keeps the old rules and says why."""
    from flexllm_mock.asgi import ApiRequest
    from flexllm_mock.fixtures.fixtures import FixtureScript

    file = write(tmp_path / "f.jsonl", [answer("one")])
    script = FixtureScript(file)

    def ask(now):
        played = script.play(ApiRequest("POST", "/v1/chat/completions", [], payload={"messages": []}), now)
        return played and played.answer.text

    def edit(text, age):
        file.write_text(text)
        os.utime(file, (age, age))

    assert ask(0.0) == "one"
    edit(json.dumps(answer("two")), 1000)
    assert [ask(0.5), ask(1.0), ask(1.1)] == ["one", "two", "two"]
    edit('{"answr": "three"}', 2000)
    assert ask(3.0) == "two"
    assert "f.jsonl:1: answr: unknown key 'answr'; did you mean 'answer'?" in caplog.text
    edit(json.dumps(answer("four")), 3000)
    assert [ask(3.5), ask(4.5)] == ["two", "four"]
    file.unlink()
    assert ask(9.0) == "four"


def test_broken_fixtures_do_not_start(serve, tmp_path):
    """The error names file, line and every problem."""
    file = write(tmp_path / "f.jsonl", [answer("one"), {"match": {"user_regex": "("}, "answer": 3}])
    with pytest.raises(FixtureError) as caught:
        serve(fixtures=file)
    first, second = str(caught.value).splitlines()
    assert first.startswith(f"{file}:2: match.user_regex: bad regular expression")
    assert second.startswith(f"{file}:2: answer: must be a text, or an object with some of text, thinking")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(NAMES, JSON, max_size=5))
def test_any_body_can_be_read(payload):
    """Whatever is in it: what is wrong with a request is for its endpoint to say."""
    conversation = read_conversation(payload)
    assert isinstance(conversation.last_user, str)
    assert len(conversation.key) == 16
    assert all(isinstance(name, str) for name in conversation.tools)


@pytest.mark.parametrize("depth", [300, 900, 20_000])
def test_a_body_that_nests_deeply(serve, depth):
    """Is answered or refused, and does no harm."""
    body = b'{"model":"m","messages":[{"role":"user","content":' + b"[" * depth + b"]" * depth + b"}]}"
    client = serve(fixtures=[answer(user="x"), answer(messages=[])], qa={"a": "b"})
    assert client.post("/v1/chat/completions", body).status in (200, 400)


def test_many_rules_are_looked_up(serve):
    """Twenty thousand rules with texts of their own answer at once."""
    rules = [answer(f"a{at}", user=f"q{at}") for at in range(20_000)]
    client = serve(fixtures=rules)
    assert client.chat("q19999").text == "a19999"
