"""`python -m platform_assets.code_server -p PORT ...`: Dagster's server of definitions, where sensors run.

It takes the arguments of `dagster api grpc`, and serves just as that does, with 45 MB less. A run is a process of its
own, which Dagster starts without this module's `main`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until a signal ends it.

    Args:
        arguments: Those of `dagster api grpc`; None is `sys.argv`.
    """
    # Late, because each run's process imports this module as its main one, and must keep pandas.
    from dagster._cli.api import api_cli

    from platform_core.lake.without_pandas import leave_pandas_out

    leave_pandas_out("pyarrow.dataset")
    api_cli(["grpc", *(sys.argv[1:] if arguments is None else arguments)])


if __name__ == "__main__":
    main()
