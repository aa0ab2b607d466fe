#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How many documents a program brings in by libshoal in a second, and reads.

Run by "make bench" in the build directory. Needs root (it empties the kernel's caches) and /dev/fuse."""
import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from lab import BUILD, Lab  # noqa: E402

APART, SYNC = 1, 2


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def load(host, directory, count, steps, flags, known=False):
    """Documents put and read in a second. known: somebody has looked into the directory, so everything that
    comes to it is told by inotify(7) as well."""
    (host.dir / directory).mkdir()
    if not known:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("2")
    output = host.run(BUILD / "tests/bench/putload", host.store, directory, count, steps, flags, timeout=300).stdout
    return map(float, output.split())


def main():
    lab = Lab()
    try:
        host = lab.host("anna")
        host.up()
        put, got = load(host, "bulk", 300_000, 1000, APART)
        figure("documents put by libshoal, 1000 at a time", put, "1/s", ">=50000")
        figure("  read one by one", got, "1/s", ">=5000")
        figure("  put as batches for all devices", next(load(host, "whole", 100_000, 1000, 0)), "1/s")
        figure("  where somebody watches", next(load(host, "known", 100_000, 1000, APART, known=True)), "1/s")
        figure("  to the disk, 100 at a time", next(load(host, "disk", 20_000, 100, APART | SYNC)), "1/s")
        figure("  one at a time", next(load(host, "single", 20_000, 1, APART)), "1/s")
    finally:
        lab.close()


if __name__ == "__main__":
    main()
