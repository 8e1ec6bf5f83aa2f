"""The `flexllm` command as it is where uvloop is not installed."""

from __future__ import annotations

import sys
from typing import Any, cast

from flexllm_cli.app import main

if __name__ == "__main__":
    # None makes `import uvloop` an ImportError, which is what the command meets without the extra.
    cast("dict[str, Any]", sys.modules)["uvloop"] = None
    main()
