"""`flexllm chat`: a conversation."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flexllm_cli import options
from flexllm_cli.terminal import say

if TYPE_CHECKING:
    from flexllm_cli.chat.readers import Reader
    from flexllm_cli.chat.session import ChatSession
    from flexllm_cli.connection import Connection
    from flexllm_core.options import ChatOptions


def chat(
    message: Annotated[str | None, typer.Argument(help="The first message.")] = None,
    model: options.Model = None,
    system: options.System = None,
    temperature: options.Temperature = None,
    max_tokens: options.MaxTokens = None,
    thinking: options.ThinkingText = None,
    load: Annotated[Path | None, typer.Option("--load", help="Go on with a conversation that `/save` wrote.")] = None,
    base_url: options.BaseURL = None,
    api_key: options.ApiKey = None,
    timeout: options.Timeout = None,
    retry_times: options.RetryTimes = None,
    config: options.ConfigPath = None,
) -> None:
    """Talk to a model, turn by turn; the whole conversation is sent with each message.

    `/help` shows the commands. Ctrl-C stops an answer, what has come of it is kept; Ctrl-D leaves. Thinking is
    dimmed. What you type is kept in ~/.flexllm/chat_history for the next time, readable by you alone. Where
    standard input is no terminal, each line of it is a message, and the first error ends the chat.

    Examples: flexllm chat · flexllm chat "Hello" -m gpt-4 · flexllm chat -s "You are a pirate" --load talk.json ·
      printf 'My name is Ann.\\nWhat is my name?\\n' | flexllm chat -m mock
    """
    from flexllm_cli.chat.commands import COMMANDS  # all that `--help` does not need is loaded here
    from flexllm_cli.chat.conversation import Conversation, read_conversation
    from flexllm_cli.chat.readers import TerminalReader, make_reader
    from flexllm_cli.chat.session import ChatSession
    from flexllm_cli.connection import configuration, connect
    from flexllm_core.thinking import parse_thinking

    conversation = read_conversation(load) if load else Conversation()
    conversation.system = system or conversation.system
    sampling: ChatOptions = {"temperature": temperature, "max_tokens": max_tokens}
    if thinking is not None:
        sampling["thinking"] = parse_thinking(thinking)
    names = configuration(config).names()

    def connect_to(name: str | None) -> AbstractContextManager[Connection]:
        elsewhere = name is not None and name in names  # an entry has a base URL and a key of its own
        return connect(
            config_path=config,
            model=name or model,
            base_url=None if elsewhere else base_url,
            api_key=None if elsewhere else api_key,
            endpoints="all",
            timeout=timeout,
            retry_times=retry_times,
        )

    reader = make_reader(COMMANDS)
    interactive = isinstance(reader, TerminalReader)
    with ChatSession(
        connect_to, model_names=names, conversation=conversation, sampling=sampling, interactive=interactive
    ) as session:
        _talk(session, reader, message)
        if interactive and session.costs.request_count:
            session.show_usage()


def _talk(session: ChatSession, reader: Reader, first: str | None) -> None:
    """Answer messages and obey commands until there are no more."""
    from flexllm_cli.chat.commands import parse_command

    message = first
    while True:
        try:
            message = reader.read() if message is None else message
            if message is None:
                return
            command = parse_command(message)
            if command is not None and command.name == "/exit":
                return
            if command is not None:
                session.run(command)
            elif message.strip():
                session.take(message)
        except KeyboardInterrupt:
            say("Ctrl-D or /exit leaves")
        message = None
