"""EndpointConfig: where requests go, with which key, model, limits and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
)

from flexllm_core.credentials import clean_key, key_from_environment
from flexllm_core.errors import ConfigError
from flexllm_core.options import PARAM_NAMES, check_params, unknown_name_message
from flexllm_core.thinking import parse_thinking

ProviderName = Literal["auto", "openai", "gemini", "vertex", "claude"]
PROVIDER_ALIASES = {"google": "gemini", "anthropic": "claude"}
SAMPLING_NAMES = ("temperature", "max_tokens", "top_p", "seed", "stop")


class Price(BaseModel):
    """US dollars per million tokens; what is not given costs as much as the input or output.

    `cache_write_1h` is the price of cache writes that live for an hour; if not given, that of the others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False)

    input: float = Field(ge=0)
    output: float = Field(ge=0)
    cached: float | None = Field(default=None, ge=0)
    cache_write: float | None = Field(default=None, ge=0)
    cache_write_1h: float | None = Field(default=None, ge=0)


class EndpointConfig(BaseModel):
    """One endpoint. In a configuration file this is one entry of `models` or of `batch.endpoints`.

    Attributes:
        name: What the user calls it; the model's id where not given.
        model: The model's id on the wire; `id` is another name of it.
        provider: `auto` finds it from the base URL.
        base_url: Up to and including the version, such as `https://api.openai.com/v1`.
        api_key: The key; `EMPTY` or nothing for local servers.
        concurrency_limit: Requests in flight at most.
        max_qps: Requests per second at most.
        max_tpm: Tokens per minute at most, input and output together.
        max_input_tpm: Input tokens per minute at most.
        max_output_tpm: Output tokens per minute at most.
        adaptive: Learn lower limits from the endpoint's answers; on by default.
        min_concurrency: The least that is learnt for the requests in flight; 1 by default.
        timeout: Seconds for each attempt.
        retry_times: Retries after the first attempt of a call.
        project_id: Google Cloud project, for Vertex AI; by default GOOGLE_CLOUD_PROJECT.
        location: Region, `us`, `eu` or `global`, for Vertex AI; by default GOOGLE_CLOUD_LOCATION, then what the base
            URL says, then `global`.
        api_version: `v1` or `v1beta` of Gemini and Vertex AI (`v1beta` and `v1` by default); the date of the
            `anthropic-version` of Claude (`2023-06-01` by default).
        proxy: Proxy URL; None obeys the environment, "" uses none.
        verify: False turns certificate checks off; a text is the path of a CA bundle.
        headers: Additional HTTP headers.
        params: Default params of every request, such as `temperature` or `extra_body`.
        dialect: Overrides of the endpoint kind's row (`flexllm_providers.dialects`); `kind` names a row.
        price: Own price of the model.
        weight: How many times more calls than an endpoint of weight 1 it gets, in a pool that goes by weight.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True, allow_inf_nan=False, populate_by_name=True)

    name: str | None = None
    model: str | None = Field(default=None, validation_alias=AliasChoices("model", "id"))
    provider: ProviderName = "auto"
    base_url: str | None = None
    api_key: SecretStr | None = None
    concurrency_limit: int | None = Field(default=None, ge=1)
    max_qps: float | None = Field(default=None, gt=0)
    max_tpm: float | None = Field(default=None, gt=0)
    max_input_tpm: float | None = Field(default=None, gt=0)
    max_output_tpm: float | None = Field(default=None, gt=0)
    adaptive: bool | None = None
    min_concurrency: int | None = Field(default=None, ge=1)
    timeout: float | None = Field(default=None, gt=0)
    retry_times: int | None = Field(default=None, ge=0)
    project_id: str | None = None
    location: str | None = None
    api_version: str | None = None
    proxy: str | None = Field(default=None, repr=False)
    verify: bool | str = True
    headers: dict[str, str] = Field(default_factory=dict, repr=False)
    params: dict[str, Any] = Field(default_factory=dict)
    dialect: dict[str, Any] = Field(default_factory=dict)
    price: Price | None = None
    weight: float | None = Field(default=None, gt=0)

    @field_validator("provider", mode="before")
    @classmethod
    def _provider_alias(cls, value: object) -> object:
        return PROVIDER_ALIASES.get(value, value) if isinstance(value, str) else value

    @field_validator("api_key", mode="before")
    @classmethod
    def _clean_key(cls, value: object) -> object:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if not isinstance(text, str):
            return value
        text = clean_key(text)
        return SecretStr(text) if text else None

    @field_validator("base_url")
    @classmethod
    def _check_base_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        value = value.strip().rstrip("/")
        if not value.startswith(("http://", "https://")):
            raise ValueError("expected a URL that starts with http:// or https://")
        if any(char.isspace() or ord(char) < 32 or ord(char) == 127 for char in value):
            raise ValueError("the URL holds white space or a control character")
        if "@" in value.split("/", 3)[2]:
            raise ValueError("a URL with a user name or password is refused; use api_key or headers")
        try:
            parts = urlsplit(value)
            _ = parts.port  # computed, and checked, when it is asked for
        except ValueError:
            raise ValueError("the URL's host or port is not valid") from None
        if not parts.hostname:
            raise ValueError("the URL has no host")
        if "?" in value or "#" in value:
            raise ValueError("a URL with a query or fragment is refused: the path of the API is put behind it")
        return value

    @field_validator("project_id", "location", "api_version", mode="before")
    @classmethod
    def _as_written(cls, value: object) -> object:
        # YAML makes a number of a project's number, and a date of a version.
        if isinstance(value, date):
            return value.isoformat()
        return str(value) if type(value) is int else value

    @field_validator("params")
    @classmethod
    def _check_params(cls, value: dict[str, Any]) -> dict[str, Any]:
        for name in value:
            if name not in PARAM_NAMES:
                raise ValueError(unknown_name_message("param", name, PARAM_NAMES))
        if isinstance(value.get("thinking"), str):
            value = {**value, "thinking": parse_thinking(value["thinking"])}
        return check_params(value)

    @property
    def label(self) -> str:
        """How messages and output lines name this endpoint."""
        return self.name or self.base_url or self.model or "endpoint"


def endpoint_from(value: EndpointConfig | Mapping[str, Any], where: str = "endpoint") -> EndpointConfig:
    """Validate an endpoint given as a dict; sampling values may stand beside the other keys.

    Raises:
        ConfigError: A key is unknown or a value of the wrong type; the message names `where` and the key.
    """
    if isinstance(value, EndpointConfig):
        return value
    if not isinstance(value, Mapping):
        raise ConfigError(f"{where}: expected an EndpointConfig or a dict, found {type(value).__name__}")
    data = dict(value)
    sampling = {name: data.pop(name) for name in (*SAMPLING_NAMES, "thinking") if name in data}
    params = data.get("params")
    if params is not None and not isinstance(params, Mapping):
        raise ConfigError(f"{where}: params: expected a mapping, found {type(params).__name__}")
    if params is not None or sampling:
        data["params"] = {**sampling, **(params or {})}
    if "id" in data and "model" in data:
        raise ConfigError(f"{where}: `id` and `model` are two names of one key; give one of them")
    known = known_endpoint_keys()
    for key in data:
        if key not in known:
            raise ConfigError(f"{where}: {unknown_name_message('key', key, known)}")
    try:
        return EndpointConfig.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{where}: {first_error(error)}") from None


def endpoint_with_key(endpoint: EndpointConfig) -> EndpointConfig:
    """The endpoint with the key that the environment has for it, where it was given none."""
    if endpoint.api_key is not None:
        return endpoint
    key = key_from_environment(endpoint.base_url, endpoint.provider)
    return endpoint.model_copy(update={"api_key": key}) if key else endpoint


def known_endpoint_keys() -> frozenset[str]:
    """The keys that an endpoint may have in a file or dict."""
    return frozenset(EndpointConfig.model_fields) | {"id", "thinking", *SAMPLING_NAMES}


def first_error(error: ValidationError) -> str:
    """The first validation error as `key.path: what is wrong`; never the value, which may be a key."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = ".".join(str(step) for step in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message
