"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def model_names(context: typer.Context, incomplete: str) -> list[str]:
    """The configured models that begin like this, for Tab; none where the configuration cannot be read."""
    from flexllm_core.config import load_config
    from flexllm_core.errors import FlexLLMError

    try:
        names = load_config(context.params.get("config")).names()
    except (FlexLLMError, OSError):
        return []  # Tab is no place for an error
    return [name for name in (*names, "mock") if name.startswith(incomplete)]


ConfigPath = Annotated[
    Path | None,
    typer.Option("--config", help="Configuration file; default FLEXLLM_CONFIG or ~/.flexllm/config.yaml."),
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        help="Model id, or name of an entry of the configuration; `mock` starts the mock inside.",
        autocompletion=model_names,
    ),
]
System = Annotated[str | None, typer.Option("--system", "-s", help="System prompt.")]
Temperature = Annotated[
    float | None, typer.Option("--temperature", "-t", min=0, max=2, help="Sampling temperature, 0 to 2.")
]
MaxTokens = Annotated[int | None, typer.Option("--max-tokens", min=1, help="Tokens of an answer at most.")]
BaseURL = Annotated[
    str | None, typer.Option("--base-url", help="Base URL of the endpoint, such as http://host:8000/v1.")
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key", help="Key of the endpoint. Others can see it in the process list: prefer FLEXLLM_API_KEY."
    ),
]
Timeout = Annotated[float | None, typer.Option("--timeout", min=0.001, help="Seconds for each attempt.")]
RetryTimes = Annotated[int | None, typer.Option("--retry-times", min=0, help="Retries after the first attempt.")]
ThinkingText = Annotated[
    str | None,
    typer.Option("--thinking", help="off, on, minimal, low, medium, high, xhigh, max, or a number of tokens."),
]
