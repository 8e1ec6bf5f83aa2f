"""Prices by a model's name alone."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from genai_prices import data_snapshot

from flexllm_batch.cost.price_search import fetch_newest_prices, find_prices, similar_models
from flexllm_batch.cost.pricing import price_of
from flexllm_core.errors import LLMConnectionError

NEWEST = [
    {
        "id": "brand-new",
        "name": "Brand new",
        "api_pattern": "https://api\\.brand-new\\.example",
        "models": [{"id": "newest", "match": {"equals": "newest"}, "prices": {"input_mtok": 1, "output_mtok": 2}}],
    }
]


def test_the_maker_comes_first():
    """With the rates that calls to it have, and other providers behind it."""
    found = find_prices("claude-sonnet-4-5")
    assert found[0].rates == price_of("claude-sonnet-4-5", "https://api.anthropic.com")
    assert len(found) > 1
    assert len({price.rates.provider for price in found}) == len(found)


def test_our_own_table_is_searched_too():
    """With the maker's part of an id or without, in capital letters or small ones."""
    for name in ("zai-org/glm-5", "GLM-5"):
        assert any(price.rates.source == "flexllm" and price.model == "zai-org/glm-5" for price in find_prices(name))


def test_what_is_not_known_has_no_price():
    """Nothing is guessed."""
    assert find_prices("my-own-finetune-of-nothing") == []


@pytest.mark.parametrize(("typed", "meant"), [("gpt-4oo", "gpt-4o"), ("claude-sonet-4-5", "claude-sonnet-4-5")])
def test_names_that_are_like_it(typed, meant):
    """The most alike first."""
    assert similar_models(typed)[0] == meant
    assert similar_models("qqqqqqqqqqqqqq") == []


@pytest.fixture
def serve():
    """Serve a body at a URL."""
    servers = []

    def start(body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/data.json"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()
    data_snapshot.set_custom_snapshot(None)


def test_the_newest_prices_hold_when_they_are_fetched(serve):
    """With the day as their date."""
    assert find_prices("newest") == []
    fetch_newest_prices(serve(json.dumps(NEWEST).encode()))
    [price] = find_prices("newest")
    assert price.rates.provider == "brand-new"
    assert price.rates.as_of == f"{data_snapshot.get_snapshot().timestamp:%Y-%m-%d}"
    assert price.rates.per_million()["output"] == 2


def test_prices_that_cannot_be_fetched_are_an_error(serve):
    """A dead server, and something else than prices."""
    for url in ("http://127.0.0.1:9/data.json", serve(b"<html>"), serve(b"{}")):
        with pytest.raises(LLMConnectionError, match="newest prices"):
            fetch_newest_prices(url)
