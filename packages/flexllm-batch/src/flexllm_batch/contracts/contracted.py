"""Contracted: holds each answer of a batch to its contract, and asks again where it breaks it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from flexllm_batch.contracts.contract import Breach, Contract, correction, summed
from flexllm_core.errors import BudgetExceededError, ContractError, LLMRequestError, NoEndpointAvailableError
from flexllm_core.protocol import ChatModel, ModelWrapper
from flexllm_core.requests import ChatRequest
from flexllm_core.results import ChatCompletionResult, StreamEvent


class Contracted(ModelWrapper):
    """Gives only answers that keep a contract.

    It stands outside of what meters and limits, so that every answer is priced and every attempt paid from the
    budget; and inside of the cache, which so never gets an answer that breaks the contract.
    """

    def __init__(self, inner: ChatModel, contract: Contract) -> None:
        super().__init__(inner)
        self.contract = contract

    async def complete(self, request: ChatRequest) -> ChatCompletionResult:
        """Answer a request, asking again as often as the contract says.

        Raises:
            ContractError: No answer kept the contract; `answer` is the last one.
            LLMRequestError: There is no answer; `answer` is the last one that broke the contract, if there was one.
        """
        result = await self.inner.complete(request)
        breach = self.contract.breach(result)
        return result if breach is None else await self._ask_again(request, result, breach)

    async def _ask_again(
        self, request: ChatRequest, result: ChatCompletionResult, breach: Breach | None
    ) -> ChatCompletionResult:
        answers = [result]
        corrections = self.contract.max_corrections
        may_grow = self.contract.grows(request)
        while breach is not None:
            if breach.kind == "truncated" and may_grow:
                may_grow = False
                request = asked = request.with_params(max_tokens=self.contract.grow_max_tokens)
            elif corrections > 0:
                corrections -= 1
                asked = correction(request, answers[-1], breach)
            else:
                raise _broken(breach, answers)
            try:
                answers.append(await self.inner.complete(asked))
            except LLMRequestError as error:
                error.answer = summed(answers)
                error.attempts += error.answer.attempts
                raise
            except (BudgetExceededError, NoEndpointAvailableError) as error:
                raise _broken(breach, answers, f"; it could not be asked again: {error}") from error
            breach = self.contract.breach(answers[-1])
        return summed(answers)

    async def stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Answer a request as events; they come when the answer is whole, as what was shown cannot be taken back."""
        result = await self.complete(request)
        if result.content:
            yield StreamEvent("content", result.content)
        yield StreamEvent("done", result=result)


def _broken(breach: Breach, answers: list[ChatCompletionResult], why: str = "") -> ContractError:
    last = summed(answers)
    asked = f" (asked {len(answers)} times)" if len(answers) > 1 else ""
    error = ContractError(
        f"the answer breaks the contract: {breach.problem}{asked}{why}",
        endpoint=last.endpoint,
        model=last.model,
        code=breach.kind,
        attempts=last.attempts,
    )
    error.answer = last
    return error


def with_contract(
    chat_model: ChatModel, contract: Contract, meter: Callable[[ChatModel], ChatModel] | None = None
) -> ChatModel:
    """A client's chat model that holds its answers to a contract; inside of its cache, where it has one.

    Stored answers are held to it too: one that breaks it counts as none.

    Args:
        chat_model: The outermost of a client's wrappers.
        contract: What is held to.
        meter: Puts a cost on each single answer, where the chat model does not.
    """
    from flexllm_batch.cache.cached import Cached  # the database takes time to load

    inner = chat_model.inner if isinstance(chat_model, Cached) else chat_model
    contracted = Contracted(meter(inner) if meter is not None else inner, contract)
    if not isinstance(chat_model, Cached):
        return contracted
    return Cached(contracted, chat_model.store, chat_model.identities, contract.keeps)
