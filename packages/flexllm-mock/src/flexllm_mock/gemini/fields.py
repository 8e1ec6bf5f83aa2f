"""The fields of Gemini's messages: both spellings of a name are one, and unknown names are errors."""

from __future__ import annotations

import re
from typing import Any

from flexllm_mock.gemini.errors import unknown_field, wrong

Fields = dict[str, Any]

_MEDIA = ("mediaResolution", "mediaProcessing", "videoMetadata", "audioMetadata", "audioTranscription")
# For each kind of message its fields, and the kind of those that are messages themselves. The others are taken as they
# are: values, what users define (arguments, results, schemas), and features that the mock does not act on.
_KINDS: dict[str, dict[str, str | None]] = {
    "generate": {
        **dict.fromkeys(("model", "cachedContent", "serviceTier", "store", "labels", "modelArmorConfig")),
        "contents": "content",
        "systemInstruction": "content",
        "tools": "tool",
        "toolConfig": "toolConfig",
        "safetySettings": "safety",
        "generationConfig": "generation",
    },
    "count": {
        "model": None,
        "contents": "content",
        "systemInstruction": "content",
        "tools": "tool",
        "generationConfig": "generation",
        "generateContentRequest": "generate",
    },
    "embed": {
        **dict.fromkeys(("model", "taskType", "title", "outputDimensionality", "embedContentConfig", "autoTruncate")),
        "content": "content",
    },
    "content": {"role": None, "parts": "part"},
    "part": {
        **dict.fromkeys(("text", "thought", "thoughtSignature", "executableCode", "codeExecutionResult")),
        **dict.fromkeys(("toolCall", "toolResponse", "partMetadata", "speechMetadata", "documentMetadata", *_MEDIA)),
        "inlineData": "inlineData",
        "fileData": "fileData",
        "functionCall": "functionCall",
        "functionResponse": "functionResponse",
    },
    "inlineData": dict.fromkeys(("mimeType", "data", "displayName")),
    "fileData": dict.fromkeys(("mimeType", "fileUri", "displayName")),
    "functionCall": dict.fromkeys(("id", "name", "args", "partialArgs", "willContinue")),
    "functionResponse": dict.fromkeys(("id", "name", "response", "parts", "willContinue", "scheduling")),
    "tool": {
        **dict.fromkeys(("googleSearch", "googleSearchRetrieval", "codeExecution", "urlContext", "googleMaps")),
        **dict.fromkeys(("fileSearch", "computerUse", "retrieval", "enterpriseWebSearch", "mcpServers")),
        **dict.fromkeys(("parallelAiSearch", "exaAiSearch")),
        "functionDeclarations": "declaration",
    },
    "declaration": dict.fromkeys(
        ("name", "description", "parameters", "parametersJsonSchema", "response", "responseJsonSchema", "behavior")
    ),
    "toolConfig": {
        **dict.fromkeys(("retrievalConfig", "includeServerSideToolInvocations")),
        "functionCallingConfig": "calling",
    },
    "calling": dict.fromkeys(("mode", "allowedFunctionNames", "streamFunctionCallArguments")),
    "safety": dict.fromkeys(("category", "threshold", "method")),
    "generation": {
        **dict.fromkeys(("candidateCount", "stopSequences", "maxOutputTokens", "temperature", "topP", "topK", "seed")),
        **dict.fromkeys(("responseMimeType", "responseSchema", "responseJsonSchema", "responseFormat")),
        **dict.fromkeys(("presencePenalty", "frequencyPenalty", "responseLogprobs", "logprobs", "routingConfig")),
        **dict.fromkeys(("responseModalities", "mediaResolution", "speechConfig", "imageConfig", "audioTimestamp")),
        **dict.fromkeys(("modelSelectionConfig", "modelConfig", "enableAffectiveDialog", "translationConfig")),
        **dict.fromkeys(("enableEnhancedCivicAnswers", "audioTranscriptionConfig", "continuationToken")),
        "thinkingConfig": "thinking",
    },
    "thinking": dict.fromkeys(("includeThoughts", "thinkingBudget", "thinkingLevel")),
}
_LISTS = ("contents", "parts", "tools", "functionDeclarations", "safetySettings")


def read_fields(value: Fields, kind: str, place: str = "") -> Fields:
    """Return a message with its names in camelCase and without its nulls.

    Raises ApiError 400 for a name that the message does not have, and for what is no object or no list where one must
    be; `place` is where the message stands in the body.
    """
    known, found = _KINDS[kind], Fields()
    for given, item in value.items():
        name = camel_case(given)
        if name not in known:
            raise unknown_field(given, place)
        if item is None:
            continue
        inner = known[name]
        where = f"{place}.{snake_case(name)}" if place else snake_case(name)
        if inner is None:
            found[name] = item
        elif name in _LISTS:
            found[name] = [_message(each, inner, f"{where}[{at}]") for at, each in enumerate(_list(item, where))]
        else:
            found[name] = _message(item, inner, where)
    return found


def camel_case(name: str) -> str:
    """Turn `max_output_tokens` into `maxOutputTokens`, and leave what is camelCase already."""
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name) if "_" in name else name


def snake_case(name: str) -> str:
    """Turn `maxOutputTokens` into `max_output_tokens`, as Google's messages call it."""
    return re.sub(r"[A-Z]", lambda match: "_" + match[0].lower(), name)


def _message(value: object, kind: str, place: str) -> Fields:
    if not isinstance(value, dict):
        raise wrong(place, "an object", value)
    return read_fields(value, kind, place)


def _list(value: object, place: str) -> list[Any]:
    # A single message where a list belongs is accepted, as the vendor does.
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        raise wrong(place, "a list", value)
    return value
