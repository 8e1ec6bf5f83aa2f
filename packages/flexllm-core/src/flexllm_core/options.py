"""The options of every method, listed once as TypedDicts, so that a typo is a type error.

Methods take them as `**options: Unpack[ChatOptions]`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Protocol, TypedDict

from flexllm_core.errors import ConfigError
from flexllm_core.messages import Messages
from flexllm_core.requests import ChatRequest, clean_params
from flexllm_core.thinking import Thinking, check_thinking

SaveInput = bool | Literal["last"]
"""What an output line keeps of its input: all messages, the last one, or nothing."""


class MediaRules(Protocol):
    """What `preprocess` takes besides True: a `flexllm_providers.MediaPolicy`, which is not known down here."""

    @property
    def media_root(self) -> str | os.PathLike[str] | None:
        """Folder below which local files may be read."""
        ...

    @property
    def max_image_side(self) -> int | None:
        """Pixels of an image's longer side, above which it is made smaller."""
        ...


class ChatOptions(TypedDict, total=False):
    """Options of one call; the names are OpenAI's.

    `model` overrides the client's model. `thinking` is described in `flexllm_core.thinking`.
    `response_format` may also be a pydantic model class. `preprocess` puts the files and
    URLs that messages name into them as data URIs; local files must be below `media_root`. It is
    True, or a `flexllm_providers.MediaPolicy` with limits of its own, such as the size of images.
    `extra_body` is merged into the JSON body last, `extra_headers` into the headers. `skip_cache` leaves
    the response cache alone; `sample` (0, 1 ...) asks for another answer than the one that the cache has.
    """

    model: str | None
    temperature: float | None
    max_tokens: int | None
    top_p: float | None
    top_k: int | None
    stop: str | list[str] | None
    seed: int | None
    n: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    logit_bias: dict[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    tools: list[dict[str, Any]] | None
    tool_choice: str | dict[str, Any] | None
    parallel_tool_calls: bool | None
    response_format: Any
    thinking: Thinking
    verbosity: str | None
    service_tier: str | None
    user: str | None
    extra_body: dict[str, Any] | None
    extra_headers: dict[str, str] | None
    preprocess: bool | MediaRules
    media_root: str | os.PathLike[str] | None
    skip_cache: bool
    sample: int


CHAT_OPTION_NAMES = frozenset(ChatOptions.__annotations__)
PARAM_NAMES = CHAT_OPTION_NAMES - {"model", "extra_headers", "preprocess", "media_root", "skip_cache", "sample"}
"""The options that decide the answer: the params of a `ChatRequest`."""


def params_from_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The params of a request from the options of a call.

    Raises:
        ConfigError: An option is unknown, or `thinking` is not a thinking mode.
    """
    for name in options:
        if name not in CHAT_OPTION_NAMES:
            raise ConfigError(unknown_option_message(name, CHAT_OPTION_NAMES))
    headers = options.get("extra_headers")
    if headers is not None and not _is_text_mapping(headers):
        raise ConfigError("extra_headers: expected a mapping of texts to texts")
    return check_params({name: value for name, value in options.items() if name in PARAM_NAMES})


def check_params(params: Mapping[str, Any]) -> dict[str, Any]:
    """Params of known names, those that are None left out, in the one form that requests have.

    Raises:
        ConfigError: `thinking`, `response_format` or `extra_body` is none that can be.
    """
    out = clean_params(params)
    if "thinking" in out:
        out["thinking"] = check_thinking(out["thinking"])
    if "response_format" in out:
        out["response_format"] = response_format_dict(out["response_format"])
    if not isinstance(out.get("extra_body", {}), Mapping):
        raise ConfigError("extra_body: expected a mapping of keys to add to the JSON body")
    return out


def _is_text_mapping(value: object) -> bool:
    return isinstance(value, Mapping) and all(isinstance(part, str) for item in value.items() for part in item)


def request_from_options(messages: Messages, options: ChatOptions, model: str | None) -> ChatRequest:
    """Build the request of one call; `model` is used where the options name none."""
    return ChatRequest(
        messages=messages,
        model=options.get("model") or model,
        params=params_from_options(options),
        extra_headers=options.get("extra_headers") or {},
        sample=check_sample(options.get("sample", 0)),
        skip_cache=options.get("skip_cache", False),
    )


def check_sample(value: object) -> int:
    """A sample number.

    Raises:
        ConfigError: It is none.
    """
    if type(value) is not int or value < 0:
        raise ConfigError(f"sample is {value!r}; expected a number from 0")
    return value


def response_format_dict(value: Any) -> dict[str, Any]:
    """A response format as OpenAI's dict; a pydantic model class becomes its JSON schema.

    Raises:
        ConfigError: It is neither.
    """
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, type) and hasattr(value, "model_json_schema"):
        # The name of a generic model holds brackets, which OpenAI refuses, as it does more than 64 characters.
        name = re.sub(r"[^A-Za-z0-9_-]", "_", value.__name__)[:64]
        schema = _strict_schema(value.model_json_schema())
        return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": True}}
    found = value.__name__ if isinstance(value, type) else type(value).__name__
    raise ConfigError(f"response_format is {found}; expected a dict or a pydantic model class")


def _strict_schema(schema: Any) -> Any:
    """A schema as `strict` demands it: every property required, no others, no defaults, references alone."""
    if not isinstance(schema, Mapping):
        return schema
    if "$ref" in schema:
        return {"$ref": schema["$ref"]}
    out = {key: value for key, value in schema.items() if key != "default"}
    for key in ("properties", "$defs"):
        if isinstance(out.get(key), Mapping):
            out[key] = {name: _strict_schema(inner) for name, inner in out[key].items()}
    for key in ("anyOf", "allOf", "oneOf", "prefixItems"):
        if isinstance(out.get(key), list):
            out[key] = [_strict_schema(inner) for inner in out[key]]
    if "items" in out:
        out["items"] = _strict_schema(out["items"])
    if "properties" in out:
        out["required"] = list(out["properties"])
        out.setdefault("additionalProperties", False)
    return out


def unknown_option_message(name: str, known: Iterable[str]) -> str:
    """`unknown option 'temprature'; did you mean 'temperature'?`, or where the option belongs."""
    from flexllm_core.endpoint import known_endpoint_keys  # which needs this module

    if name == "stream":
        return "unknown option 'stream'; call chat_stream or chat_completions_stream instead"
    if name in known_endpoint_keys():
        return f"unknown option {name!r}; it is a setting of the client, not of a call"
    return unknown_name_message("option", name, known)


def unknown_name_message(what: str, name: object, known: Iterable[str]) -> str:
    """`unknown option 'temprature'; did you mean 'temperature'?`. Names from files may be of any type and size."""
    if not isinstance(name, str):
        return f"unknown {what} of type {type(name).__name__}"
    name = name[:80]
    close = get_close_matches(name, sorted(known), n=1)
    return f"unknown {what} {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")
