"""Media that rows name: embedded when asked for, refused where it must be, row by row."""

from __future__ import annotations

import pytest

from flexllm import InputError, LLMClient

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
