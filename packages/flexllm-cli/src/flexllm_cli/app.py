"""The app: commands, and the one place where errors become a line and an exit code."""

from __future__ import annotations

import os
import sys

import typer

from flexllm_cli.lazy_group import LazyGroup

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


def _open_missing_streams() -> None:
    """Put nothing in the place of standard streams that are closed (`>&-`).

    The next file or socket would otherwise get the number of one, and what is said to the user would be written there.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is not None:
            continue
        opened = os.open(os.devnull, os.O_RDWR)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(opened, number)
        if opened != number:
            os.close(opened)
        setattr(sys, name, open(os.devnull, "r" if number == 0 else "w", encoding="utf-8"))  # noqa: SIM115, PTH123


def _install_completion() -> object:
    """Let Typer install completion, and add what it lacks; the exit code."""
    from pathlib import Path

    from flexllm_cli.zsh_completion import answer_first_tab

    try:
        code = app(standalone_mode=False)
    except SystemExit as end:  # so it ends
        code = end.code
    if not code:
        answer_first_tab(Path(sys.argv[0]).name, Path.home())
    return code


def main() -> None:
    """Entry point of `flexllm` and `xllm`."""
    try:
        _open_missing_streams()
        if sys.argv[1:] == ["version"]:  # nothing to parse, for which some versions of Typer load pydantic
            from flexllm_cli.commands.version import version

            return version()
        code = _install_completion() if sys.argv[1:] == ["--install-completion"] else app(standalone_mode=False)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001 - the outermost handler: every error ends here, as a line and a code
        from flexllm_cli.error_report import end_with  # `--help` needs none of it

        sys.exit(end_with(error))
    sys.exit(code if isinstance(code, int) else 0)
