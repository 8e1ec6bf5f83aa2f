"""Server-sent events: every form that servers send, in any pieces, within bounds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.errors import LLMResponseError
from flexllm_providers.sse import ServerSentEvent, SSEParser


def parse(data: bytes, *cuts: int) -> list[tuple[str, str]]:
    """The events of a body that arrives in pieces cut at `cuts`."""
    parser = SSEParser()
    events: list[ServerSentEvent] = []
    at = 0
    for cut in (*sorted(cuts), len(data)):
        events += parser.feed(data[at:cut])
        at = max(at, cut)
    events += parser.close()
    return [(event.event, event.data) for event in events]


@pytest.mark.parametrize(
    ("body", "events"),
    [
        (b"data: a\n\n", [("", "a")]),
        (b"data:a\n\n", [("", "a")]),
        (b"data:  a \n\n", [("", " a ")]),
        (b"data: a\r\n\r\n", [("", "a")]),
        (b"data: a\r\rdata: b\r\r", [("", "a"), ("", "b")]),
        (b"data: a\ndata: b\n\n", [("", "a\nb")]),
        (b"data: a\ndata\ndata: b\n\n", [("", "a\n\nb")]),
        (b"data\n\n", [("", "")]),
        (b": keep-alive\n\ndata: a\n\n", [("", "a")]),
        (b": OPENROUTER PROCESSING\n\n: OPENROUTER PROCESSING\n\ndata: a\n\n", [("", "a")]),
        (b"data: a\n: in the middle\ndata: b\n\n", [("", "a\nb")]),
        (b"event: message_start\ndata: {}\n\ndata: {}\n\n", [("message_start", "{}"), ("", "{}")]),
        (b"event: ping\n\ndata: a\n\n", [("", "a")]),
        (b"id: 1\nretry: 5\nunknown: x\ndata: a\n\n", [("", "a")]),
        (b"\n\n\r\n\ndata: a\n\n\n\n", [("", "a")]),
        (b"data: a\n\ndata: [DONE]\n\n", [("", "a"), ("", "[DONE]")]),
        (b"\xef\xbb\xbfdata: a\n\n", [("", "a")]),
        (b"data: a\n\ndata: b", [("", "a"), ("", "b")]),
        (b"data: a\n\ndata: b\n", [("", "a"), ("", "b")]),
        (b"data: a\n\ndat", [("", "a")]),
        ("data: 你好 🎉\n\n".encode(), [("", "你好 🎉")]),
        (b"data: \xff\xfe\n\n", [("", "\ufffd\ufffd")]),
        ("data: a\u2028b\x85c\x0bd\n\n".encode(), [("", "a\u2028b\x85c\x0bd")]),
        (b" data: a\n\n", []),
        (b"DATA: a\n\n", []),
        (b"", []),
        (b"<html>\n<body>oops</body>\n</html>", []),
    ],
)
def test_each_form_is_read(body: bytes, events: list[tuple[str, str]]) -> None:
    """With or without a space, LF, CRLF or CR, comments, several data lines, names, a missing last blank line."""
    assert parse(body) == events


CONTENTS = [
    b"data: a",
    b"data:",
    b"event: x",
    b"",
    b"",
    b":c",
    "data: é🎉".encode(),
    b"\xef\xbb\xbfdata",
    b" ",
    b"\xff",
]
LINES = st.tuples(st.sampled_from(CONTENTS), st.sampled_from([b"\n", b"\r\n", b"\r", b"\n\n", b""])).map(b"".join)
BODIES = st.lists(LINES, max_size=12).map(b"".join)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_a_cut_anywhere_gives_the_same_events(end: bytes) -> None:
    """In every kind of line end too, which is one line end and not two."""
    lines = [b"\xef\xbb\xbfevent: x", b"data: a", b"data: b", b"", b": c", "data: é🎉".encode(), b"", b""]
    body = end.join(lines)
    assert parse(body) == [("x", "a\nb"), ("", "é🎉")]
    for cut in range(len(body)):
        assert parse(body, cut) == parse(body)
        assert parse(body, cut, cut + 1) == parse(body)


@given(BODIES, st.lists(st.integers(0, 150), max_size=8))
def test_any_split_gives_the_same_events(body: bytes, cuts: list[int]) -> None:
    """The network cuts anywhere: in a line end, in a character, in the byte order mark."""
    cuts = [min(cut, len(body)) for cut in cuts]
    assert parse(body, *cuts) == parse(body)
    assert parse(body, *range(len(body))) == parse(body)


@given(st.lists(st.tuples(st.sampled_from(["", "x"]), st.text().filter(lambda text: "\r" not in text)), max_size=5))
def test_what_a_server_writes_is_what_is_read(events: list[tuple[str, str]]) -> None:
    """Any text survives, whatever characters are in it."""
    body = "".join(
        (f"event: {name}\n" if name else "") + "".join(f"data: {line}\n" for line in text.split("\n")) + "\n"
        for name, text in events
    )
    assert parse(body.encode("utf-8", "surrogatepass")) == [
        (name, text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")) for name, text in events
    ]


def feed_all(chunks: list[bytes], limit: int) -> None:
    """Feed chunks to a parser with a limit."""
    parser = SSEParser(max_event_bytes=limit)
    for chunk in chunks:
        parser.feed(chunk)


@pytest.mark.parametrize(
    "endless",
    [b"data: aaaaaaaaaaaaaaaa\n", b"data:\n", b"a" * 20, b"event: " + b"a" * 20],
    ids=["data", "empty", "no line end", "name"],
)
def test_an_event_that_never_ends_is_an_error(endless: bytes) -> None:
    """Before it fills the memory, and it is not tried again."""
    with pytest.raises(LLMResponseError, match="more than 10000 bytes") as caught:
        feed_all([endless] * 20_000, 10_000)
    assert not caught.value.retryable


@pytest.mark.parametrize("line", [b"data: " + b"a" * 20_000 + b"\n\n", b": " + b"a" * 20_000 + b"\n"])
def test_a_line_over_the_limit_is_an_error_however_it_arrives(line: bytes) -> None:
    """Whole in one piece too."""
    for size in (1000, len(line)):
        with pytest.raises(LLMResponseError):
            feed_all([line[at : at + size] for at in range(0, len(line), size)], 10_000)


def test_many_small_events_are_no_big_one() -> None:
    """The limit is for one event."""
    parser = SSEParser(max_event_bytes=100)
    assert sum(len(parser.feed(b"data: aaaaaaaaaa\n\n")) for _ in range(1000)) == 1000


def test_a_long_line_in_small_pieces_costs_no_more_than_its_length() -> None:
    """A server that trickles cannot keep the event loop busy: 8 MB in 128-byte pieces would be hours if quadratic."""
    parser = SSEParser()
    started = time.monotonic()
    for _ in range(65_536):
        parser.feed(b"a" * 128)
    assert time.monotonic() - started < 30
