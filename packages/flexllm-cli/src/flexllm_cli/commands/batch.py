"""`flexllm batch`: every row of a file answered once."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from flexllm_cli import options


def batch(
    input_file: Annotated[
        str | None, typer.Argument(metavar="INPUT", help="JSONL (also .gz), CSV, TSV or Parquet; `-` or a pipe: JSONL.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Output JSONL; also the checkpoint.")] = ...,  # type: ignore[assignment]
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, help="Only the first N rows.")] = None,
    model: options.Model = None,
    concurrency: Annotated[int | None, typer.Option("--concurrency", "-c", min=1, help="Rows in flight.")] = None,
    system: Annotated[
        str | None, typer.Option("--system", "-s", help="System prompt for every row; wins over the row's.")
    ] = None,
    user_field: Annotated[
        str | None, typer.Option("--user-field", "-uf", help="Field with the user's text; skips format detection.")
    ] = None,
    system_field: Annotated[
        str | None, typer.Option("--system-field", "-sf", help="Field with the system prompt.")
    ] = None,
    save_input: Annotated[
        Literal["true", "last", "false"] | None,
        typer.Option("--save-input", help="What output lines keep of the input: all messages, the last, none."),
    ] = None,
    track_cost: Annotated[
        bool | None, typer.Option("--track-cost/--no-track-cost", help="Show the running cost.")
    ] = None,
    cache: Annotated[
        bool | None, typer.Option("--cache/--no-cache", help="Give answers that were given before from the cache.")
    ] = None,
    cache_ttl: Annotated[
        float | None, typer.Option("--cache-ttl", min=0, help="Seconds for which a cached answer counts; 0 for ever.")
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option("--budget", min=0, help="US dollars that this run may cost at most; exit code 9 when used up."),
    ] = None,
    on_unknown_price: Annotated[
        Literal["refuse", "ignore"] | None,
        typer.Option("--on-unknown-price", help="With a budget: refuse to start, or leave such calls out of it."),
    ] = None,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = None,
    thinking: options.ThinkingText = None,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    max_qps: Annotated[float | None, typer.Option("--max-qps", min=0.001, help="Requests per second at most.")] = None,
    max_tpm: Annotated[
        float | None, typer.Option("--max-tpm", min=1, help="Tokens per minute at most, input and output together.")
    ] = None,
    adaptive: Annotated[
        bool | None,
        typer.Option("--adaptive/--no-adaptive", help="Learn from the answers how much the endpoint takes (on)."),
    ] = None,
    min_concurrency: Annotated[
        int | None,
        typer.Option("--min-concurrency", min=1, help="The least that is learnt for the rows in flight (1)."),
    ] = None,
    timeout: options.Timeout = None,
    retry_times: options.RetryTimes = None,
    load_balance: Annotated[
        Literal["least_loaded", "round_robin", "weighted", "random", "fallback"] | None,
        typer.Option("--load-balance", help="How one of several endpoints is picked (least_loaded)."),
    ] = None,
    hedge_after: Annotated[
        str | None,
        typer.Option(
            "--hedge-after", help="Ask a second endpoint too after so many seconds, or `p95`; at most 3 % of the rows."
        ),
    ] = None,
    affinity: Annotated[
        Literal["prefix"] | None,
        typer.Option("--affinity", help="Send prompts with the same long beginning to the same of several endpoints."),
    ] = None,
    resume: Annotated[
        Literal["auto", "strict", "never"],
        typer.Option(
            "--resume",
            help="Answers in the output: auto keeps those that still belong; strict demands that all do; "
            "never sets them aside.",
        ),
    ] = "auto",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace whatever output is there.")] = False,
    on_bad_row: Annotated[
        Literal["fail", "skip", "record"],
        typer.Option(
            "--on-bad-row",
            help="Rows that cannot be asked: fail before anything is sent, skip them, or record them as errors.",
        ),
    ] = "fail",
    max_failures: Annotated[
        str | None, typer.Option("--max-failures", help="Stop after so many failed rows: a number, or a share as 5%.")
    ] = None,
    drain: Annotated[
        float, typer.Option("--drain", min=0, help="Seconds that rows in flight have to finish after SIGTERM.")
    ] = 30.0,
    media_root: Annotated[
        Path | None,
        typer.Option("--media-root", help="Put files below this folder, and URLs, that rows name into the messages."),
    ] = None,
    max_image_side: Annotated[
        int | None,
        typer.Option(
            "--max-image-side",
            min=1,
            help="Make such images smaller whose longer side has more pixels; without --media-root only those of URLs.",
        ),
    ] = None,
    output_lines: Annotated[
        Literal["jsonl", "openai"],
        typer.Option(
            "--output-format",
            help="Lines of the output: flexllm's own, or those of OpenAI's batch API; the checkpoint of the "
            "latter is OUTPUT.journal.",
        ),
    ] = "jsonl",
    manifest: Annotated[
        bool, typer.Option("--manifest/--no-manifest", help="Write what was run to OUTPUT.run.json.")
    ] = True,
    schema: Annotated[
        str | None,
        typer.Option("--schema", help="What each answer must satisfy: a JSON schema, as a file or as JSON."),
    ] = None,
    no_truncated: Annotated[
        bool, typer.Option("--no-truncated", help="An answer that the token limit cut off is a failure.")
    ] = False,
    max_corrections: Annotated[
        int | None,
        typer.Option("--max-corrections", min=0, help="Times a model is told what breaks the schema; default 1."),
    ] = None,
    grow_max_tokens: Annotated[
        int | None,
        typer.Option("--grow-max-tokens", min=1, help="Ask once more with so many tokens for an answer that was cut."),
    ] = None,
    canary: Annotated[
        int | None,
        typer.Option(
            "--canary", min=1, help="Ask so many rows first, show what they came to, and ask whether to go on."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Go on after the canary without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan and send nothing; exit code 10.")] = False,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="The summary: text on stderr, or JSON on stdout.")
    ] = "text",
    config: options.ConfigPath = None,
) -> None:
    """Answer every row of a file, with checkpoint and resume: the same command goes on where it stopped.

    Examples: flexllm batch in.jsonl -o out.jsonl -m gpt-4 -c 20 · cat in.jsonl | flexllm batch -o out.jsonl

    Exit codes: 0 all rows ok, 1 some failed, 2 usage, 3 not found, 4 key or credit, 5 output conflict,
    6 network, 7 missing extra, 8 disk, 9 budget, 10 dry run or canary, 130/143 signals.
    """
    from flexllm_cli.batch_run import BatchCommand, parse_hedge_after  # all that `--help` does not need is loaded here
    from flexllm_cli.connection import connect
    from flexllm_core.thinking import parse_thinking

    with connect(
        config_path=config,
        model=model,
        base_url=base_url,
        api_key=api_key,
        endpoints="batch",
        timeout=timeout,
        retry_times=retry_times,
        max_qps=max_qps,
        max_tpm=max_tpm,
        adaptive=adaptive,
        min_concurrency=min_concurrency,
    ) as connection:
        code = BatchCommand(
            connection=connection,
            input_name=_input_name(input_file),
            output=output,
            limit=limit,
            concurrency=concurrency,
            system=system,
            user_field=user_field,
            system_field=system_field,
            save_input=save_input,
            track_cost=track_cost,
            cache=cache,
            cache_ttl=cache_ttl,
            budget=budget,
            on_unknown_price=on_unknown_price,
            temperature=temperature,
            max_tokens=max_tokens,
            thinking=parse_thinking(thinking) if thinking is not None else None,
            load_balance=load_balance,
            hedge_after=parse_hedge_after(hedge_after),
            affinity=affinity,
            resume=resume,
            overwrite=overwrite,
            on_bad_row=on_bad_row,
            max_failures=max_failures,
            drain=drain,
            media_root=media_root,
            max_image_side=max_image_side,
            output_lines=output_lines,
            manifest=manifest,
            schema=schema,
            no_truncated=no_truncated,
            max_corrections=max_corrections,
            grow_max_tokens=grow_max_tokens,
            canary=canary,
            yes=yes,
            dry_run=dry_run,
            as_json=output_format == "json",
        ).run()
    sys.exit(code)


def _input_name(argument: str | None) -> str:
    if argument is None and sys.stdin.isatty():
        from flexllm_core.errors import InputError

        raise InputError("there is no input: give a file, or pipe rows into the command")
    return argument or "-"
