"""`flexllm test`: whether an endpoint works, and if not, at which step."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from flexllm_cli import options
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.table import aligned, padded
from flexllm_cli.terminal import write_result

if TYPE_CHECKING:
    from pathlib import Path

    from flexllm_cli.endpoint_check import Check, Step
    from flexllm_core.endpoint import EndpointConfig


def check_connection(
    model: options.Model = None,
    every: Annotated[bool, typer.Option("--all", help="All models of the configuration, side by side.")] = False,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    timeout: options.Timeout = None,
    output_format: Annotated[Literal["text", "json"], typer.Option("--format", help="Text, or one JSON object.")] = (
        "text"
    ),
    config: options.ConfigPath = None,
) -> None:
    """Test the connection to a model: configuration, DNS, TLS, key, model, and how fast it answers.

    One short question is asked of each model, at each of its endpoints. What fails comes with what to do about it. The
    exit code is 0 if all is well, else that of the first failure: 2 configuration, 3 no such model, 4 key, 6 network.

    Examples: flexllm test · flexllm test -m gpt-4 · flexllm test --all · flexllm test -m qwen --base-url http://host:8000/v1
    """
    import json

    from flexllm_cli.connection import connect_to_host
    from flexllm_cli.error_report import report_of
    from flexllm_cli.event_loop import run

    if every:
        checks = _check_configured(config, timeout)
    else:
        with connect_to_host(
            config_path=config, model=model, base_url=base_url, api_key=api_key, endpoints="all"
        ) as connection:
            checks = run(_check_each([connection.endpoint, *connection.others], timeout))
    if output_format == "json":
        write_result(json.dumps([_as_json(check) for check in checks], ensure_ascii=False) + "\n")
    else:
        write_result("\n".join(_table(checks) if every or len(checks) > 1 else _lines(checks[0])) + "\n")
    errors = [check.error for check in checks if check.error is not None]
    if errors:
        report = report_of(errors[0])
        report.tell_programs()
        raise typer.Exit(report.exit_code)


def _check_configured(config: Path | None, timeout: float | None) -> list[Check]:
    """The checks of all entries of the configuration, also of those that cannot be used at all."""
    from flexllm_cli.connection import configuration
    from flexllm_cli.endpoint_check import Check
    from flexllm_cli.event_loop import run
    from flexllm_core.errors import ConfigError, NotConfiguredError
    from flexllm_core.resolve import resolve_endpoints

    found = configuration(config)
    if not found.models:
        raise NotConfiguredError("no model is configured; run `flexllm init`")
    unusable: dict[str, Check] = {}
    usable: dict[str, list[EndpointConfig]] = {}
    for name in found.names():
        try:
            several = resolve_endpoints(found, model=name, env=os.environ)
            usable[name] = [endpoint.model_copy(update={"name": name}) for endpoint in several]
        except ConfigError as error:
            unusable[name] = Check(name)
            unusable[name].fail("config", error)
    checked = iter(run(_check_each([endpoint for several in usable.values() for endpoint in several], timeout)))
    return [
        check
        for name in found.names()
        for check in ([unusable[name]] if name in unusable else [next(checked) for _ in usable[name]])
    ]


async def _check_each(endpoints: list[EndpointConfig], timeout: float | None) -> list[Check]:
    import asyncio

    from flexllm_cli.endpoint_check import check_endpoint

    update = {"timeout": timeout} if timeout is not None else {}
    return list(await asyncio.gather(*(check_endpoint(each.model_copy(update=update)) for each in endpoints)))


def step_names() -> dict[str, str]:
    """What the steps are called."""
    return {
        "config": _("config"),
        "DNS": "DNS",
        "connection": _("connection"),
        "TLS": "TLS",
        "key": _("key"),
        "model": _("model"),
        "speed": _("speed"),
    }


def marks() -> dict[str, str]:
    """What the states of a step are called."""
    return {"ok": _("ok"), "failed": _("FAILED"), "skipped": "-"}


def detail_text(step: Step) -> str:
    """What was found, each of its facts in the user's language."""
    return " · ".join(map(translate_message, step.detail.split(" · ")))


def _lines(check: Check) -> list[str]:
    """A line for each step."""
    names, states = step_names(), marks()
    lines = [
        f"{padded(names[step.name], 11)} {padded(states[step.state], 7)} {detail_text(step)}".rstrip()
        for step in check.steps
    ]
    return lines + [
        f"{_('remedy:')} {translate_message(step.remedy)}" for step in check.steps if step.state == "failed"
    ]


def _table(checks: list[Check]) -> list[str]:
    """A line for each endpoint and a column for each step."""
    from flexllm_cli.endpoint_check import STEPS, failures

    names, shown = step_names(), marks()
    rows = [[_("model"), *(names[name] for name in STEPS[:-1]), _("first token"), _("tokens/s")]]
    titles = _titles(checks)
    for check, title in zip(checks, titles, strict=True):
        states = {step.name: shown[step.state] for step in check.steps}
        first = f"{check.first_token:.2f} s" if check.first_token is not None else states.get("speed", "")
        rate = f"{check.token_rate:,.0f}" if check.token_rate is not None else ""
        rows.append([title, *(states.get(name, "") for name in STEPS[:-1]), first, rate])
    lines = aligned(rows)
    for number, step in failures(checks):
        detail, remedy = detail_text(step), translate_message(step.remedy)
        lines += ["", f"{titles[number]}: {names[step.name]}: {detail}", f"  {_('remedy:')} {remedy}"]
    return lines


def _titles(checks: list[Check]) -> list[str]:
    """What the checks are called: those of one entry with their address."""
    labels = [check.label for check in checks]
    return [
        f"{check.label} @ {check.address}" if labels.count(check.label) > 1 and check.address else check.label
        for check in checks
    ]


def _as_json(check: Check) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "model": check.label,
        "address": check.address,
        "ok": check.error is None,
        "steps": [asdict(step) for step in check.steps],
        "time_to_first_token": check.first_token,
        "tokens_per_second": check.token_rate,
    }
