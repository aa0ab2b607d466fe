# SPDX-License-Identifier: GPL-2.0-or-later
"""Devices without documents (tests/helpers/linkpeer.c), driven by lines."""
import re
import subprocess
import threading
import time

from lab import BUILD, Failed, wait_for

LINKPEER = BUILD / "tests/helpers/linkpeer"


def linkpeer(*words, check=True, timeout=30):
    """Runs linkpeer WORDS to its end; what it printed."""
    result = subprocess.run([LINKPEER, *map(str, words)], capture_output=True, text=True,
                            timeout=timeout)
    if check and result.returncode:
        raise Failed(f"linkpeer {words[0]}: {result.stdout}{result.stderr}")
    return result.stdout


class Peer:
    """linkpeer run on a host; its events are lines."""

    def __init__(self, host, directory, *options):
        self.host = host
        self.lines = []
        self.times = []  # when each of them came
        self.process = host.popen(LINKPEER, "run", directory, *options, stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self._read, daemon=True).start()
        self.port = int(self.expect(r"listening (\d+)")[1])

    def _read(self):
        for line in self.process.stdout:
            self.times.append(time.monotonic())
            self.lines.append(line.rstrip("\n"))

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def find(self, pattern, start=0):
        for line in self.lines[start:]:
            match = re.match(pattern, line)
            if match:
                return match
        return None

    def expect(self, pattern, start=0, timeout=20):
        """Waits for a line that begins with the pattern, from the start-th on."""
        try:
            return wait_for(lambda: self.find(pattern, start), timeout=timeout, what=pattern)
        except Failed as error:
            raise Failed(f"{error}; lines: {self.lines}") from None

    def links(self):
        """{name of the device: (remote, dialled or accepted)} now."""
        start = len(self.lines)
        self.say("links")
        self.expect("end$", start)
        found = {}
        for line in self.lines[start:]:
            word = line.split(" ")
            if word[0] == "link":
                assert word[1] not in found, f"two links to {word[1]}"
                found[word[1]] = (word[3], word[4])
        return found

    def age(self, name):
        """Seconds since the last link to that device came up."""
        last = max(i for i, line in enumerate(self.lines) if line.startswith(f"up {name} "))
        return time.monotonic() - self.times[last]

    def linked(self, *names):
        return set(self.links()) == set(names)

    def quit(self):
        self.say("quit")
        status = self.process.wait(timeout=10)
        assert status == 0, f"exit status {status}"
