"""Reads the vendors' answers about balances: pure functions from JSON objects to amounts.

Each raises UnreadableBalanceError for an object that does not say the balance: a wrong number is worse
than none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from flexllm_providers.credits.report import CreditLine, DetailKey, LabelKey

Decoded = tuple[tuple[CreditLine, ...], dict[DetailKey, str]]

AIML_CREDITS_PER_DOLLAR = 2_000_000
_CURRENCY = re.compile(r"[A-Z]{3}")
_LARGEST_EXPONENT = 15
"""Powers of ten that an amount may have: `1e999999999` is a number too, and takes gigabytes to write out."""
_LONGEST_WORD = 80


class UnreadableBalanceError(ValueError):
    """An answer does not say the balance; the message says what is wrong with it."""


def decode_openrouter(data: Mapping[str, Any], currency: str) -> Decoded:
    """`GET /api/v1/key`. A limit of null means that there is none."""
    inner = _object(data, "data")
    lines: list[CreditLine] = []
    labels: tuple[tuple[LabelKey, str], ...] = (("remaining", "limit_remaining"), ("limit", "limit"))
    unlimited = "limit" in inner and inner["limit"] is None
    for label, key in labels:
        if unlimited:
            lines.append(CreditLine(label, None, currency, "unlimited"))
        else:
            lines.append(CreditLine(label, _amount(inner, key), currency))
    lines.append(CreditLine("used", _amount(inner, "usage"), currency))
    if inner.get("usage_daily") is not None:  # older versions of this API have only the sum
        lines.append(CreditLine("today", _amount(inner, "usage_daily"), currency, places=4))
    if inner.get("usage_monthly") is not None:
        lines.append(CreditLine("this_month", _amount(inner, "usage_monthly"), currency))
    details = _details(inner, {"free_tier": "is_free_tier", "limit_resets": "limit_reset", "expires_at": "expires_at"})
    return tuple(lines), details


def decode_siliconflow(data: Mapping[str, Any], currency: str) -> Decoded:
    """`GET /v1/user/info`: the whole balance, and the paid and the given part of it."""
    if data.get("status") is False or data.get("code", 20000) != 20000:
        raise UnreadableBalanceError(f"the server says: {_word(data.get('message')) or _word(data.get('code'))}")
    inner = _object(data, "data")
    lines = [CreditLine("remaining", _amount(inner, "totalBalance"), currency)]
    parts: tuple[tuple[LabelKey, str], ...] = (("paid", "chargeBalance"), ("gift", "balance"))
    lines += [
        CreditLine(label, _amount(inner, key), currency) for label, key in parts if inner.get(key) not in (None, "")
    ]
    return tuple(lines), _details(inner, {"status": "status"})


def decode_deepseek(data: Mapping[str, Any], currency: str) -> Decoded:
    """`GET /user/balance`: one entry for each currency, each of which is shown."""
    entries = data.get("balance_infos")
    if not isinstance(entries, list) or not entries:
        raise UnreadableBalanceError("`balance_infos` is missing or empty")
    lines: list[CreditLine] = []
    for entry in entries:
        if not isinstance(entry, dict):
            raise UnreadableBalanceError("an entry of `balance_infos` is no object")
        own = entry.get("currency", currency)
        if not isinstance(own, str) or not _CURRENCY.fullmatch(own):
            raise UnreadableBalanceError("an entry of `balance_infos` names no currency")
        parts: tuple[tuple[LabelKey, str], ...] = (("paid", "topped_up_balance"), ("gift", "granted_balance"))
        lines.append(CreditLine("remaining", _amount(entry, "total_balance"), own))
        lines += [CreditLine(label, _amount(entry, key), own) for label, key in parts if entry.get(key) is not None]
    return tuple(lines), _details(data, {"usable": "is_available"})


def decode_aimlapi(data: Mapping[str, Any], currency: str) -> Decoded:
    """`GET /v1/billing/balance`: credits, of which 2,000,000 are one US dollar."""
    credit = _amount(data, "balance")
    lines = (
        CreditLine("remaining", credit / AIML_CREDITS_PER_DOLLAR, currency),
        CreditLine("remaining", credit, "credits", places=0),
    )
    return lines, _details(data, {"status": "status", "low_balance": "lowBalance"})


def decode_openai(data: Mapping[str, Any], currency: str) -> Decoded:
    """`GET /v1/dashboard/billing/credit_grants`, which OpenAI does not document."""
    labels: tuple[tuple[LabelKey, str], ...] = (
        ("remaining", "total_available"),
        ("limit", "total_granted"),
        ("used", "total_used"),
    )
    return tuple(CreditLine(label, _amount(data, key), currency) for label, key in labels), {}


def _object(data: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = data.get(key)
    if not isinstance(value, dict):
        raise UnreadableBalanceError(f"`{key}` is no object")
    return value


def _amount(data: Mapping[str, Any], key: str) -> Decimal:
    """An amount given as a number or a text."""
    value = data.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise UnreadableBalanceError(f"`{key}` is missing or no number")
    try:
        # A float by its shortest text: 96.63, not the binary number beside it.
        amount = Decimal(value if isinstance(value, str | int) else repr(value))
    except (InvalidOperation, ValueError):
        raise UnreadableBalanceError(f"`{key}` is no number") from None
    if not amount.is_finite() or (amount and abs(amount.adjusted()) > _LARGEST_EXPONENT):
        raise UnreadableBalanceError(f"`{key}` is no amount of money")
    return amount


def _details(data: Mapping[str, Any], keys: Mapping[DetailKey, str]) -> dict[DetailKey, str]:
    """What the vendor says beside the amounts, where it says anything."""
    found = {label: _word(data.get(key)) for label, key in keys.items()}
    return {label: word for label, word in found.items() if word}


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)[:_LONGEST_WORD] if isinstance(value, str | int) else ""
