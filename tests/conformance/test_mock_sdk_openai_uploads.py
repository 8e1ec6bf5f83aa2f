"""The mock's uploads in parts, driven through OpenAI's own client and held against its types."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

openai = pytest.importorskip("openai", reason="needs OpenAI's SDK: pip install openai")
pydantic = pytest.importorskip("pydantic", reason="needs pydantic, which OpenAI's SDK brings")

from openai.types import FileObject, Upload  # noqa: E402 only where the SDK is installed
from openai.types.uploads import UploadPart  # noqa: E402

SDK = "openai"

BODY = {"model": "mock", "messages": [{"role": "user", "content": "Hi"}]}
LINE = json.dumps({"custom_id": "a", "method": "POST", "url": "/v1/chat/completions", "body": BODY}).encode()
NEW: Any = {"bytes": len(LINE), "filename": "in.jsonl", "mime_type": "application/jsonl", "purpose": "batch"}


def test_file_of_parts(client: Any, strict: Any) -> None:
    """Parts make a file in the order that the end names; each answer satisfies its type, and a batch takes the file."""
    begun = strict(Upload, client.uploads.with_raw_response.create(**NEW).text)
    assert (begun.status, begun.file, begun.bytes) == ("pending", None, len(LINE))
    assert begun.expires_at == begun.created_at + 3600
    add = client.uploads.parts.with_raw_response.create
    parts = [strict(UploadPart, add(begun.id, data=data).text) for data in (LINE[50:], LINE[:50])]
    assert {part.upload_id for part in parts} == {begun.id}
    names = [parts[1].id, parts[0].id]
    digest = hashlib.md5(LINE, usedforsecurity=False).hexdigest()
    done = strict(Upload, client.uploads.with_raw_response.complete(begun.id, part_ids=names, md5=digest).text)
    assert (done.status, done.id) == ("completed", begun.id)
    assert strict(FileObject, client.files.with_raw_response.retrieve(done.file.id).text) == done.file
    assert (done.file.filename, done.file.bytes) == ("in.jsonl", len(LINE))
    assert client.files.content(done.file.id).content == LINE
    wanted: Any = {"endpoint": "/v1/chat/completions", "completion_window": "24h"}
    batch = client.batches.create(input_file_id=done.file.id, **wanted)
    assert client.batches.retrieve(batch.id).request_counts.completed == 1


def test_sdk_uploads_a_file_in_chunks(client: Any, tmp_path: Path) -> None:
    """What the SDK cuts into parts by itself arrives whole."""
    path = tmp_path / "big.jsonl"
    path.write_bytes(b"0123456789" * 1000)
    done = client.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="user_data", part_size=3_000
    )
    assert done.status == "completed"
    assert client.files.content(done.file.id).content == path.read_bytes()
    assert done.file.expires_at is None


def test_upload_is_cancelled(client: Any, strict: Any) -> None:
    """A cancelled upload takes no more parts, cannot be completed, and leaves no file."""
    begun = client.uploads.create(**NEW, expires_after={"anchor": "created_at", "seconds": 3600})
    part = client.uploads.parts.create(begun.id, data=LINE)
    assert strict(Upload, client.uploads.with_raw_response.cancel(begun.id).text).status == "cancelled"
    for call in (
        lambda: client.uploads.parts.create(begun.id, data=LINE),
        lambda: client.uploads.complete(begun.id, part_ids=[part.id]),
        lambda: client.uploads.cancel(begun.id),
    ):
        with pytest.raises(openai.BadRequestError, match="is cancelled"):
            call()
    assert client.files.list().data == []
    with pytest.raises(openai.NotFoundError, match="upload_none"):
        client.uploads.cancel("upload_none")


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"bytes": None}, "bytes"),
        ({"bytes": 0}, "bytes"),
        ({"bytes": 2**40}, "bytes"),
        ({"filename": ""}, "filename"),
        ({"mime_type": None}, "mime_type"),
        ({"purpose": "fun"}, "purpose"),
        ({"expires_after": {"anchor": "now", "seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "created_at", "seconds": 1}}, "expires_after.seconds"),
    ],
)
def test_wrong_uploads_are_refused(client: Any, options: Any, param: str) -> None:
    """What is missing or wrong at the beginning is named."""
    with pytest.raises(openai.BadRequestError) as caught:
        client.uploads.create(**{**NEW, **options})
    assert caught.value.param == param


def test_wrong_ends_are_refused(client: Any) -> None:
    """Parts must be there, known, and add up to the announced bytes and the MD5; then the upload still can be ended."""
    begun = client.uploads.create(**NEW)
    with pytest.raises(openai.BadRequestError, match="from 1 to 67108864 bytes"):
        client.uploads.parts.create(begun.id, data=b"")
    part = client.uploads.parts.create(begun.id, data=LINE[:50])
    with pytest.raises(openai.BadRequestError, match="more than the"):
        client.uploads.parts.create(begun.id, data=LINE)
    rest = client.uploads.parts.create(begun.id, data=LINE[50:])
    for names, options, problem in (
        ([], {}, "part_ids"),
        (["part_none"], {}, "no part 'part_none'"),
        ([part.id], {}, "50 bytes"),
        ([part.id, rest.id], {"md5": "0" * 32}, "MD5"),
    ):
        with pytest.raises(openai.BadRequestError, match=problem):
            client.uploads.complete(begun.id, part_ids=names, **options)
    assert client.uploads.complete(begun.id, part_ids=[part.id, rest.id]).file.bytes == len(LINE)
