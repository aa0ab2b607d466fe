# SPDX-License-Identifier: GPL-2.0-or-later
"""The machine sleeps and wakes up, as logind tells it, or without a word."""
import os
import signal
import subprocess

import pytest

from lab import BUILD, wait_for
from test_two_hosts import equal, meet, pair


class Logind:
    """Of a host that has a bus."""

    def __init__(self, host):
        self.process = host.popen(BUILD / "tests/helpers/logind", stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True)
        self.expect("ready")

    def say(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def expect(self, line):
        assert self.process.stdout.readline() == line + "\n"

    def end(self):
        self.process.stdin.close()
        self.process.wait()


@pytest.fixture
def hosts(lab):
    """Two that are linked; logind of the first."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.start_bus()
    logind = Logind(a)
    a.up()
    logind.expect("asked sleep shoald delay")
    b.join(a)
    meet(a, b)
    yield a, b, logind
    logind.end()


def test_sleep(hosts):
    a, b, logind = hosts
    for n in range(3):
        (a.dir / f"{n}.txt").write_text("just before")
        logind.say("sleep")
        logind.expect("released")
        # Nobody has to find out that it is away, and what was saved has been sent.
        wait_for(lambda: not b.shoal("peers", "--json"), timeout=2)
        assert a.shoal("peers", "--json") == []
        wait_for(lambda: (b.dir / f"{n}.txt").read_text() == "just before", timeout=2)
        (b.dir / f"there{n}.txt").write_text("meanwhile")
        # Whoever dials is not let in.
        wait_for(lambda: b.run("sh", "-c", "exec 3<>/dev/tcp/10.1.0.1/7580", check=False))
        assert a.shoal("peers", "--json") == []
        logind.say("wake")
        logind.expect("asked sleep shoald delay")
        wait_for(lambda: a.shoal("peers", "--json"), timeout=2)
        wait_for(lambda: (a.dir / f"there{n}.txt").read_text() == "meanwhile", timeout=2)
        equal(a, b)


def test_it_does_not_sleep_after_all(hosts):
    a, b, logind = hosts
    logind.say("sleep")
    logind.say("wake")
    logind.expect("released")
    logind.expect("asked sleep shoald delay")
    meet(a, b)
    (b.dir / "x.txt").write_text("hello")
    equal(a, b)


def test_the_bus_restarts(hosts):
    """While it was about to sleep, which nobody is left to take back; the next logind is asked anew."""
    a, b, logind = hosts
    logind.say("sleep")
    logind.expect("released")
    wait_for(lambda: not b.shoal("peers", "--json"), timeout=2)
    a.stop_bus()
    logind.end()
    wait_for(lambda: a.shoal("peers", "--json"), what="it being awake", timeout=10)
    (b.dir / "x.txt").write_text("hello")
    equal(a, b)
    a.start_bus()
    again = Logind(a)
    # The bus may have been found before logind was on it.
    try:
        again.expect("asked sleep shoald delay")
        again.say("sleep")
        again.expect("released")
        wait_for(lambda: not b.shoal("peers", "--json"), timeout=2)
        again.say("wake")
        meet(a, b)
    finally:
        again.end()


def test_upgraded_while_it_sleeps(hosts):
    """The next one asks for its own delay."""
    a, b, logind = hosts
    a.shoal("upgrade")
    assert {logind.process.stdout.readline(), logind.process.stdout.readline()} == {
        "released\n", "asked sleep shoald delay\n"}
    logind.say("sleep")
    logind.expect("released")
    logind.say("wake")
    meet(a, b)
    equal(a, b)


def test_stopped_for_long(lab):
    """Longer than others wait for it: the link that it thinks it has is none any more."""
    _, a, b = pair(lab)
    pid = a.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        (b.dir / "x.txt").write_text("meanwhile")
        wait_for(lambda: not b.shoal("peers", "--json"), timeout=60)
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_for(lambda: (a.dir / "x.txt").read_text() == "meanwhile", timeout=5)
    equal(a, b)
