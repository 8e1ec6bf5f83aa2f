"""`python -m flexllm`: the command line, where it is installed."""

from __future__ import annotations

import runpy
import sys
from importlib.util import find_spec

if __name__ == "__main__":
    # By name: this package is below the command line and imports none of it.
    if find_spec("flexllm_cli") is None:
        sys.stderr.write("error: the command line is not installed: pip install 'flexllm[cli]'\n")
        sys.exit(7)
    runpy.run_module("flexllm_cli", run_name="__main__", alter_sys=True)
