"""`python -m simulation COMMAND`; `--help` lists the commands."""

import contextlib
import sys
import warnings

# The registry client's HTTP library warns about its own dependencies on import; nobody here can act on that.
with contextlib.suppress(ImportError):
    from authlib.deprecate import AuthlibDeprecationWarning  # type: ignore[import-untyped]

    warnings.simplefilter("ignore", AuthlibDeprecationWarning)

from simulation.cli import main

if __name__ == "__main__":
    sys.exit(main())
