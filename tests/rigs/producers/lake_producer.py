"""A process that holds a source's lease in the lake until it is killed: `python lake_producer.py SOURCE SECONDS`."""

from __future__ import annotations

import sys
import time

from platform_core.lake.lake import Lake
from platform_core.settings import settings
from producers.lake_watermark import LakeWatermark

if __name__ == "__main__":
    watermark = LakeWatermark(Lake(settings()), sys.argv[1], float(sys.argv[2]))
    with watermark.locked():
        watermark.load()
        watermark.save({"low": 1})
        print("holds", flush=True)
        time.sleep(600)
