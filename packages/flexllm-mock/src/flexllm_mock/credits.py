"""What is left of an account's credit, at the paths and in the shapes of several vendors."""

from __future__ import annotations

import json
from typing import Any

from flexllm_mock.asgi import ApiRequest, Endpoint, Reply
from flexllm_mock.config import MockConfig
from flexllm_mock.openai.errors import OpenAIErrors
from flexllm_mock.scripted import Prescribed

_OPENROUTER_KEY = {
    "data": {
        "label": "sk-or-v1-ab...yz",
        "limit": 150,
        "limit_remaining": 96.63,
        "limit_reset": None,
        "usage": 53.37,
        "usage_daily": 3.3637,
        "usage_weekly": 20.1,
        "usage_monthly": 53.36,
        "is_free_tier": False,
        "is_management_key": False,
        "expires_at": None,
    }
}
_BODIES: dict[str, dict[str, Any]] = {
    "/api/v1/key": _OPENROUTER_KEY,
    "/api/v1/auth/key": _OPENROUTER_KEY,
    "/api/v1/credits": {"data": {"total_credits": 150, "total_usage": 53.37}},
    "/user/balance": {
        "is_available": True,
        "balance_infos": [
            {
                "currency": "CNY",
                "total_balance": "110.00",
                "granted_balance": "10.00",
                "topped_up_balance": "100.00",
            }
        ],
    },
    "/v1/user/info": {
        "code": 20000,
        "message": "OK",
        "status": True,
        "data": {
            "id": "u1",
            "name": "mock",
            "email": "mock@example.com",
            "balance": "0.88",
            "chargeBalance": "88.00",
            "totalBalance": "88.88",
            "status": "normal",
        },
    },
    "/v1/billing/balance": {
        "balance": 9300000,
        "lowBalance": False,
        "lowBalanceThreshold": 0,
        "lastUpdated": "2026-11-20T09:00:00Z",
        "autoDebitStatus": "disabled",
        "status": "current",
        "statusExplanation": "",
    },
    "/v1/dashboard/billing/credit_grants": {
        "object": "credit_summary",
        "total_granted": 150.0,
        "total_used": 53.37,
        "total_available": 96.63,
    },
}


class CreditsWire:
    """OpenRouter's, DeepSeek's, SiliconFlow's, AI/ML API's and OpenAI's paths."""

    def __init__(self, config: MockConfig) -> None:
        self._endpoints = {path: CreditsEndpoint(config.seed, body) for path, body in _BODIES.items()}

    def find(self, path: str) -> Endpoint | None:
        """Return the endpoint that serves a path, or None."""
        return self._endpoints.get(path)


class CreditsEndpoint(OpenAIErrors):
    """One vendor's account, always with the same credit."""

    methods = frozenset(("GET",))
    generates = False

    def __init__(self, seed: int, body: dict[str, Any]) -> None:
        super().__init__(seed)
        self._body = json.dumps(body, separators=(",", ":")).encode()

    def read(self, request: ApiRequest) -> None:
        """There is nothing to read."""

    def reply(self, request: ApiRequest, literal: Prescribed | None = None) -> Reply:
        """Tell what is left."""
        return Reply(200, self._request_id(request), body=self._body)
