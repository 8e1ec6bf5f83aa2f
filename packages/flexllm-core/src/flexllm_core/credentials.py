"""Which environment variable holds the key for a base URL. A key is never sent to a host not its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import urlsplit

from pydantic import SecretStr

from flexllm_core.errors import ConfigError

VENDOR_KEYS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("api.openai.com", ("OPENAI_API_KEY",)),
    ("anthropic.com", ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")),
    ("generativelanguage.googleapis.com", ("GOOGLE_API_KEY", "GEMINI_API_KEY")),
    ("deepseek.com", ("DEEPSEEK_API_KEY",)),
    # Not all of aliyuncs.com: its customers' own functions and buckets are hosts below it.
    ("dashscope.aliyuncs.com", ("DASHSCOPE_API_KEY",)),
    ("dashscope-intl.aliyuncs.com", ("DASHSCOPE_API_KEY",)),
    ("dashscope-us.aliyuncs.com", ("DASHSCOPE_API_KEY",)),
    ("maas.aliyuncs.com", ("DASHSCOPE_API_KEY",)),
    ("openrouter.ai", ("OPENROUTER_API_KEY",)),
    ("x.ai", ("XAI_API_KEY",)),
    ("groq.com", ("GROQ_API_KEY",)),
    ("mistral.ai", ("MISTRAL_API_KEY",)),
    ("together.xyz", ("TOGETHER_API_KEY",)),
    ("siliconflow.cn", ("SILICONFLOW_API_KEY",)),
    ("siliconflow.com", ("SILICONFLOW_API_KEY",)),
    ("ollama.com", ("OLLAMA_API_KEY",)),
)
"""Host and the variables of its vendor, the first that is set wins (handbooks and SDKs of the vendors)."""

_DEFAULT_URLS = {
    "auto": "https://api.openai.com",
    "openai": "https://api.openai.com",
    "claude": "https://api.anthropic.com",
    "gemini": "https://generativelanguage.googleapis.com",
}


def host_matches(host: str, suffix: str) -> bool:
    """Whether `host` is `suffix` or ends in `.suffix`; never a substring.

    >>> host_matches("api.deepseek.com", "deepseek.com"), host_matches("evil-deepseek.com", "deepseek.com")
    (True, False)
    """
    return host == suffix or host.endswith("." + suffix)


def clean_key(text: str) -> str:
    """A key as it can stand in a header: a pasted one often ends in a newline.

    Raises:
        ValueError: It holds a control character, which can only be a mistake; the key is not shown.
    """
    text = text.strip()
    if any(ord(char) < 32 or ord(char) == 127 for char in text):
        raise ValueError("the key holds a control character")
    return text


def key_from_environment(base_url: str | None, provider: str, env: Mapping[str, str] = os.environ) -> SecretStr | None:
    """The key for an endpoint that was given none, or None.

    FLEXLLM_API_KEY belongs to FLEXLLM_BASE_URL where that is set, and to any endpoint where it is
    not. OPENAI_API_KEY belongs to OPENAI_BASE_URL or api.openai.com. A vendor's own variable belongs
    to that vendor's hosts, over https only.

    Raises:
        ConfigError: The variable's value cannot be a key.
    """
    if provider == "vertex":
        return None  # it wants an access token, which google-auth gets
    names: list[str] = []
    if _same(env.get("FLEXLLM_BASE_URL"), base_url) or not env.get("FLEXLLM_BASE_URL", "").strip():
        names.append("FLEXLLM_API_KEY")
    if _same(env.get("OPENAI_BASE_URL"), base_url):
        names.append("OPENAI_API_KEY")
    url = urlsplit(base_url or _DEFAULT_URLS.get(provider, ""))
    if url.scheme == "https":
        names.extend(name for suffix, own in VENDOR_KEYS if host_matches(url.hostname or "", suffix) for name in own)
    for name in names:
        try:
            key = clean_key(env.get(name, ""))
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from None
        if key:
            return SecretStr(key)
    return None


def _same(variable: str | None, base_url: str | None) -> bool:
    return bool(variable and base_url) and str(variable).strip().rstrip("/") == str(base_url).rstrip("/")
