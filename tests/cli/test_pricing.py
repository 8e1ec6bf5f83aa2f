"""`flexllm pricing`."""

from __future__ import annotations

import json
import re


def test_a_model_has_a_price_by_kind_with_its_source(in_process):
    """Per million tokens, with provider and date."""
    code, out, _ = in_process("pricing", "claude-sonnet-4-5")
    assert code == 0
    assert re.match(r"claude-sonnet-4-5 · anthropic · genai-prices \d", out)
    for kind in ("input", "cached input", "cache write", "output"):
        assert re.search(rf"^  {kind} +\$\d", out, re.MULTILINE)
    assert "elsewhere:" in out


def test_prices_as_json(in_process):
    """A list of objects."""
    code, out, _ = in_process("pricing", "gpt-4o", "--format", "json")
    assert code == 0
    first = json.loads(out)[0]
    assert (first["model"], first["provider"]) == ("gpt-4o", "openai")
    assert first["price"]["input"] > 0


def test_a_name_that_is_not_known_gives_near_ones(in_process):
    """Exit code 3, with suggestions."""
    code, out, err = in_process("pricing", "gpt-4oo")
    assert (code, out) == (3, "")
    assert "flexllm pricing gpt-4o" in err


def test_the_configured_models_side_by_side(in_process, tmp_path):
    """A price of the configuration wins; what is unknown is said to be."""
    config = tmp_path / "config.yaml"
    config.write_text(
        "models:\n"
        "  - {id: gpt-4o, base_url: 'https://api.openai.com/v1'}\n"
        "  - {id: mine, base_url: 'http://localhost:8000/v1', price: {input: 0.1, output: 0.45}}\n"
        "  - {id: free, base_url: 'http://localhost:8000/v1'}\n"
    )
    code, out, _ = in_process("pricing", "--config", config)
    assert code == 0
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert "genai-prices" in lines["gpt-4o"]
    assert re.search(r"\$0\.10 +\$0\.45 .*config", lines["mine"])
    assert lines["free"].endswith("unknown")
    code, out, _ = in_process("pricing", "mine", "--config", config)
    assert out.startswith("mine · config")


def test_without_models_a_name_is_needed(in_process):
    """Exit code 3, and what to do."""
    code, _, err = in_process("pricing")
    assert code == 3
    assert "flexllm init" in err
