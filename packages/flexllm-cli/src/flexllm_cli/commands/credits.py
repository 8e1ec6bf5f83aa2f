"""`flexllm credits`: what is left on a key, by the vendor's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flexllm_cli import options
from flexllm_cli.terminal import write_result

if TYPE_CHECKING:
    from flexllm_cli.connection import Connection
    from flexllm_providers.credits.report import CreditLine, CreditReport

LABELS = {
    "remaining": "Remaining",
    "limit": "Limit",
    "used": "Used",
    "today": "Today",
    "this_month": "This month",
    "paid": "Paid",
    "gift": "Granted",
}
NOTES = {"unlimited": "unlimited"}
DETAILS = {
    "status": "Status",
    "usable": "Usable",
    "free_tier": "Free tier",
    "low_balance": "Low balance",
    "limit_resets": "Limit resets",
    "expires_at": "Expires",
}
USUAL = {("free_tier", "no"), ("low_balance", "no"), ("usable", "yes")}
"""Details that are worth a line only when they are different."""
SYMBOLS = {"USD": "$", "CNY": "¥", "EUR": "€"}


def credits(  # noqa: A001 - the command's name
    model: options.Model = None,
    vendor: Annotated[
        str | None,
        typer.Option("--vendor", help="Whose balance, where the host does not tell: openrouter, deepseek ..."),
    ] = None,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", help="Text, or one JSON object.")] = (
        "text"
    ),
    config: options.ConfigPath = None,
) -> None:
    """Show the balance of a model's key; of the default model's where none is named.

    Examples: flexllm credits · flexllm credits -m grok-4 · flexllm credits --format json
    """
    from flexllm_cli.connection import connect_to_host
    from flexllm_cli.event_loop import run
    from flexllm_providers.credits.fetch import fetch_credits

    with connect_to_host(config_path=config, model=model, base_url=base_url, api_key=api_key) as connection:
        report = run(fetch_credits(connection.endpoint, vendor=vendor))
    text = _as_json(report) if output_format == "json" else "\n".join(_lines(report, connection))
    write_result(text + "\n")


def _lines(report: CreditReport, connection: Connection) -> list[str]:
    from flexllm_core.redact import mask_key

    endpoint = connection.endpoint
    key = endpoint.api_key.get_secret_value() if endpoint.api_key else ""
    lines = [
        f"{report.vendor} account balance",
        f"Model entry: {endpoint.name or endpoint.model}",
        f"API Key: {mask_key(key) if key else '-'}",
        "-" * 40,
        *(f"  {LABELS[line.label]}: {amount_text(line)}" for line in report.lines),
        *(f"  {DETAILS[name]}: {value}" for name, value in report.details.items() if (name, value) not in USUAL),
    ]
    if report.unofficial:
        lines.append(f"{report.vendor} does not document this; it may be wrong, or end at any time.")
    return lines


def amount_text(line: CreditLine) -> str:
    """An amount with its currency, such as `$96.63`."""
    if line.amount is None:
        return NOTES[line.note] if line.note else "-"
    number = f"{line.amount:,.{line.places}f}"
    symbol = SYMBOLS.get(line.currency)
    return f"{symbol}{number}" if symbol else f"{number} {line.currency}"


def _as_json(report: CreditReport) -> str:
    import json

    lines = [
        {
            "label": line.label,
            "amount": None if line.amount is None else float(line.amount),
            "currency": line.currency,
            "note": line.note,
        }
        for line in report.lines
    ]
    return json.dumps(
        {"vendor": report.vendor, "lines": lines, "details": dict(report.details), "unofficial": report.unofficial},
        ensure_ascii=False,
    )
