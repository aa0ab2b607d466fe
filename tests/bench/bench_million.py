#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A directory of a million documents: how long the daemon takes to begin with it, what memory it has then, and
whether a listing is right while names come and go.

Run by "make bench" in the build directory; prints the lines that tests/bench/run wants. Needs root (it
empties the kernel's caches) and /dev/fuse."""
import json
import os
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from lab import Lab  # noqa: E402

COUNT = 1_000_000
BATCH = 1000  # lines that shoal-txn(1) takes at once


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def memory(host):
    """MiB of the daemon that are no file's."""
    with open(f"/proc/{host.daemon_pid()}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("RssAnon:")) / 1024


def fill(host, directory):
    """Of a directory that the kernel does not know nobody has to be told anything."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("2")
    for start in range(0, COUNT, BATCH):
        host.shoal("txn", timeout=60, input="".join(
            json.dumps({"put": f"{directory}/{number:07d}.json", "value": {"n": number}}) + "\n"
            for number in range(start, start + BATCH)))


def churn(directory, until):
    """Names come and go until told."""
    number = 0
    while not until.is_set():
        path = directory / f"other{number % 50}"
        path.write_text("x")
        number += 1
        if number % 3 == 0:
            path.unlink()


def listed(directory):
    """Names, how often each, and seconds."""
    start = time.perf_counter()
    seen = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            seen[entry.name] = seen.get(entry.name, 0) + 1
    return seen, time.perf_counter() - start


def main():
    lab = Lab()
    try:
        host = lab.host("anna")
        host.up()
        cars = host.dir / "cars"
        cars.mkdir()
        start = time.perf_counter()
        fill(host, "cars")
        figure("1,000,000 documents put by shoal txn", COUNT / (time.perf_counter() - start),
               "documents/s")
        host.shoal("down", host.dir)
        start = time.perf_counter()
        host.up()
        (cars / "0500000.json").read_text()
        figure("  daemon begun and one of them read", (time.perf_counter() - start) * 1e3, "ms")
        figure("  memory of the daemon then", memory(host), "MiB")
        plain = lab.directory / "plain"
        plain.mkdir()
        for number in range(COUNT):
            os.close(os.open(plain / f"{number:07d}.json", os.O_WRONLY | os.O_CREAT, 0o644))
        listed(plain)
        reference = listed(plain)[1]
        over = threading.Event()
        other = threading.Thread(target=churn, args=(cars, over))
        other.start()
        try:
            seen, first = listed(cars)
            again = listed(cars)[1]
        finally:
            over.set()
            other.join()
        stay = {f"{number:07d}.json" for number in range(COUNT)}
        figure("  listed while names come and go", first, "s", f"ext4={reference:.6g}")
        figure("  listed once more", again, "s", f"ext4={reference:.6g}")
        figure("  names that were missing", len(stay - seen.keys()), "", "<=0")
        figure("  names that came twice", sum(times > 1 for times in seen.values()), "", "<=0")
        figure("  memory of the daemon then", memory(host), "MiB")
    finally:
        lab.close()


if __name__ == "__main__":
    main()
