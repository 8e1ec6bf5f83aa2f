"""Gemini's function calls over HTTP, and the thought signatures that go with them."""

from __future__ import annotations

import base64

import pytest

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
    "required": ["city", "days"],
}
WEATHER = {"name": "get_weather", "description": "d", "parametersJsonSchema": PARAMETERS}
TIME = {"name": "get_time"}
TOOLS = [{"functionDeclarations": [WEATHER, TIME]}]
ASKS_BOTH = "First get_time, then get_weather."
SKIP = "skip_thought_signature_validator"


def calling(mode, *names):
    return {"functionCallingConfig": {"mode": mode} | ({"allowedFunctionNames": list(names)} if names else {})}


def parts_of(answer):
    assert answer.status == 200, answer.body
    return answer.json["candidates"][0]["content"].get("parts", [])


def calls_of(answer):
    return [part["functionCall"] for part in parts_of(answer) if "functionCall" in part]


def responses_to(parts):
    calls = [part["functionCall"] for part in parts if "functionCall" in part]
    return [{"functionResponse": {"id": c["id"], "name": c["name"], "response": {"output": "4 C"}}} for c in calls]


def follow_up(parts, text=ASKS_BOTH):
    """A conversation in which the functions have been called and have answered."""
    return [
        {"role": "user", "parts": [{"text": text}]},
        {"role": "model", "parts": parts},
        {"role": "user", "parts": responses_to(parts)},
    ]


@pytest.mark.parametrize(
    "declaration",
    [
        WEATHER,
        {
            "name": "get_weather",
            "parameters": {
                "type": "OBJECT",
                "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER", "minimum": 1}},
                "required": ["city", "days"],
            },
        },
    ],
)
def test_functions_are_called(client, broken_by, declaration):
    """A call has an id, arguments as an object that satisfies the declaration, a signature, and finishes with STOP."""
    for number in range(20):
        answer = client.generate(f"Q{number}", tools=[{"functionDeclarations": [declaration]}])
        [part] = parts_of(answer)
        assert set(part) == {"functionCall", "thoughtSignature"}
        assert part["functionCall"]["name"] == "get_weather"
        assert part["functionCall"]["id"]
        assert base64.b64decode(part["thoughtSignature"], validate=True)
        assert broken_by(PARAMETERS, part["functionCall"]["args"]) == []
        assert answer.json["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("mode", ["AUTO", "ANY", "VALIDATED", "MODE_UNSPECIFIED", "any"])
def test_modes_that_call(client, mode):
    """Different prompts call different functions."""
    answers = [client.generate(f"Q{n}", tools=TOOLS, toolConfig=calling(mode)) for n in range(20)]
    assert {call["name"] for answer in answers for call in calls_of(answer)} == {"get_weather", "get_time"}


def test_mode_none_gives_text(client):
    """With NONE, and with tools that Google runs, the answer is text."""
    assert calls_of(client.generate(tools=TOOLS, toolConfig=calling("NONE"))) == []
    assert calls_of(client.generate(tools=[{"googleSearch": {}}])) == []


def test_allowed_names_narrow_the_choice(client):
    """With ANY only the allowed functions are called, whatever the text names."""
    for text in ("Q1", "Q2", "get_weather"):
        [call] = calls_of(client.generate(text, tools=TOOLS, toolConfig=calling("ANY", "get_time")))
        assert (call["name"], call["args"]) == ("get_time", {})


def test_parallel_calls_have_one_signature(client):
    """Functions that the text names are called once each; only the first call is signed."""
    parts = parts_of(client.generate(ASKS_BOTH, tools=TOOLS))
    assert [part["functionCall"]["name"] for part in parts] == ["get_time", "get_weather"]
    assert ["thoughtSignature" in part for part in parts] == [True, False]
    assert parts[0]["functionCall"]["id"] != parts[1]["functionCall"]["id"]


def test_streamed_calls_come_whole(client):
    """In a stream each call is one part, the same as in the document."""
    streamed = client.generate(ASKS_BOTH, verb="streamGenerateContent?alt=sse", tools=TOOLS)
    chunks = streamed.gemini_chunks
    parts = [part for chunk in chunks for part in chunk["candidates"][0]["content"].get("parts", [])]
    single = client.generate(ASKS_BOTH, tools=TOOLS)
    assert parts[:-1] == parts_of(single)
    assert parts[-1] == {"text": ""}
    assert chunks[-1]["usageMetadata"] == single.json["usageMetadata"]
    assert client.generate(ASKS_BOTH, verb="streamGenerateContent", tools=TOOLS).json == chunks


def test_call_that_does_not_fit_is_left_out(client):
    """A limit inside a call leaves no call, with MAX_TOKENS, streamed or not."""
    config = {"maxOutputTokens": 2}
    weather = [{"functionDeclarations": [WEATHER]}]
    cut = client.generate(tools=weather, generationConfig=config)
    assert (parts_of(cut), cut.json["candidates"][0]["finishReason"]) == ([], "MAX_TOKENS")
    streamed = client.generate(tools=weather, generationConfig=config, verb="streamGenerateContent?alt=sse")
    [chunk] = streamed.gemini_chunks
    assert chunk["candidates"][0]["finishReason"] == "MAX_TOKENS"
    assert chunk["usageMetadata"] == cut.json["usageMetadata"]
    both = client.generate(ASKS_BOTH, tools=TOOLS, generationConfig=config)
    assert [call["name"] for call in calls_of(both)] == ["get_time"]
    assert both.json["usageMetadata"]["candidatesTokenCount"] == 2


def test_two_turns(client):
    """Calls that are sent back as they came, with their responses, get text; with ANY another call."""
    parts = parts_of(client.generate(ASKS_BOTH, tools=TOOLS))
    answer = client.generate(contents=follow_up(parts), tools=TOOLS)
    assert [set(part) for part in parts_of(answer)] == [{"text"}]
    assert calls_of(client.generate(contents=follow_up(parts), tools=TOOLS, toolConfig=calling("ANY")))


def unsigned(parts):
    return [{name: value for name, value in part.items() if name != "thoughtSignature"} for part in parts]


def test_missing_signature_is_refused(client):
    """On Gemini 3 the first call of a step must bring its signature; other models do not mind."""
    parts = parts_of(client.generate(ASKS_BOTH, tools=TOOLS))
    refused = client.generate(contents=follow_up(unsigned(parts)), tools=TOOLS)
    assert refused.status == 400
    assert refused.gemini_error["message"].startswith("Function call is missing a thought_signature")
    assert "contents[1].parts[0]" in refused.gemini_error["message"]
    assert client.generate(contents=follow_up(unsigned(parts)), tools=TOOLS, model="gemini-2.5-flash").status == 200


def test_each_step_needs_its_signature(client):
    """A second step in the same turn needs one of its own; an earlier turn of the user's needs none any more."""
    first = parts_of(client.generate("get_time", tools=TOOLS))
    steps = follow_up(first)
    second = parts_of(client.generate(contents=steps, tools=TOOLS, toolConfig=calling("ANY")))
    more = [{"role": "model", "parts": unsigned(second)}, {"role": "user", "parts": responses_to(second)}]
    refused = client.generate(contents=[*steps, *more], tools=TOOLS)
    assert "contents[3].parts[0]" in refused.gemini_error["message"]
    over = [
        *steps,
        *more,
        {"role": "model", "parts": [{"text": "Done"}]},
        {"role": "user", "parts": [{"text": "And?"}]},
    ]
    assert client.generate(contents=over, tools=TOOLS).status == 200


@pytest.mark.parametrize("spelled", [SKIP, base64.b64encode(SKIP.encode()).decode()])
def test_signature_can_be_skipped(client, spelled):
    """The dummy value is accepted for calls of other models, as it is or as base64."""
    call = {"functionCall": {"id": "c", "name": "get_time", "args": {}}, "thoughtSignature": spelled}
    assert client.generate(contents=follow_up([call]), tools=TOOLS).status == 200


@pytest.mark.parametrize("model", ["gemini-3-mock", "gemini-2.5-flash"])
def test_corrupted_signature_is_refused(client, serve, model):
    """A signature that the mock did not make for this model is 400, wherever it stands."""
    [part] = parts_of(client.generate("get_time", tools=TOOLS, model="gemini-3-other"))
    [foreign] = parts_of(serve(seed=1).generate("get_time", tools=TOOLS, model=model))
    wrong = (part["thoughtSignature"], foreign["thoughtSignature"], "Q2lR", "", "?", "\u00e9")
    for signature in wrong:
        contents = follow_up([{**part, "thoughtSignature": signature}])
        refused = client.generate(contents=contents, tools=TOOLS, model=model)
        assert refused.status == 400, signature
        assert "Corrupted thought signature" in refused.gemini_error["message"]
    text = [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [{"text": "b"}]}]
    text[1]["parts"][0]["thoughtSignature"] = "Q2lR"
    assert client.generate(contents=[*text, text[0]], model=model).status == 400


def test_signature_is_read_in_either_alphabet(client):
    """Base64 for URLs, with and without padding, is the same signature."""
    found = set()
    for number in range(30):
        [part] = parts_of(client.generate(f"get_time {number}", tools=TOOLS))
        for signature in (part["thoughtSignature"], part["thoughtSignature"].translate(str.maketrans("+/", "-_"))):
            found |= {"+", "/"} & set(signature)
            contents = follow_up([{**part, "thoughtSignature": signature.rstrip("=")}])
            assert client.generate(contents=contents, tools=TOOLS).status == 200
    assert found == {"+", "/"}


def test_signature_of_a_text_is_accepted_back(client):
    """A text's signature can go back with it, from a stream's last part too."""
    config = {"thinkingConfig": {"thinkingLevel": "LOW"}}
    streamed = client.generate(generationConfig=config, verb="streamGenerateContent?alt=sse").gemini_chunks
    last = streamed[-1]["candidates"][0]["content"]["parts"][0]
    for part in (*parts_of(client.generate(generationConfig=config)), last):
        contents = [{"role": "user", "parts": [{"text": "a"}]}, {"role": "model", "parts": [part]}]
        assert client.generate(contents=[*contents, contents[0]]).status == 200


def test_candidates_have_signatures_of_their_own(client):
    """With several candidates each call is signed for itself, and each is accepted back."""
    answer = client.generate("get_time", tools=TOOLS, generationConfig={"candidateCount": 3})
    parts = [candidate["content"]["parts"][0] for candidate in answer.json["candidates"]]
    assert len({part["thoughtSignature"] for part in parts}) == len({part["functionCall"]["id"] for part in parts}) == 3
    for part in parts:
        assert client.generate(contents=follow_up([part]), tools=TOOLS).status == 200
