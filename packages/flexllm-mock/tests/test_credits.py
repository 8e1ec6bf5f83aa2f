"""The credit endpoints over HTTP."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/api/v1/key", {"data": {"limit": 150, "limit_remaining": 96.63, "usage": 53.37, "usage_daily": 3.3637}}),
        ("/api/v1/auth/key", {"data": {"limit": 150, "usage_monthly": 53.36}}),
        ("/api/v1/credits", {"data": {"total_credits": 150, "total_usage": 53.37}}),
        ("/user/balance", {"is_available": True}),
        ("/v1/user/info", {"code": 20000, "status": True, "data": {"totalBalance": "88.88", "chargeBalance": "88.00"}}),
        ("/v1/billing/balance", {"balance": 9300000, "lowBalance": False, "status": "current"}),
        ("/v1/dashboard/billing/credit_grants", {"total_granted": 150.0, "total_used": 53.37}),
    ],
)
def test_credit_is_told_in_the_vendors_shape(client, path, expected):
    """Each vendor's path has that vendor's fields, always the same."""
    answer = client.get(path)
    assert answer.status == 200
    for name, value in expected.items():
        if isinstance(value, dict):
            assert value.items() <= answer.json[name].items()
        else:
            assert answer.json[name] == value
    assert client.get(path).body == answer.body


def test_credit_adds_up(client):
    """What was granted less what was used is what is left."""
    key = client.get("/api/v1/key").json["data"]
    assert key["limit"] - key["usage"] == pytest.approx(key["limit_remaining"])
    grants = client.get("/v1/dashboard/billing/credit_grants").json
    assert grants["total_granted"] - grants["total_used"] == pytest.approx(grants["total_available"])
    [info] = client.get("/user/balance").json["balance_infos"]
    assert float(info["granted_balance"]) + float(info["topped_up_balance"]) == float(info["total_balance"])
    user = client.get("/v1/user/info").json["data"]
    assert float(user["balance"]) + float(user["chargeBalance"]) == pytest.approx(float(user["totalBalance"]))


def test_credit_needs_the_key(serve):
    """With a key set, a wrong bearer gets 401, and only GET is allowed."""
    client = serve(api_key="sk-right", error_rate=1)
    assert client.get("/user/balance", authorization="Bearer sk-wrong").error["code"] == "invalid_api_key"
    assert client.get("/user/balance", authorization="Bearer sk-right").status == 200
    assert client.post("/user/balance", {}, authorization="Bearer sk-right").headers["allow"] == "GET"
    assert client.get("/other/user/balance", authorization="Bearer sk-right").status == 404
