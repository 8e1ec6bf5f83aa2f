"""The text of a first configuration file, from a few facts about one model."""

from __future__ import annotations

import json
from dataclasses import dataclass

HEAD = """\
# flexllm configuration. A key may be written as ${NAME}, which reads the environment variable NAME.
# `flexllm test` tries the models; `flexllm set-model NAME` changes the default one.
"""

BATCH = """
# Defaults of `flexllm batch`; an endpoint's own values win over these.
batch:
  concurrency: 50       # rows in flight
  # max_qps: 100        # requests per second
  timeout: 120          # seconds for each attempt
  return_usage: true    # token counts in the output lines
  track_cost: true      # running cost in the bar
"""

NO_KEY = "EMPTY"
"""What local servers take as a key."""


@dataclass(frozen=True, slots=True)
class Vendor:
    """Where a vendor's models are, and how they are asked.

    Attributes:
        label: What people call it.
        provider: The wire.
        base_url: Its API; empty where only the user knows it.
        key_variable: The environment variable that its users keep their key in; empty for local servers.
        model: A model to begin with; empty where only the server knows.
    """

    label: str
    provider: str
    base_url: str
    key_variable: str = ""
    model: str = ""


VENDORS: dict[str, Vendor] = {
    "openai": Vendor("OpenAI", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY", "gpt-4o"),
    "claude": Vendor(
        "Anthropic Claude", "claude", "https://api.anthropic.com", "ANTHROPIC_API_KEY", "claude-sonnet-4-5"
    ),
    "gemini": Vendor(
        "Google Gemini", "gemini", "https://generativelanguage.googleapis.com", "GEMINI_API_KEY", "gemini-2.5-flash"
    ),
    "deepseek": Vendor("DeepSeek", "openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY", "deepseek-chat"),
    "qwen": Vendor(
        "Qwen (DashScope)",
        "openai",
        "https://dashscope.aliyuncs.com/compatible-mode/v1",
        "DASHSCOPE_API_KEY",
        "qwen-plus",
    ),
    "siliconflow": Vendor("SiliconFlow", "openai", "https://api.siliconflow.cn/v1", "SILICONFLOW_API_KEY"),
    "openrouter": Vendor("OpenRouter", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "vllm": Vendor("vLLM or SGLang on this machine", "openai", "http://localhost:8000/v1"),
    "ollama": Vendor("Ollama on this machine", "openai", "http://localhost:11434/v1"),
    "other": Vendor("another server that speaks OpenAI's API", "openai", ""),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One model of the file."""

    model: str
    name: str
    provider: str
    base_url: str
    api_key: str

    def lines(self) -> str:
        """The entry in YAML. JSON's texts are YAML's double-quoted ones, so that nothing in them means anything."""
        return (
            f"  - id: {_quoted(self.model)}\n"
            f"    name: {_quoted(self.name)}\n"
            f"    provider: {self.provider}\n"
            f"    base_url: {_quoted(self.base_url)}\n"
            f"    api_key: {_quoted(self.api_key)}\n"
        )


EXAMPLES: tuple[Entry, ...] = (
    Entry("gpt-4", "gpt-4", "openai", "https://api.openai.com/v1", "${OPENAI_API_KEY}"),
    Entry("local-ollama", "local-ollama", "openai", "http://localhost:11434/v1", NO_KEY),
)
"""What is written where nothing is known: to be edited."""


def config_text(entries: tuple[Entry, ...]) -> str:
    """The file; the first entry is the default."""
    return f"{HEAD}default: {_quoted(entries[0].name)}\n\nmodels:\n{''.join(entry.lines() for entry in entries)}{BATCH}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
