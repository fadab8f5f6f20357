"""`python -m pdp`, for where the console script is not installed; the commands are in `pdp.cli`."""

from pdp.cli import main

if __name__ == "__main__":
    main()
