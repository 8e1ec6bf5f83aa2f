"""Reads `multipart/form-data`, as clients send files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.utils import collapse_rfc2231_value

from flexllm_mock.asgi import ApiError

_MAX_PARTS = 100
_MAX_HEAD = 16 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """One field of a form; `filename` is None for a plain value."""

    name: str
    filename: str | None
    content: bytes


def read_form(content_type: str | None, body: bytes) -> dict[str, Part]:
    """Return the fields of a form by name, of fields with one name the last. Raises ApiError 400."""
    kind = Message()
    kind["content-type"] = content_type or ""
    boundary = kind.get_boundary()
    if kind.get_content_type() != "multipart/form-data" or not boundary:
        raise ApiError(400, "The body must be multipart/form-data with a boundary.")
    mark = b"--" + boundary.encode("latin-1", "replace")
    found: dict[str, Part] = {}
    at = 0 if body.startswith(mark) else body.find(b"\r\n" + mark) + 2
    if at < 2 and not body.startswith(mark):
        raise _malformed("no boundary")
    while True:
        at += len(mark)
        if body.startswith(b"--", at):
            return found
        end = body.find(b"\r\n" + mark, at)
        head_end = body.find(b"\r\n\r\n", at, at + _MAX_HEAD)
        if end < 0 or not at <= head_end:
            raise _malformed("a part has no end, or no headers")
        if len(found) >= _MAX_PARTS:
            raise _malformed(f"more than {_MAX_PARTS} parts")
        # A part without content ends where its head does.
        part = _part(body[at:head_end], body[head_end + 4 : max(end, head_end + 4)])
        found[part.name] = part
        at = end + 2


def text_field(form: dict[str, Part], name: str) -> str | None:
    """Return a plain value of a form, None when it is not there. Raises ApiError 400 when it is not text."""
    part = form.get(name)
    if part is None:
        return None
    try:
        return part.content.decode()
    except UnicodeDecodeError:
        raise ApiError(400, f"Invalid value for {name!r}: it is not UTF-8.", param=name) from None


def _part(head: bytes, content: bytes) -> Part:
    disposition = re.search(rb"(?i)content-disposition:[ \t]*([^\r\n]*)", head)
    if disposition is None:
        raise _malformed("a part has no content-disposition")
    parsed = Message()
    parsed["content-disposition"] = disposition[1].decode("utf-8", "replace").replace("\n", "")
    name = parsed.get_param("name", header="content-disposition")
    if name is None:
        raise _malformed("a part has no name")
    filename = parsed.get_param("filename", header="content-disposition")
    shown = None if filename is None else collapse_rfc2231_value(filename)
    return Part(collapse_rfc2231_value(name), shown, content)


def _malformed(problem: str) -> ApiError:
    return ApiError(400, f"The multipart/form-data body is malformed: {problem}.")
