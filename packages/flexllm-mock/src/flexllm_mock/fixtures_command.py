"""`flexllm-mock fixtures from-output`: makes fixtures of a finished flexllm run."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from flexllm_mock.fixture_files import FixtureError
from flexllm_mock.run_output import fixtures_from_output


def main(arguments: Sequence[str]) -> int:
    """Write fixtures and return the exit code: 0, or 1 when they cannot be made; wrong options exit with 2."""
    options = build_parser().parse_args(arguments)
    try:
        with options.output.open(encoding="utf-8", newline="\n") as lines:
            converted = fixtures_from_output(lines, str(options.output), options.match)
        text = "".join([json.dumps(rule, ensure_ascii=False) + "\n" for rule in converted.rules])
        data = text.encode("utf-8", "backslashreplace")  # a lone surrogate, as JSON escapes it
        if options.to is None:
            sys.stdout.buffer.write(data)
        else:
            options.to.write_bytes(data)
    except (FixtureError, UnicodeDecodeError) as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename or options.to}: {error.strerror or error}")
    told = f"{len(converted.rules)} rules from {converted.rows} rows"
    if converted.skipped:
        told += f"; {converted.skipped} rows were never asked and have none"
    _note(told)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(prog="flexllm-mock fixtures", description="Make fixtures of something else.")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="from-output")
    made = kinds.add_parser(
        "from-output",
        help="of the output of a finished flexllm batch",
        description="Make fixtures that answer the questions of a finished flexllm batch as they were answered then.",
    )
    made.add_argument("output", type=Path, metavar="OUTPUT", help="the run's output, in JSON Lines, with its inputs")
    made.add_argument("-o", "--to", type=Path, metavar="FILE", help="write them to FILE, not to standard output")
    made.add_argument(
        "--match",
        choices=("messages", "user"),
        default="messages",
        help="match whole conversations, or the last user text alone, as after --save-input last (%(default)s)",
    )
    return parser


def _note(text: str) -> None:
    print(f"flexllm-mock: {text}", file=sys.stderr, flush=True)  # noqa: T201 the command's messages


def _fail(text: str) -> int:
    _note(text)
    return 1
