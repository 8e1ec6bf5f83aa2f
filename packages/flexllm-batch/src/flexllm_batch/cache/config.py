"""ResponseCacheConfig: whether answers are kept, where, for how long and how many."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from flexllm_core.errors import ConfigError

DEFAULT_MAX_SIZE = 1 << 30
"""Bytes: a gibibyte."""


def default_cache_dir() -> Path:
    """Where answers are kept unless told otherwise: `~/.flexllm/cache`."""
    return Path.home() / ".flexllm" / "cache"


@dataclass(frozen=True, slots=True)
class ResponseCacheConfig:
    """How answers are kept.

    Attributes:
        enabled: Whether there is a cache at all.
        ttl: Seconds for which an answer counts; 0, the default, for ever. An older one is asked again,
            whatever the run that stored it said.
        cache_dir: The folder, by default `~/.flexllm/cache`. Several processes may share it.
        max_size: Bytes on disk; the answers stored first make room beyond it.

    Raises:
        ConfigError: A value is out of range.
    """

    enabled: bool = True
    ttl: float = 0
    cache_dir: str | Path | None = None
    max_size: int = DEFAULT_MAX_SIZE

    def __post_init__(self) -> None:
        if type(self.ttl) not in (int, float) or not 0 <= self.ttl < float("inf"):
            raise ConfigError(f"cache ttl is {self.ttl!r}; expected seconds, 0 for ever")
        if type(self.max_size) is not int or self.max_size < 1:
            raise ConfigError(f"cache max_size is {self.max_size!r}; expected a number of bytes above 0")

    @classmethod
    def with_ttl(cls, ttl: float, cache_dir: str | Path | None = None) -> ResponseCacheConfig:
        """A cache whose answers count for `ttl` seconds."""
        return cls(ttl=ttl, cache_dir=cache_dir)

    @classmethod
    def persistent(cls, cache_dir: str | Path | None = None) -> ResponseCacheConfig:
        """A cache whose answers count for ever."""
        return cls(ttl=0, cache_dir=cache_dir)

    @classmethod
    def disabled(cls) -> ResponseCacheConfig:
        """No cache."""
        return cls(enabled=False)

    @property
    def directory(self) -> Path:
        """The folder, with `~` expanded."""
        return default_cache_dir() if self.cache_dir is None else Path(self.cache_dir).expanduser()


def cache_config(value: ResponseCacheConfig | bool | None) -> ResponseCacheConfig:
    """The configuration that the argument `cache` of a client stands for.

    Raises:
        ConfigError: It is none.
    """
    if isinstance(value, ResponseCacheConfig):
        return value
    if value is None or isinstance(value, bool):
        return replace(ResponseCacheConfig(), enabled=bool(value))
    raise ConfigError(f"cache is a {type(value).__name__}; expected a ResponseCacheConfig, True or False")
