"""`python -m flexllm`: the command line, where it is installed."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    try:
        from flexllm_cli.app import main  # an extra of this package
    except ModuleNotFoundError as error:
        if error.name != "flexllm_cli":
            raise
        sys.stderr.write("error: the command line is not installed: pip install 'flexllm[cli]'\n")
        sys.exit(7)
    main()
