"""The app: commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from flexllm_cli.commands import ask, batch, cache, diff, init, list_models, mock, models, set_model, version
from flexllm_cli.commands import credits as balance
from flexllm_cli.terminal import fail

app = typer.Typer(
    name="flexllm",
    help="Ask language models: one question, or millions of rows with checkpoint and resume.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("ask")(ask.ask)
app.command("batch")(batch.batch)
app.add_typer(cache.app, name="cache")
app.command("diff")(diff.diff)
app.command("list")(list_models.list_models)
app.command("set-model")(set_model.set_model)
app.command("models")(models.models)
app.command("credits")(balance.credits)
app.command("init")(init.init)
app.command("mock", context_settings=mock.CONTEXT, add_help_option=False)(mock.mock)
app.command("version")(version.version)


def main() -> None:
    """Entry point of `flexllm` and `xllm`."""
    try:
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
