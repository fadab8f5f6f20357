"""Fetch groups of the locked Java artifacts into a folder each: `fetch-jars.py FOLDER GROUP...`, while an image builds.

Digests are checked by `infra.embedded.toolchain.artifacts`. An archive is unpacked.
"""

import sys
import tarfile
from pathlib import Path

from infra.embedded.progress import Reporter
from infra.embedded.toolchain.artifacts import ensure

folder = Path(sys.argv[1])
for group in sys.argv[2:]:
    for path in ensure(group, folder / group, Reporter()):
        if path.name.endswith(".tar.gz"):
            with tarfile.open(path) as archive:
                archive.extractall(path.parent, filter="data")
            path.unlink()
