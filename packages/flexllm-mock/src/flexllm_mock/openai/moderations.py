"""OpenAI's moderations."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiRequest, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.faults.dice import Dice
from flexllm_mock.identity import answer_key
from flexllm_mock.jsontext import canonical
from flexllm_mock.openai.errors import OpenAIErrors, unknown_model
from flexllm_mock.openai.inputs import identify
from flexllm_mock.openai.parameters import invalid, missing
from flexllm_mock.scripted import Prescribed

_DEFAULT_MODEL = "omni-moderation-latest"
_BOTH = frozenset(("self-harm", "self-harm/instructions", "self-harm/intent", "sexual", "violence", "violence/graphic"))
_CATEGORIES = (
    *("harassment", "harassment/threatening", "hate", "hate/threatening", "illicit", "illicit/violent"),
    *("self-harm", "self-harm/instructions", "self-harm/intent"),
    *("sexual", "sexual/minors", "violence", "violence/graphic"),
)
# Words that stand for themselves: a text is flagged for a category when it holds its name, in whichever spelling.
_SPELLINGS = {name: {name, name.replace("/", " "), name.replace("-", " ")} for name in _CATEGORIES}


class ModerationsEndpoint(OpenAIErrors):
    """`POST {prefix}/moderations`: flags what names a category, such as "violence", and nothing else."""

    methods = frozenset(("POST",))
    generates = True

    def __init__(self, config: MockConfig) -> None:
        super().__init__(config.seed)
        self._config = config

    def read(self, request: ApiRequest) -> None:
        """Parse the body and identify its content: input and model."""
        identify(request, "input", _DEFAULT_MODEL)

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Answer with scores for each input."""
        payload = request.payload or {}
        model = payload.get("model", _DEFAULT_MODEL)
        if not isinstance(model, str) or not model:
            raise invalid("model", "a name", model)
        if self._config.strict_models and "model" in payload and model not in self._config.models:
            raise unknown_model(model)
        inputs = _read_inputs(payload)
        mark = answer_key(self._key, request.digest, {}).hex()
        results = [self._judge(model, texts, has_image=has_image) for texts, has_image in inputs]
        body = json.dumps({"id": f"modr-{mark[:24]}", "model": model, "results": results}, separators=(",", ":"))
        return Reply(200, b"req_" + mark[24:56].encode(), body=body.encode())

    def _judge(self, model: str, text: str, *, has_image: bool) -> dict[str, Any]:
        dice = Dice(answer_key(self._key, canonical([model, text, has_image]), {}))
        lowered = text.lower()
        categories = {name: any(word in lowered for word in _SPELLINGS[name]) for name in _CATEGORIES}
        scores = {
            name: (900_000 + dice.below(100_000) if flagged else 1 + dice.below(9_999)) / 1_000_000
            for name, flagged in categories.items()
        }
        kinds = [*(["text"] if text or not has_image else []), *(["image"] if has_image else [])]
        applied = {name: [kind for kind in kinds if kind == "text" or name in _BOTH] for name in _CATEGORIES}
        return {
            "flagged": any(categories.values()),
            "categories": categories,
            "category_scores": scores,
            "category_applied_input_types": applied,
        }


def _read_inputs(payload: dict[str, Any]) -> list[tuple[str, bool]]:
    """Read the text of each input and whether it has an image; parts of text and images together are one input."""
    given = payload.get("input")
    if given is None:
        raise missing("input")
    if isinstance(given, str):
        return [(given, False)]
    if not isinstance(given, list) or not given:
        raise invalid("input", "a text, a list of texts, or a list of parts", given)
    if all(isinstance(each, str) for each in given):
        return [(each, False) for each in given]
    texts, has_image = list[str](), False
    for at, part in enumerate(given):
        kind = part.get("type") if isinstance(part, dict) else None
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
        elif kind == "image_url" and isinstance(part.get("image_url"), dict):
            has_image = True
        else:
            raise invalid(f"input[{at}]", "a text or an image_url part", part)
    return [("\n".join(texts), has_image)]
