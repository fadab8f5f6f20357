"""`python -m pdp`, for where the console script is not installed.

Nothing but the call belongs here; the commands are in `pdp.cli`. See
https://docs.python.org/3/library/__main__.html.
"""

from pdp.cli import main

if __name__ == "__main__":
    main()
