"""The value of `--schema`: a JSON schema in a file, or written out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flexllm_core.errors import ConfigError


def read_schema(value: str) -> dict[str, Any]:
    """The schema that the option names.

    Raises:
        ConfigError: It is no JSON object.
        OSError: The file cannot be read.
    """
    written_out = value.lstrip().startswith("{")
    source = "--schema" if written_out else f"--schema {value}"
    try:
        schema = json.loads(value if written_out else Path(value).read_bytes())
    except ValueError as error:
        raise ConfigError(f"{source}: not JSON: {error}") from None
    except RecursionError:
        raise ConfigError(f"{source}: nested too deeply") from None
    if not isinstance(schema, dict):
        raise ConfigError(f"{source}: expected a JSON object, found {type(schema).__name__}")
    return schema
