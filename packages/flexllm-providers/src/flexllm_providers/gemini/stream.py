"""The stream of Gemini's streamGenerateContent: from server-sent events to StreamEvents and the whole answer."""

from __future__ import annotations

from flexllm_core.errors import LLMResponseError
from flexllm_core.json_codec import decode_json, encode_json
from flexllm_core.requests import ChatRequest
from flexllm_core.results import StreamEvent
from flexllm_providers.gemini.decode import read_answer
from flexllm_providers.gemini.errors import error_in_body, has_error
from flexllm_providers.gemini.merge import MergedAnswer
from flexllm_providers.sse import ServerSentEvent
from flexllm_providers.target import Target
from flexllm_providers.wire_errors import unusable


class GeminiStreamDecoder:
    """Fed with events in order; `close` gives the whole answer or says that the stream was cut.

    The stream has no mark for its end other than each candidate's finishReason.
    """

    def __init__(self, request: ChatRequest, target: Target, now: float) -> None:
        self._request = request
        self._target = target
        self._now = now
        self._answer = MergedAnswer(request)

    @property
    def finished(self) -> bool:
        """Whether the answer is whole, so that nothing is lost if the connection breaks now."""
        return self._answer.is_surely_whole

    def feed(self, event: ServerSentEvent) -> list[StreamEvent]:
        """The events that one server-sent event brings.

        Raises:
            LLMRequestError: The event holds an error, or is not JSON.
        """
        text = event.data.strip()
        if not text or text == "[DONE]":  # which proxies add
            return []
        body = event.data.encode()
        try:
            data = decode_json(body)
        except ValueError:
            if self.finished:  # cut in what comes after the answer, which takes nothing from it
                return []
            raise self._cut("the stream holds something that is not JSON", body) from None
        if has_error(data):
            raise error_in_body(data, body, {}, self._request, self._target, self._now)
        if not isinstance(data, dict | list):
            raise self._cut("the stream holds something that is not a JSON object", body)
        out: list[StreamEvent] = []
        for chunk in data if isinstance(data, list) else (data,):
            for is_thought, piece in self._answer.add(chunk):
                out.append(StreamEvent("reasoning" if is_thought else "content", piece))
        return out

    def close(self) -> list[StreamEvent]:
        """The tool calls and the `done` event.

        Raises:
            LLMRequestError: The stream ended before the answer did, the answer is empty, or the prompt
                was refused.
        """
        if not self._answer.is_whole:
            raise self._cut("the stream was truncated: it ended without a finishReason")
        data = self._answer.to_dict()
        # Only the head is kept for an error: it says why, and the texts were passed on.
        head = encode_json({key: value for key, value in data.items() if key != "candidates"})
        result = read_answer(data, head, self._request, self._target, self._now)
        return [
            *(StreamEvent("tool_call", tool_call=call) for call in result.tool_calls),
            StreamEvent("done", result=result),
        ]

    def _cut(self, what: str, body: bytes = b"") -> LLMResponseError:
        return unusable(self._target, self._request, what, body, kind="transient")
