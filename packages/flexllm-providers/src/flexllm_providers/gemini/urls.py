"""The URLs of generateContent: Google's Developer API, and Vertex AI with its projects and locations.

A base URL reaches up to the version for the Developer API and for Vertex AI with an API key, and up to
the location for a project on Vertex AI. No key ever stands in a URL.
"""

from __future__ import annotations

import re
from functools import lru_cache
from urllib.parse import urlsplit

from flexllm_core.errors import ConfigError
from flexllm_providers.detect import detect_provider

DEVELOPER_HOST = "https://generativelanguage.googleapis.com"
DEVELOPER_VERSION = "v1beta"
"""What Google's documents use; `v1` is the other one, and has what became stable."""
VERTEX_HOST = "https://aiplatform.googleapis.com"
VERTEX_VERSION = "v1"
_LISTING_VERSION = "v1beta1"  # the list of the publishers' models has no stable version

_MULTI_REGIONS = frozenset({"us", "eu"})
_VERSION_AT_END = re.compile(r"/v\d[a-z0-9]*$")
_VERSION = re.compile(r"v\d[a-z0-9]*")
_LOCATION = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9.:_-]*")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:-]*")
_LOCATION_IN_HOST = re.compile(r"([a-z0-9-]+)-aiplatform\.googleapis\.com|aiplatform\.([a-z]+)\.rep\.googleapis\.com")


def developer_base_url(base_url: str | None = None, api_version: str | None = None) -> str:
    """The base of the Developer API, or of a server like it, with its version.

    Raises:
        ConfigError: The version cannot be one, or the URL names another one.
    """
    return _with_version(base_url or DEVELOPER_HOST, api_version, DEVELOPER_VERSION)


def vertex_base_url(
    project: str | None,
    location: str | None = None,
    base_url: str | None = None,
    api_version: str | None = None,
) -> str:
    """The base of Vertex AI, for models of any publisher.

    Args:
        project: Id of the Google Cloud project; None where an API key stands for it.
        location: A region, `us` or `eu` for several regions together, or `global`. By default what
            the host of `base_url` says, else `global`.
        base_url: Another host. A URL that names project and location is taken as it is.
        api_version: `v1` by default.

    Raises:
        ConfigError: A project, location or version cannot be one.
    """
    if base_url and "/projects/" in base_url:
        return base_url.partition("/publishers/")[0].rstrip("/")
    location = location or _location_of(base_url) or "global"
    if not _LOCATION.fullmatch(location):
        raise ConfigError(f"location: {location[:80]!r} is no Google Cloud location")
    base = _with_version(base_url or _vertex_host(location), api_version, VERTEX_VERSION)
    if project is None:
        return base
    if not _PROJECT.fullmatch(project):
        raise ConfigError(f"project_id: {project[:80]!r} is no id of a Google Cloud project")
    return f"{base}/projects/{project}/locations/{location}"


def is_vertex(base_url: str) -> bool:
    """Whether a base URL is Vertex AI's, also where a proxy stands before it."""
    return has_project(base_url) or detect_provider(base_url) == "vertex"


def has_project(base_url: str) -> bool:
    """Whether a base URL names a project, whose calls take an access token and no API key."""
    return "/projects/" in base_url


@lru_cache(maxsize=256)
def model_url(base_url: str, model: str, method: str, publisher: str = "google") -> str:
    """The URL of a model's method, such as `generateContent`.

    Args:
        base_url: As the functions above give it.
        model: Its id, with or without `models/`; also `tunedModels/...`, and on Vertex AI
            `publisher/model`, `endpoints/...` and whole resource names.
        method: With its query, where it has one.
        publisher: Of models on Vertex AI that name none.

    Raises:
        ConfigError: The model's name cannot stand in a URL.
    """
    parts = model.split("/")
    if not all(map(_SEGMENT.fullmatch, parts)):
        raise ConfigError(f"model: {model[:80]!r} is no name of a model")
    if not is_vertex(base_url):
        path = model if len(parts) > 1 else f"models/{model}"
    elif parts[0] == "projects":
        base_url, path = base_url.partition("/projects/")[0], model
    elif parts[0] in ("publishers", "endpoints"):
        path = model
    elif len(parts) == 2 and parts[0] != "models":
        path = f"publishers/{parts[0]}/models/{parts[1]}"
    else:
        path = f"publishers/{publisher}/models/{parts[-1]}"
    return f"{base_url}/{path}:{method}"


def models_url(base_url: str) -> str:
    """The URL that lists the models."""
    if not is_vertex(base_url):
        return f"{base_url}/models"
    root = _VERSION_AT_END.sub("", base_url.partition("/projects/")[0])
    return f"{root}/{_LISTING_VERSION}/publishers/google/models"


def _vertex_host(location: str) -> str:
    if location == "global":
        return VERTEX_HOST
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _location_of(base_url: str | None) -> str | None:
    match = _LOCATION_IN_HOST.fullmatch(urlsplit(base_url or "").hostname or "")
    return match and (match[1] or match[2])


def _with_version(base_url: str, api_version: str | None, default: str) -> str:
    base_url = base_url.rstrip("/")
    if api_version is not None and not _VERSION.fullmatch(api_version):
        raise ConfigError(f"api_version: {api_version[:80]!r} is no version; expected one like {default}")
    at_end = _VERSION_AT_END.search(base_url)
    if at_end is None:
        return f"{base_url}/{api_version or default}"
    if api_version is not None and at_end[0] != f"/{api_version}":
        raise ConfigError(f"api_version is {api_version}, but base_url ends in {at_end[0]}")
    return base_url
