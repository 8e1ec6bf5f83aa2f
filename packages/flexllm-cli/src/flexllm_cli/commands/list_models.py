"""`flexllm list`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.table import aligned, padded, width_of
from flexllm_cli.terminal import say, write_result

if TYPE_CHECKING:
    from flexllm_core.config import Config


def list_models(
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", help="Text, or a JSON list.")] = "text",
    config: options.ConfigPath = None,
) -> None:
    """List the configured models; the default one is marked with `*`, keys are masked.

    Examples: flexllm list · flexllm list --format json
    """
    import json

    from flexllm_cli.connection import configuration

    found = configuration(config)
    entries = [_entry(name, found) for name in found.names()]
    if output_format == "json":
        write_result(json.dumps(entries, ensure_ascii=False) + "\n")
        return
    if not entries:
        say(f"no model is configured in {found.path or '~/.flexllm/config.yaml'}; run `flexllm init`")
        return
    write_result("".join(f"{line}\n" for line in _table(entries)))


def _table(entries: list[dict[str, Any]]) -> list[str]:
    """A line for each entry; what is wrong with an entry takes the place of its facts, whatever its length."""
    width = max(width_of(entry["name"]) for entry in entries)
    lines = iter(aligned([_cells(entry, width) for entry in entries if "error" not in entry]))
    return [_unusable(entry, width) if "error" in entry else next(lines) for entry in entries]


def _entry(name: str, config: Config) -> dict[str, Any]:
    """What is shown of one entry; `error` where it cannot be used."""
    from flexllm_core.errors import ConfigError
    from flexllm_core.redact import mask_key

    entry: dict[str, Any] = {"name": name, "default": name == (config.default or config.names()[0])}
    try:
        endpoint = config.find(name, os.environ)
    except ConfigError as error:
        return {**entry, "error": str(error)}
    if endpoint is None:
        return {**entry, "error": "there is no such entry"}
    return {
        **entry,
        "model": endpoint.model or name,
        "provider": endpoint.provider,
        "base_url": endpoint.base_url,
        "api_key": mask_key(endpoint.api_key.get_secret_value()) if endpoint.api_key else None,
    }


def _cells(entry: dict[str, Any], width: int) -> list[str]:
    from flexllm_providers.detect import detect_provider

    provider = detect_provider(entry["base_url"]) if entry["provider"] == "auto" else entry["provider"]
    where, key = entry["base_url"] or _("default URL"), entry["api_key"] or _("no key")
    return [_marked(entry, width), entry["model"], provider, where, key]


def _unusable(entry: dict[str, Any], width: int) -> str:
    reason = translate_message(entry["error"])
    return f"{_marked(entry, width)}  " + _("unusable: {reason}").format(reason=reason)


def _marked(entry: dict[str, Any], width: int) -> str:
    return f"{'*' if entry['default'] else ' '} {padded(entry['name'], width)}"
