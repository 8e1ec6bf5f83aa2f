"""What each vendor's answer about a balance means, and answers that mean nothing."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flexllm_core.endpoint import EndpointConfig
from flexllm_core.errors import LLMResponseError
from flexllm_providers.credits import decode as credit_decode
from flexllm_providers.credits.fetch import VENDORS, CreditLine, fetch_credits

KEY = "sk-or-v1-0123456789abcdef0123456789abcdef"
OPENROUTER = {
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
DEEPSEEK = {
    "is_available": True,
    "balance_infos": [
        {"currency": "CNY", "total_balance": "110.00", "granted_balance": "10.00", "topped_up_balance": "100.00"},
        {"currency": "USD", "total_balance": "1.50", "granted_balance": "0.00", "topped_up_balance": "1.50"},
    ],
}
SILICONFLOW = {
    "code": 20000,
    "status": True,
    "data": {
        "id": "u1",
        "name": "n",
        "email": "e@x",
        "balance": "0.88",
        "chargeBalance": "88.00",
        "totalBalance": "88.88",
        "status": "normal",
    },
}
AIMLAPI = {"balance": 9300000, "lowBalance": False, "lowBalanceThreshold": 0, "status": "current"}
OPENAI = {"object": "credit_summary", "total_granted": 18.0, "total_used": 3.25, "total_available": 14.75}
SAMPLES = {
    "openrouter": {"data": OPENROUTER},
    "siliconflow": SILICONFLOW,
    "siliconflow-com": SILICONFLOW,
    "deepseek": DEEPSEEK,
    "aimlapi": AIMLAPI,
    "openai": OPENAI,
}


def endpoint(base_url, **more):
    """An endpoint with a key."""
    return EndpointConfig(base_url=base_url, api_key=KEY, **more)


def shown(report):
    """The lines of a report as tuples, amounts as text."""
    return [(line.label, None if line.amount is None else str(line.amount), line.currency) for line in report.lines]


async def test_openrouter_tells_what_is_left_granted_and_spent(fake_transport, answers):
    """The five lines of the documents, in their order, today with four decimal places."""
    transport = fake_transport(answers.json({"data": OPENROUTER}))
    report = await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)
    assert report.vendor == "OpenRouter"
    assert shown(report) == [
        ("remaining", "96.63", "USD"),
        ("limit", "150", "USD"),
        ("used", "53.37", "USD"),
        ("today", "3.3637", "USD"),
        ("this_month", "53.36", "USD"),
    ]
    assert [line.places for line in report.lines] == [2, 2, 2, 4, 2]
    assert report.details == {"free_tier": "no"}
    assert report.unofficial is False


async def test_a_key_without_a_limit_is_said_to_be_unlimited(fake_transport, answers):
    """`limit: null` is no amount, and never zero."""
    data = {**OPENROUTER, "limit": None, "limit_remaining": None, "limit_reset": "monthly", "is_free_tier": True}
    transport = fake_transport(answers.json({"data": data}))
    report = await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)
    assert report.lines[:2] == (
        CreditLine("remaining", None, "USD", "unlimited"),
        CreditLine("limit", None, "USD", "unlimited"),
    )
    assert report.details == {"free_tier": "yes", "limit_resets": "monthly"}


async def test_a_used_up_limit_is_not_unlimited(fake_transport, answers):
    """A limit of 0 and a debt are amounts."""
    transport = fake_transport(answers.json({"data": {**OPENROUTER, "limit": 0, "limit_remaining": -0.5}}))
    report = await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)
    assert shown(report)[:2] == [("remaining", "-0.5", "USD"), ("limit", "0", "USD")]


async def test_deepseek_tells_every_currency(fake_transport, answers):
    """Each entry is shown with its own currency, paid and given parts behind the sum."""
    transport = fake_transport(answers.json(DEEPSEEK))
    report = await fetch_credits(endpoint("https://api.deepseek.com/v1"), transport=transport)
    assert shown(report) == [
        ("remaining", "110.00", "CNY"),
        ("paid", "100.00", "CNY"),
        ("gift", "10.00", "CNY"),
        ("remaining", "1.50", "USD"),
        ("paid", "1.50", "USD"),
        ("gift", "0.00", "USD"),
    ]
    assert report.details == {"usable": "yes"}


@pytest.mark.parametrize(("host", "currency"), [("api.siliconflow.cn", "CNY"), ("api.siliconflow.com", "USD")])
async def test_siliconflow_has_the_currency_of_its_site(fake_transport, answers, host, currency):
    """Yuan in China, dollars elsewhere; name and address of the account are left out."""
    transport = fake_transport(answers.json(SILICONFLOW))
    report = await fetch_credits(endpoint(f"https://{host}/v1"), transport=transport)
    assert shown(report) == [("remaining", "88.88", currency), ("paid", "88.00", currency), ("gift", "0.88", currency)]
    assert report.details == {"status": "normal"}


async def test_aimlapi_tells_dollars_and_credits(fake_transport, answers):
    """Two million credits are a dollar."""
    transport = fake_transport(answers.json(AIMLAPI))
    report = await fetch_credits(endpoint("https://api.aimlapi.com/v1"), transport=transport)
    assert shown(report) == [("remaining", "4.65", "USD"), ("remaining", "9300000", "credits")]
    assert report.details == {"status": "current", "low_balance": "no"}


async def test_openai_is_flagged_as_unofficial(fake_transport, answers):
    """OpenAI documents no such API, so the report says that it may be wrong."""
    transport = fake_transport(answers.json(OPENAI))
    report = await fetch_credits(EndpointConfig(api_key=KEY), transport=transport)
    assert report.unofficial is True
    assert shown(report) == [("remaining", "14.75", "USD"), ("limit", "18.0", "USD"), ("used", "3.25", "USD")]
    assert transport.requests[0].url == "https://api.openai.com/v1/dashboard/billing/credit_grants"


@pytest.mark.parametrize("name", [vendor.name for vendor in VENDORS])
async def test_each_vendor_can_be_played_by_a_server_on_this_machine(serve, name):
    """With `vendor` the question goes to a loopback address, over the real transport."""

    async def script(connection):
        await connection.request()
        await connection.answer(json.dumps(SAMPLES[name]).encode(), headers="content-type: application/json\r\n")

    server = await serve(script)
    report = await fetch_credits(endpoint(f"{server.url}/v1"), vendor=name)
    head = server.connections[0].requests[0][0].decode()
    path = next(vendor.path for vendor in VENDORS if vendor.name == name)
    assert head.startswith(f"GET {path} HTTP/1.1\r\n")
    assert f"authorization: Bearer {KEY}" in head
    assert report.lines[0].label == "remaining"


async def test_siliconflows_own_errors_are_read(fake_transport, answers):
    """It says `status: false` inside a 200."""
    transport = fake_transport(answers.json({"code": 50000, "status": False, "message": f"no user for {KEY}"}))
    with pytest.raises(LLMResponseError, match="the server says: no user") as caught:
        await fetch_credits(endpoint("https://api.siliconflow.cn/v1"), transport=transport)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    "amount", [None, True, [], {}, "", "x", "NaN", "Infinity", "-inf", "1e999999999", "1e-999999999", 10**40, 1e300]
)
async def test_an_amount_that_is_none_is_never_shown(fake_transport, answers, amount):
    """Not as zero, and not as a number that takes gigabytes to write."""
    transport = fake_transport(answers.json({"data": {**OPENROUTER, "limit_remaining": amount}}))
    with pytest.raises(LLMResponseError, match="limit_remaining"):
        await fetch_credits(endpoint("https://openrouter.ai/api/v1"), transport=transport)


@pytest.mark.parametrize("infos", [None, [], {}, [1], [{"currency": "CNY"}], [{"total_balance": "1", "currency": "$"}]])
async def test_deepseek_without_a_balance_is_an_error(fake_transport, answers, infos):
    """An empty list is no balance of zero, and an amount needs a currency."""
    transport = fake_transport(answers.json({"is_available": True, "balance_infos": infos}))
    with pytest.raises(LLMResponseError, match="balance"):
        await fetch_credits(endpoint("https://api.deepseek.com"), transport=transport)


async def test_the_account_holder_does_not_reach_an_error(fake_transport, answers):
    """SiliconFlow sends name and address beside the balance; an error holds neither."""
    data = {**SILICONFLOW["data"], "email": "ada@example.org", "totalBalance": "much"}
    transport = fake_transport(answers.json({**SILICONFLOW, "data": data}))
    with pytest.raises(LLMResponseError) as caught:
        await fetch_credits(endpoint("https://api.siliconflow.cn/v1"), transport=transport)
    assert "ada@" not in f"{caught.value}{caught.value.body}"


def test_a_servers_words_are_cut():
    """A detail is a word or a date, however much a server sends."""
    data = {"data": {**OPENROUTER, "expires_at": "x" * 100_000}}
    assert len(credit_decode.decode_openrouter(data, "USD")[1]["expires_at"]) == 80


def test_an_amount_is_what_the_server_wrote():
    """0.1 + 0.2 of floats does not appear: decimals by their shortest text."""
    data = {"data": {**OPENROUTER, "usage": 0.1, "usage_daily": 1e-05}}
    lines, _ = credit_decode.decode_openrouter(data, "USD")
    assert (lines[2].amount, lines[3].amount) == (Decimal("0.1"), Decimal("0.00001"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["data", "balance_infos", "limit", "x"]), inner),
    max_leaves=8,
)


@given(
    data=st.dictionaries(st.sampled_from(["data", "balance_infos", "code", "status", "balance", "total_used"]), JSON)
)
def test_any_object_is_a_balance_or_a_typed_error(data):
    """No answer makes a decoder raise anything but its own error."""
    for vendor in VENDORS:
        try:
            lines, _ = vendor.decode(data, vendor.currency)
        except credit_decode.UnreadableBalanceError:
            continue
        assert all(line.amount is None or line.amount.is_finite() for line in lines)
