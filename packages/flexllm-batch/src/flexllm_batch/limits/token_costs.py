"""What a request will take of the limits of tokens, before it is sent: estimated, and learnt from what others took."""

from __future__ import annotations

from flexllm_batch.planning.token_estimate import estimate_prompt_tokens
from flexllm_core.requests import ChatRequest
from flexllm_core.results import Usage

_FIRST_OUTPUT = 256.0
"""Tokens of an answer before any has come."""

_REMEMBERED = 16
"""Answers over which what is learnt is averaged."""


class TokenCosts:
    """Estimates requests, and corrects itself by their answers.

    The first three numbers are always tokens of input and output together, of input, and of output.
    """

    __slots__ = ("_answers", "_output", "_ratio")

    def __init__(self) -> None:
        self._answers = 0
        self._ratio = 1.0  # true input tokens by estimated ones
        self._output = _FIRST_OUTPUT

    def estimate(self, request: ChatRequest) -> tuple[float, float, float, float]:
        """What a request will take: its input by its length, its output as others', at most its `max_tokens`.

        The last number is the input before what was learnt, for `learn`.
        """
        raw = estimate_prompt_tokens(request.messages, request.params)
        prompt = self._ratio * raw
        longest = request.params.get("max_tokens")
        output = min(self._output, longest) if isinstance(longest, int) and longest > 0 else self._output
        return prompt + output, prompt, output, raw

    def learn(self, estimate: tuple[float, ...], usage: Usage) -> tuple[float, float, float]:
        """What the request took in truth."""
        prompt, output = float(usage.prompt_tokens), float(usage.completion_tokens)
        self._answers = min(self._answers + 1, _REMEMBERED)
        if prompt and estimate[3]:
            self._ratio += (prompt / estimate[3] - self._ratio) / self._answers
        self._output += (output - self._output) / self._answers
        return prompt + output, prompt, output
