"""LLMClientPool: several endpoints as one client, with failover and load balancing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from flexllm_batch.balance.affinity import LOOK_AHEAD, PrefixAffinity
from flexllm_batch.balance.balanced import Balanced
from flexllm_batch.balance.counting import PoolCounter
from flexllm_batch.balance.health import Breaker
from flexllm_batch.balance.hedging import DEFAULT_HEDGE_BUDGET, HedgeAfter, Hedged
from flexllm_batch.balance.member import Member, MemberStats
from flexllm_batch.balance.strategies import DEFAULT_LOAD_BALANCE, LoadBalance
from flexllm_batch.batch_methods import BatchMethods
from flexllm_batch.cache.build import with_cache
from flexllm_batch.cache.config import ResponseCacheConfig
from flexllm_batch.client import LLMClient
from flexllm_batch.cost.budget import Budget
from flexllm_batch.cost.metered import Metered
from flexllm_batch.cost.pricing import Pricer, price_context
from flexllm_batch.cost.tracking import CostTrackerConfig, cost_tracking
from flexllm_batch.endpoint_stack import EndpointStack, endpoint_stack
from flexllm_core.config import load_config
from flexllm_core.endpoint import EndpointConfig, endpoint_from, endpoint_with_key
from flexllm_core.errors import ConfigError, LLMRequestError
from flexllm_core.protocol import ChatModel
from flexllm_core.requests import ChatRequest
from flexllm_core.resolve import resolve_endpoints
from flexllm_core.results import ChatCompletionResult
from flexllm_providers.client import ProviderClient
from flexllm_providers.retry import Retrying, RetryPolicy, retry_policy_of


class LLMClientPool(BatchMethods):
    """A client of several endpoints, with every method of `LLMClient`.

    Each call goes to a member with room, as `load_balance` says; one that fails by the fault of an
    endpoint or its key goes to another at once.

    Args:
        endpoints: The members, as `EndpointConfig` or dicts of its fields.
        clients: Members that are clients already; they are closed with the pool.
        load_balance: `least_loaded` prefers the member that will have answered first, so that faster ones take
            more; `round_robin` takes turns, `weighted` too but by the endpoints' `weight`, `random` throws dice
            by `weight`, `fallback` takes the first that can.
        fallback: Send a failed call to another member; else it is only retried.
        failure_threshold: Consecutive failures after which a member gets no calls for a while.
        recovery_time: Seconds until such a member gets one call again, to see.
        concurrency_limit: Requests in flight at each member at most, where it does not say so itself; 50 by default.
        max_qps: The same for requests per second.
        max_tpm: The same for tokens per minute.
        adaptive: The same for learning lower limits; on by default.
        min_concurrency: The same for the least that is learnt for the requests in flight; 1 by default.
        timeout: The same for the seconds of each attempt.
        retry_times: Retries of a call that failed at every member that could be tried.
        retry_policy: How they are retried, in detail.
        track_cost, cost_tracker, cache: As in `LLMClient`, for all members together: one budget, one cache.
        transport: Sends the requests of all members, as in `ProviderClient`.
        affinity: `prefix` sends prompts with the same long beginning to the same member, one of them ahead, so that
            the servers' prompt caches are used.
        hedge_after: Ask a second member when the first has not answered for so many seconds, or for longer than
            95 % of the last calls took (`p95`), and take the first answer; None asks only one.
        hedge_budget: The share of calls that may be asked twice: both are paid for.
        context_fallback: Names or models of members with a larger context: they get the calls that are too long.
        patience: Seconds for which calls wait while no member takes any.

    Raises:
        ConfigError: A setting is unknown or unusable.
    """

    def __init__(
        self,
        endpoints: Iterable[EndpointConfig | Mapping[str, Any]] = (),
        *,
        clients: Iterable[LLMClient] = (),
        load_balance: LoadBalance = DEFAULT_LOAD_BALANCE,
        fallback: bool = True,
        failure_threshold: int = 3,
        recovery_time: float = 60.0,
        concurrency_limit: int | None = None,
        max_qps: float | None = None,
        max_tpm: float | None = None,
        adaptive: bool | None = None,
        min_concurrency: int | None = None,
        timeout: float | None = None,
        retry_times: int | None = None,
        retry_policy: RetryPolicy | None = None,
        track_cost: bool = False,
        cost_tracker: CostTrackerConfig | None = None,
        cache: ResponseCacheConfig | bool | None = None,
        transport: Any = None,
        affinity: Literal["prefix"] | None = None,
        hedge_after: HedgeAfter | None = None,
        hedge_budget: float = DEFAULT_HEDGE_BUDGET,
        context_fallback: Sequence[str] = (),
        patience: float = 300.0,
    ) -> None:
        _check_health(failure_threshold, recovery_time, patience)
        defaults = {
            "concurrency_limit": concurrency_limit,
            "max_qps": max_qps,
            "max_tpm": max_tpm,
            "adaptive": adaptive,
            "min_concurrency": min_concurrency,
            "timeout": timeout,
        }
        tracking = cost_tracking(cost_tracker, track_cost=track_cost)
        self.budget = tracking.make_budget()
        self._stacks = _member_stacks(endpoints, clients, defaults, self.budget, transport)
        self.endpoints = tuple(stack.endpoint for stack in self._stacks)
        self.labels = tuple(stack.provider_client.target.label for stack in self._stacks)
        self.budgeted = tuple(stack.budgeted for stack in self._stacks if stack.budgeted is not None)
        slots = sum(stack.limited.concurrency for stack in self._stacks)
        self.concurrency = slots * (LOOK_AHEAD if affinity is not None else 1)
        self.limited = tuple(stack.limited for stack in self._stacks)
        model, params = pool_model(self.endpoints), shared_params(self.endpoints)
        self.pricer = PoolPricer(self._stacks, model)
        self.balanced = Balanced(
            [_member(stack, params, Breaker(failure_threshold, recovery_time)) for stack in self._stacks],
            load_balance=load_balance,
            fallback=fallback,
            model=model,
            context_fallback=context_fallback,
            patience=patience,
        )
        retries = retry_times if retry_times is not None else _most_retries(self.endpoints)
        policy = retry_policy_of(retry_policy, retries)
        retrying = Retrying(_asked(self.balanced, affinity, hedge_after, hedge_budget), policy)
        self.meter = Metered(retrying, self.pricer, self.budget) if tracking.enabled else None
        chat_model = with_cache(self.meter or retrying, cache, [stack.provider_client for stack in self._stacks])
        breakers = [Breaker(failure_threshold, recovery_time) for _ in self._stacks]
        counter = Retrying(PoolCounter(self._stacks, breakers, model), policy)
        super().__init__(chat_model, model=model, params=params, read=self._read_any, counter=counter)

    @classmethod
    def from_config(cls, model: str | None = None, *, path: str | Path | None = None, **settings: Any) -> Self:
        """A pool of the endpoints of the configuration file.

        Args:
            model: An entry, which may have several `endpoints`; by default `batch.endpoints`, and where the file
                has none the default model.
            path: The file; by default the user's own.
            settings: Any argument of `LLMClientPool`; it wins over the `batch` section of the file.

        Raises:
            NotConfiguredError: There is no such model or file.
            ConfigError: The file or a setting is unusable.
        """
        config = load_config(path)
        batch = config.batch
        defaults = {
            "concurrency_limit": batch.concurrency,
            "max_qps": batch.max_qps,
            "max_tpm": batch.max_tpm,
            "adaptive": batch.adaptive,
            "min_concurrency": batch.min_concurrency,
            "timeout": batch.timeout,
            "retry_times": batch.retry_times,
            "fallback": batch.fallback,
            "load_balance": batch.load_balance,
            "hedge_after": batch.hedge_after,
            "affinity": batch.affinity,
        }
        return cls(resolve_endpoints(config, model=model), **{**defaults, **settings})

    @property
    def stats(self) -> list[MemberStats]:
        """How each member has done and stands, in the order of the pool."""
        return self.balanced.stats

    def check_price(self, model: str | None) -> None:
        """Refuse a model whose calls could not be kept within the budget; None is each endpoint's own.

        Raises:
            ConfigError: An endpoint's price of the model is unknown, and that is not to be ignored.
        """
        super().check_price(None if model == self.model else model)

    def _read_any(self, raw: Mapping[str, Any]) -> ChatCompletionResult:
        """The answer in a server's JSON, by the first of the members whose kind of answer it is."""
        error: LLMRequestError | None = None
        for stack in self._stacks:
            try:
                return stack.provider_client.read(raw)
            except LLMRequestError as caught:
                error = error or caught
        assert error is not None
        raise error


class PoolPricer:
    """Prices each answer by the member that gave it.

    Args:
        stacks: The members.
        model: The model of requests that leave it to the members.
    """

    def __init__(self, stacks: Iterable[EndpointStack], model: str | None) -> None:
        self._model = model
        self._members: dict[str | None, tuple[Pricer, str | None]] = {
            stack.provider_client.target.label: (stack.pricer, stack.endpoint.model) for stack in stacks
        }

    def cost_of(self, request: ChatRequest, result: ChatCompletionResult) -> tuple[Decimal, str] | None:
        """Cost and source of an answer; None when it is unknown."""
        found = self._members.get(result.endpoint)
        if found is None or result.usage is None:
            return None
        pricer, own_model = found
        asked = own_model if request.model == self._model else request.model
        return pricer.cost(asked, result.model, result.usage, price_context(request))


def pool_model(endpoints: Sequence[EndpointConfig]) -> str | None:
    """The model that a pool's requests name: that of all members, or all their models together.

    It is part of what rows are known by, so it must not depend on which member answers.
    """
    models = sorted({endpoint.model for endpoint in endpoints if endpoint.model is not None})
    return "|".join(models) or None


def shared_params(endpoints: Sequence[EndpointConfig]) -> dict[str, Any]:
    """The default params that all members have."""
    first = endpoints[0].params
    return {
        name: value
        for name, value in first.items()
        if all(name in one.params and one.params[name] == value for one in endpoints)
    }


def _member_stacks(
    endpoints: Iterable[EndpointConfig | Mapping[str, Any]],
    clients: Iterable[LLMClient],
    defaults: Mapping[str, Any],
    budget: Budget | None,
    transport: Any,
) -> list[EndpointStack]:
    """The members of a pool: those made of endpoints, and those that are clients already.

    Raises:
        ConfigError: There is none, or one is unusable.
    """
    clients = list(clients)
    if budget is not None and clients:
        raise ConfigError("a budget is for `endpoints`; give `clients` budgets of their own")
    own = [_member_config(value, number, defaults) for number, value in enumerate(endpoints)]
    stacks = [endpoint_stack(endpoint, transport=transport, budget=budget) for endpoint in _named_apart(own)]
    stacks += [client.stack for client in clients]
    if not stacks:
        raise ConfigError("LLMClientPool: give at least one of `endpoints` or `clients`")
    _check_names(stacks)
    return stacks


def _asked(balanced: Balanced, affinity: str | None, hedge_after: HedgeAfter | None, hedge_budget: float) -> ChatModel:
    """The members with what is asked for around them."""
    if affinity not in (None, "prefix"):
        raise ConfigError(f"affinity is {affinity!r}; expected 'prefix' or None")
    if affinity is not None and hedge_after is not None:
        raise ConfigError("affinity and hedge_after exclude each other: a second member would not know the prompt")
    if affinity is not None:
        return PrefixAffinity(balanced)
    return balanced if hedge_after is None else Hedged(balanced, hedge_after, hedge_budget)


def _member(stack: EndpointStack, shared: Mapping[str, Any], breaker: Breaker) -> Member:
    endpoint = stack.endpoint
    own = {name: value for name, value in endpoint.params.items() if name not in shared}
    return Member(
        stack.provider_client.target.label,
        stack.limited,
        breaker,
        model=endpoint.model,
        params=own,
        weight=endpoint.weight or 1.0,
        site=(stack.provider_client.target.base_url, endpoint.model),
    )


def _member_config(
    value: EndpointConfig | Mapping[str, Any], number: int, defaults: Mapping[str, Any]
) -> EndpointConfig:
    """An endpoint with its key, and the pool's settings where it has none of its own."""
    endpoint = endpoint_with_key(endpoint_from(value, f"LLMClientPool: endpoints[{number}]"))
    missing = {name: value for name, value in defaults.items() if value is not None and getattr(endpoint, name) is None}
    if not missing:
        return endpoint
    return endpoint_from({**endpoint.model_dump(exclude_unset=True), **missing}, f"LLMClientPool: endpoints[{number}]")


def _named_apart(endpoints: Sequence[EndpointConfig]) -> list[EndpointConfig]:
    """The endpoints with names of their own, so that results and statistics tell them apart."""
    taken: set[str] = set()
    out = []
    for endpoint in endpoints:
        label = ProviderClient(endpoint).target.label
        name, number = label, 1
        while name in taken:
            number += 1
            name = f"{label} ({number})"
        taken.add(name)
        out.append(endpoint if number == 1 else endpoint.model_copy(update={"name": name}))
    return out


def _check_names(stacks: Sequence[EndpointStack]) -> None:
    """Clients keep the names that they have.

    Raises:
        ConfigError: Two members have the same.
    """
    names = [stack.provider_client.target.label for stack in stacks]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"LLMClientPool: two members are called {name!r}; give the clients a `name` each")


def _most_retries(endpoints: Iterable[EndpointConfig]) -> int | None:
    return max((one.retry_times for one in endpoints if one.retry_times is not None), default=None)


def _check_health(failure_threshold: int, recovery_time: float, patience: float) -> None:
    if type(failure_threshold) is not int or failure_threshold < 1:
        raise ConfigError(f"failure_threshold is {failure_threshold!r}; expected a number of failures above 0")
    for name, seconds in (("recovery_time", recovery_time), ("patience", patience)):
        if not seconds > 0:
            raise ConfigError(f"{name} is {seconds!r}; expected seconds above 0")
