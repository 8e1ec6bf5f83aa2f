"""`flexllm mock`: hands its arguments to the mock server."""

from __future__ import annotations

import sys

import typer


def mock(context: typer.Context) -> None:
    """Start the mock LLM server, for tests; `flexllm mock --help` lists its options.

    Example: flexllm mock --port 0 --delay 0.2
    """
    try:
        from flexllm_mock.cli import main  # an extra
    except ModuleNotFoundError as error:
        from flexllm_core.errors import MissingExtraError

        if error.name is None or not error.name.startswith("flexllm_mock"):
            raise
        raise MissingExtraError("the mock server is not installed: pip install 'flexllm-cli[mock]'") from None
    sys.exit(main(context.args))
