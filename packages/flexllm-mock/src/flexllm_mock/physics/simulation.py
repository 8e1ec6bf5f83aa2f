"""What a server simulates besides answers: random faults, rate limits, an engine's times and its prefix cache."""

from __future__ import annotations

import asyncio

from flexllm_mock.asgi import ApiRequest, Endpoint, Reply
from flexllm_mock.auth import caller_of
from flexllm_mock.config import MockConfig
from flexllm_mock.faults.chance import CallCounter, RandomFaults
from flexllm_mock.faults.rules import FaultRule
from flexllm_mock.physics.engine import Engine
from flexllm_mock.physics.limit_replies import limit_error, limit_headers
from flexllm_mock.physics.limits import Limiter
from flexllm_mock.physics.prefixes import PrefixCache, prompt_parts


class Simulation:
    """All of it, as a configuration asks; `active` is False when it asks for nothing."""

    def __init__(self, config: MockConfig) -> None:
        self._calls = CallCounter(config.seed)
        self._faults = RandomFaults(config)
        self._limiter = Limiter(
            rpm=config.rpm,
            input_tpm=config.input_tpm,
            output_tpm=config.output_tpm,
            max_concurrent=config.max_concurrent,
            burst=config.limit_burst,
        )
        self.engine = _engine(config)
        self._prefixes = PrefixCache(config.prefix_cache) if config.prefix_cache else None
        self.active = bool(self._faults or self._limiter) or self.engine is not None

    def reset(self) -> None:
        """Forget what requests have left behind, but for those that are in the engine."""
        self._calls.reset()
        self._limiter.reset()
        if self._prefixes is not None:
            self._prefixes.reset()

    def begin(self, request: ApiRequest) -> FaultRule | None:
        """Count a request that was read, look up its prompt, and draw what goes wrong with it."""
        if self._prefixes is not None and request.payload is not None:
            request.cached_tokens = self._prefixes.look_up(prompt_parts(request.model, request.payload))
        if not self._faults and self.engine is None:
            return None
        request.call = self._calls.key(request)
        return self._faults.draw(request.call)

    def admit(self, endpoint: Endpoint, request: ApiRequest, reply: Reply) -> Reply:
        """Charge a reply and plan its times, or refuse it where its key has used up what it may."""
        if not endpoint.generates or reply.status >= 400:
            return reply
        if self._limiter:
            now = asyncio.get_running_loop().time()
            account = self._limiter.account(caller_of(request.headers, request.query), now)
            excess = account.admit(reply.prompt_tokens, reply.output_tokens or reply.length, now)
            if excess is not None:
                return endpoint.refuse(request, limit_error(endpoint.vendor, request.model, excess, account.buckets))
            reply.headers += limit_headers(endpoint.vendor, account.buckets)
            reply.on_end = account.leave
        if self.engine is not None:
            reply.plan = self.engine.plan(
                request.call,
                prompt_tokens=reply.prompt_tokens,
                output_tokens=reply.length,
                cached_tokens=request.cached_tokens or 0,
            )
        return reply


def _engine(config: MockConfig) -> Engine | None:
    token_time = config.token_time
    given = (config.ttft, token_time, config.prefill_rate, config.max_num_seqs)
    if all(each is None for each in given) and not config.prefix_cache:
        return None
    if token_time is None:
        token_time = 1 / config.token_rate if config.token_rate else 0.0
    return Engine(
        ttft=config.ttft or 0.0,
        token_time=token_time,
        prefill_rate=config.prefill_rate,
        max_num_seqs=config.max_num_seqs,
        seed=config.seed,
    )
