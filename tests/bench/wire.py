# SPDX-License-Identifier: GPL-2.0-or-later
"""Two hosts on one Ethernet, what passes over it, and how long something takes to arrive."""
import contextlib
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from lab import Failed, Lab, end, wait_for  # noqa: E402, F401


@contextlib.contextmanager
def two_hosts():
    """A network and two hosts on it, anna and ben."""
    lab = Lab()
    try:
        lan = lab.network()
        hosts = [lab.host(name, lan) for name in ("anna", "ben")]
        for host in hosts:
            # Otherwise 64 KiB pass as one packet, and the headers of the others are not counted.
            host.run("ip", "link", "set", host.networks[lan], "gso_max_segs", "1")
        yield lan, *hosts
    finally:
        lab.close()


def ethernet_bytes(host):
    """Bytes that left and entered the host's cables, all headers included, read once nothing has
    passed for long enough that no acknowledgement is outstanding."""
    last = None

    def count():
        total = 0
        for line in host.run("cat", "/proc/net/dev").stdout.splitlines():
            name, _, rest = line.partition(":")
            if name.strip().startswith("eth"):
                numbers = rest.split()
                total += int(numbers[0]) + int(numbers[8])
        return total

    def at_rest():
        nonlocal last
        before, last = last, count()
        return last == before

    wait_for(at_rest, what="silence on the wire", every=0.05)
    return last


class Watch:
    """Waits for a file's content by polling it in a tight, bounded loop."""

    def __init__(self, path):
        self.path = path

    def until(self, text, timeout=10):
        end = time.perf_counter() + timeout
        while time.perf_counter() < end:
            with contextlib.suppress(OSError), open(self.path) as file:
                if text in file.read():
                    return time.perf_counter()
            time.sleep(0.0002)
        raise RuntimeError(f"{self.path} did not get {text}")
