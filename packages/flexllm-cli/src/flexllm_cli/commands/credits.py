"""`flexllm credits`: what is left on a key, by the vendor's own word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.terminal import write_result

if TYPE_CHECKING:
    from flexllm_cli.connection import Connection
    from flexllm_providers.credits.report import CreditLine, CreditReport

USUAL = {("free_tier", "no"), ("low_balance", "no"), ("usable", "yes")}
"""Details that are worth a line only when they are different."""
SYMBOLS = {"USD": "$", "CNY": "¥", "EUR": "€"}


def labels() -> dict[str, str]:
    """What the lines and details of a balance are called, and its notes."""
    return {
        "remaining": _("Remaining"),
        "limit": _("Limit"),
        "used": _("Used"),
        "today": _("Today"),
        "this_month": _("This month"),
        "paid": _("Paid"),
        "gift": _("Granted"),
        "unlimited": _("unlimited"),
        "status": _("Status"),
        "usable": _("Usable"),
        "free_tier": _("Free tier"),
        "low_balance": _("Low balance"),
        "limit_resets": _("Limit resets"),
        "expires_at": _("Expires"),
    }


def credits(  # noqa: A001 - the command's name
    model: options.Model = None,
    vendor: Annotated[
        str | None,
        typer.Option(
            "--vendor",
            help="Whose API a server of this machine has, where its entry's dialect does not tell: openrouter ...",
        ),
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

    endpoint, names = connection.endpoint, labels()
    key = endpoint.api_key.get_secret_value() if endpoint.api_key else ""
    lines = [
        _("{vendor} account balance").format(vendor=report.vendor),
        _("Model entry: {name}").format(name=endpoint.name or endpoint.model),
        f"API Key: {mask_key(key) if key else '-'}",
        "-" * 40,
        *(f"  {names[line.label]}: {amount_text(line)}" for line in report.lines),
        *(f"  {names[name]}: {value}" for name, value in report.details.items() if (name, value) not in USUAL),
    ]
    if report.unofficial:
        text = _("{vendor} does not document this; it may be wrong, or end at any time.")
        lines.append(text.format(vendor=report.vendor))
    return lines


def amount_text(line: CreditLine) -> str:
    """An amount with its currency, such as `$96.63`."""
    if line.amount is None:
        return labels()[line.note] if line.note else "-"
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
