"""`flexllm list`."""

from __future__ import annotations

import os

from flexllm_cli import options
from flexllm_cli.terminal import say
from flexllm_core.visible import visible


def list_models(config: options.ConfigPath = None) -> None:
    """List the configured models; the default one is marked with `*`, keys are masked.

    Example: flexllm list
    """
    from flexllm_cli.connection import configuration
    from flexllm_core.errors import ConfigError
    from flexllm_core.redact import mask_key

    found = configuration(config)
    if not found.models:
        say(f"no model is configured in {found.path or '~/.flexllm/config.yaml'}; run `flexllm init`")
        return
    names = found.names()
    width = max(len(name) for name in names)
    for name in names:
        mark = "*" if name == (found.default or names[0]) else " "
        try:
            endpoint = found.find(name, os.environ)
        except ConfigError as error:
            print(f"{mark} {visible(name):<{width}}  unusable: {visible(str(error))}")  # noqa: T201 - the result
            continue
        if endpoint is None:
            continue
        key = mask_key(endpoint.api_key.get_secret_value()) if endpoint.api_key else "no key"
        facts = f"{endpoint.model or name}  {endpoint.provider}  {endpoint.base_url or 'default URL'}  {key}"
        print(f"{mark} {visible(name):<{width}}  {visible(facts)}")  # noqa: T201
