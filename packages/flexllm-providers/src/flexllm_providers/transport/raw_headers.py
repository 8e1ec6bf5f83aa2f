"""The headers of an answer, decoded when somebody looks at them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeVar, overload

DefaultT = TypeVar("DefaultT")


def joined(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields as a dict from lower-case names; repeated ones are joined with `, `."""
    headers: dict[str, str] = {}
    for name, value in pairs:
        key = name.decode("latin-1").lower()
        text = value.strip(b" \t").decode("latin-1")
        headers[key] = f"{headers[key]}, {text}" if key in headers else text
    return headers


class RawHeaders(Mapping[str, str]):
    """Headers as a mapping from lower-case names.

    A batch reads a handful of headers of some answers and none of most, so decoding waits for the
    first look.

    Args:
        head: The head of an answer that a parser has accepted: status line and fields, each ended
            by CRLF except the last.
    """

    __slots__ = ("_fields",)

    def __init__(self, head: bytes) -> None:
        self._fields: bytes | dict[str, str] = head

    def __getitem__(self, name: str) -> str:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    @overload
    def get(self, key: str, /) -> str | None: ...
    @overload
    def get(self, key: str, /, default: str | DefaultT) -> str | DefaultT: ...
    def get(self, key: str, /, default: str | DefaultT | None = None) -> str | DefaultT | None:
        """The value of a header, or `default`."""
        return self._all().get(key, default)

    def _all(self) -> dict[str, str]:
        fields = self._fields
        if isinstance(fields, bytes):
            lines = (line.partition(b":") for line in fields.split(b"\r\n")[1:])
            fields = self._fields = joined((name, value) for name, _, value in lines)
        return fields
