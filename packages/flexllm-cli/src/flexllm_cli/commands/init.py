"""`flexllm init`: writes a commented configuration file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.prompts import ask
from flexllm_cli.terminal import say

if TYPE_CHECKING:
    from pathlib import Path

    from flexllm_cli.first_config import Entry, Vendor


def init(
    provider: Annotated[
        str | None,
        typer.Option("--provider", help="openai, claude, gemini, deepseek, qwen, openrouter, vllm, ollama ..."),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", help="The model's id.")] = None,
    name: Annotated[str | None, typer.Option("--name", help="What you call it; its id by default.")] = None,
    base_url: options.BaseURL = None,
    api_key: Annotated[
        str | None,
        typer.Option("--api-key", help="The key; by default '${NAME}' with the vendor's variable."),
    ] = None,
    config: options.ConfigPath = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Create the configuration file, readable by you alone.

    On a terminal it asks for what it needs, unless options say it. Without options and without a terminal it
    writes an example to edit.

    Examples: flexllm init · flexllm init --provider deepseek -m deepseek-chat ·
      flexllm init --provider vllm -m qwen3-32b --base-url http://gpu1:8000/v1
    """
    from flexllm_cli.first_config import EXAMPLES, config_text
    from flexllm_core.config import default_path
    from flexllm_core.errors import ConfigError

    path = config or default_path(os.environ)
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; run `flexllm init --force` to replace it")
    entries = EXAMPLES
    if any(value is not None for value in (provider, model, name, base_url, api_key)):
        entries = (_from_options(provider, model, name, base_url, api_key),)
    elif sys.stdin.isatty() and sys.stderr.isatty():
        entries = (_ask(),)
    text = config_text(entries)
    _check(text, path)
    _write(path, text)
    say(f"wrote {path}; try it: flexllm test" if entries is not EXAMPLES else f"wrote {path}; put your key into it")
    say('then: flexllm ask "Hello"')


def _from_options(
    provider: str | None, model: str | None, name: str | None, base_url: str | None, api_key: str | None
) -> Entry:
    from flexllm_cli.first_config import VENDORS, Entry
    from flexllm_core.errors import ConfigError
    from flexllm_core.options import unknown_name_message

    chosen = provider or ("other" if base_url else "openai")
    if chosen not in VENDORS:
        raise ConfigError(f"{unknown_name_message('provider', chosen, VENDORS)}: give one of {', '.join(VENDORS)}")
    vendor = VENDORS[chosen]
    model, base_url = model or vendor.model, base_url or vendor.base_url
    if not model:
        raise ConfigError(f"--provider {chosen} needs a model: give --model")
    if not base_url:
        raise ConfigError(f"--provider {chosen} needs a server: give --base-url")
    return Entry(model, name or model, vendor.provider, base_url, api_key or _default_key(vendor))


def _ask() -> Entry:
    """Ask the person at the terminal."""
    from flexllm_cli.first_config import VENDORS, Entry

    names = list(VENDORS)
    for number, vendor in enumerate(VENDORS.values(), 1):
        say(f"{number:>3}  {_(vendor.label)}")
    vendor = VENDORS[names[_ask_number(_("Provider"), len(names)) - 1]]
    base_url = _ask_url(vendor.base_url)
    model = _ask_text(_("Model"), vendor.model)
    default = _default_key(vendor)
    typed = ask(
        _("API key, hidden, or {example} for a variable (Enter: {default})").format(example="${NAME}", default=default),
        default="",
        hide_input=True,
        show_default=False,
    )
    return Entry(model, _ask_text(_("What do you call it"), model), vendor.provider, base_url, typed.strip() or default)


def _ask_number(question: str, most: int) -> int:
    while True:
        answer = _ask_text(question, "1")
        if answer.isdecimal() and 1 <= int(answer) <= most:
            return int(answer)
        say(f"a number from 1 to {most}, please")


def _ask_url(default: str) -> str:
    while not (answer := _ask_text(_("Base URL"), default)).startswith(("http://", "https://")):
        say("a URL that starts with http:// or https://, please")
    return answer


def _ask_text(question: str, default: str) -> str:
    return ask(question, default=default or None).strip()


def _default_key(vendor: Vendor) -> str:
    from flexllm_cli.first_config import NO_KEY

    return f"${{{vendor.key_variable}}}" if vendor.key_variable else NO_KEY


def _check(text: str, path: Path) -> None:
    """Read what is to be written as it will be read, so that no unusable file is left behind."""
    from flexllm_core.config import parse_config
    from flexllm_core.endpoint import endpoint_from

    config = parse_config(text, path, os.environ)
    for number, entry in enumerate(config.models):
        plain = {key: value for key, value in entry.items() if key != "api_key"}
        endpoint_from(plain, f"models[{number}]")


def _write(path: Path, text: str) -> None:
    """Write the file, 0600 from its first moment, in a folder that is made 0700."""
    from flexllm_cli.atomic_file import write_atomically

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(path, text)
