"""The options of the batch methods: their names, their checks, and the settings that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.contracts.contract import make_contract, params_under
from flexllm_batch.outputs.output import OutputFormat
from flexllm_batch.planning.plan import OnBadRow, ResumeMode
from flexllm_batch.stop_rules import FailureLimit, parse_failure_limit
from flexllm_core.errors import ConfigError
from flexllm_core.options import (
    CHAT_OPTION_NAMES,
    ChatOptions,
    SaveInput,
    check_sample,
    params_from_options,
    unknown_option_message,
)

if TYPE_CHECKING:
    from pydantic import BaseModel

_CHOICES: dict[str, tuple[Any, ...]] = {
    "save_input": (True, False, "last"),
    "resume": get_args(ResumeMode),
    "on_bad_row": get_args(OnBadRow),
    "output_format": get_args(OutputFormat),
}
"""Options of few values."""


class BatchOptions(ChatOptions, total=False):
    """Options of the batch methods, beside those of a single call.

    `output_jsonl` (also `output_file`) is the checkpoint file: an interrupted batch goes on with it.
    With `output_format="openai"` it gets the lines of OpenAI's batch API at a complete end, and the
    checkpoint is `<output>.journal`. With `manifest=True` what was run is written to `<output>.run.json`.
    `distribute` is for pools, whose rows always go to whichever member has room; it is accepted and does nothing.
    `metadata` gives each row its own fields for the output line. `show_progress` draws a bar or plain
    lines on standard error. `max_failures` is a number of rows or a share such as "5%".
    `schema`, a JSON schema or a pydantic model class, is what each answer must satisfy; one that does not is
    asked for again, with what is wrong with it, up to `max_corrections` times (1). With `no_truncated` an answer
    that was cut off by the token limit is a failure too; `grow_max_tokens` asks for it once more with so many tokens.
    """

    output_jsonl: str | Path | None
    output_file: str | Path | None
    save_input: SaveInput
    show_progress: bool
    track_cost: bool
    return_usage: bool
    resume: ResumeMode
    overwrite: bool
    on_bad_row: OnBadRow
    max_failures: int | str | None
    concurrency: int | None
    metadata: Iterable[Mapping[str, Any]] | None
    output_format: OutputFormat
    manifest: bool
    schema: Mapping[str, Any] | type[BaseModel] | None
    no_truncated: bool
    max_corrections: int | None
    grow_max_tokens: int | None
    distribute: bool


def check_batch_options(options: Mapping[str, Any]) -> None:
    """Refuse unknown options, and values that could only be mistakes.

    Raises:
        ConfigError: With a suggestion.
    """
    known = CHAT_OPTION_NAMES | BatchOptions.__annotations__.keys()
    for name in options:
        if name not in known:
            raise ConfigError(unknown_option_message(name, frozenset(known)))
    for name, choices in _CHOICES.items():
        if name in options and options[name] not in choices:
            raise ConfigError(f"{name} is {options[name]!r}; expected one of {', '.join(map(repr, choices))}")
    concurrency = options.get("concurrency")
    if concurrency is not None and (type(concurrency) is not int or concurrency < 1):
        raise ConfigError(f"concurrency is {concurrency!r}; expected a number of rows above 0")
    if options.get("output_jsonl") is not None and options.get("output_file") is not None:
        raise ConfigError("output_file is another name of output_jsonl; give one of them")


def batch_settings(
    options: BatchOptions, *, model: str | None, params: Mapping[str, Any], window: int, track_cost: bool
) -> BatchSettings:
    """The settings of a batch from the options of its call."""
    chat = {name: value for name, value in options.items() if name in CHAT_OPTION_NAMES}
    limit = options.get("max_failures")
    contract = make_contract(
        options.get("schema"),
        no_truncated=options.get("no_truncated", False),
        max_corrections=options.get("max_corrections"),
        grow_max_tokens=options.get("grow_max_tokens"),
    )
    return BatchSettings(
        model=options.get("model") or model,
        params=params_under(contract, {**params, **params_from_options(chat)}),
        extra_headers=options.get("extra_headers") or {},
        skip_cache=options.get("skip_cache", False),
        sample=check_sample(options.get("sample", 0)),
        window=window,
        output=options.get("output_jsonl") or options.get("output_file"),
        save_input=options.get("save_input", True),
        return_usage=options.get("return_usage", True),
        resume=options.get("resume", "auto"),
        overwrite=options.get("overwrite", False),
        on_bad_row=options.get("on_bad_row", "fail"),
        output_format=options.get("output_format", "jsonl"),
        max_failures=FailureLimit() if limit is None else parse_failure_limit(str(limit)),
        track_cost=track_cost,
        contract=contract,
    )
