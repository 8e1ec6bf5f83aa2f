"""`flexllm models`: what the endpoint offers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.table import padded, width_of
from flexllm_cli.terminal import say, write_result

if TYPE_CHECKING:
    from flexllm_providers.models import ModelInfo


def models(
    pattern: Annotated[
        str | None, typer.Argument(metavar="[FILTER]", help="Only models whose id or name has this in it.")
    ] = None,
    model: options.Model = None,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="A table, or a JSON list.")
    ] = "text",
    config: options.ConfigPath = None,
) -> None:
    """List the models that the endpoint of a model offers; of the default model where none is named.

    Examples: flexllm models · flexllm models qwen -m local · flexllm models --base-url http://host:8000/v1
    """
    import json
    from dataclasses import asdict

    from flexllm_cli.connection import connect_to_host
    from flexllm_cli.event_loop import run
    from flexllm_providers.models import list_models

    with connect_to_host(config_path=config, model=model, base_url=base_url, api_key=api_key) as connection:
        found = run(list_models(connection.endpoint))
    if pattern:
        found = [info for info in found if _has(info, pattern.lower())]
    if output_format == "json":
        write_result(json.dumps([asdict(info) for info in found], ensure_ascii=False) + "\n")
        return
    width = max((width_of(info.id) for info in found), default=0)
    for info in found:
        write_result(f"{padded(info.id, width)}  {_facts(info)}".rstrip() + "\n")
    where = connection.endpoint.base_url or connection.endpoint.provider
    say(_("models at {where}: {count}").format(where=where, count=len(found)))


def _has(info: ModelInfo, pattern: str) -> bool:
    return pattern in info.id.lower() or pattern in (info.display_name or "").lower()


def _facts(info: ModelInfo) -> str:
    """What the server says about a model beside its id."""
    facts = [info.display_name if info.display_name != info.id else None, info.owned_by, info.lifecycle]
    if info.context_length:
        facts.append(_("{count} tokens").format(count=f"{info.context_length:,}"))
    return "  ".join(fact for fact in facts if fact)
