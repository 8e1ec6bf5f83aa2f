"""`python -m flexllm_mock` is `flexllm-mock`."""

from __future__ import annotations

import sys

from flexllm_mock.cli import main

if __name__ == "__main__":
    sys.exit(main())
