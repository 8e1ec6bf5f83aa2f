"""`flexllm ask`: one question, answered as it comes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from flexllm_cli import options
from flexllm_cli.terminal import write_result

if TYPE_CHECKING:
    from flexllm_cli.connection import Connection
    from flexllm_core.options import ChatOptions


def ask(
    question: Annotated[str | None, typer.Argument(help="The question. Text on standard input is added to it.")] = None,
    system: options.System = None,
    model: options.Model = None,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = None,
    thinking: options.ThinkingText = None,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    timeout: options.Timeout = None,
    retry_times: options.RetryTimes = None,
    config: options.ConfigPath = None,
) -> None:
    """Ask one question; the answer is streamed to standard output.

    Examples: flexllm ask "What is Python?" · cat report.txt | flexllm ask "Summarise" -s "Be brief"
    """
    from flexllm_cli.connection import connect  # all that `--help` does not need is loaded here
    from flexllm_cli.event_loop import run
    from flexllm_core.thinking import parse_thinking

    messages = [{"role": "system", "content": system}] if system else []
    messages.append({"role": "user", "content": _question(question)})
    sampling: ChatOptions = {"temperature": temperature, "max_tokens": max_tokens}
    if thinking is not None:
        sampling["thinking"] = parse_thinking(thinking)
    with connect(
        config_path=config,
        model=model,
        base_url=base_url,
        api_key=api_key,
        timeout=timeout,
        retry_times=retry_times,
    ) as connection:
        run(_stream(connection, messages, sampling))


def _question(argument: str | None) -> str:
    """The argument, standard input, or both."""
    from flexllm_core.errors import InputError

    piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
    parts = [part for part in (argument, piped) if part and part.strip()]
    if not parts:
        raise InputError("there is no question: give it as an argument or on standard input")
    return "\n\n".join(parts)


async def _stream(connection: Connection, messages: list[dict[str, str]], sampling: ChatOptions) -> None:
    from flexllm_batch.client import LLMClient  # its imports take a while

    last = ""
    async with LLMClient(endpoint=connection.endpoint) as client:
        async for piece in client.chat_completions_stream(messages, **sampling):
            write_result(piece)
            last = piece
    if not last.endswith("\n"):
        write_result("\n")
