"""`flexllm init`: writes a commented configuration file."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from flexllm_cli import options
from flexllm_cli.terminal import say

TEMPLATE = """\
# flexllm configuration. A key may be written as ${NAME}, which reads the environment variable NAME.
default: "gpt-4"

models:
  - id: gpt-4
    name: gpt-4
    provider: openai
    base_url: https://api.openai.com/v1
    api_key: ${OPENAI_API_KEY}
  - id: local-ollama
    name: local-ollama
    provider: openai
    base_url: http://localhost:11434/v1
    api_key: EMPTY

# Defaults of `flexllm batch`; an endpoint's own values win over these.
batch:
  concurrency: 50       # rows in flight
  # max_qps: 100        # requests per second
  timeout: 120          # seconds for each attempt
  return_usage: true    # token counts in the output lines
  track_cost: true      # running cost in the bar
"""


def init(
    config: options.ConfigPath = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Create the configuration file, readable by you alone.

    Example: flexllm init
    """
    from flexllm_core.config import default_path
    from flexllm_core.errors import ConfigError

    path = config or default_path(os.environ)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if path.exists() and not force:
        raise ConfigError(f"{path} exists already; --force replaces it")
    temporary = path.with_name(path.name + ".tmp")
    temporary.unlink(missing_ok=True)
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(TEMPLATE)
    temporary.replace(path)
    say(f'wrote {path}; put your key and base URL into it, then try: flexllm ask "Hello"')
