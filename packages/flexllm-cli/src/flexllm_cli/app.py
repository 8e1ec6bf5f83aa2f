"""The app: commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from flexllm_cli.lazy_group import LazyGroup
from flexllm_cli.terminal import fail

app = typer.Typer(
    name="flexllm",
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def root() -> None:
    """Ask language models: one question, or millions of rows with checkpoint and resume.

    `flexllm COMMAND --help` tells about a command, with examples.
    """


def main() -> None:
    """Entry point of `flexllm` and `xllm`."""
    try:
        if sys.argv[1:] == ["version"]:  # nothing to parse, for which some versions of Typer load pydantic
            from flexllm_cli.commands.version import version

            return version()
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost handler: every error ends here, as a line and a code
        sys.exit(_report(error))


def _report(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    from flexllm_cli.exit_codes import FAILED, exit_code_for  # `--help` needs none of it
    from flexllm_core.errors import FlexLLMError

    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    if isinstance(error, FlexLLMError | OSError):
        fail(str(error))
        return exit_code_for(error)
    if os.environ.get("FLEXLLM_TRACEBACK"):
        raise error
    fail(f"internal fault: {type(error).__name__}: {error}; set FLEXLLM_TRACEBACK=1 to see where, and please report it")
    return FAILED
