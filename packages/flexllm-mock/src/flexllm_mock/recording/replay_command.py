"""`flexllm-mock replay`: serves a recording."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from flexllm_mock import cli


def main(arguments: Sequence[str]) -> int:
    """Serve a recording until SIGINT or SIGTERM and return the exit code, as the mock itself does."""
    parser = build_parser()
    return cli.run(parser, parser.parse_args(arguments))


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command's options: those of the mock, and its own."""
    parser = cli.build_parser()
    parser.prog = "flexllm-mock replay"
    parser.description = "Answer from a recording of `flexllm-mock record`, byte for byte, at the recorded times."
    parser.epilog = None
    add = parser.add_argument
    add("replay", type=Path, metavar="RECORDING", help="the recording")
    add("--speed", dest="replay_speed", type=float, default=1.0, metavar="N", help="the same as --replay-speed")
    add("--fallback", dest="replay_fallback", choices=("mock",), help="the same as --replay-fallback")
    return parser
