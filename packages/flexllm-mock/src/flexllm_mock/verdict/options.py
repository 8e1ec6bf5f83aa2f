"""What the command line says about the verdict: the option `--fail-on`, the report at the end, the exit code."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from flexllm_mock.verdict.conduct import Facts
from flexllm_mock.verdict.verdict import Verdict, judge, limit_from_text, only

_EXIT_FAILED = 3


def add_fail_on(parser: argparse.ArgumentParser) -> None:
    """Add the option `--fail-on`."""
    parser.add_argument(
        "--fail-on",
        type=_limit,
        action="append",
        metavar="RULE[=N]",
        help="judge by this rule, with N instead of its usual limit; may be repeated, other rules then cannot fail",
    )


def conclude(facts: Facts, fail_on: Sequence[tuple[str, int | None]] | None) -> int:
    """Print the verdict and return the exit code."""
    verdict = judge(facts, only(dict(fail_on)) if fail_on else None)
    print(verdict, flush=True)  # noqa: T201 the command's output
    return exit_code(verdict)


def exit_code(verdict: Verdict) -> int:
    """Return 3 when a rule has failed, 0 when none has."""
    return 0 if verdict.passed else _EXIT_FAILED


def _limit(text: str) -> tuple[str, int | None]:
    try:
        return limit_from_text(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
