# SPDX-License-Identifier: GPL-2.0-or-later
"""What the rsync daemon makes of the same documents, without TLS: it copies one way, when told to."""
import shutil
import time

import records
from wire import ethernet_bytes, two_hosts, wait_for

PORT = 8730


def serve(host, directory):
    config = host.home / "rsyncd.conf"
    config.write_text(f"use chroot = no\nlog file = {host.home}/rsyncd.log\n"
                      f"[docs]\npath = {directory}\nuid = root\ngid = root\n")
    host.popen("rsync", "--daemon", "--no-detach", f"--config={config}", f"--port={PORT}")


def measure(count, changed):
    """Documents a second of a first sync and Ethernet bytes for each of those changed afterwards;
    None where there is no rsync."""
    if not shutil.which("rsync"):
        return None
    with two_hosts() as (lan, anna, ben):
        source, copy = anna.home / "docs", ben.home / "docs"
        source.mkdir()
        records.create(source, count)
        serve(anna, source)
        url = f"rsync://{anna.addresses[lan]}:{PORT}/docs/"
        wait_for(lambda: ben.run("rsync", url, check=False).returncode == 0, what="the rsync daemon")
        ben.run("sync", "-f", ben.home)
        start = time.perf_counter()
        ben.run("rsync", "-a", url, copy)
        ben.run("sync", "-f", copy)  # durable, as it is with Shoal
        first = count / (time.perf_counter() - start)
        for number in range(0, count, count // changed):
            records.edit(source / records.name_of(number), "status", records.RETURNED)
        before = ethernet_bytes(anna)
        ben.run("rsync", "-a", url, copy)
        size = (ethernet_bytes(anna) - before) / changed
        for number in range(0, count, count // changed):
            name = records.name_of(number)
            if (source / name).read_bytes() != (copy / name).read_bytes():
                raise RuntimeError(f"rsync: {name} differs")
        return {"first": first, "apart": size}
