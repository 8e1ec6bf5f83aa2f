"""The command's options for rate limits, and for the times that an engine takes."""

from __future__ import annotations

import argparse
from typing import Any

_FIELDS = (
    *("rpm", "input_tpm", "output_tpm", "max_concurrent", "limit_burst"),
    *("ttft", "token_time", "prefill_rate", "max_num_seqs", "prefix_cache"),
)


def add_simulation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    limits = parser.add_argument_group("rate limits", "for each key, told in the vendor's headers and errors")
    add = limits.add_argument
    add("--rpm", type=float, metavar="N", help="requests per minute")
    add("--input-tpm", type=float, metavar="N", help="input tokens per minute")
    add("--output-tpm", type=float, metavar="N", help="output tokens per minute")
    add("--max-concurrent", type=int, metavar="N", help="requests at the same time")
    add("--limit-burst", type=float, default=60.0, metavar="SECONDS", help="whose share can be used at once (60)")
    form = "SECONDS|DISTRIBUTION"
    add = parser.add_argument_group(
        "engine", "times of an inference engine; the README has the distributions"
    ).add_argument
    add("--ttft", metavar=form, help="time to the first token")
    add("--token-time", metavar=form, help="time from token to token")
    add("--prefill-rate", type=float, metavar="N", help="prompt tokens per second")
    add("--max-num-seqs", type=int, metavar="N", help="answers that are generated at the same time; others wait")
    add("--prefix-cache", type=int, default=0, metavar="TOKENS", help="prompt tokens that a prefix cache remembers")


def simulation_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the configuration that the options give."""
    return {name: getattr(options, name) for name in _FIELDS}
