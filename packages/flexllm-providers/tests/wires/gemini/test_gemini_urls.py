"""URLs of the Developer API and of Vertex AI, and the endpoint's settings behind them."""

from __future__ import annotations

from typing import Any

import pytest

from flexllm_core.endpoint import endpoint_from
from flexllm_core.errors import ConfigError
from flexllm_providers.gemini.target import gemini_target, gemini_target_from
from flexllm_providers.gemini.urls import developer_base_url, model_url, models_url, vertex_base_url
from flexllm_providers.target import target_from

DEVELOPER = "https://generativelanguage.googleapis.com"
VERTEX = "https://aiplatform.googleapis.com/v1/projects/p-1/locations/global"


@pytest.mark.parametrize(
    ("base_url", "version", "url"),
    [
        (None, None, f"{DEVELOPER}/v1beta"),
        (None, "v1", f"{DEVELOPER}/v1"),
        (f"{DEVELOPER}/v1", None, f"{DEVELOPER}/v1"),
        (f"{DEVELOPER}/v1", "v1", f"{DEVELOPER}/v1"),
        (DEVELOPER, "v1alpha", f"{DEVELOPER}/v1alpha"),
        ("http://127.0.0.1:99/", None, "http://127.0.0.1:99/v1beta"),
        ("https://gw.example/v1/me/google", None, "https://gw.example/v1/me/google/v1beta"),
    ],
)
def test_the_developer_api_has_its_version(base_url: str | None, version: str | None, url: str) -> None:
    """The URL's own, the configured one, or v1beta."""
    assert developer_base_url(base_url, version) == url


@pytest.mark.parametrize(
    ("location", "base_url", "url"),
    [
        (None, None, VERTEX),
        ("global", None, VERTEX),
        ("us", None, "https://aiplatform.us.rep.googleapis.com/v1/projects/p-1/locations/us"),
        ("eu", None, "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu"),
        (
            "europe-west4",
            None,
            "https://europe-west4-aiplatform.googleapis.com/v1/projects/p-1/locations/europe-west4",
        ),
        (
            None,
            "https://us-east5-aiplatform.googleapis.com",
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p-1/locations/us-east5",
        ),
        (
            None,
            "https://aiplatform.eu.rep.googleapis.com/v1beta1",
            "https://aiplatform.eu.rep.googleapis.com/v1beta1/projects/p-1/locations/eu",
        ),
        ("us-central1", "http://127.0.0.1:99", "http://127.0.0.1:99/v1/projects/p-1/locations/us-central1"),
        ("us", f"{VERTEX}/publishers/google", VERTEX),
    ],
)
def test_vertex_has_its_host_project_and_location(location: str | None, base_url: str | None, url: str) -> None:
    """A host for each region, one for each of the two multi-regions, and a global one."""
    assert vertex_base_url("p-1", location, base_url) == url


@pytest.mark.parametrize(
    ("base_url", "model", "path"),
    [
        (f"{DEVELOPER}/v1", "m", "/v1/models/m"),
        (f"{DEVELOPER}/v1", "models/m", "/v1/models/m"),
        (f"{DEVELOPER}/v1", "tunedModels/m", "/v1/tunedModels/m"),
        (VERTEX, "m", "/v1/projects/p-1/locations/global/publishers/google/models/m"),
        (VERTEX, "models/m", "/v1/projects/p-1/locations/global/publishers/google/models/m"),
        (VERTEX, "meta/m@001", "/v1/projects/p-1/locations/global/publishers/meta/models/m@001"),
        (VERTEX, "publishers/x/models/m", "/v1/projects/p-1/locations/global/publishers/x/models/m"),
        (VERTEX, "endpoints/12", "/v1/projects/p-1/locations/global/endpoints/12"),
        (VERTEX, "projects/q/locations/eu/endpoints/12", "/v1/projects/q/locations/eu/endpoints/12"),
        ("https://aiplatform.googleapis.com/v1", "m", "/v1/publishers/google/models/m"),
    ],
)
def test_the_models_url(base_url: str, model: str, path: str) -> None:
    """By every way in which Google names models."""
    url = model_url(base_url, model, "generateContent")
    assert url == f"https://{base_url.split('/')[2]}{path}:generateContent"


@pytest.mark.parametrize("model", ["", "a b", "m?key=1", "m#x", "../m", "models/..", "a//b", "/m", "ü", "m\n", "%2e"])
def test_no_model_can_change_the_url(model: str) -> None:
    """Rows may name the model, and come from strangers."""
    for base_url in (DEVELOPER + "/v1", VERTEX):
        with pytest.raises(ConfigError, match="no name of a model"):
            model_url(base_url, model, "generateContent")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"location": "x.evil.example/"}, "location"),
        ({"location": "US"}, "location"),
        ({"project_id": "a/b"}, "project_id"),
        ({"api_version": "../v1"}, "api_version"),
        ({"api_version": 1}, "dialect.api_version: expected a text, found int"),
        ({"family": "4-flash"}, "dialect.family: unknown family"),
        ({"famly": "3-pro"}, "did you mean 'family'"),
        ({"refused": "seed"}, "dialect.refused"),
    ],
)
def test_wrong_settings_are_config_errors(settings: dict[str, Any], message: str) -> None:
    """Before anything is sent, and above all before a host is made of them."""
    endpoint = endpoint_from({"provider": "vertex", "dialect": {"project_id": "p", **settings}})
    with pytest.raises(ConfigError, match=message):
        gemini_target_from(endpoint, {})


def test_a_version_must_not_contradict_the_url() -> None:
    """Which of the two is meant cannot be known."""
    with pytest.raises(ConfigError, match="api_version is v1, but base_url ends in /v1beta"):
        developer_base_url(f"{DEVELOPER}/v1beta", "v1")


def test_vertex_takes_project_and_location_from_the_environment() -> None:
    """By the names that Google's tools use; the configuration wins."""
    env = {"GOOGLE_CLOUD_PROJECT": "p-1", "GOOGLE_CLOUD_LOCATION": "eu"}
    target = gemini_target_from(endpoint_from({"provider": "vertex"}), env)
    assert target.base_url == "https://aiplatform.eu.rep.googleapis.com/v1/projects/p-1/locations/eu"
    own = {"project_id": "p-2", "location": "global"}
    target = gemini_target_from(endpoint_from({"provider": "vertex", "dialect": own}), env)
    assert target.base_url == VERTEX.replace("p-1", "p-2")


def test_vertex_needs_a_project_or_a_key() -> None:
    """With a key alone the URL names no project, and the key goes into its own header."""
    with pytest.raises(ConfigError, match="no Google Cloud project; set project_id or GOOGLE_CLOUD_PROJECT"):
        gemini_target_from(endpoint_from({"provider": "vertex"}), {})
    target = gemini_target_from(endpoint_from({"provider": "vertex", "api_key": "k-123456"}), {})
    assert (target.base_url, target.provider) == ("https://aiplatform.googleapis.com/v1", "vertex")
    assert target.api_headers["x-goog-api-key"] == "k-123456"
    assert "authorization" not in target.api_headers


def test_vertex_is_known_by_its_host() -> None:
    """Where the provider is not named, as everywhere."""
    endpoint = endpoint_from({"base_url": "https://us-east5-aiplatform.googleapis.com", "dialect": {"project_id": "p"}})
    assert gemini_target_from(endpoint, {}).base_url.endswith("/v1/projects/p/locations/us-east5")


def test_a_target_of_another_wire_gets_the_defaults() -> None:
    """So that every wire can be called with a plain target."""
    endpoint = endpoint_from({"name": "n", "base_url": "http://h/v1", "api_key": "k-123456", "model": "m"})
    target = gemini_target(target_from(endpoint, ""))
    assert (target.label, target.base_url, target.model, target.family) == ("n", "http://h/v1", "m", None)
    assert gemini_target(target) is target


def test_the_lists_of_models() -> None:
    """Vertex AI lists the models of a publisher, not of a project."""
    assert models_url(f"{DEVELOPER}/v1") == f"{DEVELOPER}/v1/models"
    assert models_url(VERTEX) == "https://aiplatform.googleapis.com/v1beta1/publishers/google/models"


def test_project_location_and_version_are_fields_of_an_endpoint() -> None:
    """The dialect still takes them; the fields win over the environment, and must not contradict the dialect."""
    env = {"GOOGLE_CLOUD_PROJECT": "p-1", "GOOGLE_CLOUD_LOCATION": "eu"}
    own = {"provider": "vertex", "project_id": "p-3", "location": "us-east5", "api_version": "v1beta1"}
    expected = "https://us-east5-aiplatform.googleapis.com/v1beta1/projects/p-3/locations/us-east5"
    assert gemini_target_from(endpoint_from(own), env).base_url == expected
    assert gemini_target_from(endpoint_from({**own, "dialect": {"location": "us-east5"}}), env).base_url == expected
    with pytest.raises(ConfigError, match=r"location and dialect\.location differ"):
        gemini_target_from(endpoint_from({**own, "dialect": {"location": "eu"}}), env)
    developer = endpoint_from({"provider": "gemini", "api_version": "v1"})
    assert gemini_target_from(developer, {}).base_url == f"{DEVELOPER}/v1"
    with pytest.raises(ConfigError, match="location is not for this provider; expected provider: vertex"):
        gemini_target_from(endpoint_from({"provider": "gemini", "location": "eu"}), {})
