"""`flexllm ask`: one question, answered as it comes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.terminal import say, write_result

if TYPE_CHECKING:
    from flexllm_batch.contracts.schema_check import SchemaCheck
    from flexllm_cli.connection import Connection
    from flexllm_core.options import ChatOptions
    from flexllm_core.results import ChatCompletionResult


def ask(
    question: Annotated[str | None, typer.Argument(help="The question. Text on standard input is added to it.")] = None,
    system: options.System = None,
    model: options.Model = None,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = None,
    thinking: options.ThinkingText = None,
    files: Annotated[
        list[Path] | None,
        typer.Option("--file", "-f", help="Text, image, sound or PDF that goes with the question; may be repeated."),
    ] = None,
    schema: Annotated[
        str | None, typer.Option("--schema", help="JSON schema of the answer: a file, or written out.")
    ] = None,
    extract: Annotated[
        bool, typer.Option("--extract", "-x", help="Only the content of the answer's first code block.")
    ] = False,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="The answer's text, or one JSON object.")
    ] = "text",
    usage: Annotated[
        bool, typer.Option("--usage", help="Say on stderr how many tokens, US dollars and seconds it took.")
    ] = False,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    timeout: options.Timeout = None,
    retry_times: options.RetryTimes = None,
    config: options.ConfigPath = None,
) -> None:
    """Ask one question; the answer is streamed to standard output.

    With --thinking on a terminal the model's thinking is shown too, dimmed, on stderr.

    Examples: flexllm ask "What is Python?" · flexllm ask "Explain this code" -f main.py -s "You are a code expert" ·
      cat report.txt | flexllm ask "Summarise" --usage · flexllm ask "What is this?" -f photo.png -m gpt-4o ·
      flexllm ask "A shell loop over *.txt" -x > loop.sh ·
      flexllm ask "Who wrote Faust?" --schema '{"type": "object", "properties": {"name": {"type": "string"}}}'
    """
    from flexllm_cli.attachments import user_message  # all that `--help` does not need is loaded here
    from flexllm_cli.connection import connect
    from flexllm_cli.event_loop import run
    from flexllm_core.thinking import parse_thinking

    messages: list[dict[str, Any]] = [{"role": "system", "content": system}] if system else []
    messages.append(user_message(_question(question, needed=not files), files or ()))
    sampling: ChatOptions = {"temperature": temperature, "max_tokens": max_tokens}
    if thinking is not None:
        sampling["thinking"] = parse_thinking(thinking)
    check = _schema_check(schema)
    if check is not None:
        sampling["response_format"] = check.response_format
    with connect(
        config_path=config,
        model=model,
        base_url=base_url,
        api_key=api_key,
        endpoints="all",
        timeout=timeout,
        retry_times=retry_times,
    ) as connection:
        whole = extract or output_format == "json"
        result = run(_answer(connection, messages, sampling, whole=whole, cost=usage or output_format == "json"))
    _finish(result, extract=extract, as_json=output_format == "json", usage=usage)
    _hold_against(check, result)


def _question(argument: str | None, *, needed: bool) -> str:
    """The argument, standard input, or both."""
    from flexllm_core.errors import InputError

    try:
        piped = "" if sys.stdin is None or sys.stdin.isatty() else sys.stdin.read().strip()
        piped.encode()  # in some locales what is no text is read as halves of characters
    except UnicodeError:
        raise InputError("standard input is not text in UTF-8; give other files with --file") from None
    parts = [part for part in (argument, piped) if part and part.strip()]
    if not parts and needed:
        raise InputError("there is no question: give it as an argument or on standard input")
    return "\n\n".join(parts)


def _schema_check(value: str | None) -> SchemaCheck | None:
    if value is None:
        return None
    from flexllm_batch.contracts.schema_check import schema_check
    from flexllm_cli.schema_option import read_schema

    return schema_check(read_schema(value))


async def _answer(
    connection: Connection, messages: list[dict[str, Any]], sampling: ChatOptions, *, whole: bool, cost: bool
) -> ChatCompletionResult:
    """The answer; it is shown as it comes, unless only the `whole` of it can be shown."""
    from flexllm_cli.answer_view import AnswerView, show_stream
    from flexllm_core.errors import LLMResponseError

    async with connection.client(track_cost=cost) as client:
        if whole:
            return await client.chat(messages, **sampling)
        view = AnswerView(thoughts=bool(sampling.get("thinking")))
        result = await show_stream(client.chat_stream(messages, **sampling), view)
    if result is None:
        raise LLMResponseError("the stream ended without an answer")
    return result


def _finish(result: ChatCompletionResult, *, extract: bool, as_json: bool, usage: bool) -> None:
    """Show what is left to show when the answer is there."""
    import json

    from flexllm_cli.answer_view import answer_json, code_block, dimmed, usage_line, warn_of_end

    text = result.content or ""
    if extract:
        code = code_block(text)
        if code is None:
            say("warning: there is no code block in the answer; this is all of it")
        text = text if code is None else code
    if as_json:
        write_result(json.dumps({**answer_json(result), **({"output": text} if extract else {})}) + "\n")
    elif extract:
        write_result(text if text.endswith("\n") else text + "\n")
    warn_of_end(result)
    if usage:
        dimmed(usage_line(result))


def _hold_against(check: SchemaCheck | None, result: ChatCompletionResult) -> None:
    from flexllm_core.errors import LLMResponseError

    problem = check.problem(result.content or "") if check is not None else None
    if problem is not None:
        raise LLMResponseError(f"the answer is not what --schema asks for: {problem}")
