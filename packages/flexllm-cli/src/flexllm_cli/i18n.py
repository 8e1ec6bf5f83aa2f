"""The language of messages: English, or Simplified Chinese where the environment asks for it.

`gettext(text)`, which modules import as `_`, translates a text of ours. `translate_message(text)` translates one that
was put together elsewhere, such as an error of a lower package: the catalogue holds its template, with
`{names}` where values stand.
"""

from __future__ import annotations

import gettext as stdlib_gettext
import os
import re
from collections.abc import Collection, Mapping
from functools import cache
from itertools import islice

from flexllm_cli.po import read_po, templates_of

ENGLISH = "en"
LANGUAGES = (ENGLISH, "zh_CN")
_CHINESE = re.compile(r"zh([_-](cn|sg|my|hans)([_-]\w+)?)?", re.IGNORECASE)
_VARIABLES = ("FLEXLLM_LANG", "LC_ALL", "LC_MESSAGES", "LANG")
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_START = re.compile("[:;] |^[ ,]+")
_LONGEST = 2000
_STARTS = 8
_DEPTH = 3
"""What is looked at of a text: servers write into errors what they like, and the search grows with all of these."""


def language_of(env: Mapping[str, str]) -> str:
    """`zh_CN` or `en`: what the first variable that is set asks for.

    >>> language_of({"LANG": "zh_CN.UTF-8"}), language_of({"FLEXLLM_LANG": "en", "LANG": "zh_CN.UTF-8"})
    ('zh_CN', 'en')
    """
    wanted = next((value for name in _VARIABLES if (value := env.get(name, "").strip())), "")
    return "zh_CN" if _CHINESE.fullmatch(re.split("[.@]", wanted, maxsplit=1)[0]) else ENGLISH


class Catalogue(stdlib_gettext.NullTranslations):
    """Translations by message; what has none stays as it is.

    Args:
        messages: The translation of each message.
        templates: The messages that other texts are held against.
    """

    def __init__(self, messages: Mapping[str, str], templates: Collection[str] = ()) -> None:
        super().__init__()
        self._messages = messages
        self._marked = templates
        self._templates: list[tuple[re.Pattern[str], str]] | None = None

    def gettext(self, message: str) -> str:
        """The translation of a message, or the message."""
        return self._messages.get(message, message)

    def translate_message(self, text: str) -> str:
        """The translation of a text that is a message, or one with values in it, or ends in one.

        A long text that is no message as it stands is given back as it is.
        """
        if not self._messages:
            return text
        return self._messages.get(text) or (self._found_in(text, _DEPTH) if len(text) <= _LONGEST else text)

    def _found_in(self, text: str, depth: int) -> str:
        """The text, from the first place on that a message begins at translated."""
        starts = (0, *(place.end() for place in islice(_START.finditer(text), _STARTS)))
        return next(
            (text[:start] + found for start in starts if (found := self._translated(text[start:], depth))), text
        )

    def _translated(self, text: str, depth: int) -> str | None:
        if " " in text and text in self._messages:  # a word in a text may be the name of anything
            return self._messages[text]
        if not depth:
            return None
        if self._templates is None:
            self._templates = _templates(
                {text: self._messages[text] for text in self._marked if text in self._messages}
            )
        for pattern, translation in self._templates:
            if match := pattern.fullmatch(text):
                values = {name: self._found_in(value, depth - 1) for name, value in match.groupdict().items()}
                return _PLACEHOLDER.sub(lambda place, values=values: values[place[1]], translation)  # type: ignore[misc]
        return None


def _templates(messages: Mapping[str, str]) -> list[tuple[re.Pattern[str], str]]:
    """What texts with values look like; those with more fixed text are tried first."""
    found = {message: text for message, text in messages.items() if re.search(r"\w{3}", _PLACEHOLDER.sub("", message))}
    named = sorted(
        (message for message in found if _PLACEHOLDER.search(message)),
        key=lambda message: -len(_PLACEHOLDER.sub("", message)),
    )
    return [(_pattern(message), found[message]) for message in named]


def _pattern(message: str) -> re.Pattern[str]:
    """The texts that a template makes; values may be empty and may have several lines."""
    parts, seen = [], set()
    for index, part in enumerate(_PLACEHOLDER.split(message)):
        if index % 2 == 0:
            parts.append(re.escape(part))
        elif part in seen:
            parts.append(f"(?P={part})")
        else:
            seen.add(part)
            parts.append(f"(?P<{part}>.*?)")
    return re.compile("".join(parts), re.DOTALL)


@cache
def catalogue_of(language: str) -> Catalogue:
    """The catalogue of a language; an empty one for English."""
    if language == ENGLISH:
        return Catalogue({})
    from importlib.resources import files  # English needs none of it

    text = (files("flexllm_cli") / "locale" / f"{language}.po").read_text(encoding="utf-8")
    return Catalogue(read_po(text), templates_of(text))


def language() -> str:
    """The language that the environment asks for now."""
    return language_of(os.environ)


def current() -> Catalogue:
    """The catalogue of that language."""
    return catalogue_of(language())


def gettext(message: str) -> str:
    """A message of ours in the user's language."""
    return current().gettext(message)


def translate_message(text: str) -> str:
    """A text of another package in the user's language, where its template is known; else as it is."""
    return current().translate_message(text)
