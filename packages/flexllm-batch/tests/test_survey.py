"""The survey before a run: duplicates, tokens, and a cost that is a range or unknown."""

from __future__ import annotations

import sys
import types
from decimal import Decimal
from typing import Any

import pytest

from flexllm_batch.batch_settings import BatchSettings
from flexllm_batch.inputs.records import RowShape, read_record
from flexllm_batch.planning.survey import OTHER_MODELS, Survey
from flexllm_batch.planning.token_estimate import (
    RULE_OF_THUMB,
    TIKTOKEN,
    estimate_prompt_tokens,
    estimate_text_tokens,
    token_counter,
)
from flexllm_core.results import Usage


def surveyed(rows: list[dict[str, Any]], *, kept: int = 0, **settings: Any) -> Survey:
    """A survey of the rows, of which the first `kept` are answered already."""
    setting = BatchSettings(**{"model": "m", **settings})
    survey = Survey(setting.request)
    for index, row in enumerate(rows):
        record = read_record(index, row, RowShape())
        survey.add(record, setting.request(record).fingerprint(), kept=index < kept)
    return survey


def dollar_for_a_token(_: str | None, usage: Usage) -> Decimal:
    return Decimal(usage.prompt_tokens + 2 * usage.completion_tokens)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("", 0), ("abcd", 1), ("a" * 400, 100), ("你好世界再见", 4), ("abcd你好呀", 3), ("\ud83d" * 3, 2)],
)
def test_the_rule_of_thumb(text: str, tokens: float) -> None:
    """A token for 4 ASCII characters, and for 1.5 others."""
    assert estimate_text_tokens(text) == tokens


def test_a_prompt_is_all_that_is_sent() -> None:
    """Messages with their overhead, parts, media, calls, tools and schemas."""
    assert estimate_prompt_tokens([{"role": "user", "content": "a" * 40}]) == 14
    parts = [{"type": "text", "text": "a" * 40}, {"type": "image_url", "image_url": {"url": "data:..."}}]
    assert estimate_prompt_tokens([{"role": "user", "content": parts}]) == 1014
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "x"}]}
    assert estimate_prompt_tokens([call]) > 4
    plain = [{"role": "user", "content": "x"}]
    assert estimate_prompt_tokens(plain, {"tools": [{"a": "b" * 400}]}) > estimate_prompt_tokens(plain) + 100


def test_tiktoken_is_used_for_the_models_that_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """For another model, without its vocabulary, or for very long texts, the rule of thumb is."""

    def encoding_for_model(model: str) -> Any:
        if model == "offline":
            raise OSError("no network")
        return {"gpt-x": types.SimpleNamespace(encode_ordinary=lambda text: text.split())}[model]

    monkeypatch.setitem(sys.modules, "tiktoken", types.SimpleNamespace(encoding_for_model=encoding_for_model))
    assert token_counter("gpt-x")[1] == RULE_OF_THUMB  # it might have to load the vocabulary from the network
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "vocabularies")
    count, name = token_counter("gpt-x")
    assert (count("one two three"), name) == (3, TIKTOKEN)
    assert count("a " * 100_000) == 50_000
    assert token_counter("qwen")[1] == token_counter("offline")[1] == token_counter(None)[1] == RULE_OF_THUMB
    assert surveyed([{"q": "one"}], model="gpt-x").counted_by == TIKTOKEN
    assert surveyed([{"q": "one"}, {"q": "x", "params": {"model": "qwen"}}], model="gpt-x").counted_by == RULE_OF_THUMB


def test_duplicates_are_rows_that_ask_the_same() -> None:
    """Messages, model and params count, other fields do not; answered rows are counted too."""
    rows = [{"q": "a", "id": 1}, {"q": "a", "id": 2}, {"q": "b"}, {"q": "a", "params": {"temperature": 1}}, {"q": "a"}]
    assert surveyed(rows).duplicates == 2
    assert surveyed(rows, kept=5).duplicates == 2


def test_tokens_are_of_the_rows_that_would_be_asked() -> None:
    """A quarter either way for the input; for the output what max_tokens admits."""
    survey = surveyed([{"q": "a" * 384}, {"q": "a" * 384}], kept=1, params={"max_tokens": 10, "n": 3})
    assert (survey.prompt_tokens.low, survey.prompt_tokens.high) == (75, 125)
    assert (survey.completion_tokens.low, survey.completion_tokens.high) == (0, 30)


def test_a_row_without_max_tokens_leaves_the_top_open() -> None:
    """The cost then has a lower bound, and no upper one."""
    survey = surveyed([{"q": "a" * 384}, {"q": "a" * 384, "params": {"max_tokens": 10}}])
    assert survey.completion_tokens.high is None
    cost = survey.cost(dollar_for_a_token)
    assert cost is not None
    assert (cost.low, cost.high) == (150, None)


def test_the_cost_is_from_input_alone_to_the_longest_answers() -> None:
    """Each model is priced on its own."""
    rows = [{"q": "a" * 384}, {"q": "a" * 384, "params": {"model": "other"}}]
    cost = surveyed(rows, params={"max_tokens": 10}).cost(dollar_for_a_token)
    assert cost is not None
    assert (cost.low, cost.high) == (150, 250 + 40)


def test_an_unknown_price_makes_the_cost_unknown() -> None:
    """Of one model of several, too; and nothing to ask costs nothing."""

    def only_m(model: str | None, usage: Usage) -> Decimal | None:
        return Decimal(1) if model == "m" else None

    rows = [{"q": "a"}, {"q": "a", "params": {"model": "other"}}]
    assert surveyed(rows).cost(only_m) is None
    nothing = surveyed(rows, kept=2).cost(only_m)
    assert nothing is not None
    assert (nothing.low, nothing.high) == (0, 0)


def test_rows_that_each_name_a_model_do_not_fill_the_memory() -> None:
    """Beyond fifty models they are counted together, at an unknown price."""
    survey = surveyed([{"q": "a", "params": {"model": f"model-{number}"}} for number in range(60)])
    assert len(survey.models) == 51
    assert survey.models[OTHER_MODELS].rows == 10
    assert survey.cost(dollar_for_a_token) is None
