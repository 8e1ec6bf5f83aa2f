"""How a command that fails says so: a red line and a remedy on a terminal, one JSON object for programs."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_core.visible import visible

_USAGE = 2
SEPARATORS = ("; run `flexllm ", ": pip install ", ": give ", "; see ", "; choose another ")
"""Where the messages of some errors go over to what to do; the remedy begins behind the first space."""


@dataclass(frozen=True, slots=True)
class ErrorReport:
    """What a user or a program is told about a failure.

    Attributes:
        type: Name of the error's class.
        message: What went wrong, in the user's language.
        exit_code: That of the command.
        retryable: Whether the same command may succeed later.
        suggestion: What to do, in the user's language.
    """

    type: str
    message: str
    exit_code: int
    retryable: bool = False
    suggestion: str = ""

    def show(self) -> None:
        """Write it to standard error."""
        if not self.tell_programs():
            self.tell_people()

    def tell_people(self) -> None:
        """Write the line, and that of the remedy, to standard error."""
        sys.stderr.write(self.for_people() + "\n")
        sys.stderr.flush()

    def tell_programs(self) -> bool:
        """Write the object to standard error, unless a person reads it; whether it was written."""
        if sys.stderr.isatty() and not wants_json(sys.argv[1:]):
            return False
        sys.stderr.write(self.json() + "\n")
        sys.stderr.flush()
        return True

    def for_people(self) -> str:
        """A red line with what went wrong, and a line with the remedy."""
        from flexllm_cli.terminal import styled

        line = styled(f"{_('error:')} {_one_line(self.message)}", "red")
        return f"{line}\n{_('remedy:')} {_one_line(self.suggestion)}" if self.suggestion else line

    def json(self) -> str:
        """One object in one line, with nothing in it that a terminal would obey."""
        text = json.dumps(asdict(self), ensure_ascii=False)
        return "".join(char if visible(char) == char else f"\\u{ord(char):04x}" for char in text)


def _one_line(text: str) -> str:
    return visible(" ".join(text.split()))


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether a command line asks for JSON; it may be one that could not be read to its end."""
    for number, argument in enumerate(arguments):
        if argument == "--":
            return False
        if argument == "--format=json" or (argument == "--format" and arguments[number + 1 : number + 2] == ["json"]):
            return True
    return False


def report_of(error: Exception) -> ErrorReport:
    """The report of an error that ended a command."""
    from flexllm_cli.exit_codes import exit_code_for  # only a command that fails needs it
    from flexllm_cli.remedies import remedy_for
    from flexllm_core.errors import FlexLLMError, LLMRequestError, NoEndpointAvailableError

    if isinstance(error, FlexLLMError | OSError):
        message, remedy = _message_and_remedy(error)
        tried = error.errors if isinstance(error, NoEndpointAvailableError) else (error,)
        retryable = any(isinstance(one, LLMRequestError) and one.retryable for one in tried)
        code = exit_code_for(error)
        return ErrorReport(type(error).__name__, message, code, retryable, remedy or remedy_for(error))
    if usage := _usage_report(error):
        return usage
    message = _("internal fault: {type}: {error}").format(type=type(error).__name__, error=error)
    return ErrorReport("InternalError", message, 1, False, _("set FLEXLLM_TRACEBACK=1 to see where, and report it"))


def _message_and_remedy(error: Exception) -> tuple[str, str]:
    """The message of an error, and the remedy that is written into it, if any."""
    from flexllm_core.errors import LLMRequestError  # only a command that fails needs it

    if isinstance(error, OSError) and error.strerror:
        what = translate_message(error.strerror)
        return (f"{error.filename}: {what}" if error.filename is not None else what), ""
    text = str(error)
    for separator in () if isinstance(error, LLMRequestError) else SEPARATORS:  # servers write what they like
        before, found, after = text.partition(separator)
        if found:
            return translate_message(before), translate_message(separator.partition(" ")[2] + after)
    return translate_message(text), ""


def _usage_report(error: Exception) -> ErrorReport | None:
    """The report of what the parser of the command line refuses; None for other errors.

    Typer's parser is Click in some versions and its own in others, so its errors are known by what they can do.
    """
    if type(error).__name__ == "Abort":
        return ErrorReport("Aborted", _("aborted; nothing was done"), 1)
    describe = getattr(error, "format_message", None)
    if describe is None:
        return None
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "flexllm"
    # Where Typer checks values with pydantic, that says whose error it is.
    message = translate_message(str(describe()).replace("Value error, ", ""))
    code = getattr(error, "exit_code", _USAGE)
    return ErrorReport("UsageError", message, code, False, _("see `{command} --help`").format(command=command))


def end_with(error: Exception) -> int:
    """Say what went wrong; the exit code."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has gone; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if type(error).__name__ == "NoArgsIsHelpError":  # its text is the help
        sys.stderr.write(f"{error}\n")
        return _USAGE
    report = report_of(error)
    if report.type == "InternalError" and os.environ.get("FLEXLLM_TRACEBACK"):
        raise error
    report.show()
    return report.exit_code
