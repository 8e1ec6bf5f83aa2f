"""The counting of tokens in a pool: by the first member that can, as long as all would count the same."""

from __future__ import annotations

from collections.abc import Sequence

from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.health import Breaker
from flexllm_batch.balance.member import Member
from flexllm_batch.endpoint_stack import EndpointStack
from flexllm_core.errors import ConfigError
from flexllm_core.protocol import ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult


class PoolCounter(ModelWrapper):
    """Counts the tokens of requests by the members that can; another one takes over from one that is out of order.

    Args:
        stacks: The pool's members.
        breakers: One for each of them; chats and counts fail apart.
        model: The model that the pool's requests name.
    """

    def __init__(self, stacks: Sequence[EndpointStack], breakers: Sequence[Breaker], model: str | None) -> None:
        able = [(stack, breaker) for stack, breaker in zip(stacks, breakers, strict=True) if _can_count(stack)]
        members = [
            Member(stack.provider_client.target.label, stack.counter, breaker, model=stack.endpoint.model)
            for stack, breaker in able or [(stacks[0], breakers[0])]  # it says itself why it cannot
        ]
        super().__init__(Balanced(members, load_balance="fallback", model=model))
        self._model = model
        self._models = sorted({str(stack.endpoint.model) for stack, _ in able})

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Count the tokens of a request.

        Raises:
            ConfigError: No member can count, or those that can would count for different models.
            LLMRequestError: There is no answer.
            NoEndpointAvailableError: No member takes calls.
        """
        if len(self._models) > 1 and request.model == self._model:
            models = ", ".join(self._models)
            raise ConfigError(f"count_tokens: the pool's members have several models ({models}); name one as model=")
        return await super().complete(request)


def _can_count(stack: EndpointStack) -> bool:
    return stack.provider_client.counts_tokens
