"""Media that rows name: embedded when asked for, refused where it must be, row by row."""

from __future__ import annotations

import base64
import json
import struct

import pytest

from flexllm import ConfigError, InputError, LLMClient, MediaPolicy
from flexllm_mock import MockServer

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da63fccfc0f01f0005050201"
    "3a3c1f2e0000000049454e44ae426082"
)


def question(url: str) -> list[dict]:
    parts = [{"type": "text", "text": "Describe"}, {"type": "image_url", "image_url": {"url": url}}]
    return [{"role": "user", "content": parts}]


@pytest.fixture
def pictures(tmp_path):
    """A folder with one picture, beside a secret."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    (folder / "dot.png").write_bytes(PIXEL)
    (tmp_path / "secret.png").write_bytes(PIXEL)
    return folder


def test_a_batch_embeds_what_is_below_the_root_and_refuses_the_rest(cli, files, mock, pictures):
    """Files elsewhere and private addresses fail their own rows, which say why; the others are answered."""
    urls = ["dot.png", "../secret.png", "file:///etc/passwd", "http://169.254.169.254/x.png", "https://127.0.0.1/x.png"]
    files.write_input([{"messages": question(url)} for url in urls])
    done = cli(
        "batch", files.input, "-o", files.output, "-m", "m", "--base-url", mock.base_url, "--media-root", pictures
    )
    assert done.returncode == 1
    lines = files.lines()
    assert [line["status"] for line in lines] == ["success", *["error"] * 4]
    assert all("messages[0].content[1]" in line["error"]["message"] for line in lines[1:])
    assert mock.requests() == 1
    assert "dot.png" in str(lines[0]["input"])


async def test_a_call_embeds_when_asked(mock, pictures):
    """And sends the message as it stands when not."""
    async with LLMClient(model="m", base_url=mock.base_url) as client:
        messages = question("dot.png")
        assert await client.chat_completions(messages, preprocess=True, media_root=str(pictures))
        assert messages == question("dot.png")
        with pytest.raises(InputError, match=r"messages\[0\]\.content\[1\]"):
            await client.chat(messages, preprocess=True)
        batch = await client.chat_batch([messages], preprocess=True, media_root=str(pictures))
        assert batch[0].ok
    assert mock.requests() == 2


@pytest.fixture
def server():
    """A mock server in this process, whose requests can be looked at."""
    with MockServer() as running:
        yield running


@pytest.fixture
def large(pictures):
    """The folder, with a picture of 300 x 100 pixels."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is an extra")
    pillow.new("RGB", (300, 100)).save(pictures / "large.png")
    return pictures


def sizes(server: MockServer) -> list[tuple[int, int]]:
    """The sizes of the PNG pictures that were sent."""
    bodies = [json.loads(request.body) for request in server.requests]
    urls = [body["messages"][0]["content"][1]["image_url"]["url"] for body in bodies]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [struct.unpack(">II", base64.b64decode(url.partition(",")[2])[16:24]) for url in urls]


async def test_a_policy_makes_images_smaller_in_every_kind_of_call(server, large):
    """Single, streamed, and in batches; the root stands in the policy or beside it."""
    policy = MediaPolicy(media_root=large, max_image_side=30)
    messages = question("large.png")
    async with LLMClient(model="m", base_url=server.base_url) as client:
        await client.chat(messages, preprocess=policy)
        await client.chat_completions(messages, preprocess=MediaPolicy(max_image_side=60), media_root=large)
        assert [event async for event in client.chat_stream(messages, preprocess=policy)][-1].type == "done"
        assert (await client.chat_batch([messages], preprocess=policy))[0].ok
        assert await client.chat_completions(messages, preprocess=True, media_root=str(large))
    assert sizes(server) == [(30, 10), (60, 20), (30, 10), (30, 10), (300, 100)]


async def test_a_wrong_policy_is_refused_before_anything_is_sent(server, pictures):
    """Neither a text nor two roots; and without Pillow nothing would be made smaller."""
    async with LLMClient(model="m", base_url=server.base_url) as client:
        with pytest.raises(ConfigError, match="preprocess: expected True, False or a MediaPolicy, found str"):
            await client.chat("Hello", preprocess="images")
        with pytest.raises(ConfigError, match="media_root: the MediaPolicy names a root too"):
            await client.chat("Hello", preprocess=MediaPolicy(media_root=pictures), media_root=pictures)
        with pytest.raises(ConfigError, match="preprocess"):
            await client.chat_batch(["Hello"], preprocess=["images"])
    assert not server.requests


def test_a_batch_makes_images_smaller(cli, files, server, large):
    """`--max-image-side`, beside the folder; without one no local file is read."""
    files.write_input([{"messages": question("large.png")}])
    where = ("-m", "m", "--base-url", server.base_url)
    done = cli("batch", files.input, "-o", files.output, *where, "--media-root", large, "--max-image-side", 50)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert sizes(server) == [(50, 17)]
    other = files.output.with_name("other.jsonl")
    done = cli("batch", files.input, "-o", other, *where, "--max-image-side", 50)
    assert done.returncode == 1
    assert "there is no media root" in other.read_text()
    assert len(server.requests) == 1
    assert cli("batch", files.input, "-o", other, *where, "--max-image-side", 0).returncode == 2
