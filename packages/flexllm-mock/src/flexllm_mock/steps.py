"""The steps of a stream, one per token: as texts, or as what they share and the tokens that tell them apart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EvenSteps:
    """Steps that are alike: `before`, the token as it stands within a JSON string, and `after`. At least one.

    `opening` belongs to the first step and `closing` to the last. The steps are written out only when someone goes
    through them; most streams are sent as a whole, which takes a fraction of the time.
    """

    before: str
    tokens: Sequence[str]
    after: str
    opening: str
    closing: str

    def __len__(self) -> int:
        return len(self.tokens)

    def __iter__(self) -> Iterator[str]:
        steps = [f"{self.before}{token}{self.after}" for token in self.tokens]
        steps[0] = self.opening + steps[0]
        steps[-1] += self.closing
        return iter(steps)

    def whole(self) -> str:
        """Return all steps as one text."""
        between = self.after + self.before
        return f"{self.opening}{self.before}{between.join(self.tokens)}{self.after}{self.closing}"


Steps = list[str] | EvenSteps


def whole(steps: Steps) -> str:
    """Return all steps of a stream as one text."""
    return "".join(steps) if isinstance(steps, list) else steps.whole()
