"""Forms as clients send files."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flexllm_mock.asgi import ApiError
from flexllm_mock.multipart import read_form, text_field

TYPE = 'multipart/form-data; boundary="b0"'


def part(name, content, filename=None):
    """One part as clients write it."""
    extra = b"" if filename is None else b'; filename="%s"\r\nContent-Type: application/octet-stream' % filename
    return b'--b0\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (name, extra, content)


def test_fields_and_files():
    """Plain values and files are read, in any order, with a preamble or without."""
    body = part(b"purpose", b"batch") + part(b"file", b"a\r\n\x00--b0x", b"in.jsonl") + b"--b0--\r\n"
    for before in (b"", b"preamble\r\n"):
        form = read_form(TYPE, before + body)
        assert text_field(form, "purpose") == "batch"
        assert (form["file"].filename, form["file"].content) == ("in.jsonl", b"a\r\n\x00--b0x")
        assert text_field(form, "other") is None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_content(content):
    """Whatever a file holds comes back byte by byte, unless it holds the boundary of the form."""
    if b"\r\n--b0" not in b"\r\n" + content:
        assert read_form(TYPE, part(b"file", content, b"f") + b"--b0--")["file"].content == content


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (None, b""),
        ("application/json", b"{}"),
        ("multipart/form-data", part(b"a", b"b") + b"--b0--"),
        (TYPE, b""),
        (TYPE, b"no boundary"),
        (TYPE, part(b"a", b"b")),
        (TYPE, b"--b0\r\nno headers--b0--"),
        (TYPE, b"--b0\r\nContent-Type: text/plain\r\n\r\nx\r\n--b0--"),
        (TYPE, b"--b0\r\nContent-Disposition: form-data\r\n\r\nx\r\n--b0--"),
        (TYPE, part(b"a", b"b") * 101 + b"--b0--"),
    ],
)
def test_wrong_forms_are_refused(kind, body):
    """What is no form is refused."""
    if body.startswith(b"--b0") and body.count(b"--b0\r\n") > 100:
        body = b"".join([part(b"%d" % number, b"") for number in range(101)]) + b"--b0--"
    with pytest.raises(ApiError) as caught:
        read_form(kind, body)
    assert caught.value.status == 400


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from([b"--b0", b"\r\n", b"--", b"\r\n\r\n", b'Content-Disposition: form-data; name="a"', b"x"]))
)
def test_any_body(pieces):
    """No body breaks the reader: it returns a form or refuses."""
    try:
        form = read_form(TYPE, b"".join(pieces))
    except ApiError as error:
        assert error.status == 400  # noqa: PT017 either is right
    else:
        assert all(name == field.name for name, field in form.items())


def test_text_must_be_text():
    """A value that is not UTF-8 is refused with its name."""
    form = read_form(TYPE, part(b"purpose", b"\xff") + b"--b0--")
    with pytest.raises(ApiError) as caught:
        text_field(form, "purpose")
    assert caught.value.param == "purpose"
