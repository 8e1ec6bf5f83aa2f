"""From HTTP values to bytes and back: HTTP/1.1 straight, or httpx; connections, proxies, TLS."""
