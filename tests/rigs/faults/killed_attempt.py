"""A program: processes one date as a run does, and is killed by SIGKILL behind a chosen step.

`python killed_attempt.py DOMAIN STEP`; the environment has the platform's settings and SPARK_REMOTE. Killing itself is
as sudden as being killed, and hits the step exactly.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from platform_core.settings import settings
from processing.one_date import Step
from tests.rigs.faults.lake_rig import LakeRig


def main(name: str, step: str) -> None:
    def die(done: Step) -> None:
        if type(done).__name__ == step:
            os.kill(os.getpid(), signal.SIGKILL)

    rig = LakeRig(settings().spark_remote, Path())
    rig.attempt(rig.catalog[name], die)
    sys.exit(f"it was not killed behind {step}: {rig.failures}")


if __name__ == "__main__":
    main(*sys.argv[1:])
