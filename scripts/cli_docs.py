"""Write docs/cli.md from the command line itself, so that it cannot say anything else.

python scripts/cli_docs.py          write it
python scripts/cli_docs.py --check  exit 1 if it is not up to date
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import typer

from flexllm_cli.app import app
from flexllm_cli.command_table import COMMANDS
from flexllm_cli.lazy_group import load_command
from flexllm_cli.localized_help import VERBATIM

DOCUMENT = Path(__file__).parent.parent / "docs" / "cli.md"

HEAD = """# The command line

Written by `scripts/cli_docs.py` from the app itself; a test holds it to it. `flexllm` and `xllm` are one program, and
`python -m flexllm` is another way to start it.

`flexllm --install-completion` sets up completion for your shell (bash, zsh, fish or PowerShell), and
`xllm --install-completion` does so for the other name: Tab completes commands, options, the configured models and file
names. `--show-completion` shows the script instead.

## What goes where

Results go to standard output, everything else to standard error. What is piped is byte for byte what the model wrote;
on a terminal its control characters are shown as text. Where standard error is no terminal there is no colour and no
bar, but a plain line every ten seconds.

A command that fails says so at its end: on a terminal in a red line, with what to do about it in the next; elsewhere,
and with `--format json`, as one JSON object in one line, the last of standard error:

```json
{"type": "LLMConnectionError",
 "message": "could not connect to http://127.0.0.1:8000/v1: connection refused",
 "exit_code": 6,
 "retryable": true,
 "suggestion": "check the base URL, and that the server runs; `flexllm test` looks at each step"}
```

`type` is the error's class in Python, or `UsageError` (the command line cannot be read), `RowsFailed` (rows of a batch
failed; those that did not are in the output), `CanaryError`, `Aborted` or `InternalError`. `retryable` tells whether
the same command may succeed later. The exit codes are those of [batch](batch.md#exit-codes), for every command.

Nothing is sent anywhere but to the endpoints that a command asks, and nothing is read from the current folder unless
it is named. There is no telemetry.

![A table of four models: one works, one has a wrong key, one a wrong name, one no server](images/test-all.svg)

## Languages

Help, errors, tables, the live bar, summaries and the report's page are in English, or in Simplified Chinese where
`FLEXLLM_LANG`, `LC_ALL`, `LC_MESSAGES` or `LANG` (the first that is set) begins with `zh_CN`. `FLEXLLM_LANG=en` keeps
them English. Names of fields, JSON, answers and what servers say are never translated. The mock server speaks English
alone, as it is a package that stands for itself.

"""


def document() -> str:
    """The whole document."""
    root = typer.main.get_command(app)
    listed = "".join(f"| [`{name}`](#flexllm-{name}) | {row.summary} |\n" for name, row in COMMANDS.items())
    parts = [HEAD, "## Commands\n\n| command | does |\n|---|---|\n", listed, "\n", options(root)]
    for name, row in COMMANDS.items():
        parts += section(f"flexllm {name}", load_command(name, row, localized=False), depth=2)
    return "".join(parts).rstrip() + "\n"


def section(path: str, command: Any, *, depth: int) -> list[str]:
    """A command and its subcommands."""
    lines = [f"\n{'#' * depth} {path}\n\n", *map(paragraph, (command.help or "").split("\n\n"))]
    lines.append(options(command))
    for name, subcommand in getattr(command, "commands", {}).items():
        lines += section(f"{path} {name}", subcommand, depth=depth + 1)
    return lines


def paragraph(text: str) -> str:
    """A paragraph of help; examples are code."""
    if not text.startswith(VERBATIM):
        return " ".join(text.split()) + "\n\n"
    examples = [line.strip() for line in text.splitlines()[2:]]
    return "```bash\n" + "\n".join(examples) + "\n```\n\n"


def options(command: Any) -> str:
    """The table of a command's arguments and options."""
    context = command.make_context(command.name, [], resilient_parsing=True)
    rows = [record for param in command.params if (record := help_record(param, context))]
    if not rows:
        return ""
    cells = "".join(f"| `{name}` | {' '.join(text.split())} |\n" for name, text in rows)
    return "| option | means |\n|---|---|\n" + cells


def help_record(param: Any, context: Any) -> tuple[str, str] | None:
    """Names and help of an option or argument, fit for a table."""
    record = param.get_help_record(context)
    return record and (record[0].replace("|", "\\|"), record[1].replace("|", "\\|"))


def main() -> int:
    """Write or check."""
    os.environ["FLEXLLM_LANG"] = "en"
    if "--check" in sys.argv:
        return int(DOCUMENT.read_text(encoding="utf-8") != document())
    DOCUMENT.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
