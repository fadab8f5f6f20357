"""`python -m infra.supply_chain sbom FILE` writes the bill of materials, `... check` asks what is known against it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from infra.embedded.toolchain.toolchain import Toolchain
from infra.supply_chain.components import parts


def main(arguments: list[str] | None = None) -> int:
    """Return 0, or 1 when an explanation belongs to no part or, with `--strict`, an advisory has none."""
    parser = argparse.ArgumentParser(prog="python -m infra.supply_chain", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("sbom").add_argument("file", type=Path)
    checking = commands.add_parser("check")
    checking.add_argument("--strict", action="store_true", help="fail for an advisory that nobody has explained")
    asked = parser.parse_args(arguments)
    Toolchain().everything()  # what is inside of a file that is not there would be missing
    found = parts()
    every = [inside for part in found for inside in part.and_contents()]
    if asked.command == "sbom":
        from infra.supply_chain.bill_of_materials import cyclonedx

        asked.file.write_text(cyclonedx(found), encoding="utf-8")
        print(f"{asked.file}: {len(every)} parts.")
        return 0
    from infra.supply_chain.check import check

    result = check([part.purl for part in every])
    for line in (*result.stale, *result.unexplained):
        print(line, file=sys.stderr)
    if result.unchecked:
        print(f"Advisories: NOTHING WAS CHECKED. {result.unchecked}")
    else:
        print(f"Advisories: {result.checked} parts checked, {len(result.unexplained)} advisories not explained.")
    return 1 if result.stale or (asked.strict and result.unexplained) else 0


if __name__ == "__main__":
    sys.exit(main())
