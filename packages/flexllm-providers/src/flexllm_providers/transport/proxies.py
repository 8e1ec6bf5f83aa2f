"""Which proxy the environment names for a URL: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import urlsplit

from flexllm_core.errors import ConfigError
from flexllm_providers.http import origin_of
from flexllm_providers.transport.request_head import Origin, split_url

PROXY_SCHEMES = frozenset({"http", "https", "socks5", "socks5h"})


def proxy_from_environment(url: str, environ: Mapping[str, str] | None = None) -> str | None:
    """The proxy that the environment wants for a URL, or None.

    Lower-case names win over upper-case ones. Loopback addresses never have a proxy here: no
    machine's `localhost` is behind one.

    Args:
        url: Where the request goes.
        environ: The variables; those of the process by default.
    """
    variables = os.environ if environ is None else environ
    origin = split_url(url).origin
    proxy = _variable(variables, f"{origin.scheme}_proxy") or _variable(variables, "all_proxy")
    if not proxy or is_loopback(origin.host) or _excluded(origin, _variable(variables, "no_proxy")):
        return None
    return proxy


def is_loopback(host: str) -> bool:
    """Whether a host is this machine: `localhost`, its subdomains, 127.0.0.0/8 or ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False


def checked_proxy(proxy: str) -> str:
    """A proxy's URL, with the scheme that may be left out.

    Raises:
        ConfigError: It is no URL of an http, https or socks5 proxy. The message shows no credentials.
    """
    url = proxy.strip()
    url = url if "://" in url else f"http://{url}"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in PROXY_SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ConfigError("the proxy must be a URL like http://host:3128 or socks5://host:1080")
    return url


def proxy_label(proxy: str) -> str:
    """A proxy as messages show it: without credentials."""
    return origin_of(proxy)


def _variable(environ: Mapping[str, str], name: str) -> str:
    if name == "http_proxy" and "REQUEST_METHOD" in environ:
        # In a CGI process HTTP_PROXY is the request's `Proxy:` header, that is, anybody's choice.
        return environ.get(name, "")
    return environ.get(name) or environ.get(name.upper()) or ""


def _excluded(origin: Origin, no_proxy: str) -> bool:
    return any(_matches(origin, host, port) for host, port in _entries(no_proxy))


def _entries(no_proxy: str) -> Iterator[tuple[str, int | None]]:
    """Hosts and ports of a NO_PROXY list: `example.com`, `.example.com`, `*.example.com`, `host:port`, `[::1]:80`."""
    for entry in no_proxy.replace(",", " ").lower().split():
        host, colon, port = entry.rpartition(":")
        if not colon or not port.isdecimal() or (":" in host and not host.endswith("]")):
            host, port = entry, ""
        host = host.strip("[]")
        yield (host if host == "*" else host.removeprefix("*").strip(".")), (int(port) if port else None)


def _matches(origin: Origin, host: str, port: int | None) -> bool:
    if port is not None and port != origin.port:
        return False
    name = origin.host.rstrip(".")
    return host == "*" or (host != "" and (name == host or name.endswith(f".{host}")))
