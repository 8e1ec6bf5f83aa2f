"""`flexllm report`: what an output file tells about its run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer


def report(
    output: Annotated[Path, typer.Argument(metavar="OUTPUT", help="An output of `flexllm batch`.")],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with charts and a searchable table of rows.")
    ] = None,
    rows: Annotated[int, typer.Option("--rows", min=0, help="Rows on the page at most, failed ones first.")] = 10_000,
    output_format: Annotated[
        Literal["text", "json"], typer.Option("--format", help="Text, or one JSON object.")
    ] = "text",
) -> None:
    """Show the outcome of a batch: rows, tokens, cost, latency and errors, also as a page of HTML.

    Examples: flexllm report out.jsonl · flexllm report out.jsonl --html report.html

    Exit codes: 0 done, 2 usage or no output of flexllm, 3 no such file, 8 the page cannot be written.
    """
    import errno  # all that `--help` does not need is loaded here
    import json
    import os

    from flexllm_batch.report.page import write_page
    from flexllm_batch.report.rows import PageRows
    from flexllm_batch.report.summary import summarize_output
    from flexllm_cli.i18n import gettext as _
    from flexllm_cli.i18n import language, translate_message
    from flexllm_cli.summary_text import output_lines
    from flexllm_cli.terminal import say, write_result
    from flexllm_core.errors import ConfigError
    from flexllm_core.visible import visible

    page_rows = PageRows(rows)
    if html is not None and html.exists() and html.samefile(output):
        raise ConfigError(f"--html {html} is the output itself; choose another file")
    if html is not None and not html.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(html.parent))
    summary = summarize_output(output, page_rows.add if html is not None else None)
    if html is not None:
        tag = language().replace("_", "-")
        write_page(html, output.name, summary, page_rows, translate=translate_message, language=tag)
        say(_("page: {path}").format(path=html))
    if output_format == "json":
        write_result(json.dumps({"output": str(output), **summary.facts()}) + "\n")  # escaped: texts may be broken
    else:
        write_result(visible("\n".join(output_lines(summary, output))) + "\n")
