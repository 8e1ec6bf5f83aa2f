"""`flexllm diff`: how two outputs of `flexllm batch` differ."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer


def diff(
    before: Annotated[Path, typer.Argument(metavar="A", help="An output of `flexllm batch`.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="Another one.")],
    by: Annotated[
        Literal["auto", "key", "input", "index"],
        typer.Option(
            "--by",
            help="What rows are aligned by: their request, their messages, or their index; auto takes "
            "the first that aligns any.",
        ),
    ] = "auto",
    show: Annotated[int, typer.Option("--show", min=0, help="Rows that changed to be shown.")] = 10,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Text, or one JSON object.")
    ] = "text",
) -> None:
    """Show which answers changed between two outputs, which rows fail in one only, and what each cost.

    Examples: flexllm diff monday.jsonl tuesday.jsonl · flexllm diff gpt.jsonl qwen.jsonl --format json

    Exit codes: 0 no difference, 1 there are differences, 2 usage or no output of flexllm, 3 no such file.
    """
    from flexllm_batch.outputs.diff import Change, diff_outputs  # all that `--help` does not need is loaded here
    from flexllm_cli import exit_codes
    from flexllm_cli.diff_report import diff_json, diff_lines
    from flexllm_cli.terminal import write_result

    changes: list[Change] = []

    def keep(change: Change) -> None:
        if len(changes) < show:
            changes.append(change)

    found = diff_outputs(before, after, by=None if by == "auto" else by, on_change=keep)
    if output_format == "json":
        write_result(diff_json(found, changes) + "\n")
    else:
        write_result("\n".join(diff_lines(found, changes, before, after)) + "\n")
    sys.exit(exit_codes.FAILED if found.differs else exit_codes.OK)
