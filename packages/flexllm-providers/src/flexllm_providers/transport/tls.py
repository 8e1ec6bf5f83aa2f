"""TLS contexts: which authorities are trusted, decided in one place for both transports."""

from __future__ import annotations

import ssl
from pathlib import Path

Verify = bool | str | ssl.SSLContext
"""True: the authorities of `SSL_CERT_FILE` or `SSL_CERT_DIR`, else certifi's. False: any certificate.
A string: a file or a folder of authorities. A context: as it is."""


def client_context(verify: Verify) -> ssl.SSLContext:
    """The TLS context for `verify`; reads certificate files, so build it once and keep it.

    Raises:
        OSError: The file or folder of authorities cannot be read.
    """
    if isinstance(verify, ssl.SSLContext):
        return verify
    if isinstance(verify, str):
        folder = Path(verify).is_dir()
        context = ssl.create_default_context(cafile=None if folder else verify, capath=verify if folder else None)
    else:
        import httpx  # only when a TLS connection is first made: importing it takes long

        context = httpx.create_ssl_context(verify=verify)
    context.set_alpn_protocols(["http/1.1"])
    return context
