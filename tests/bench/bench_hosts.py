#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a user waits for: a first sync, a change, what two people did apart. Beside it rsync and
Syncthing where they do the same job; each is left out where it is not installed.

Two hosts in two network namespaces of this machine; needs root, /dev/fuse, iproute2 and zstd."""
import itertools
import os
import statistics
import sys
import time

import peer_rsync
import peer_syncthing
import records
from wire import Watch, ethernet_bytes, two_hosts

LARGE = 100_000
COUNT = 10_000
CHANGED = COUNT // 100
SAVES = 200
EDITED = 1000


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def sync_bytes(host):
    """Above TLS: in, out."""
    peers = host.shoal("peers", "--json")
    return (sum(peer["sync_bytes_in"] for peer in peers),
            sum(peer["sync_bytes_out"] for peer in peers))


def document(host, number):
    return host.dir / "docs" / records.name_of(number)


def expect_same(anna, ben, count, numbers):
    """As many documents on both, and these the same."""
    for host in (anna, ben):
        if len(os.listdir(host.dir / "docs")) != count:
            raise RuntimeError(f"{host.name} has another number of documents")
    for number in numbers:
        if document(anna, number).read_bytes() != document(ben, number).read_bytes():
            raise RuntimeError(f"document {number} differs")


def first_sync(anna, ben, count):
    """From `up` on the second device until all is durable there: documents a second, Ethernet
    bytes a document; and what zstd -3 makes of one."""
    anna.up()
    (anna.dir / "docs").mkdir()
    packed = records.create(anna.dir / "docs", count)
    ben.shoal("join", "-", input=anna.shoal("invite"))
    before = ethernet_bytes(anna)
    start = time.perf_counter()
    ben.up()
    anna.shoal("wait", "--timeout", "120", timeout=130)
    seconds = time.perf_counter() - start
    size = (ethernet_bytes(anna) - before) / count
    expect_same(anna, ben, count, range(0, count, 97))
    return count / seconds, size, packed / count


def large(anna, ben):
    rate, size, packed = first_sync(anna, ben, LARGE)
    figure(f"first sync of {LARGE} documents of 1 KB, durable", rate, "documents/s", ">=15000")
    figure("the same, Ethernet bytes a document (limit: 1.2 x zstd -3)", size, "B",
           f"<={1.2 * packed:.1f}")


def one_percent(anna, ben):
    """One field of 1 % of the documents, as fast as one program can: Ethernet bytes a change when
    they are connected, and when they meet afterwards."""
    numbers = range(0, COUNT, COUNT // CHANGED)

    def change(status):
        for number in numbers:
            records.edit(document(anna, number), "status", status)

    def arrive():
        anna.shoal("wait", "--device", "ben", "--timeout", "30")
        return (ethernet_bytes(anna) - before) / CHANGED

    before = ethernet_bytes(anna)
    change(records.RETURNED)
    connected = arrive()
    ben.down()
    change(records.REFUNDED)
    before = ethernet_bytes(anna)
    ben.up()
    apart = arrive()
    expect_same(anna, ben, COUNT, numbers)
    return connected, apart


def one_field(anna, ben):
    """Of each save the milliseconds until somebody else reads it, and the bytes above TLS."""
    path, there = document(anna, 7), Watch(document(ben, 7))
    latencies, sizes = [], [sum(sync_bytes(anna))]
    for change in range(SAVES):
        text = records.edited(path, "status", f"change {change}")
        start = time.perf_counter()
        path.write_text(text)
        latencies.append(1000 * (there.until(f"change {change}\"") - start))
        anna.shoal("wait", path, "--device", "ben", "--timeout", "10")
        sizes.append(sum(sync_bytes(anna)))
    return latencies, [after - before for before, after in itertools.pairwise(sizes)]


def edits_apart(lan, anna, ben):
    """Two people edit the same documents without seeing each other: seconds from when they do until
    each has what the other did."""
    lan.split([anna], [ben])
    for host in (anna, ben):
        for number in range(EDITED):
            records.edit(document(host, number), *records.APART[host.name])
    start = time.perf_counter()
    lan.heal()
    for host in (anna, ben):
        host.shoal("wait", "--timeout", "60", timeout=70)
    seconds = time.perf_counter() - start
    for number in range(EDITED):
        if document(anna, number).read_bytes() != document(ben, number).read_bytes():
            raise RuntimeError(f"document {number} differs")
    return seconds


def small(lan, anna, ben):
    """COUNT documents, with limits; returns what the peers are held against."""
    found = {}
    found["first"], size, _ = first_sync(anna, ben, COUNT)
    figure(f"first sync of {COUNT} documents of 1 KB, durable", found["first"], "documents/s",
           ">=5000")
    found["connected"], found["apart"] = one_percent(anna, ben)
    figure(f"one field in 1 % of {COUNT}, connected: Ethernet bytes a change", found["connected"],
           "B", "<=100")
    figure(f"one field in 1 % of {COUNT}, on reconnect: Ethernet bytes a change", found["apart"],
           "B", "<=100")
    latencies, sizes = one_field(anna, ben)
    found["latency"] = statistics.median(latencies)
    figure("one field saved on A, read on B: median", found["latency"], "ms", "<=5")
    figure("one field saved on A, read on B: 99 %", percentile(latencies, 0.99), "ms", "<=20")
    figure("one field, bytes both ways above TLS", statistics.median(sizes), "B", "<=300")
    ben.down()
    ben.up()
    anna.shoal("wait", "--device", "ben", "--timeout", "30")
    figure("reconnect with nothing new, bytes each way above TLS", max(sync_bytes(ben)), "B", "<=120")
    found["alike"] = edits_apart(lan, anna, ben)
    directories = [host.dir / "docs" for host in (anna, ben)]
    found["lost"] = records.edits_lost(directories, EDITED)
    found["strays"] = records.strays(directories, COUNT)
    edits = f"{2 * EDITED} edits apart in {EDITED} documents"
    figure(f"{edits}: lost", found["lost"], "edits", "<=0")
    figure(f"{edits}: stray files", found["strays"], "files", "<=0")
    figure(f"{edits}: alike after", found["alike"], "s", "<=5")
    return found


COMPARED = {
    "first": (f"first sync of {COUNT} documents of 1 KB", "documents/s"),
    "connected": (f"one field in 1 % of {COUNT}, connected", "B"),
    "apart": (f"one field in 1 % of {COUNT}, on reconnect", "B"),
    "latency": ("one field saved on A, read on B: median", "ms"),
    "lost": (f"{2 * EDITED} edits apart: lost", "edits"),
    "strays": (f"{2 * EDITED} edits apart: stray files", "files"),
    "alike": (f"{2 * EDITED} edits apart: alike after", "s"),
}


def beside(peer, found, theirs):
    for key, (name, unit) in COMPARED.items():
        if theirs and key in theirs:
            figure(name, found[key], unit, f"{peer}={theirs[key]:.6g}")


def main():
    with two_hosts() as (_, anna, ben):
        large(anna, ben)
    with two_hosts() as (lan, anna, ben):
        found = small(lan, anna, ben)
    beside("rsync", found, peer_rsync.measure(COUNT, CHANGED))
    beside("syncthing", found, peer_syncthing.measure(COUNT, CHANGED, EDITED))


if __name__ == "__main__":
    main()
