"""`flexllm set-model`: another default model."""

from __future__ import annotations

from typing import Annotated

import typer

from flexllm_cli import options
from flexllm_cli.terminal import say


def set_model(
    name: Annotated[
        str, typer.Argument(help="Name or id of an entry of the configuration.", autocompletion=options.model_names)
    ],
    config: options.ConfigPath = None,
) -> None:
    """Make another model the default one. Everything else in the file stays as it is, comments and order included.

    Example: flexllm set-model gpt-4
    """
    import os
    from difflib import get_close_matches

    from flexllm_cli.atomic_file import write_atomically
    from flexllm_cli.config_edit import with_default
    from flexllm_core.config import default_path, load_config, parse_config
    from flexllm_core.config_text import read_text
    from flexllm_core.errors import ConfigError, NotConfiguredError

    found = load_config(config)
    path = found.path or config or default_path(os.environ)
    if found.path is None or not found.models:
        raise NotConfiguredError(f"no model is configured in {path}; run `flexllm init`")
    if found.find(name, os.environ) is None:
        known = [str(entry[key]) for entry in found.models for key in ("name", "id", "model") if entry.get(key)]
        close = get_close_matches(name, known, n=1)
        names = ", ".join(found.names())
        if close:
            raise NotConfiguredError(f"unknown model {name!r}: {path} has {names}; run `flexllm set-model {close[0]}`")
        raise NotConfiguredError(f"unknown model {name!r}: {path} has {names}; run `flexllm list` to see them all")
    text = with_default(read_text(path), name)
    # What is written is read again first: a file of an odd shape is left alone rather than damaged.
    after = parse_config(text, path, os.environ)
    if after.default != name or after.models != found.models:
        raise ConfigError(f"{path}: `default` stands in a place that cannot be edited; change it by hand")
    file = path.resolve()  # a link stays a link
    write_atomically(file, text, file.stat().st_mode & 0o777)
    say(f"the default model is now {name} ({path})")
