"""Types, errors, configuration and the client protocol of flexllm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flexllm_core.lazy import lazy_exports

if TYPE_CHECKING:
    from flexllm_core.config import (
        BatchConfig,
        Config,
        load_config,
    )
    from flexllm_core.endpoint import (
        EndpointConfig,
        Price,
        endpoint_from,
    )
    from flexllm_core.errors import (
        AuthenticationError,
        BadRequestError,
        BudgetExceededError,
        ConfigError,
        ContentFilterError,
        ContextLengthError,
        ContractError,
        FlexLLMError,
        InputError,
        JournalConflictError,
        JournalError,
        LLMConnectionError,
        LLMHTTPError,
        LLMRequestError,
        LLMResponseError,
        LLMTimeoutError,
        MissingExtraError,
        NoEndpointAvailableError,
        NotConfiguredError,
        NotFoundError,
        QuotaExceededError,
        RateLimitError,
        ServerError,
    )
    from flexllm_core.messages import (
        Message,
        Messages,
        MessagesInput,
        normalize_messages,
    )
    from flexllm_core.options import (
        ChatOptions,
        SaveInput,
        params_from_options,
        request_from_options,
    )
    from flexllm_core.protocol import (
        ChatModel,
        ModelWrapper,
    )
    from flexllm_core.requests import (
        ChatRequest,
        clean_params,
    )
    from flexllm_core.resolve import (
        resolve_endpoint,
        resolve_endpoints,
    )
    from flexllm_core.results import (
        ChatCompletionResult,
        FinishReason,
        StreamEvent,
        ToolCall,
        Usage,
    )
    from flexllm_core.thinking import (
        Effort,
        Thinking,
        parse_thinking,
    )

__all__ = [
    "AuthenticationError",
    "BadRequestError",
    "BatchConfig",
    "BudgetExceededError",
    "ChatCompletionResult",
    "ChatModel",
    "ChatOptions",
    "ChatRequest",
    "Config",
    "ConfigError",
    "ContentFilterError",
    "ContextLengthError",
    "ContractError",
    "Effort",
    "EndpointConfig",
    "FinishReason",
    "FlexLLMError",
    "InputError",
    "JournalConflictError",
    "JournalError",
    "LLMConnectionError",
    "LLMHTTPError",
    "LLMRequestError",
    "LLMResponseError",
    "LLMTimeoutError",
    "Message",
    "Messages",
    "MessagesInput",
    "MissingExtraError",
    "ModelWrapper",
    "NoEndpointAvailableError",
    "NotConfiguredError",
    "NotFoundError",
    "Price",
    "QuotaExceededError",
    "RateLimitError",
    "SaveInput",
    "ServerError",
    "StreamEvent",
    "Thinking",
    "ToolCall",
    "Usage",
    "clean_params",
    "endpoint_from",
    "load_config",
    "normalize_messages",
    "params_from_options",
    "parse_thinking",
    "request_from_options",
    "resolve_endpoint",
    "resolve_endpoints",
]

_HOMES = {
    "flexllm_core.config": (
        "BatchConfig",
        "Config",
        "load_config",
    ),
    "flexllm_core.endpoint": (
        "EndpointConfig",
        "Price",
        "endpoint_from",
    ),
    "flexllm_core.errors": (
        "AuthenticationError",
        "BadRequestError",
        "BudgetExceededError",
        "ConfigError",
        "ContentFilterError",
        "ContextLengthError",
        "ContractError",
        "FlexLLMError",
        "InputError",
        "JournalConflictError",
        "JournalError",
        "LLMConnectionError",
        "LLMHTTPError",
        "LLMRequestError",
        "LLMResponseError",
        "LLMTimeoutError",
        "MissingExtraError",
        "NoEndpointAvailableError",
        "NotConfiguredError",
        "NotFoundError",
        "QuotaExceededError",
        "RateLimitError",
        "ServerError",
    ),
    "flexllm_core.messages": (
        "Message",
        "Messages",
        "MessagesInput",
        "normalize_messages",
    ),
    "flexllm_core.options": (
        "ChatOptions",
        "SaveInput",
        "params_from_options",
        "request_from_options",
    ),
    "flexllm_core.protocol": (
        "ChatModel",
        "ModelWrapper",
    ),
    "flexllm_core.requests": (
        "ChatRequest",
        "clean_params",
    ),
    "flexllm_core.resolve": (
        "resolve_endpoint",
        "resolve_endpoints",
    ),
    "flexllm_core.results": (
        "ChatCompletionResult",
        "FinishReason",
        "StreamEvent",
        "ToolCall",
        "Usage",
    ),
    "flexllm_core.thinking": (
        "Effort",
        "Thinking",
        "parse_thinking",
    ),
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
