"""Puts local files and remote media into messages as data URIs, within what a policy allows.

Rows may come from strangers: nothing is read or fetched unless asked, and then no file outside one folder, no
machine but the public internet's, nothing large. A refusal names the part, so that the row can be named.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any

from flexllm_core.errors import InputError
from flexllm_core.messages import MessagesInput, normalize_messages
from flexllm_providers.media.addresses import parse_networks
from flexllm_providers.media.fetch import MediaFetcher
from flexllm_providers.media.files import MediaRoot, file_name
from flexllm_providers.media.image import require_pillow, shrink_image
from flexllm_providers.media.parts import EmbeddedMedia, MediaReference, find_references, scheme_of, with_media
from flexllm_providers.media.policy import MediaPolicy
from flexllm_providers.media.types import MediaKind, media_type_of
from flexllm_providers.transport.tls import Verify, client_context

__all__ = ["MediaEmbedder", "MediaPolicy", "embed_media"]

_URL_SCHEMES = ("http", "https")
_SHOWN = 20
_LONGEST = 8192
"""Characters of a path or URL: more is data that was meant to be a `data:` URI."""


async def embed_media(messages: MessagesInput, policy: MediaPolicy) -> list[dict[str, Any]]:
    """The messages with the media that `image_url`, `audio_url`, `video_url`, `input_audio` and `file` parts name.

    Local paths, `file:` URLs and http(s) URLs become data URIs (in `input_audio` base64 and its format);
    data URIs, `gs:` URLs and whatever else a part holds stay. `messages` is not changed. To do this for many
    rows, make one `MediaEmbedder`.

    Raises:
        InputError: Media is refused or cannot be had; the message names the part, as in `messages[1].content[0]`.
            Or the messages are none.
        ConfigError: The policy's `media_root` is no folder.
        MissingExtraError: The policy has a `max_image_side`, and Pillow is not installed.
    """
    return await MediaEmbedder(policy).embed(messages)


class MediaEmbedder:
    """Does what `embed_media` does, for any number of calls, in any event loop.

    Args:
        policy: What may be read and fetched.
        verify: Which certificates of servers are trusted (`flexllm_providers.transport.tls.Verify`).

    Raises:
        ConfigError: The policy's `media_root` is no folder.
        MissingExtraError: The policy has a `max_image_side`, and Pillow is not installed.
    """

    def __init__(self, policy: MediaPolicy, *, verify: Verify = True) -> None:
        self._policy = policy
        self._verify = verify
        self._root = None if policy.media_root is None else MediaRoot(policy.media_root)
        self._networks = parse_networks(policy.allowed_networks)
        if policy.max_image_side is not None:
            require_pillow()

    async def embed(self, messages: MessagesInput) -> list[dict[str, Any]]:
        """The messages with their media; raises `InputError` as `embed_media` does."""
        messages = normalize_messages(messages)
        references = [each for each in find_references(messages) if self._is_ours(each.reference)]
        if not references:
            return messages
        if len(references) > self._policy.max_items:
            first = references[self._policy.max_items]
            raise InputError(f"{first.where}: more media than the limit of {self._policy.max_items} for one call")
        fetcher = self._fetcher() if any(_is_url(each.reference) for each in references) else None
        try:
            return with_media(messages, await _Call(self._policy, self._root, fetcher).load(references))
        finally:
            if fetcher is not None:
                await fetcher.aclose()

    def _is_ours(self, reference: str) -> bool:
        return self._policy.fetch_urls or not _is_url(reference)

    def _fetcher(self) -> MediaFetcher:
        if not isinstance(self._verify, ssl.SSLContext):
            self._verify = client_context(self._verify)  # once: it reads the certificates of all authorities
        # For each call one of its own: connections kept to every host that any row names would never end.
        return MediaFetcher(
            allowed=self._networks,
            allow_http=self._policy.allow_http,
            max_bytes=self._policy.max_bytes,
            timeout=self._policy.timeout,
            verify=self._verify,
        )


class _Call:
    """The media of one call's messages."""

    def __init__(self, policy: MediaPolicy, root: MediaRoot | None, fetcher: MediaFetcher | None) -> None:
        self._policy = policy
        self._root = root
        self._fetcher = fetcher
        self._slots = asyncio.Semaphore(policy.concurrency)
        self._bytes_left = policy.max_total_bytes

    async def load(self, references: list[MediaReference]) -> Mapping[MediaReference, EmbeddedMedia]:
        """What each reference stands for; what several parts name is loaded once.

        Raises:
            InputError: The first refusal, which ends the others' loading.
        """
        first: dict[tuple[MediaKind, str], MediaReference] = {}
        for each in references:
            first.setdefault((each.kind, each.reference), each)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = {key: group.create_task(self._load(each)) for key, each in first.items()}
        except ExceptionGroup as failed:
            refused = failed.subgroup(InputError)
            raise (refused or failed).exceptions[0] from None
        return {each: tasks[each.kind, each.reference].result() for each in references}

    async def _load(self, reference: MediaReference) -> EmbeddedMedia:
        async with self._slots:
            try:
                data = await self._read(reference.reference)
                self._bytes_left -= len(data)
                if self._bytes_left < 0:
                    raise InputError(f"more than {self._policy.max_total_bytes:,} bytes of media in one call")
                return await asyncio.to_thread(self._embed, data, reference)
            except InputError as error:
                raise InputError(f"{reference.where}: {error}") from None

    async def _read(self, reference: str) -> bytes:
        if len(reference) > _LONGEST:
            raise InputError("too long for a path or URL; data is given as a data: URI")
        if _is_url(reference):
            assert self._fetcher is not None
            return await self._fetcher.fetch(reference)
        scheme = scheme_of(reference)
        if scheme not in ("", "file"):
            raise InputError(f"{scheme[:_SHOWN]!r} is no scheme that is read; a path may begin with `./`")
        if self._root is None:
            raise InputError("local files are not read: there is no media root")
        return await asyncio.to_thread(self._root.read, reference, self._policy.max_bytes)

    def _embed(self, data: bytes, reference: MediaReference) -> EmbeddedMedia:
        """In a thread: encoding and decoding megabytes takes long."""
        name = file_name(reference.reference)
        media_type = media_type_of(data, reference.kind, name)
        if reference.kind == "image" and self._policy.max_image_side is not None:
            data = shrink_image(data, self._policy.max_image_side, self._policy.max_image_pixels)
            media_type = media_type_of(data, reference.kind, name)
        return EmbeddedMedia.from_bytes(data, media_type, name)


def _is_url(reference: str) -> bool:
    return scheme_of(reference) in _URL_SCHEMES
