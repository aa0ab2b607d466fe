#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a hub costs: a thousand devices, one change to a hundred.

A daemon in a network namespace of this machine and tests/bench/hubload beside it; needs root and
iproute2."""
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from hub import Hub, Load  # noqa: E402
from lab import Lab  # noqa: E402

COUNT = 1000


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def fan_out(load, count, times=30):
    took = []
    for _ in range(times):
        load.say("write")
        took.append(int(load.expect(f"seen {count - 1} ([0-9]+)")[1]) / 1000)
    return statistics.median(took)


def main():
    lab = Lab()
    try:
        with tempfile.TemporaryDirectory() as directory:
            hub = Hub(lab.host("hub"))
            # What a daemon has once, and not for each device, is there with the first ones.
            load = Load(hub, Path(directory) / "few", 101)
            load.expect("connected")
            figure("hub: one change, saved by one device, seen by 100 others", fan_out(load, 101),
                   "ms", "<=50")
            before, start = hub.resident(), time.perf_counter()
            many = Load(hub, Path(directory) / "many", COUNT)
            many.expect("connected", timeout=300)
            figure(f"hub: {COUNT} devices connect and are in step", time.perf_counter() - start, "s")
            figure("hub: memory for each device that is idle", (hub.resident() - before) / COUNT / 1024,
                   "KiB", "<=256")
            many.end()
            load.end()
            hub.end()
    finally:
        lab.close()


if __name__ == "__main__":
    main()
