"""The command's options for rate limits."""

from __future__ import annotations

import argparse
from typing import Any

_FIELDS = ("rpm", "input_tpm", "output_tpm", "max_concurrent", "limit_burst")


def add_simulation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a parser."""
    limits = parser.add_argument_group("rate limits", "for each key, told in the vendor's headers and errors")
    add = limits.add_argument
    add("--rpm", type=float, metavar="N", help="requests per minute")
    add("--input-tpm", type=float, metavar="N", help="input tokens per minute")
    add("--output-tpm", type=float, metavar="N", help="output tokens per minute")
    add("--max-concurrent", type=int, metavar="N", help="requests at the same time")
    add("--limit-burst", type=float, default=60.0, metavar="SECONDS", help="whose share can be used at once (60)")


def simulation_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the fields of the configuration that the options give."""
    return {name: getattr(options, name) for name in _FIELDS}
