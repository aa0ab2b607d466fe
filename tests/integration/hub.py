# SPDX-License-Identifier: GPL-2.0-or-later
"""A daemon without a mount at a fixed address, and many devices at it (tests/bench/hubload.c)."""
import os
import queue
import re
import signal
import subprocess
import threading

from lab import BUILD, wait_for

PORT = 7580
HUBLOAD = BUILD / "tests/bench/hubload"


class Hub:
    """shoald --no-mount on a host; the first one of its mesh unless it has a token to join with."""

    def __init__(self, host, token=None, discovery=False):
        self.host = host
        if token:
            host.shoal("join", "-", input=token)
        else:
            host.shoal("init", "--device", host.name)
        host.shoal("config", "network.discovery", "yes" if discovery else "no")
        self.start()

    def start(self):
        self.process = self.host.popen(BUILD / "shoald", "--store", self.host.store, "--no-mount",
                                       "--listen", str(PORT), "--foreground",
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self.host.daemon_pid, what="the hub")

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def end(self):
        os.kill(self.process.pid, signal.SIGTERM)
        assert self.process.wait(timeout=30) == 0

    def resident(self):
        """Bytes of memory that are its own."""
        with open(f"/proc/{self.process.pid}/smaps_rollup") as file:
            text = file.read()
        return 1024 * (int(re.search(r"Private_Dirty: +([0-9]+)", text)[1])
                       + int(re.search(r"Private_Clean: +([0-9]+)", text)[1]))


class Load:
    """So many devices at a hub of this host."""

    def __init__(self, hub, directory, count):
        directory.mkdir()
        self.process = hub.host.popen(HUBLOAD, hub.host.store / "identity", directory, "127.0.0.1",
                                      PORT, count, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      text=True)
        self.lines = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def expect(self, pattern, timeout=120):
        line = self.lines.get(timeout=timeout)
        found = re.match(pattern, line)
        assert found, line
        return found

    def end(self):
        self.say("cut")
        self.expect("cut")
        assert self.process.wait(timeout=30) == 0
