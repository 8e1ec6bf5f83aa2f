"""Reads the contents of a Gemini request: roles and parts, calls and their responses, thought signatures."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from flexllm_mock.asgi import ApiError
from flexllm_mock.gemini.errors import invalid, wrong
from flexllm_mock.gemini.fields import Fields
from flexllm_mock.tokens import MESSAGE_OVERHEAD, content_tokens

SignatureCheck = Callable[[str], bool]
"""Tells whether a thought signature was made here for the model that is asked."""

SKIP_SIGNATURE = "skip_thought_signature_validator"
"""The value that stands in for the signature of a call that another model made."""

_DATA = ("text", "inlineData", "fileData", "functionCall", "functionResponse")
_OTHER_DATA = ("executableCode", "codeExecutionResult", "toolCall", "toolResponse")
_MODALITIES = {"image": "IMAGE", "audio": "AUDIO", "video": "VIDEO", "application": "DOCUMENT"}
_URL_SAFE = str.maketrans("-_", "+/")


@dataclass(slots=True)
class Turn:
    """One entry of `contents`; `place` is where it stands."""

    role: str
    parts: list[Fields]
    place: str

    def of(self, name: str) -> list[Fields]:
        """Return the parts that hold a kind of data, such as `functionCall`."""
        return [part for part in self.parts if name in part]

    @property
    def text(self) -> str:
        """The text of the turn, without thoughts."""
        return "".join([part["text"] for part in self.of("text") if not part.get("thought")])


def read_turns(contents: list[Fields] | None) -> list[Turn]:
    """Read `contents`. Raises ApiError 400 that names the place."""
    if not contents:
        raise ApiError(400, "* GenerateContentRequest.contents: contents is not specified", param="contents")
    turns: list[Turn] = []
    for at, content in enumerate(contents):
        role = content.get("role", "user")
        if role not in ("user", "model"):
            raise ApiError(400, "Please use a valid role: user, model.", param=f"contents[{at}].role")
        turns.append(Turn(role, read_parts(content, f"contents[{at}]"), f"contents[{at}]"))
    _check_responses(turns)
    return turns


def read_parts(content: Fields, place: str) -> list[Fields]:
    """Return the parts of a content, each of which must hold one kind of data. Raises ApiError 400."""
    parts: list[Fields] = content.get("parts", [])
    if not parts:
        raise ApiError(400, f"* GenerateContentRequest.{place}.parts: contents.parts must not be empty.", param=place)
    for at, part in enumerate(parts):
        _check_part(part, f"{place}.parts[{at}]")
    return parts


def check_signatures(turns: list[Turn], made_here: SignatureCheck, *, required: bool) -> None:
    """Check that signatures were made here and, if `required`, that the first call of each step has one.

    Steps count from the last turn in which the user says something: what is before it is over. Raises ApiError 400.
    """
    begin = max([at for at, turn in enumerate(turns) if turn.role == "user" and not _is_response(turn)], default=0)
    new_step = True
    for at, turn in enumerate(turns):
        for position, part in enumerate(turn.parts):
            signature = part.get("thoughtSignature")
            if signature is not None and not _is_valid(signature, made_here):
                raise ApiError(400, "Corrupted thought signature.", param=f"{turn.place}.parts[{position}]")
            if "functionCall" not in part:
                continue
            if required and new_step and at > begin and signature is None:
                raise ApiError(400, _unsigned(part["functionCall"]["name"], f"{turn.place}.parts[{position}]"))
            new_step = False
        new_step = new_step or turn.role == "user"


def part_tokens(part: Fields) -> tuple[str, int]:
    """Return the modality of a part and its tokens."""
    if "text" in part:
        return "TEXT", content_tokens(part["text"])
    if "functionCall" in part:
        call = part["functionCall"]
        return "TEXT", content_tokens(call["name"] + json.dumps(call.get("args", {})))
    if "functionResponse" in part:
        response = part["functionResponse"]
        return "TEXT", content_tokens(response["name"] + json.dumps(response["response"]))
    medium = part.get("inlineData") or part.get("fileData") or {}
    family = str(medium.get("mimeType", "")).partition("/")[0]
    return _MODALITIES.get(family, "TEXT"), content_tokens([part])


def count_tokens(contents: list[list[Fields]]) -> dict[str, int]:
    """Return the tokens of contents by modality."""
    counts = {"TEXT": MESSAGE_OVERHEAD * len(contents)}
    for parts in contents:
        for part in parts:
            modality, tokens = part_tokens(part)
            counts[modality] = counts.get(modality, 0) + tokens
    return counts


def _check_part(part: Fields, place: str) -> None:
    kinds = [name for name in (*_DATA, *_OTHER_DATA) if name in part]
    if len(kinds) != 1:
        count = "one" if not kinds else "only one"
        raise ApiError(
            400, f"{place}.data: required oneof field 'data' must have {count} initialized field", param=place
        )
    kind = kinds[0]
    if kind == "text":
        if not isinstance(part["text"], str):
            raise wrong(f"{place}.text", "a string", part["text"])
    elif kind in ("inlineData", "fileData"):
        _check_medium(part[kind], kind, place)
    elif kind in ("functionCall", "functionResponse"):
        _check_function(part[kind], kind, place)
    if not isinstance(part.get("thoughtSignature", ""), str):
        raise wrong(f"{place}.thought_signature", "base64", part["thoughtSignature"])


def _check_medium(medium: Fields, kind: str, place: str) -> None:
    name, where = ("data", f"{place}.inline_data") if kind == "inlineData" else ("fileUri", f"{place}.file_data")
    value = medium.get(name)
    if not isinstance(value, str) or not value:
        raise wrong(f"{where}.{name}", "a string that is not empty", value)
    if kind == "inlineData":
        if not isinstance(medium.get("mimeType"), str):
            raise wrong(f"{where}.mime_type", "a media type", medium.get("mimeType"))
        try:
            b64decode(standard_base64(value).encode(), validate=True)
        except ValueError:
            raise invalid(f"{where}.data", "Base64 decoding failed") from None


def _check_function(function: Fields, kind: str, place: str) -> None:
    name, value = function.get("name"), function.get("args" if kind == "functionCall" else "response")
    if not isinstance(name, str) or not name:
        raise wrong(f"{place}.{kind}.name", "a name", name)
    if not isinstance(value, dict) and not (kind == "functionCall" and value is None):
        raise wrong(f"{place}.{kind}", "an object (Struct)", value)


def _check_responses(turns: list[Turn]) -> None:
    """A turn with calls is followed by one with as many responses."""
    for turn, following in pairwise(turns):
        calls, responses = turn.of("functionCall"), following.of("functionResponse")
        if following.role == "model":
            continue
        if len(calls) != len(responses):
            raise ApiError(
                400,
                "Please ensure that the number of function response parts is equal to the number of function call "
                "parts of the function call turn.",
                param=following.place,
            )
    if turns[0].of("functionResponse"):
        raise ApiError(400, "Please ensure that function response turn comes immediately after a function call turn.")


def _is_response(turn: Turn) -> bool:
    return all("functionResponse" in part for part in turn.parts)


def _is_valid(signature: str, made_here: SignatureCheck) -> bool:
    if signature == SKIP_SIGNATURE:
        return True
    signature = standard_base64(signature)
    try:
        if b64decode(signature.encode(), validate=True) == SKIP_SIGNATURE.encode():
            return True
    except ValueError:
        return False
    return made_here(signature)


def standard_base64(text: str) -> str:
    """Return base64 in its ordinary alphabet and with its padding: Google's JSON takes the one for URLs too."""
    text = text.translate(_URL_SAFE)
    return text if "=" in text else text + "=" * (-len(text) % 4)


def _unsigned(name: str, place: str) -> str:
    return (
        f"Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
        f"correctly. Function call `{name}`, position {place}."
    )
