"""Token counts of Gemini, normalised: it counts thoughts beside the answer and not in it."""

from __future__ import annotations

from flexllm_core.results import Usage

_COUNTS = (
    "promptTokenCount",
    "toolUsePromptTokenCount",
    "candidatesTokenCount",
    "thoughtsTokenCount",
    "cachedContentTokenCount",
    "totalTokenCount",
)


def decode_usage(usage: object) -> Usage | None:
    """The normal form of `usageMetadata`, None when there is none or it holds no counts."""
    if not isinstance(usage, dict) or not any(type(usage.get(key)) is int for key in _COUNTS):
        return None  # unknown is not 0
    prompt, tool_prompt, candidates, thoughts, cached, total = (_count(usage.get(key)) for key in _COUNTS)
    prompt += tool_prompt
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=candidates + thoughts,
        total_tokens=total or prompt + candidates + thoughts,
        cached_tokens=cached,
        reasoning_tokens=thoughts,
        audio_tokens=_audio(usage.get("promptTokensDetails")),
        output_audio_tokens=_audio(usage.get("candidatesTokensDetails")),
    )


def _audio(details: object) -> int:
    """The tokens of sound among the counts by modality."""
    return sum(
        _count(each.get("tokenCount"))
        for each in (details if isinstance(details, list) else ())
        if isinstance(each, dict) and each.get("modality") == "AUDIO"
    )


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
