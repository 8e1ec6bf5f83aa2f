"""`flexllm cache`: what the response cache holds, and why a row is a hit or a miss."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.prompts import confirm
from flexllm_cli.table import aligned
from flexllm_cli.terminal import say, write_result

if TYPE_CHECKING:
    from flexllm_batch.cache.config import ResponseCacheConfig

app = typer.Typer(
    help="The response cache: stats, clear, prune, why.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)

Folder = Annotated[Path | None, typer.Option("--dir", help="Folder of the cache; default ~/.flexllm/cache.")]
Format = Annotated[Literal["text", "json"], typer.Option("--format", help="Text, or one JSON object.")]


@app.command()
def stats(folder: Folder = None, output_format: Format = "text", config: options.ConfigPath = None) -> None:
    """Show how many answers there are, how old they are and what they take.

    Example: flexllm cache stats
    """
    import json
    from dataclasses import asdict

    from flexllm_batch.cache.inspect import cache_stats, opened

    where = _config(folder, config)
    with opened(where.directory, where.max_size) as cache:
        found = cache_stats(cache)
    if output_format == "json":
        print(json.dumps({"dir": str(where.directory), **asdict(found)}))  # noqa: T201 - the result
        return
    rows = [
        (_("folder"), str(where.directory)),
        (_("answers"), _("{count} ({expired} expired)").format(count=found.entries, expired=found.expired)),
        (
            _("size"),
            _("{size} MB of {most} MB").format(size=f"{found.size / 1e6:.1f}", most=f"{where.max_size / 1e6:.0f}"),
        ),
        (_("oldest"), _date(found.oldest)),
        (_("newest"), _date(found.newest)),
    ]
    write_result("".join(f"{line}\n" for line in aligned(rows)))


@app.command()
def clear(
    folder: Folder = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: options.ConfigPath = None,
) -> None:
    """Delete every answer.

    Example: flexllm cache clear --yes
    """
    from flexllm_batch.cache.inspect import opened

    where = _config(folder, config)
    with opened(where.directory, where.max_size) as cache:
        if cache is None or not len(cache):
            say(f"{where.directory} holds no answers")
            return
        if not yes:
            question = _("Delete {count} answers of {folder}?").format(count=len(cache), folder=where.directory)
            confirm(question)
        say(f"{cache.clear()} answers were deleted")


@app.command()
def prune(folder: Folder = None, config: options.ConfigPath = None) -> None:
    """Delete the answers that have expired and, of the oldest, those beyond the cache's size.

    Example: flexllm cache prune
    """
    from flexllm_batch.cache.inspect import opened

    where = _config(folder, config)
    with opened(where.directory, where.max_size) as cache:
        say(f"{cache.cull() if cache is not None else 0} answers were deleted")


@app.command()
def why(
    row: Annotated[int, typer.Argument(min=0, help="The row's `index` in the output.")],
    output: Annotated[Path, typer.Argument(help="Output of a batch.")],
    model: options.Model = None,
    base_url: options.BaseURL = None,
    cache_ttl: Annotated[float | None, typer.Option("--cache-ttl", min=0, help="As in the batch.")] = None,
    folder: Folder = None,
    config: options.ConfigPath = None,
) -> None:
    """Say whether a row would be answered from the cache now, and why or why not.

    The endpoints are found as `flexllm batch` finds them. Example: flexllm cache why 17 out.jsonl -m gpt-4
    """
    from flexllm_batch.cache import inspect
    from flexllm_batch.cache.key import endpoint_identity
    from flexllm_cli.connection import connect
    from flexllm_providers.client import ProviderClient

    where = _config(folder, config)
    line = _line(output, row)
    with connect(config_path=config, model=model, base_url=base_url, endpoints="batch") as connection:
        endpoints = (connection.endpoint, *connection.others)
        identities = [endpoint_identity(ProviderClient(endpoint)) for endpoint in endpoints]
        ttl = connection.batch.cache_ttl if cache_ttl is None else cache_ttl
    with inspect.opened(where.directory, where.max_size) as cache:
        entry = inspect.find_entry(cache, str(line.get("key", "")), identities)
    reason = translate_message(inspect.why(line, entry, ttl, time.time()))
    write_result(_("row {row}: {reason}").format(row=row, reason=reason) + "\n")


def _config(folder: Path | None, config: Path | None) -> ResponseCacheConfig:
    from flexllm_batch.cache.config import ResponseCacheConfig
    from flexllm_cli.connection import configuration

    return ResponseCacheConfig(cache_dir=folder or configuration(config).batch.cache_dir)


def _line(output: Path, row: int) -> dict[str, Any]:
    """The line of a row; the last one, as rows that failed have several before the run is complete."""
    from flexllm_batch.outputs.lines import is_output_line
    from flexllm_core.errors import InputError
    from flexllm_core.json_codec import decode_json

    found: dict[str, Any] | None = None
    with output.open("rb") as file:
        for data in file:
            if data.startswith(b'{"index":%d,' % row):
                try:
                    value = decode_json(data)
                except ValueError:
                    continue
                found = value if is_output_line(value) else found
    if found is None:
        raise InputError(f"{output}: there is no row {row}")
    return found


def _date(seconds: float | None) -> str:
    return "-" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
