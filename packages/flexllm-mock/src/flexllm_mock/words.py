"""Plausible English for a key: sentences from a small vocabulary, one word per token."""

from __future__ import annotations

from hashlib import shake_128
from itertools import cycle


def _table(words: str, end: str = "") -> tuple[str, ...]:
    """Spread words over the 256 values of a byte, each with the space that comes before it."""
    listed = words.split()
    return tuple(f" {listed[value % len(listed)]}{end}" for value in range(256))


_NOUNS = (
    "answer bridge captain city corner engine evening farmer field forest garden harbour island journey kitchen ladder "
    "letter library market mirror morning mountain museum office orchard painter pattern river school signal station "
    "teacher valley village window writer"
)
_NOUN, _LAST_NOUN, _PAUSE = _table(_NOUNS), _table(_NOUNS, "."), _table(_NOUNS, ",")
_ADJECTIVE = _table(
    "quiet early narrow careful distant familiar gentle heavy hidden honest latest local modern open patient plain "
    "recent remote shared simple small steady sudden useful usual visible warm western wide winter young"
)
_VERB = _table(
    "answers carries changes collects crosses describes draws explains finds follows gathers guards improves keeps "
    "lifts marks measures moves notices offers opens paints passes prepares reaches reads remembers repairs shapes "
    "shows supports visits"
)
_LAST_ADVERB = _table(
    "again calmly carefully clearly daily early gladly later often quickly quietly rarely slowly", "."
)
_DETERMINER = _table("the every each this that one another")
_OPENING = _table("The Every Each This That One Another Any")
_LINK = _table("near behind beyond across above below before after")
_CONJUNCTION = _table("and but while because so although")

_SHORT = (_OPENING, _ADJECTIVE, _NOUN, _VERB, _DETERMINER, _LAST_NOUN)
_PLACED = (_OPENING, _NOUN, _VERB, _DETERMINER, _NOUN, _LINK, _DETERMINER, _ADJECTIVE, _LAST_NOUN)
_MANNER = (_OPENING, _ADJECTIVE, _NOUN, _VERB, _DETERMINER, _ADJECTIVE, _NOUN, _LAST_ADVERB)
_JOINED = (_OPENING, _NOUN, _VERB, _DETERMINER, _PAUSE, _CONJUNCTION, _DETERMINER, _NOUN, _VERB, _LAST_ADVERB)
_PARAGRAPHS = (
    _SHORT + _PLACED + _MANNER + _JOINED,
    _MANNER + _JOINED + _SHORT + _PLACED,
    _PLACED + _MANNER + _JOINED + _SHORT,
    _JOINED + _SHORT + _PLACED + _MANNER,
)


def sentence_tokens(key: bytes, count: int) -> list[str]:
    """Return `count` (at least 1) tokens whose concatenation is English text that ends with a full stop."""
    draws = shake_128(key).digest(count + 1)
    paragraph = _PARAGRAPHS[draws[count] & 3]
    tables = paragraph if count <= len(paragraph) else cycle(paragraph)
    tokens = [table[draw] for table, draw in zip(tables, draws[:count], strict=False)]
    tokens[0] = tokens[0][1:]
    last = tokens[-1]
    if last[-1] != ".":
        tokens[-1] = last.rstrip(",") + "."
    return tokens


def phrase(key: bytes, count: int) -> str:
    """Return `count` lower-case words without punctuation, such as a title or a name."""
    draws = shake_128(key).digest(count)
    tables = (_ADJECTIVE, _NOUN)
    return "".join([tables[at & 1][draw] for at, draw in enumerate(draws)])[1:]


def other_words(draw: int, count: int, token: str) -> list[str]:
    """Return `count` (at most 30) different tokens other than the given one, from a place that the draw says."""
    listed = [f" {noun}" for noun in _NOUNS.split()]
    first = draw % len(listed)
    return [word for word in listed[first:] + listed[:first] if word != token][:count]
