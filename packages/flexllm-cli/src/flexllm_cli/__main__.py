"""`python -m flexllm_cli`."""

from __future__ import annotations

from flexllm_cli.app import main

if __name__ == "__main__":
    main()
