"""Reads single parameters of OpenAI requests, and says what is wrong with them."""

from __future__ import annotations

from typing import Any

from flexllm_mock.asgi import ApiError

MAX_CHOICES = 128
"""The most answers that one request can ask for."""

_MAX_STOPS = 4
_SHOWN = 60


def read_stops(stop: object) -> tuple[str, ...]:
    """Read `stop`, a text or a list of texts. Raises ApiError 400."""
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    if not isinstance(stops, list) or len(stops) > _MAX_STOPS or not all(isinstance(text, str) for text in stops):
        raise invalid("stop", f"a string or a list of up to {_MAX_STOPS} strings", stop)
    return tuple(text for text in stops if text)


def whole_number(payload: dict[str, Any], name: str, least: int, most: int | None = None) -> int | None:
    """Return a parameter that is an integer within limits, None when it is null or absent. Raises ApiError 400."""
    value = payload.get(name)
    if value is None:
        return None
    if value.__class__ is not int or value < least or (most is not None and value > most):
        limits = f"of {least} or more" if most is None else f"from {least} to {most}"
        raise invalid(name, f"an integer {limits}", value)
    assert isinstance(value, int)
    return value


def mapping(payload: dict[str, Any], name: str) -> dict[str, Any]:
    """Return a parameter that is an object, an empty one when it is null or absent. Raises ApiError 400."""
    value = payload.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise invalid(name, "an object", value)
    return value


def boolean(payload: dict[str, Any], name: str) -> bool:
    """Return a parameter that is true, false, null or absent. Raises ApiError 400."""
    value = payload.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(name, "a boolean", value)
    return value is True


def missing(name: str) -> ApiError:
    """Return the error for a parameter that must be there."""
    return ApiError(400, f"Missing required parameter: {name!r}.", param=name, code="missing_required_parameter")


def invalid(name: str, wanted: str, value: object) -> ApiError:
    """Return the error for a parameter whose value is not what it must be."""
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + "..."
    return ApiError(400, f"Invalid value for {name!r}: expected {wanted}, got {shown}.", param=name)


def last_user_text(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last message of the user, empty when there is none."""
    for message in reversed(messages):
        if message["role"] == "user":
            content = message.get("content")
            if isinstance(content, list):
                texts = [part.get("text") for part in content if isinstance(part, dict)]
                return "".join([text for text in texts if isinstance(text, str)])
            return content if isinstance(content, str) else ""
    return ""
