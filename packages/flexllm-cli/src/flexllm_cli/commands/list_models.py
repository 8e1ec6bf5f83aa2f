"""`flexllm list`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.table import padded, width_of
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
    width = max(width_of(entry["name"]) for entry in entries)
    for entry in entries:
        mark = "*" if entry["default"] else " "
        write_result(f"{mark} {padded(entry['name'], width)}  {_facts(entry)}\n")


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


def _facts(entry: dict[str, Any]) -> str:
    if "error" in entry:
        return _("unusable: {reason}").format(reason=translate_message(entry["error"]))
    where, key = entry["base_url"] or _("default URL"), entry["api_key"] or _("no key")
    return "  ".join((entry["model"], entry["provider"], where, key))
