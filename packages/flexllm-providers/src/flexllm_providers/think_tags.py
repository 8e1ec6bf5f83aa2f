"""Reasoning that stands in `<think>` tags inside the content, for endpoints whose dialect says so."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


def split_think_tags(content: str) -> tuple[str | None, str]:
    """Reasoning and answer. A closing tag alone is enough: some templates put the opening one into the prompt.

    >>> split_think_tags("<think>hm</think>Hi"), split_think_tags("hm</think>Hi"), split_think_tags("Hi")
    (('hm', 'Hi'), ('hm', 'Hi'), (None, 'Hi'))
    """
    head, tag, answer = content.partition(CLOSE)
    if not tag:
        # Cut before the tag was closed: all of it is reasoning.
        stripped = content.lstrip()
        return (stripped[len(OPEN) :].strip(), "") if stripped.startswith(OPEN) else (None, content)
    return head.strip().removeprefix(OPEN).strip(), answer.lstrip("\n")


class ThinkTagSplitter:
    """`split_think_tags` for a text that arrives in pieces: all pieces together give the same.

    Reasoning and answer are passed on as they come, once it is clear which of them a piece is. A text
    that does not begin with the opening tag is held until its closing tag or its end.
    """

    def __init__(self) -> None:
        self._held = ""
        self._thinking = False  # the opening tag was there
        self._answering = False  # the closing tag was there
        self._begun = False  # something of the part that is being passed on was already

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """The pieces that are certain now, each with whether it is reasoning."""
        if self._answering:
            return self._piece(False, text if self._begun else text.lstrip("\n"))
        searched = max(0, len(self._held) - len(CLOSE))
        self._held += text
        if not self._thinking and (stripped := self._held.lstrip()).startswith(OPEN):
            self._thinking, self._held, searched = True, stripped[len(OPEN) :], 0
        end = self._held.find(CLOSE, searched)
        if end >= 0:
            head, answer = self._held[:end], self._held[end + len(CLOSE) :]
            out = self._piece(True, head.rstrip() if self._begun else head.strip())
            self._held, self._answering, self._begun = "", True, False
            return [*out, *self.feed(answer)]
        if not self._thinking:
            return []
        # Kept back: what may be the beginning of the closing tag, and white space that may end the reasoning.
        beginning = next((n for n in range(len(CLOSE) - 1, 0, -1) if self._held.endswith(CLOSE[:n])), 0)
        ready = self._held[: len(self._held) - beginning].rstrip()
        self._held = self._held[len(ready) :]
        return self._piece(True, ready if self._begun else ready.lstrip())

    def close(self) -> list[tuple[bool, str]]:
        """What was held, at the end of the text."""
        held, self._held = self._held, ""
        if self._thinking and not self._answering:
            return self._piece(True, held.rstrip() if self._begun else held.strip())
        return self._piece(False, held)

    def _piece(self, is_reasoning: bool, text: str) -> list[tuple[bool, str]]:
        self._begun = self._begun or bool(text)
        return [(is_reasoning, text)] if text else []
