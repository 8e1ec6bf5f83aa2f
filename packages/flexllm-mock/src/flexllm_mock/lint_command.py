"""`flexllm-mock lint`: looks for what is wrong with fixtures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flexllm_mock.fixture_lint import lint


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong and return the exit code: 0 when nothing is, else 1; wrong options exit with 2."""
    count, problems = lint(build_parser().parse_args(arguments).files)
    for problem in problems:
        _print(problem)
    if not problems:
        _print(f"{count} rule{'' if count == 1 else 's'}, nothing wrong")
    return 1 if problems else 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options."""
    parser = argparse.ArgumentParser(
        prog="flexllm-mock lint",
        description="Look for what is wrong with fixtures: unknown keys, bad patterns, rules that are never reached.",
    )
    parser.add_argument("files", nargs="+", metavar="FILE", help="file or folder of fixtures")
    return parser


def _print(text: str) -> None:
    sys.stdout.write(text + "\n")
