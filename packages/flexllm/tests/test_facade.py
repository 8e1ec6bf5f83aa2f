"""The facade gives the public names of its parts."""

from __future__ import annotations

import subprocess
import sys

import flexllm
import flexllm_batch
import flexllm_core
import flexllm_providers


def test_names_are_those_of_the_parts():
    """The same objects, not copies."""
    assert flexllm.LLMClient is flexllm_batch.LLMClient
    assert flexllm.OpenAIClient is flexllm_providers.OpenAIClient
    assert flexllm.FlexLLMError is flexllm_core.FlexLLMError


def test_python_m_flexllm_runs_the_commands_or_says_what_is_missing():
    """Exit code 7 and the extra's name without the command line."""
    done = subprocess.run([sys.executable, "-m", "flexllm", "version"], capture_output=True, text=True)
    if done.returncode == 0:
        assert "flexllm-core" in done.stdout
    else:
        assert done.returncode == 7
        assert "flexllm[cli]" in done.stderr
