"""Log probabilities of an answer's tokens, and of the tokens that might have come instead. Knows no wire format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from flexllm_mock.answers import Choice
from flexllm_mock.faults.dice import Dice
from flexllm_mock.words import other_words

MAX_TOP_LOGPROBS = 20
"""The most tokens whose probability can be asked for at each place."""

_LEAST, _SPAN = 0.4, 0.59


@dataclass(frozen=True, slots=True)
class TokenScore:
    """A token, its log probability, and the most likely tokens at its place, itself first, if any were asked for."""

    token: str
    logprob: float
    top: tuple[tuple[str, float], ...]


def score(tokens: Sequence[str], key: bytes, top: int) -> list[TokenScore]:
    """Score each token; the one that stands there is the likeliest, and all at a place are less than 1 together."""
    scores: list[TokenScore] = []
    for index, token in enumerate(tokens):
        dice = Dice(key + b"logprobs" + index.to_bytes(4, "big"))
        share = _LEAST + _SPAN * dice.below(1_000_000) / 1_000_000
        listed, rest = [(token, _log(share))], 1 - share
        for other in other_words(dice.below(1 << 16), top - 1, token) if top > 1 else ():
            rest /= 2
            listed.append((other, _log(rest)))
        scores.append(TokenScore(token, listed[0][1], tuple(listed[:top])))
    return scores


def score_choices(choices: Sequence[Choice], key: bytes, top: int) -> list[list[TokenScore]]:
    """Score the content of each of the choices of one answer."""
    return [score(choice.content, key + index.to_bytes(4, "big"), top) for index, choice in enumerate(choices)]


def utf8_bytes(token: str) -> list[int]:
    """Return the bytes of a token; a lone surrogate has no UTF-8, so it is written as WTF-8 does."""
    return list(token.encode("utf-8", "surrogatepass"))


def _log(share: float) -> float:
    return round(log(share), 6)
