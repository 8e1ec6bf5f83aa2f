"""A chat: the model that is talked to, what was said, and what it cost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from flexllm_batch.cost.metered import CostReport
from flexllm_cli.answer_view import AnswerView, dimmed, show_stream, tokens_text, usage_line, warn_of_end
from flexllm_cli.chat.commands import Command, help_lines, unknown_command
from flexllm_cli.chat.conversation import Conversation, read_conversation, save_text
from flexllm_cli.connection import Connection
from flexllm_cli.error_report import report_of
from flexllm_cli.event_loop import loop_factory
from flexllm_cli.i18n import gettext as _
from flexllm_cli.i18n import translate_message
from flexllm_cli.terminal import say
from flexllm_core.errors import FlexLLMError, InputError
from flexllm_core.options import ChatOptions
from flexllm_core.results import ChatCompletionResult

Connect = Callable[[str | None], AbstractContextManager[Connection]]
"""Connects to the model of a name; None for the one that the chat began with."""


class ChatSession:
    """One chat, to be used with `with`.

    Args:
        connect: Connects to a model.
        model_names: The models that are configured, for `/model`.
        conversation: What was said before.
        sampling: Options of every request.
        interactive: Whether a person sits there: errors are shown and the chat goes on. Otherwise they are raised.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        model_names: list[str],
        conversation: Conversation,
        sampling: ChatOptions,
        interactive: bool,
    ) -> None:
        self._connect = connect
        self._model_names = model_names
        self._sampling = sampling
        self._interactive = interactive
        self.conversation = conversation
        self.costs = CostReport()
        self.stopped = 0
        self._runner = asyncio.Runner(loop_factory=loop_factory())
        self._open = ExitStack()

    def __enter__(self) -> Self:
        self._runner.__enter__()
        self._switch(None)
        if self._interactive:
            dimmed(_("{model} · /help shows the commands, Ctrl-D leaves").format(model=self.model_name))
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()
        self._runner.close()

    @property
    def model_name(self) -> str:
        """What the user calls the model that is talked to."""
        first, *others = self.client.endpoints
        if others:
            return _("{model} at {count} endpoints").format(model=self.client.model, count=len(others) + 1)
        return first.name or first.model or first.label

    def _switch(self, name: str | None) -> None:
        """Talk to another model; where it cannot be reached at all, the present one stays."""
        with ExitStack() as stack:
            connection = stack.enter_context(self._connect(name))
            client = connection.client(track_cost=True)
            stack.callback(lambda: self._runner.run(client.aclose()))
            self._open.close()
            self._open = stack.pop_all()
            self.client = client

    def take(self, message: str) -> None:
        """Ask the model."""
        self.conversation.take_new(message)
        self._answer()

    def _answer(self) -> None:
        """Get and show the answer to what is asked."""
        view = AnswerView(thoughts=True)
        try:
            result = self._runner.run(self._stream(view))
        except KeyboardInterrupt:
            self._stop(view.text)
        except (FlexLLMError, OSError) as error:
            if not self._interactive:
                raise
            self._show(error)
        else:
            self._keep(result, view.text)

    async def _stream(self, view: AnswerView) -> ChatCompletionResult | None:
        events = self.client.chat_stream(self.conversation.to_send(), **self._sampling)
        return await show_stream(events, view)

    def _stop(self, text: str) -> None:
        """Keep what has come of an answer that was stopped; its usage is not known."""
        self.stopped += 1
        if text:
            self.conversation.answered({"role": "assistant", "content": text})
        say("stopped; " + ("what has come is kept, " if text else "nothing had come, ") + "/retry asks again")

    def _keep(self, result: ChatCompletionResult | None, text: str) -> None:
        if result is None:
            raise InputError("the stream ended without an answer")
        self.conversation.answered(result.assistant_message or {"role": "assistant", "content": text})
        if len({(endpoint.provider, endpoint.model) for endpoint in self.client.endpoints}) > 1:
            self.conversation.for_another_model()  # the next answer may be another one's
        self.costs.add(result)
        warn_of_end(result)
        if self._interactive:
            dimmed(f"{usage_line(result)} · {_('session {cost}').format(cost=self._session_cost())}")

    def _session_cost(self) -> str:
        known, unknown = f"${self.costs.total_cost:.4f}", self.costs.unknown_count
        if unknown and not self.costs.total_cost:
            return _("cost unknown")
        return _("{known} + {count} of unknown cost").format(known=known, count=unknown) if unknown else known

    def run(self, command: Command) -> None:
        """Do what a command says; `/exit` is not for this method.

        Raises:
            FlexLLMError: It cannot be done; only where nobody sits there.
        """
        try:
            self._run(command)
        except (FlexLLMError, OSError) as error:
            if not self._interactive:
                raise
            self._show(error)

    def _show(self, error: Exception) -> None:
        """Say what went wrong, and what to do about it where it is no slip of the pen."""
        report = report_of(error)
        (replace(report, suggestion="") if isinstance(error, InputError) else report).tell_people()

    def _run(self, command: Command) -> None:
        actions: dict[str, Callable[[str], None]] = {
            "/help": lambda _argument: say("\n".join(help_lines())),
            "/model": self._set_model,
            "/system": self._set_system,
            "/clear": self._clear,
            "/save": self._save,
            "/load": self._load,
            "/retry": self._retry,
            "/usage": lambda _argument: self.show_usage(),
        }
        action = actions.get(command.name)
        if action is None:
            raise InputError(unknown_command(command.name))
        action(command.argument)

    def _set_model(self, name: str) -> None:
        if not name:
            say(f"the model is {self.model_name}; configured: {', '.join(self._model_names) or 'none'}")
            return
        self._switch(name)
        self.conversation.for_another_model()
        say(f"the model is {self.model_name}")

    def _set_system(self, text: str) -> None:
        if text:
            self.conversation.system = None if text == "-" else text
        say(f"the system prompt is: {self.conversation.system}" if self.conversation.system else "no system prompt")

    def _clear(self, _argument: str) -> None:
        self.conversation.clear()
        say("the conversation is forgotten")

    def _save(self, name: str) -> None:
        path = _path(name, "/save")
        save_text(path, self.conversation.to_json(self.client.model))
        say(f"saved {len(self.conversation.messages)} messages to {path}")

    def _load(self, name: str) -> None:
        path = _path(name, "/load")
        self.conversation = read_conversation(path)
        say(f"loaded {len(self.conversation.messages)} messages from {path}")

    def _retry(self, _argument: str) -> None:
        if not self.conversation.take_back():
            raise InputError("there is nothing to ask again")
        self._answer()

    def show_usage(self) -> None:
        """Say what the session took."""
        costs = self.costs
        tokens = tokens_text(costs.prompt_tokens, costs.cached_tokens, costs.completion_tokens, costs.reasoning_tokens)
        cost = "; ".join(map(translate_message, costs.summary().split("; ")))
        say(f"{tokens} · {cost}")
        if self.stopped:
            say(f"{self.stopped} stopped answers are not in it: nobody said what they took")


def _path(name: str, command: str) -> Path:
    if not name:
        raise InputError(f"{command} needs the name of a file")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise InputError(f"{name}: that user's home is not known") from None
