"""The model list, in the shape of the vendor whom the client means."""

from __future__ import annotations

import pytest

CLAUDE = {"anthropic-version": "2023-06-01"}
GOOGLE = {"x-goog-api-key": "k"}
NAMES = tuple(f"m{number}" for number in range(7))


@pytest.mark.parametrize(
    ("path", "headers", "shape"),
    [
        ("/v1/models", {}, {"object", "data"}),
        ("/v1/models", {"authorization": "Bearer k"}, {"object", "data"}),
        ("/v1beta/openai/models", {"authorization": "Bearer k"}, {"object", "data"}),
        ("/v1/models", CLAUDE, {"data", "has_more", "first_id", "last_id"}),
        ("/v1/models", {**CLAUDE, **GOOGLE}, {"data", "has_more", "first_id", "last_id"}),
        ("/v1/models", GOOGLE, {"models"}),
        ("/v1/models?key=k", {}, {"models"}),
        ("/v1beta/models", {}, {"models"}),
        ("/proxy/v1beta/models", {}, {"models"}),
    ],
)
def test_path_and_headers_choose_the_shape(client, path, headers, shape):
    """Claude's version header, Google's key and Google's API version each bring their vendor's list."""
    assert set(client.get(path, **headers).json) == shape


def test_one_model_in_each_shape(serve):
    """A single model is described as the vendor does, and an unknown one is the vendor's 404."""
    client = serve(models=("a", "b"))
    assert client.get("/v1/models/b").json["object"] == "model"
    assert client.get("/v1/models/b", **CLAUDE).json["type"] == "model"
    assert client.get("/v1beta/models/b").json["name"] == "models/b"
    assert client.get("/v1/models/c").error["code"] == "model_not_found"
    assert client.get("/v1/models/c", **CLAUDE).claude_error == {"type": "not_found_error", "message": "model: c"}
    assert client.get("/v1beta/models/c").gemini_error["status"] == "NOT_FOUND"
    assert client.post("/v1beta/models", {}).gemini_error["code"] == 405


def claude_pages(client, query, key, cursor):
    """Follow the pages, and return the names on each."""
    pages, more = [], ""
    while True:
        page = client.get(f"/v1/models?{query}{more}", **CLAUDE).json
        names = [model["id"] for model in page["data"]]
        assert (page["first_id"], page["last_id"]) == ((names[0], names[-1]) if names else (None, None))
        pages.append(names)
        if not page["has_more"]:
            return pages
        more = f"&{key}={page[cursor]}"


def test_claude_pages(serve):
    """Pages go forwards with after_id and backwards with before_id, and has_more ends them."""
    client = serve(models=NAMES)
    assert claude_pages(client, "limit=3", "after_id", "last_id") == [["m0", "m1", "m2"], ["m3", "m4", "m5"], ["m6"]]
    assert claude_pages(client, "limit=7", "after_id", "last_id") == [list(NAMES)]
    assert claude_pages(client, "", "after_id", "last_id") == [list(NAMES)]
    assert [model["id"] for model in client.get("/v1/models?limit=2&before_id=m4", **CLAUDE).json["data"]] == [
        "m2",
        "m3",
    ]
    assert client.get("/v1/models?before_id=m0", **CLAUDE).json["data"] == []
    assert client.get("/v1/models?limit=2&before_id=m2", **CLAUDE).json["has_more"] is False


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", f"limit={'9' * 5000}", "after_id=none", "after_id=m1&before_id=m2"]
)
def test_claude_refuses_wrong_pages(serve, query):
    """A limit out of range and an unknown cursor are 400."""
    assert serve(models=NAMES).get(f"/v1/models?{query}", **CLAUDE).claude_error["type"] == "invalid_request_error"


@pytest.mark.parametrize("spelling", ["pageSize=3&pageToken", "page_size=3&page_token"])
def test_gemini_pages(serve, spelling):
    """Pages follow their tokens, in either spelling, and the last one has none."""
    client = serve(models=NAMES)
    pages, token = [], ""
    while token is not None:
        page = client.get(f"/v1beta/models?{spelling}={token}").json
        pages.append([model["name"] for model in page["models"]])
        token = page.get("nextPageToken")
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [name for page in pages for name in page] == [f"models/{name}" for name in NAMES]


@pytest.mark.parametrize(
    "query", ["pageSize=x", "pageSize=-1", "pageToken=x", "pageToken=cGFnZTo5", "pageToken=%C3%A9"]
)
def test_gemini_refuses_wrong_pages(serve, query):
    """A size that is no number and a token that no page had are 400."""
    assert serve(models=NAMES).get(f"/v1beta/models?{query}").gemini_error["status"] == "INVALID_ARGUMENT"


def test_key_in_the_url_is_counted(serve):
    """Google's ?key= is accepted where Google does, and every key in a URL is counted and kept out of the log."""
    client = serve(api_key="sk-right")
    assert client.get("/v1beta/models?key=sk-right").status == 200
    refused = client.get("/v1beta/models?key=sk-wrong")
    assert (refused.status, refused.gemini_error["details"][0]["reason"]) == (400, "API_KEY_INVALID")
    assert client.get("/v1/chat/completions?api_key=sk-right").status != 200
    assert client.get("/v1/models?limit=2", **CLAUDE, **{"x-api-key": "sk-right"}).status == 200
    assert client.get("/v1/models?%ff=%fe&key=%ff").status == 400
    assert client.server.stats().key_in_url == 4
    assert "sk-" not in repr(client.server.requests)
    client.server.reset()
    assert client.server.stats().key_in_url == 0
