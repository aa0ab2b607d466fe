#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user waits for: a first sync, one change.

Two daemons in two network namespaces of this machine; needs root, /dev/fuse and iproute2."""
import contextlib
import json
import os
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from lab import Lab, tree_hash, wait_for  # noqa: E402

COUNT = 10_000


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def document(number, value=0):
    """A JSON document of 1 KB, as json.dump writes it."""
    body = {"id": number, "name": f"document {number}", "value": value, "tags": ["a", "b", "c"],
            "address": {"street": "Main street 1", "city": "Springfield", "zip": "12345"}}
    fields = {f"field{i:02d}": f"some text that fills the document {i * number}" for i in range(15)}
    body.update(fields)
    text = json.dumps(body)
    body["pad"] = "p" * max(0, 1024 - len(text) - 10)
    return json.dumps(body) + "\n"


def create(directory, texts):
    for number, text in enumerate(texts):
        with open(f"{directory}/{number}.json", "w") as file:
            file.write(text)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def bytes_on_wire(host):
    """Bytes that left and entered the host's cables, headers included."""
    total = 0
    for line in host.run("cat", "/proc/net/dev").stdout.splitlines():
        name, _, rest = line.partition(":")
        if rest and name.strip().startswith("eth"):
            numbers = rest.split()
            total += int(numbers[0]) + int(numbers[8])
    return total


def sync_bytes(host):
    peers = host.shoal("peers", "--json")
    return sum(peer["sync_bytes_in"] + peer["sync_bytes_out"] for peer in peers)


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


def main():
    lab = Lab()
    try:
        lan = lab.network()
        anna, ben = lab.host("anna", lan), lab.host("ben", lan)
        anna.up()

        (anna.dir / "docs").mkdir()
        create(anna.dir / "docs", [document(number) for number in range(COUNT)])

        # --- first sync ---
        ben.shoal("join", "-", input=anna.shoal("invite"))
        before = bytes_on_wire(anna)
        start = time.perf_counter()
        ben.up()
        wait_for(lambda: len(os.listdir(ben.dir / "docs")) == COUNT, timeout=120, every=0.002)
        anna.shoal("wait", "--device", "ben", "--timeout", "120")
        seconds = time.perf_counter() - start
        figure("first sync, durable", COUNT / seconds, "documents/s", ">=5000")
        figure("first sync, Ethernet bytes a document of 1 KB",
               (bytes_on_wire(anna) - before) / COUNT, "B", "content=1024")
        if tree_hash(anna.dir) != tree_hash(ben.dir):
            raise RuntimeError("the trees differ after the first sync")

        # --- one field ---
        path, there = anna.dir / "docs/7.json", Watch(ben.dir / "docs/7.json")
        latencies, sizes = [], []
        for change in range(200):
            value = json.loads(path.read_text())
            value["value"] = f"change {change}"
            text = json.dumps(value) + "\n"
            idle = sync_bytes(anna)
            started = time.perf_counter()
            path.write_text(text)
            latencies.append(1000 * (there.until(f"change {change}\"") - started))
            anna.shoal("wait", path, "--device", "ben", "--timeout", "10")
            sizes.append(sync_bytes(anna) - idle)
        figure("one field saved on A, visible on B: median", statistics.median(latencies), "ms",
               "<=10")
        figure("one field saved on A, visible on B: 99 %", percentile(latencies, 0.99), "ms", "<=50")
        figure("one field, bytes both ways above TLS", statistics.median(sizes), "B", "<=300")

        # --- reconnect with nothing to say ---
        ben.down()
        ben.up()
        anna.shoal("wait", "--device", "ben", "--timeout", "30")
        figure("reconnect with nothing new, bytes both ways above TLS",
               sync_bytes(ben), "B", "<=240")
    finally:
        lab.close()


if __name__ == "__main__":
    main()
