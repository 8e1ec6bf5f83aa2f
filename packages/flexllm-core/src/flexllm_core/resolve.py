"""Which endpoint a call goes to: what arguments, environment and configuration file say together.

Precedence for base URL, key and model: arguments > the entry named by the model argument >
FLEXLLM_BASE_URL, FLEXLLM_API_KEY, FLEXLLM_MODEL > OPENAI_BASE_URL, OPENAI_API_KEY, OPENAI_MODEL >
the default entry.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from flexllm_core.config import Config
from flexllm_core.credentials import key_from_environment
from flexllm_core.endpoint import EndpointConfig, endpoint_from
from flexllm_core.errors import NotConfiguredError

OPENAI_BASE_URL = "https://api.openai.com/v1"


def resolve_endpoint(
    config: Config,
    *,
    model: str | None = None,
    base_url: str | None = None,
    api_key: str | None = None,
    provider: str | None = None,
    env: Mapping[str, str] | None = None,
) -> EndpointConfig:
    """The endpoint that arguments, environment and file name together.

    Raises:
        NotConfiguredError: The model is not configured and nothing says where it is, or there is no
            model at all; the message says what to do.
        ConfigError: The entry or an argument is unusable.
    """
    env = os.environ if env is None else env
    entry = config.find(model, env) if model else None
    if entry is None:
        entry = _without_entry(config, model, base_url, provider, env)
    merged: dict[str, Any] = entry.model_dump(exclude_unset=True)
    if base_url:
        merged["base_url"] = base_url
        if entry.base_url != base_url.strip().rstrip("/"):
            # What may hold a secret or lowers a guard is never sent to a host that it was not written beside.
            for name in ("api_key", "headers", "verify"):
                merged.pop(name, None)
    if api_key:
        merged["api_key"] = api_key
    if provider:
        merged["provider"] = provider
    return _with_key(endpoint_from(merged, entry.label), env)


def _without_entry(
    config: Config, model: str | None, base_url: str | None, provider: str | None, env: Mapping[str, str]
) -> EndpointConfig:
    """The endpoint where the model argument names no entry: each value from the first place that has it."""
    name, url, source = model, base_url, "options"
    other_vendor = provider not in (None, "auto", "openai")
    for prefix in ("FLEXLLM",) if other_vendor else ("FLEXLLM", "OPENAI"):
        if not url and (url := env.get(f"{prefix}_BASE_URL", "").strip()):
            source = f"{prefix}_BASE_URL"
        name = name or env.get(f"{prefix}_MODEL", "").strip()
        if name and not url and (entry := config.find(name, env)):
            return entry
        if name and url:
            return endpoint_from({"model": config.wire_model(name, env), "base_url": url}, source)
    default = config.default or (config.names()[0] if config.models else None)
    if name:
        return _at_vendor(config, name, provider, env)
    entry = config.find(default, env) if default else None
    if entry is None:
        if config.models:
            raise NotConfiguredError(
                f"{config.path}: the default model {default!r} is not among the models ({', '.join(config.names())});"
                " run `flexllm set-model NAME` to choose one of them"
            )
        what = f"the default model {default!r} is not among the models" if default else "no model is configured"
        raise NotConfiguredError(f"{what}; run `flexllm init`, or give --model and --base-url, or set FLEXLLM_MODEL")
    return endpoint_from({"model": entry.model, "base_url": url}, source) if url else entry


def _at_vendor(config: Config, model: str, provider: str | None, env: Mapping[str, str]) -> EndpointConfig:
    """The endpoint of a model of which only the vendor is known, by the provider argument or by OpenAI's key."""
    if provider and provider != "auto":
        return endpoint_from({"model": model, "provider": provider}, "options")
    if env.get("OPENAI_API_KEY", "").strip():
        return endpoint_from({"model": model, "base_url": OPENAI_BASE_URL}, "OPENAI_API_KEY")
    known = ", ".join(config.names()) or "none"
    raise NotConfiguredError(
        f"unknown model {model!r}: it is not in {config.path or 'a configuration file'} (configured: {known}) "
        "and no base URL is given; run `flexllm init`, or give --base-url or FLEXLLM_BASE_URL"
    )


def resolve_endpoints(
    config: Config, *, model: str | None = None, env: Mapping[str, str] | None = None, for_batch: bool = True
) -> tuple[EndpointConfig, ...]:
    """The endpoints that share the work: those of the model's entry, else `batch.endpoints`, else the default model's.

    Args:
        config: The configuration file.
        model: Name or id of an entry, or a model's id.
        env: Environment variables; by default the process's.
        for_batch: A batch is asked about, for which `batch.endpoints` go before the environment and the default
            model. For a single question they count only where nothing else is configured.

    Raises:
        NotConfiguredError: As `resolve_endpoint`.
        ConfigError: An entry is unusable.
    """
    env = os.environ if env is None else env
    shared = () if model else config.batch.endpoints
    if shared and for_batch:
        return _with_keys(shared, env)
    name = _entry_in_use(config, model, env)
    several = config.find_all(name, env) if name else ()
    if len(several) > 1:
        return _with_keys(several, env)
    if shared and not config.models and not _environment_names_an_endpoint(env):
        return _with_keys(shared, env)
    return (resolve_endpoint(config, model=model, env=env),)


def _entry_in_use(config: Config, model: str | None, env: Mapping[str, str]) -> str | None:
    """The name of the entry that `resolve_endpoint` gives as it is; None where there is none, or only parts of it."""
    if model:
        return model
    for prefix in ("FLEXLLM", "OPENAI"):
        if env.get(f"{prefix}_BASE_URL", "").strip():
            return None
        name = env.get(f"{prefix}_MODEL", "").strip()
        if name:
            return name
    return config.default or (config.names()[0] if config.models else None)


def _environment_names_an_endpoint(env: Mapping[str, str]) -> bool:
    names = ("FLEXLLM_BASE_URL", "FLEXLLM_MODEL", "OPENAI_BASE_URL", "OPENAI_MODEL")
    return any(env.get(name, "").strip() for name in names)


def _with_keys(endpoints: Iterable[EndpointConfig], env: Mapping[str, str]) -> tuple[EndpointConfig, ...]:
    return tuple(_with_key(endpoint, env) for endpoint in endpoints)


def _with_key(endpoint: EndpointConfig, env: Mapping[str, str]) -> EndpointConfig:
    if endpoint.api_key is not None:
        return endpoint
    key = key_from_environment(endpoint.base_url, endpoint.provider, env)
    return endpoint.model_copy(update={"api_key": key}) if key else endpoint
