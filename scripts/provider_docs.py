"""Write docs/providers.md from the rows of data that the wires work by, so that it cannot say anything else.

python scripts/provider_docs.py          write it
python scripts/provider_docs.py --check  exit 1 if it is not up to date
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from flexllm_core.thinking import EFFORTS
from flexllm_providers.claude.capabilities import CLAUDE_MODELS, ClaudeModel
from flexllm_providers.dialects import DIALECTS, Dialect
from flexllm_providers.gemini.thinking import FAMILIES, ThinkingFamily

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "providers.md"
MATRIX = ROOT / "tests" / "conformance" / "test_matrix.py"
NONE = "-"

HEAD = """# Providers

Written by `scripts/provider_docs.py` from the rows of data that the wires work by; a test holds it to them.

| provider | `provider=` | found when the base URL has | default address | key |
|---|---|---|---|---|
| OpenAI-compatible | `openai` | anything else, or ends in `/openai` | OpenAI's, `/v1` | `Authorization: Bearer` |
| Claude | `claude` (`anthropic`) | `anthropic` | Anthropic's, `/v1` | `x-api-key`, or a bearer token |
| Gemini | `gemini` (`google`) | `googleapis` | Google's, `/v1beta` | `x-goog-api-key` |
| Vertex AI, Claude too | `vertex` | `aiplatform` | by project and location | Google's credentials |

An endpoint may set `project_id` and `location` (Vertex AI) and `api_version` (`v1` or `v1beta` of Gemini and Vertex AI,
the date of Claude's `anthropic-version`). Claude's key is a bearer token when it is the value of
`ANTHROPIC_AUTH_TOKEN`, or with `dialect: {auth: bearer}`.
"""

CALLS = """
## Counting tokens

`client.count_tokens(messages, ...)` (`count_tokens_sync`) asks the endpoint how many input tokens a prompt has, with
its tools and pictures; that costs nothing. Claude's and Gemini's APIs have a call for it, and Vertex AI for the models
of both. OpenAI-compatible endpoints have none, so it is a `ConfigError` there. Such calls have limits of their own at
the vendors, and here: they are retried, but wait for no chat, and a budget does not count them.

## Batches that providers run themselves

`flexllm_providers.batch_codecs` writes and reads the items and the status of OpenAI's, Claude's and Gemini's batches,
as pure functions. Vertex AI has none: its batches are files in Cloud Storage or tables in BigQuery, and their lines
have no id by which an answer is known again.
"""

DIALECT_HEAD = """
## OpenAI-compatible endpoints

A row is chosen by host or port, or by `dialect: {kind: NAME}` of the endpoint; any column may be overridden there.
Params in the last column are left out of requests, with one warning.

| kind | hosts | token limit | thinking takes | efforts | left out |
|---|---|---|---|---|---|
"""

CLAUDE_HEAD = """
## Claude models

Chosen by the beginning of the model's id. `effort` words that a family lacks become the nearest it has, or a budget.

| family | ids | thinking | off | efforts | sampling | prefill | forced tools | JSON schema | most tokens |
|---|---|---|---|---|---|---|---|---|---|
"""

GEMINI_HEAD = """
## Gemini models

Chosen by the beginning of the model's name; `dialect: {family: NAME}` overrides it.

| family | models | thinking budget | levels | off |
|---|---|---|---|---|
"""

MATRIX_HEAD = """
## What is tested for every provider

`tests/conformance/test_matrix.py` runs each of these over {openai, claude, gemini, vertex} x {async, sync} x {our
transport, httpx} against the mock server, whose answers are held to the vendors' own types.

"""


def words(values: object) -> str:
    """Values as code, or a dash."""
    listed = [f"`{value}`" for value in values] if isinstance(values, list | tuple) else []
    return " ".join(listed) or NONE


def yes(value: bool) -> str:
    """A tick or a dash."""
    return "yes" if value else NONE


def dialect_row(dialect: Dialect) -> str:
    """One kind of endpoint."""
    rules = dialect.thinking
    takes = [name for name in ("off", "on", "effort", "budget") if getattr(rules, name) is not None]
    efforts = [effort for effort in EFFORTS if effort in rules.efforts and rules.effort is not None]
    places = [*dialect.hosts, *(f"port {port}" for port in dialect.ports)]
    cells = [f"`{dialect.name}`", words(places), f"`{dialect.max_tokens}`", words(takes), words(efforts)]
    return f"| {' | '.join([*cells, words(sorted(dialect.refused))])} |\n"


def claude_row(model: ClaudeModel) -> str:
    """One family of Claude models."""
    thinking = [name for name in ("adaptive", "budget", "between_tools") if getattr(model, name)]
    efforts = [effort for effort in EFFORTS if effort in model.efforts]
    cells = [f"`{model.name}`", words(model.ids), words(thinking), yes(model.disabled), words(efforts)]
    flags = [yes(getattr(model, name)) for name in ("sampling", "prefill", "forced_tools", "structured")]
    return f"| {' | '.join([*cells, *flags, str(model.max_tokens)])} |\n"


def gemini_row(family: ThinkingFamily) -> str:
    """One family of Gemini models."""
    budget = f"{family.budgets[0]} to {family.budgets[1]}" if family.budgets else NONE
    return f"| `{family.name}` | {words(family.models)} | {budget} | {words(family.levels)} | {yes(family.off)} |\n"


def matrix_rows() -> str:
    """The tests of the matrix, by what their docstrings say."""
    tree = ast.parse(MATRIX.read_text(encoding="utf-8"))
    tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return "".join(
        f"- {test.name.removeprefix('test_').replace('_', ' ')}: {ast.get_docstring(test)}\n" for test in tests
    )


def document() -> str:
    """The whole document."""
    return "".join(
        [
            HEAD,
            CALLS,
            DIALECT_HEAD,
            *map(dialect_row, DIALECTS),
            CLAUDE_HEAD,
            *map(claude_row, CLAUDE_MODELS),
            GEMINI_HEAD,
            *map(gemini_row, FAMILIES),
            MATRIX_HEAD,
            matrix_rows(),
        ]
    )


def main() -> int:
    """Write or check."""
    if "--check" in sys.argv:
        return int(DOCUMENT.read_text(encoding="utf-8") != document())
    DOCUMENT.write_text(document(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
