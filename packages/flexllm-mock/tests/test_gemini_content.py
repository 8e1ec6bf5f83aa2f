"""Gemini's content over HTTP: documents, streams, limits, thoughts, usage, determinism."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

KEEP_SERVER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def parts_of(answer, index=0):
    return answer.json["candidates"][index]["content"].get("parts", [])


def text_of(answer, index=0):
    return "".join(part["text"] for part in parts_of(answer, index) if not part.get("thought"))


def stream(client, text="Hello there", **options):
    return client.generate(text, verb="streamGenerateContent?alt=sse", **options)


def streamed_parts(answer, index=0):
    candidates = [each for chunk in answer.gemini_chunks for each in chunk["candidates"] if each["index"] == index]
    return [part for candidate in candidates for part in candidate["content"].get("parts", [])]


def test_document_has_the_fields_of_gemini(client):
    """A single answer is a GenerateContentResponse, and Google sends no request id."""
    answer = client.generate()
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    assert not [name for name in answer.headers if "request-id" in name]
    tokens = len(text_of(answer).split())
    assert answer.json == {
        "candidates": [
            {"content": {"parts": [{"text": text_of(answer)}], "role": "model"}, "finishReason": "STOP", "index": 0}
        ],
        "usageMetadata": {
            "promptTokenCount": 7,
            "candidatesTokenCount": tokens,
            "totalTokenCount": 7 + tokens,
            "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 7}],
        },
        "modelVersion": "gemini-3-mock",
        "responseId": answer.json["responseId"],
    }


def test_stream_says_the_same_in_chunks(client):
    """With alt=sse each token is an event; running totals end at those of the document; no [DONE]."""
    single, streamed = client.generate(), stream(client)
    assert streamed.headers["content-type"] == "text/event-stream"
    chunks = streamed.gemini_chunks
    assert "".join(part["text"] for part in streamed_parts(streamed)) == text_of(single)
    assert [chunk["candidates"][0].get("finishReason") for chunk in chunks] == [None] * (len(chunks) - 1) + ["STOP"]
    counts = [chunk["usageMetadata"]["candidatesTokenCount"] for chunk in chunks]
    assert counts == [*range(1, len(chunks)), len(chunks) - 1]
    assert chunks[-1]["usageMetadata"] == single.json["usageMetadata"]
    assert {chunk["responseId"] for chunk in chunks} == {single.json["responseId"]}


def test_stream_without_sse_is_an_array(client):
    """Without alt=sse the stream is a JSON array of the same chunks."""
    answer = client.generate(verb="streamGenerateContent")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json == stream(client).gemini_chunks


def test_equal_requests_have_equal_bytes(client, serve):
    """Another server with the same seed gives the same bytes, one with another seed others."""
    same, other = serve(), serve(seed=1)
    config = {"thinkingConfig": {"includeThoughts": True}, "candidateCount": 2}
    for ask in (
        lambda each: each.generate(generationConfig=config),
        lambda each: stream(each, generationConfig=config),
    ):
        assert ask(client).body == ask(same).body != ask(other).body


def test_both_spellings_are_one_request(client):
    """snake_case names, at every level, give the same answer as camelCase ones, and count as its repetition."""
    image = {"mimeType": "image/png", "data": "iVBORw0KGgo="}
    camel = {
        "contents": [{"role": "user", "parts": [{"inlineData": image}, {"text": "Describe"}]}],
        "systemInstruction": {"parts": [{"text": "Be brief."}]},
        "generationConfig": {"maxOutputTokens": 5, "topK": 40, "thinkingConfig": {"includeThoughts": True}},
        "toolConfig": {"functionCallingConfig": {"mode": "NONE"}},
    }
    image = {"mime_type": "image/png", "data": "iVBORw0KGgo="}
    snake = {
        "contents": [{"role": "user", "parts": [{"inline_data": image}, {"text": "Describe"}]}],
        "system_instruction": {"parts": [{"text": "Be brief."}]},
        "generation_config": {"max_output_tokens": 5, "top_k": 40, "thinking_config": {"include_thoughts": True}},
        "tool_config": {"function_calling_config": {"mode": "NONE"}},
    }
    path = "/v1/models/m:generateContent"
    assert client.post(path, camel).body == client.post(path, snake).body
    assert client.server.stats().duplicates == 1


@pytest.mark.parametrize(
    "change", [{"generationConfig": {"seed": 7}}, {"model": "other"}, {"systemInstruction": {"parts": [{"text": "s"}]}}]
)
def test_parameters_change_the_answer(client, change):
    """Seed, model and instructions are part of what an answer is drawn from."""
    assert text_of(client.generate(**change)) != text_of(client.generate())
    assert client.generate(**change).body == client.generate(**change).body


def test_max_output_tokens_cuts_and_counts(client):
    """A limit cuts the same text short with MAX_TOKENS, and the usage counts what is left."""
    cut = client.generate(generationConfig={"maxOutputTokens": 3})
    assert text_of(client.generate()).startswith(text_of(cut))
    assert cut.json["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert cut.json["usageMetadata"]["candidatesTokenCount"] == len(text_of(cut).split()) == 3
    assert stream(client, generationConfig={"maxOutputTokens": 3}).gemini_chunks[-1]["candidates"][0][
        "finishReason"
    ] == ("MAX_TOKENS")
    assert text_of(client.generate(generationConfig={"maxOutputTokens": 3.0})) == text_of(cut)


def test_stop_sequences_end_the_text(client):
    """The text ends before the first stop sequence, with STOP."""
    whole = text_of(client.generate())
    words = whole.split()
    cut = client.generate(generationConfig={"stopSequences": [words[6], words[5]]})
    assert text_of(cut) == whole[: whole.index(words[5])]
    assert cut.json["candidates"][0]["finishReason"] == "STOP"
    nothing = client.generate(generationConfig={"stopSequences": [whole[0]]})
    assert nothing.json["candidates"][0]["content"] == {"role": "model"}
    [chunk] = stream(client, generationConfig={"stopSequences": [whole[0]]}).gemini_chunks
    assert (chunk["candidates"][0]["content"], chunk["candidates"][0]["finishReason"]) == ({"role": "model"}, "STOP")


def test_candidates_differ(client):
    """candidateCount gives as many different texts, streamed as well, and the usage counts all."""
    config = {"candidateCount": 3}
    single, streamed = client.generate(generationConfig=config), stream(client, generationConfig=config)
    texts = [text_of(single, index) for index in range(3)]
    assert [candidate["index"] for candidate in single.json["candidates"]] == [0, 1, 2]
    assert len(set(texts)) == 3
    for index, text in enumerate(texts):
        assert "".join(part["text"] for part in streamed_parts(streamed, index)) == text
    finishes = [each for chunk in streamed.gemini_chunks for each in chunk["candidates"] if "finishReason" in each]
    assert sorted(each["index"] for each in finishes) == [0, 1, 2]
    assert streamed.gemini_chunks[-1]["usageMetadata"] == single.json["usageMetadata"]
    assert single.json["usageMetadata"]["candidatesTokenCount"] == sum(len(text.split()) for text in texts)


@KEEP_SERVER
@given(text=st.text(st.characters(exclude_categories=())))
def test_echo_returns_any_text(client, text):
    """The model `echo` says the last user text verbatim, lone surrogates included, streamed or not."""
    single, streamed = client.generate(text, model="echo"), stream(client, text, model="echo")
    expected = json.loads(json.dumps(text))
    assert text_of(single) == expected
    joined = "".join(part["text"] for part in streamed_parts(streamed))
    assert json.loads(json.dumps(joined)) == expected


@pytest.mark.parametrize(
    "thinking", [{"thinkingBudget": -1}, {"thinkingBudget": 512}, {"thinkingLevel": "LOW"}, {"thinkingLevel": "high"}]
)
def test_thoughts_are_counted_and_hidden(client, thinking):
    """Thinking without includeThoughts shows nothing but its tokens and a signature on the text."""
    answer = client.generate(generationConfig={"thinkingConfig": thinking})
    [part] = parts_of(answer)
    assert set(part) == {"text", "thoughtSignature"}
    usage = answer.json["usageMetadata"]
    assert usage["thoughtsTokenCount"] > 0
    assert usage["candidatesTokenCount"] == len(part["text"].split())
    assert usage["totalTokenCount"] == sum(
        usage[name] for name in ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
    )


def test_thoughts_are_shown_when_asked(client):
    """includeThoughts adds parts marked as thoughts; in a stream the signature comes with the end."""
    config = {"thinkingConfig": {"includeThoughts": True, "thinkingLevel": "HIGH"}}
    single, streamed = client.generate(generationConfig=config), stream(client, generationConfig=config)
    thought, text = parts_of(single)
    assert thought["thought"] is True
    assert len(thought["text"].split()) == single.json["usageMetadata"]["thoughtsTokenCount"]
    parts = streamed_parts(streamed)
    assert "".join(part["text"] for part in parts if part.get("thought")) == thought["text"]
    assert "".join(part["text"] for part in parts if not part.get("thought")) == text["text"]
    assert parts[-1] == {"text": "", "thoughtSignature": text["thoughtSignature"]}
    assert streamed.gemini_chunks[-1]["usageMetadata"] == single.json["usageMetadata"]
    hidden = stream(client, generationConfig={"thinkingConfig": {"thinkingLevel": "HIGH"}})
    assert not any(part.get("thought") for part in streamed_parts(hidden))


@pytest.mark.parametrize(
    "thinking",
    [{}, {"thinkingBudget": 0}, {"thinkingBudget": 0, "includeThoughts": True}, {"thinkingLevel": "MINIMAL"}],
)
def test_no_thoughts_when_off(client, thinking):
    """Without thinking, or with its least, there are neither thoughts nor signatures."""
    answer = client.generate(generationConfig={"thinkingConfig": thinking})
    assert [set(part) for part in parts_of(answer)] == [{"text"}]
    assert "thoughtsTokenCount" not in answer.json["usageMetadata"]


def test_limit_counts_thoughts_first(client):
    """A limit that thoughts use up leaves a candidate without parts."""
    answer = client.generate(generationConfig={"maxOutputTokens": 4, "thinkingConfig": {"thinkingBudget": -1}})
    assert answer.json["candidates"][0]["content"] == {"role": "model"}
    assert answer.json["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert answer.json["usageMetadata"]["thoughtsTokenCount"] == 4
    assert "candidatesTokenCount" not in answer.json["usageMetadata"]


def test_media_and_instructions_are_counted(client):
    """The prompt's tokens are told by modality, and long instructions count as cached."""
    parts = [{"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}}, {"text": "Hello"}]
    parts += [{"fileData": {"mimeType": "image/png", "fileUri": "gs://a/b.png"}}]
    body = {"contents": [{"parts": parts}], "systemInstruction": {"parts": [{"text": "x" * 5000}]}}
    usage = client.generate(**body).json["usageMetadata"]
    counts = {each["modality"]: each["tokenCount"] for each in usage["promptTokensDetails"]}
    assert counts == {"TEXT": 1260, "AUDIO": 85, "IMAGE": 85}
    assert (usage["promptTokenCount"], usage["cachedContentTokenCount"]) == (1430, 1152)


def test_tokens_are_counted_as_in_an_answer(client):
    """countTokens tells the prompt's tokens, from contents or a whole request, and is no duplicate."""
    body = {"contents": [{"parts": [{"text": "Hello there"}]}], "systemInstruction": {"parts": [{"text": "x" * 5000}]}}
    counted = client.post("/v1beta/models/gemini-3-mock:countTokens", {"generateContentRequest": body})
    assert client.server.stats().distinct == 0
    usage = client.generate(**body).json["usageMetadata"]
    assert counted.json == {"totalTokens": usage["promptTokenCount"], "cachedContentTokenCount": 1152}
    assert client.generate(verb="countTokens").json == {"totalTokens": 7}
    both = client.generate(verb="countTokens", generateContentRequest=body)
    assert both.gemini_error["status"] == "INVALID_ARGUMENT"


@pytest.mark.parametrize(
    "prefix",
    [
        "/v1",
        "/v1beta",
        "/proxy/v1beta",
        "/v1/projects/p/locations/global/publishers/google",
        "/v1beta1/projects/p/locations/us-central1/publishers/google",
        "/v1/publishers/google",
    ],
)
def test_both_apis_and_vertex_serve(client, prefix):
    """The paths of both API versions and those of Vertex AI give the same answer."""
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello there"}]}]}
    assert client.post(f"{prefix}/models/gemini-3-mock:generateContent", body).body == client.generate().body
    assert client.post(f"{prefix}/models/gemini-3-mock:countTokens", body).json == {"totalTokens": 7}
    assert client.post(f"{prefix}/models/gemini-3-mock:streamGenerateContent?alt=sse", body).gemini_chunks
    assert client.server.requests[0].model == "gemini-3-mock"


@pytest.mark.parametrize("name", ["responseSchema", "responseJsonSchema"])
@pytest.mark.parametrize("verb", ["generateContent", "streamGenerateContent?alt=sse"])
def test_structured_output(client, broken_by, name, verb):
    """JSON satisfies the schema, in Google's spelling or in JSON schema's."""
    schema = {
        "type": "object",
        "properties": {
            "title": {"type": "string", "maxLength": 20},
            "tags": {"type": "array", "items": {"type": "string", "enum": ["x", "y"]}, "minItems": 2, "maxItems": 3},
            "score": {"anyOf": [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "null"}]},
        },
        "required": ["title", "tags", "score"],
    }
    google = {
        "type": "OBJECT",
        "properties": {
            "title": {"type": "STRING", "max_length": "20"},
            "tags": {"type": "ARRAY", "items": {"type": "STRING", "enum": ["x", "y"]}, "minItems": "2", "maxItems": 3},
            "score": {"type": "NUMBER", "minimum": 0, "maximum": 1, "nullable": True},
        },
        "required": ["title", "tags", "score"],
        "propertyOrdering": ["title", "tags", "score"],
    }
    config = {"responseMimeType": "application/json", name: google if name == "responseSchema" else schema}
    scores = []
    for number in range(20):
        answer = client.generate(f"Q{number}", verb=verb, generationConfig=config)
        parts = streamed_parts(answer) if "stream" in verb else parts_of(answer)
        value = json.loads("".join(part["text"] for part in parts))
        assert broken_by(schema, value) == []
        scores.append(value["score"])
    assert None in scores
    assert any(score is not None for score in scores)


def test_json_without_a_schema(client):
    """The media type alone gives a JSON object."""
    answer = client.generate(generationConfig={"responseMimeType": "application/json"})
    assert isinstance(json.loads(text_of(answer)), dict)
