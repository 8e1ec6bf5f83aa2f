"""What a Gemini request must hold, how the mock says what is wrong, and Google's errors."""

from __future__ import annotations

import pytest

from flexllm_mock import FaultMatch, FaultRule

USER = {"role": "user", "parts": [{"text": "Hello"}]}
CALL = {"functionCall": {"id": "c", "name": "f", "args": {}}}
RESPONSE = {"functionResponse": {"id": "c", "name": "f", "response": {"output": "r"}}}
TOOLS = [{"functionDeclarations": [{"name": "f"}]}]
PATH = "/v1beta/models/gemini-2.5-mock:generateContent"


def config(**fields):
    return {"generationConfig": fields}


def parts(*listed, role="user"):
    return {"contents": [{"role": role, "parts": list(listed)}]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contents": None}, "contents is not specified"),
        ({"contents": []}, "contents is not specified"),
        ({"contents": "hi"}, "Invalid value at 'contents': expected a list"),
        ({"contents": ["hi"]}, "Invalid value at 'contents[0]': expected an object"),
        ({"contents": [{"role": "assistant", "parts": [{"text": "x"}]}]}, "Please use a valid role: user, model."),
        ({"contents": [{"role": "user"}]}, "contents[0].parts: contents.parts must not be empty"),
        (parts({}), "contents[0].parts[0].data: required oneof field 'data' must have one initialized field"),
        (parts({"thought": True}), "contents[0].parts[0].data: required oneof"),
        (parts({"text": "x", **CALL}), "contents[0].parts[0].data: required oneof field 'data' must have only one"),
        (parts({"text": 5}), "Invalid value at 'contents[0].parts[0].text': expected a string"),
        (parts({"type": "text"}), "Unknown name \"type\" at 'contents[0].parts[0]': Cannot find field."),
        (parts({"inlineData": {"mimeType": "image/png"}}), "contents[0].parts[0].inline_data.data"),
        (parts({"inlineData": {"data": "AAAA"}}), "contents[0].parts[0].inline_data.mime_type"),
        (parts({"inlineData": {"mimeType": "image/png", "data": "A"}}), "Base64 decoding failed"),
        (parts({"inlineData": {"mimeType": "image/png", "data": "\u00e9"}}), "Base64 decoding failed"),
        (parts({"fileData": {"mimeType": "image/png"}}), "contents[0].parts[0].file_data"),
        (parts({"functionCall": {"args": {}}}, role="model"), "expected a name"),
        (parts({"functionCall": {"name": "f", "args": "{}"}}, role="model"), "expected an object"),
        (parts({"text": "x", "thoughtSignature": 5}), "thought_signature"),
        (
            {"contents": [USER, {"role": "model", "parts": [CALL]}, USER]},
            "the number of function response parts is equal",
        ),
        ({"contents": [USER, {"role": "user", "parts": [RESPONSE]}]}, "the number of function response parts is equal"),
        (parts(RESPONSE), "function response turn comes immediately after a function call turn"),
        (
            {"contents": [USER, {"role": "model", "parts": [CALL, CALL]}, {"parts": [RESPONSE]}]},
            "the number of function",
        ),
        (
            parts({"functionResponse": {"name": "f", "response": "text"}}),
            "Invalid value at 'contents[0].parts[0].functionResponse': expected an object",
        ),
        ({"messages": []}, 'Invalid JSON payload received. Unknown name "messages": Cannot find field.'),
        ({"systemInstruction": "Be brief."}, "Invalid value at 'system_instruction': expected an object"),
        ({"systemInstruction": {"parts": []}}, "parts must not be empty"),
        (config(max_tokens=5), "Unknown name \"max_tokens\" at 'generation_config': Cannot find field."),
        (config(maxOutputTokens=0), "generation_config.maxOutputTokens"),
        (config(maxOutputTokens="5"), "generation_config.maxOutputTokens"),
        (config(maxOutputTokens=True), "generation_config.maxOutputTokens"),
        (config(candidateCount=9), "generation_config.candidateCount"),
        (config(seed=2**40), "generation_config.seed"),
        (config(seed=0.5), "generation_config.seed"),
        (config(stopSequences="x"), "generation_config.stop_sequences"),
        (config(stopSequences=["x"] * 6), "generation_config.stop_sequences"),
        (config(temperature=2.5), "generation_config.temperature"),
        (config(topP="1"), "generation_config.topP"),
        (config(thinkingConfig={"thinkingBudget": 0, "thinkingLevel": "LOW"}), "only one of thinking budget and"),
        (config(thinkingConfig={"thinkingBudget": -2}), "thinking_budget"),
        (config(thinkingConfig={"thinkingLevel": "ULTRA"}), "thinking_level"),
        (config(thinkingConfig={"thinkingLevel": "LOW"}), "Thinking level is not supported for this model"),
        (config(thinkingConfig={"includeThoughts": "yes"}), "include_thoughts"),
        (config(thinkingConfig={"budget": 5}), "Unknown name \"budget\" at 'generation_config.thinking_config'"),
        (config(responseMimeType="text/xml"), "response_mime_type"),
        (config(responseSchema={"type": "OBJECT"}), "requires the response_mime_type application/json"),
        (config(responseMimeType="application/json", responseSchema={}, responseJsonSchema={}), "Only one of"),
        (config(responseMimeType="application/json", responseSchema={"type": "ANY"}), "response_schema"),
        (config(responseMimeType="application/json", responseSchema={"items": []}), "response_schema"),
        (config(responseMimeType="application/json", responseSchema={"minItems": "x"}), "`minItems` must be"),
        (config(responseMimeType="application/json", responseSchema={"properties": []}), "response_schema"),
        (config(responseMimeType="application/json", responseSchema={"anyOf": {}}), "response_schema"),
        (config(responseMimeType="application/json", responseJsonSchema={"not": {}}), "Invalid schema"),
        ({"tools": [{"function_declarations": [{}]}]}, "tools[0].function_declarations[0].name"),
        ({"tools": [{"functionDeclarations": [{"name": "f g"}]}]}, "tools[0].function_declarations[0].name"),
        ({"tools": [{"functionDeclarations": [{"name": "f"}, {"name": "f"}]}]}, "Duplicate function declaration"),
        (
            {"tools": [{"functionDeclarations": [{"name": "f", "parameters": {}, "parametersJsonSchema": {}}]}]},
            "only one",
        ),
        ({"tools": [{"functionDeclarations": [{"name": "f", "parameters": {"type": "X"}}]}]}, "'X' is not a type"),
        ({"tools": [{"functionDeclarations": [{"name": "f", "input_schema": {}}]}]}, 'Unknown name "input_schema"'),
        ({"tools": [{"type": "function"}]}, "Unknown name \"type\" at 'tools[0]'"),
        ({"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "MAYBE"}}}, "function_calling_config.mode"),
        (
            {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["g"]}}},
            "'g' is not declared",
        ),
        (
            {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"allowedFunctionNames": ["f"]}}},
            "only allowed with the mode ANY",
        ),
        (
            {"tools": TOOLS, "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": "f"}}},
            "expected a list of names",
        ),
    ],
)
def test_what_is_wrong_is_named(client, change, message):
    """A field that is unknown, missing or wrong gives 400 INVALID_ARGUMENT and says which."""
    answer = client.post(PATH, {"contents": [USER], **change})
    assert answer.status == 400
    assert answer.gemini_error["status"] == "INVALID_ARGUMENT"
    assert message in answer.gemini_error["message"]


@pytest.mark.parametrize(
    "change",
    [
        {"contents": {"parts": {"text": "one"}}},
        {"systemInstruction": {"role": "user", "parts": [{"text": "s"}]}, "safetySettings": [], "cachedContent": None},
        config(temperature=0, topP=0.5, topK=40.0, presencePenalty=-1, frequencyPenalty=1, seed=-1),
        config(responseModalities=["TEXT"], mediaResolution="MEDIA_RESOLUTION_LOW", imageConfig={"aspectRatio": "1:1"}),
        {"contents": [USER, {"role": "model", "parts": [{"functionCall": {"name": "f"}}]}, {"parts": [RESPONSE]}]},
        {"contents": [USER, {"role": "model", "parts": [CALL, CALL]}, {"parts": [RESPONSE, RESPONSE]}]},
        {"safety_settings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]},
        {"tools": [{"googleSearch": {}}, {"codeExecution": {}}], "labels": {"a_b": "c"}},
    ],
)
def test_what_is_right_is_accepted(client, change):
    """Everything that the API allows is answered."""
    answer = client.post(PATH, {"contents": [USER], **change})
    assert (answer.status, answer.json["candidates"][0]["finishReason"]) == (200, "STOP")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"[" * 100_000, b'{"contents": NaN}'])
def test_body_that_is_no_json_object_is_refused(client, body):
    """Whatever the bytes are, the answer is 400 in Google's shape."""
    assert client.post(PATH, body).gemini_error["status"] == "INVALID_ARGUMENT"
    assert client.generate().status == 200


def test_deep_but_valid_request_does_not_break_the_server(client):
    """A request nested as deeply as JSON reading allows is answered or refused."""
    for depth in (50, 100, 400, 900, 5_000):
        deep = b'{"items":' * depth + b"{}" + b"}" * depth
        for name in (b"responseSchema", b"responseJsonSchema"):
            start = (
                b'{"contents":[{"parts":[{"text":"x"}]}],"generationConfig":{"responseMimeType":"application/json","'
            )
            assert client.post(PATH, start + name + b'":' + deep + b"}}").status in (200, 400)


@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "INVALID_ARGUMENT"),
        (401, "UNAUTHENTICATED"),
        (403, "PERMISSION_DENIED"),
        (404, "NOT_FOUND"),
        (418, "INVALID_ARGUMENT"),
        (429, "RESOURCE_EXHAUSTED"),
        (500, "INTERNAL"),
        (503, "UNAVAILABLE"),
        (504, "DEADLINE_EXCEEDED"),
        (529, "UNAVAILABLE"),
    ],
)
def test_error_statuses_have_their_names(serve, status, name):
    """A fault and a random error with a status are answered with the name that goes with it."""
    for options in ({"faults": [FaultRule(status=status)]}, {"error_rate": 1, "error_status": status}):
        answer = serve(**options).generate()
        assert (answer.status, answer.gemini_error["status"]) == (status, name)
        assert answer.gemini_error["message"]


@pytest.mark.parametrize(
    ("header", "delay"),
    [({"retry-after": "37"}, "37s"), ({"retry-after": "1.5"}, "1.5s"), ({"retry-after": "Fri"}, None)],
)
def test_quota_says_when_to_come_back(serve, header, delay):
    """A 429 names the quota, and repeats the seconds of retry-after as RetryInfo."""
    answer = serve(faults=[FaultRule(status=429, headers=header)]).generate()
    details = {each["@type"].rpartition(".")[2]: each for each in answer.gemini_error["details"]}
    assert "PerMinute" in details["QuotaFailure"]["violations"][0]["quotaId"]
    assert details.get("RetryInfo", {}).get("retryDelay") == delay
    assert answer.headers["retry-after"] == header["retry-after"]
    drawn = serve(error_rate=1, error_status=429, retry_after=2).generate()
    assert drawn.gemini_error["details"][1]["retryDelay"] == "2s"


def test_errors_of_streams_can_be_lists(serve):
    """A stream without alt=sse has its errors in a list; with alt=sse a rule can ask for one."""
    client = serve(faults=[FaultRule(status=503, times=3), FaultRule(status=503, as_list=True)])
    assert client.generate().gemini_error["status"] == "UNAVAILABLE"
    assert client.generate(verb="streamGenerateContent?alt=sse").gemini_error["status"] == "UNAVAILABLE"
    [inner] = client.generate(verb="streamGenerateContent").json
    assert inner["error"]["status"] == "UNAVAILABLE"
    for verb in ("streamGenerateContent?alt=sse", "streamGenerateContent", "generateContent"):
        [inner] = client.generate(verb=verb).json
        assert inner["error"]["code"] == 503
    [inner] = serve().post("/v1beta/models/m:streamGenerateContent", b"{").json
    assert inner["error"]["code"] == 400


def test_faults_match_and_prescribe(serve):
    """Rules find Gemini's requests by model, path and text, and their answers replace the text."""
    match = FaultMatch(path=":generateContent", model="gemini-3-mock", contains="Hello")
    client = serve(faults=[FaultRule(status=500, times=1, match=match), FaultRule(answer="exactly this", times=1)])
    client.server.add_fault(FaultRule(raw_body="data: {}\r\n\r\n", times=2))
    assert client.generate().status == 500
    answer = client.generate(generationConfig={"maxOutputTokens": 1})
    assert answer.json["candidates"][0]["content"]["parts"] == [{"text": "exactly this"}]
    assert client.generate(verb="streamGenerateContent?alt=sse").headers["content-type"] == "text/event-stream"
    assert client.generate(verb="streamGenerateContent").headers["content-type"] == "application/json"


def test_keys_of_both_apis(serve):
    """With a key the Developer API refuses others with 400 API_KEY_INVALID, Vertex AI with 401."""
    client = serve(api_key="right")
    body = {"contents": [USER]}
    vertex = "/v1/projects/p/locations/l/publishers/google/models/m:generateContent"
    for headers in ({"x-goog-api-key": "right"}, {"authorization": "Bearer right"}):
        assert client.post(PATH, body, **headers).status == client.post(vertex, body, **headers).status == 200
    for headers in ({}, {"x-goog-api-key": "wrong"}):
        refused = client.post(PATH, body, **headers)
        assert refused.status == 400
        assert "API key not valid" in refused.gemini_error["message"]
        assert refused.gemini_error["details"][0]["reason"] == "API_KEY_INVALID"
        refused = client.post(vertex, body, **headers)
        assert (refused.status, refused.gemini_error["status"]) == (401, "UNAUTHENTICATED")
    assert client.post(f"{PATH}?key=right", body).status == 200
    assert client.post(f"{vertex}?key=right", body).status == 401
    assert client.server.stats().key_in_url == 2


def test_strict_models_and_unknown_paths(serve):
    """A model that is not listed is 404, and so is a method that does not exist."""
    client = serve(strict_models=True, models=("gemini-3-mock",))
    assert client.generate().status == 200
    assert client.generate(model="other").gemini_error["status"] == "NOT_FOUND"
    assert client.post("/v1beta/cachedContents", {}).gemini_error["status"] == "NOT_FOUND"
    assert client.get(PATH).gemini_error["code"] == 405


@pytest.mark.parametrize("alt", ["?alt=sse", ""])
def test_stream_is_paced(serve, protocol, alt):
    """A stream with a token rate, with thoughts that are not shown, has the bytes of one without."""
    options = {"verb": f"streamGenerateContent{alt}", "tools": TOOLS}
    options["generationConfig"] = {"thinkingConfig": {"thinkingBudget": -1}}
    assert serve(token_rate=2000).generate(**options).body == serve().generate(**options).body
