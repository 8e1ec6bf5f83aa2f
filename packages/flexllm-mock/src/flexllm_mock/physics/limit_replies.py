"""How each vendor tells its rate limits: in headers of every answer, and in the 429 of a request that exceeds them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from flexllm_mock.asgi import ApiError, Limit, Vendor
from flexllm_mock.physics.limits import Bucket, Excess

RawHeaders = tuple[tuple[bytes, bytes], ...]

_OPENAI_LIMITS: Mapping[Limit, str] = {
    "requests": "requests per min (RPM)",
    "input_tokens": "tokens per min (TPM)",
    "output_tokens": "tokens per min (TPM)",
}
_TOKENS: tuple[Limit, ...] = ("input_tokens", "output_tokens")


def limit_headers(vendor: Vendor, buckets: Mapping[Limit, Bucket]) -> RawHeaders:
    """Return the headers in which a vendor tells what is left."""
    if vendor == "openai":
        return _openai_headers(buckets)
    return _claude_headers(buckets) if vendor == "claude" else ()


def limit_error(vendor: Vendor, model: str | None, excess: Excess, buckets: Mapping[Limit, Bucket]) -> ApiError:
    """Return the 429 in a vendor's words."""
    words = {"openai": _openai_message, "claude": _claude_message, "gemini": _gemini_message}[vendor]
    error = ApiError(429, words(model or "", excess))
    error.limit = excess.limit
    error.retry_in = excess.retry_in
    error.headers = limit_headers(vendor, buckets)
    return error


def duration(seconds: float) -> str:
    """Write a duration as Go does, for instance `6m0s`, `1.5s` or `20ms`."""
    milliseconds = round(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{rest / 1000:.3f}".rstrip("0").rstrip(".") + "s"
    if minutes or hours:
        text = f"{minutes}m{text}"
    return f"{hours}h{text}" if hours else text


def _openai_headers(buckets: Mapping[Limit, Bucket]) -> RawHeaders:
    """OpenAI counts all tokens together, so its headers show the bucket that has the least left."""
    shown = {"requests": buckets.get("requests"), "tokens": _tightest(buckets)}
    headers: list[tuple[str, str]] = []
    for name, bucket in shown.items():
        if bucket is not None:
            headers += [
                (f"x-ratelimit-limit-{name}", f"{bucket.per_minute:.0f}"),
                (f"x-ratelimit-remaining-{name}", str(bucket.remaining)),
                (f"x-ratelimit-reset-{name}", duration(bucket.reset)),
            ]
    return _raw(headers)


def _claude_headers(buckets: Mapping[Limit, Bucket]) -> RawHeaders:
    shown = {
        "requests": buckets.get("requests"),
        "tokens": _tightest(buckets),
        "input-tokens": buckets.get("input_tokens"),
        "output-tokens": buckets.get("output_tokens"),
    }
    now = datetime.fromtimestamp(time.time(), UTC)
    headers: list[tuple[str, str]] = []
    for name, bucket in shown.items():
        if bucket is not None:
            full = now + timedelta(seconds=bucket.reset)
            headers += [
                (f"anthropic-ratelimit-{name}-limit", f"{bucket.per_minute:.0f}"),
                (f"anthropic-ratelimit-{name}-remaining", str(bucket.remaining)),
                (f"anthropic-ratelimit-{name}-reset", full.strftime("%Y-%m-%dT%H:%M:%SZ")),
            ]
    return _raw(headers)


def _tightest(buckets: Mapping[Limit, Bucket]) -> Bucket | None:
    return min((buckets[limit] for limit in _TOKENS if limit in buckets), key=lambda each: each.level, default=None)


def _raw(headers: list[tuple[str, str]]) -> RawHeaders:
    return tuple((name.encode(), value.encode()) for name, value in headers)


def _openai_message(model: str, excess: Excess) -> str:
    if excess.limit == "concurrency":
        return f"Too many concurrent requests for {model}: Limit {excess.allowed:.0f}. Please try again later."
    limit = _OPENAI_LIMITS[excess.limit]
    if excess.retry_in is None:
        return (
            f"Request too large for {model} on {limit}: Limit {excess.allowed:.0f}, Requested {excess.requested}. "
            "The input or output tokens must be reduced in order to run successfully."
        )
    return (
        f"Rate limit reached for {model} on {limit}: Limit {excess.allowed:.0f}, Used {excess.used:.0f}, "
        f"Requested {excess.requested}. Please try again in {duration(excess.retry_in)}."
    )


def _claude_message(model: str, excess: Excess) -> str:
    if excess.limit == "concurrency":
        return "Number of concurrent connections has exceeded your rate limit. Please try again later."
    unit = excess.limit.replace("_", " ")
    return (
        f"This request would exceed your organization's rate limit of {excess.allowed:,.0f} {unit} per minute "
        f"(model: {model}). Please reduce the prompt length or the maximum tokens requested, or try again later."
    )


def _gemini_message(model: str, excess: Excess) -> str:
    message = f"You exceeded your current quota. Quota exceeded for {excess.limit}, limit: {excess.allowed:.0f}"
    message += f", model: {model}"
    return message if excess.retry_in is None else f"{message}\nPlease retry in {excess.retry_in:.3f}s."
