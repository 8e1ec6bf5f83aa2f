"""Media in messages: what is embedded and how, what is left, what is refused and which part it was."""

from __future__ import annotations

import asyncio
import base64
import copy
import sys

import pytest

from flexllm_core.errors import ConfigError, InputError, MissingExtraError
from flexllm_providers.media import embed as media_embed
from flexllm_providers.media.embed import MediaEmbedder, MediaPolicy, embed_media

PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR-and-so-on"
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt "
MP4 = b"\x00\x00\x00\x18ftypisom\x00\x00"
PDF = b"%PDF-1.7\n"
LOCAL = {"allow_http": True, "allowed_networks": ("127.0.0.0/8",)}


def uri(media_type, data):
    """A data URI."""
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"


def image(url, **more):
    """An image part."""
    return {"type": "image_url", "image_url": {"url": url, **more}}


def user(*parts):
    """A user message of parts."""
    return {"role": "user", "content": list(parts)}


@pytest.fixture
def root(tmp_path):
    """A media root with a file of each kind, and a secret beside it."""
    folder = tmp_path / "media"
    folder.mkdir()
    for name, data in {"a.png": PNG, "s.wav": WAV, "v.mp4": MP4, "d.pdf": PDF, "t.csv": b"x,y\n"}.items():
        (folder / name).write_bytes(data)
    (folder / "fake.png").write_bytes(b"root:x:0:0")
    (tmp_path / "secret.png").write_bytes(PNG)
    return folder


@pytest.fixture
def images(serve):
    """Start a server of one PNG."""

    async def script(connection):
        while True:
            await connection.request()
            await connection.answer(PNG, headers="content-type: image/png\r\n")

    return lambda: serve(script)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        (image("a.png"), image(uri("image/png", PNG))),
        (image("a.png", detail="low"), image(uri("image/png", PNG), detail="low")),
        ({"type": "image_url", "image_url": "a.png"}, {"type": "image_url", "image_url": uri("image/png", PNG)}),
        (
            {"type": "image_url", "image_url": {"url": "a.png"}, "cache_control": {"type": "ephemeral"}},
            {**image(uri("image/png", PNG)), "cache_control": {"type": "ephemeral"}},
        ),
        (
            {"type": "video_url", "video_url": {"url": "v.mp4"}},
            {"type": "video_url", "video_url": {"url": uri("video/mp4", MP4)}},
        ),
        (
            {"type": "audio_url", "audio_url": {"url": "s.wav"}},
            {"type": "audio_url", "audio_url": {"url": uri("audio/wav", WAV)}},
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "s.wav", "format": "mp3"}},
            {"type": "input_audio", "input_audio": {"data": base64.b64encode(WAV).decode(), "format": "wav"}},
        ),
        (
            {"type": "file", "file": {"file_data": "d.pdf"}},
            {"type": "file", "file": {"file_data": uri("application/pdf", PDF), "filename": "d.pdf"}},
        ),
        (
            {"type": "file", "file": {"file_data": "./t.csv", "filename": "mine.csv"}},
            {"type": "file", "file": {"file_data": uri("text/csv", b"x,y\n"), "filename": "mine.csv"}},
        ),
    ],
)
async def test_each_type_of_part_gets_its_data(root, part, expected):
    """A data URI, or base64 where the type takes no URI; whatever else the part holds stays."""
    text = {"type": "text", "text": "look"}
    assert await embed_media([user(text, part)], MediaPolicy(media_root=root)) == [user(text, expected)]


@pytest.mark.parametrize(
    "part",
    [
        {"type": "text", "text": "file:///etc/passwd"},
        image("data:image/png;base64,AAAA"),
        image("DATA:image/png;base64,AAAA"),
        image("gs://bucket/a.png"),
        {"type": "input_audio", "input_audio": {"data": "UklGRiQAAABXQVZF", "format": "wav"}},
        {"type": "file", "file": {"file_data": "JVBERi0xLjc=", "filename": "a.pdf"}},
        {"type": "file", "file": {"file_id": "file-abc.pdf"}},
        {"type": "image", "source": {"type": "url", "url": "https://h/x.png"}},
        {"type": "image_url", "image_url": {"url": 7}},
        {"type": "image_url", "image_url": None},
        {"type": "image_url"},
        {"type": "file", "file": "d.pdf"},
    ],
)
async def test_what_is_no_reference_is_left_as_it_is(root, part):
    """Data that is there already, the provider's own references, and what the wires will complain of."""
    messages = [user(part)]
    result = await embed_media(messages, MediaPolicy(media_root=root))
    assert result == messages
    assert result[0] is messages[0]


async def test_the_messages_that_came_are_not_changed(root):
    """What is changed is a copy; messages without media are the same objects."""
    messages = [
        {"role": "system", "content": "s"},
        user({"type": "text", "text": "t"}, image("a.png")),
        user(image("a.png")),
    ]
    before = copy.deepcopy(messages)
    result = await embed_media(messages, MediaPolicy(media_root=root))
    assert messages == before
    assert result[0] is messages[0]
    assert result[1]["content"][0] is messages[1]["content"][0]
    assert result[1]["content"][1] == result[2]["content"][0] == image(uri("image/png", PNG))


async def test_a_text_is_a_message(root):
    """As in every method."""
    assert await embed_media("a.png", MediaPolicy(media_root=root)) == [{"role": "user", "content": "a.png"}]


async def test_media_in_an_answer_of_a_tool_is_embedded(root):
    """Of every role."""
    message = {"role": "tool", "tool_call_id": "c", "content": [image("a.png")]}
    (result,) = await embed_media([message], MediaPolicy(media_root=root))
    assert result["content"] == [image(uri("image/png", PNG))]


@pytest.mark.parametrize(
    "reference",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "../secret.png",
        "~/secret.png",
        "fake.png",
        "missing.png",
        "",
        "ftp://h/x.png",
        "javascript:alert(1)",
        "http://169.254.169.254/latest/meta-data/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/x.png",
        "https://0x7f.1/x.png",
        "https://localhost/x.png",
        "A" * 100_000,
    ],
)
async def test_a_refusal_names_the_part(root, reference):
    """So that the row can be named; and the message is short, whatever the row holds."""
    messages = [{"role": "system", "content": "s"}, user({"type": "text", "text": "t"}, image(reference))]
    with pytest.raises(InputError, match=r"^messages\[1\]\.content\[1\]: ") as caught:
        await embed_media(messages, MediaPolicy(media_root=root))
    assert len(str(caught.value)) < 300


async def test_data_without_its_uri_is_recognised(root):
    """Base64 in the place of a URL is too long for a path, which says more than that there is no such file."""
    with pytest.raises(InputError, match="data is given as a data: URI"):
        await embed_media([user(image("A" * 10_000))], MediaPolicy(media_root=root))


@pytest.mark.parametrize("reference", ["a.png", "/etc/passwd", "file:///etc/passwd"])
async def test_without_a_root_no_local_file_is_read(reference):
    """The default."""
    with pytest.raises(InputError, match="there is no media root"):
        await embed_media([user(image(reference))], MediaPolicy())


async def test_a_link_out_of_the_root_is_refused(root):
    """However it is named."""
    (root / "link.png").symlink_to(root.parent / "secret.png")
    with pytest.raises(InputError, match="outside the media root"):
        await embed_media([user(image("link.png"))], MediaPolicy(media_root=root))


async def test_a_url_is_fetched(images):
    """Once, however many parts name it."""
    server = await images()
    result = await embed_media([user(image(server.url), image(server.url))], MediaPolicy(**LOCAL))
    assert result == [user(*[image(uri("image/png", PNG))] * 2)]
    assert len(server.connections[0].requests) == 1


async def test_connections_are_closed_after_a_call(images):
    """Rows may name any number of hosts."""
    server = await images()
    async with asyncio.timeout(5):
        await embed_media([user(image(server.url))], MediaPolicy(**LOCAL))
        await server.connections[0].over.wait()


async def test_urls_are_left_to_the_provider_where_the_policy_says_so(root):
    """Local files are read all the same."""
    messages = [user(image("https://h.example/x.png"), image("a.png"))]
    (result,) = await embed_media(messages, MediaPolicy(media_root=root, fetch_urls=False))
    assert result["content"] == [image("https://h.example/x.png"), image(uri("image/png", PNG))]


async def test_a_page_under_the_name_of_an_image_is_refused(serve):
    """Whatever the server calls it."""

    async def script(connection):
        await connection.request()
        await connection.answer(b"<!doctype html>", headers="content-type: image/png\r\n")

    server = await serve(script)
    with pytest.raises(InputError, match="the data is of no known kind, not an image"):
        await embed_media([user(image(f"{server.url}/x.png"))], MediaPolicy(**LOCAL))


async def test_media_is_loaded_at_the_same_time(serve):
    """As many at once as the policy says, and no more."""
    running = most = 0

    async def script(connection):
        nonlocal running, most
        while True:
            await connection.request()
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.02)
            running -= 1
            await connection.answer(PNG)

    server = await serve(script)
    parts = [image(f"{server.url}/{number}.png") for number in range(12)]
    (result,) = await embed_media([user(*parts)], MediaPolicy(**LOCAL, concurrency=4))
    assert result["content"] == [image(uri("image/png", PNG))] * 12
    assert most == 4


async def test_a_refusal_ends_the_loading_of_the_others(serve):
    """A row that fails does not wait for its slow media, and their connections are closed."""
    server = await serve(lambda connection: connection.closed())
    parts = [image(f"{server.url}/slow.png"), image("ftp://x/y.png")]
    async with asyncio.timeout(5):
        with pytest.raises(InputError, match=r"content\[1\]"):
            await embed_media([user(*parts)], MediaPolicy(**LOCAL))
        for connection in server.connections:
            await connection.over.wait()


async def test_cancelling_closes_the_connections(serve):
    """Nothing goes on in the background."""
    asked = asyncio.Event()

    async def script(connection):
        await connection.request()
        asked.set()
        await connection.closed()

    server = await serve(script)
    task = asyncio.create_task(embed_media([user(image(server.url))], MediaPolicy(**LOCAL)))
    async with asyncio.timeout(5):
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.connections[0].over.wait()


async def test_one_file_may_not_be_too_large(root):
    """Local ones too; 20 MiB by default."""
    assert MediaPolicy().max_bytes == 20 * 1024 * 1024
    with pytest.raises(InputError, match=r"content\[0\]: .*larger than the limit of 10 bytes"):
        await embed_media([user(image("a.png"))], MediaPolicy(media_root=root, max_bytes=10))


async def test_all_files_of_a_call_may_not_be_too_large_together(root):
    """A row with a thousand images does not fill the memory; a file that is named twice counts once."""
    policy = MediaPolicy(media_root=root, max_total_bytes=len(PNG) + len(WAV) - 1)
    assert await embed_media([user(image("a.png"), image("a.png"))], policy)
    sound = {"type": "audio_url", "audio_url": {"url": "s.wav"}}
    with pytest.raises(InputError, match=r"more than .* bytes of media in one call"):
        await embed_media([user(image("a.png"), sound)], policy)


async def test_a_call_may_not_name_too_many_media(root):
    """Nothing is read or fetched: a row is not to make us ask a server a million times."""
    parts = [image(f"https://victim.example/{number}") for number in range(101)]
    with pytest.raises(InputError, match=r"messages\[0\]\.content\[100\]: more media than the limit of 100"):
        await embed_media([user(*parts)], MediaPolicy(media_root=root))


async def test_an_embedder_serves_many_calls_and_loops(root, images):
    """Certificates and the root are looked at once."""
    server = await images()
    embedder = MediaEmbedder(MediaPolicy(media_root=root, **LOCAL))
    messages = [user(image("a.png"), image(server.url))]
    first, second = await asyncio.gather(embedder.embed(messages), embedder.embed(messages))
    assert first == second == [user(*[image(uri("image/png", PNG))] * 2)]
    local = [user(image("a.png"))]
    assert await asyncio.to_thread(asyncio.run, embedder.embed(local)) == [user(image(uri("image/png", PNG)))]


async def test_images_are_made_smaller_before_they_are_embedded(root):
    """To the side that the policy says, with the type of what comes out."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow is an extra")
    pillow.new("RGB", (300, 100)).save(root / "large.bmp")
    (result,) = await embed_media([user(image("large.bmp"))], MediaPolicy(media_root=root, max_image_side=30))
    head, _, data = result["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    assert base64.b64decode(data)[16:24] == b"\x00\x00\x00\x1e\x00\x00\x00\x0a"


async def test_without_pillow_the_extra_is_named_before_anything_is_read(monkeypatch):
    """Not by the first row that has an image."""
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(MissingExtraError, match=r"flexllm-providers\[media\]"):
        MediaEmbedder(MediaPolicy(max_image_side=100))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"max_bytes": 0}, "max_bytes"),
        ({"max_bytes": True}, "max_bytes"),
        ({"max_total_bytes": "many"}, "max_total_bytes"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"concurrency": -1}, "concurrency"),
        ({"max_image_side": 0}, "max_image_side"),
        ({"allowed_networks": "10.0.0.0/8"}, "allowed_networks"),
        ({"allowed_networks": ("10.0.0.1/8",)}, "allowed_networks"),
        ({"allowed_networks": ("house",)}, "allowed_networks"),
    ],
)
def test_a_policy_that_makes_no_sense_is_a_configuration_error(options, named):
    """It names the setting."""
    with pytest.raises(ConfigError, match=named):
        MediaPolicy(**options)


def test_a_root_that_is_not_there_is_told_at_once(tmp_path):
    """Before any row is read."""
    with pytest.raises(ConfigError, match="media_root"):
        MediaEmbedder(MediaPolicy(media_root=tmp_path / "nothing"))


async def test_a_mistake_in_our_own_code_is_not_a_rows_fault(root, monkeypatch):
    """It comes through as it is, not as a group and not as InputError."""

    def broken(*_):
        raise RuntimeError("ours")

    monkeypatch.setattr(media_embed, "media_type_of", broken)
    with pytest.raises(RuntimeError, match="ours"):
        await embed_media([user(image("a.png"))], MediaPolicy(media_root=root))
