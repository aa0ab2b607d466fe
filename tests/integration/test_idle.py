# SPDX-License-Identifier: GPL-2.0-or-later
"""What a link costs when nothing is said, and how soon it is there again."""
import contextlib
import os
import time

import pytest

from lab import wait_for
from test_two_hosts import equal, meet, pair

WINDOW = 60  # seconds that are looked at


def segments(host):
    """TCP segments that entered and left the host."""
    names, values = [line.split() for line in host.run("cat", "/proc/net/snmp").stdout.splitlines()
                     if line.startswith("Tcp:")]
    found = dict(zip(names, values))
    return int(found["InSegs"]) + int(found["OutSegs"])


def cpu(host):
    """Seconds that the threads of the daemon ran."""
    pid = host.daemon_pid()
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{task}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


def wait_quiet(host):
    """The last of what was said is through when nothing came for a good while."""
    state = {"segments": segments(host), "since": time.monotonic()}

    def quiet():
        now = segments(host)
        if now != state["segments"]:
            state.update(segments=now, since=time.monotonic())
        return time.monotonic() > state["since"] + 6
    wait_for(quiet, timeout=60, every=0.5)


def test_a_quiet_link_costs_little(lab):
    """At most one packet in ten seconds for each connection, and a thousandth of a core."""
    _, a, b = pair(lab)
    (a.dir / "x.txt").write_text("hello")
    equal(a, b)
    for host in (a, b):
        wait_for(lambda: host.shoal("peers", "--json")[0]["standby"], what="a standby")

    wait_quiet(a)
    links = a.shoal("peers", "--json")[0]
    before = segments(a), cpu(a), cpu(b)
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() > begin + WINDOW, timeout=WINDOW + 10, every=1)
    after = segments(a), cpu(a), cpu(b)
    took = time.monotonic() - begin
    connections = 2
    assert 0 < after[0] - before[0] <= connections * took / 10, f"{after[0] - before[0]} packets"
    for used in (after[1] - before[1], after[2] - before[2]):
        assert used <= took / 1000, f"{1000 * used:.0f} ms of CPU in {took:.0f} s"
    # It is the same link, and it works.
    assert a.shoal("peers", "--json")[0]["connected_s"] >= links["connected_s"] + WINDOW - 1
    (a.dir / "x.txt").write_text("again")
    wait_for(lambda: (b.dir / "x.txt").read_text() == "again", timeout=2)
    print(f"{after[0] - before[0]} packets in {took:.0f} s, "
          f"{1000 * (after[1] - before[1]):.0f} and {1000 * (after[2] - before[2]):.0f} ms of CPU")


SOON = 2  # seconds from a usable link to what was saved meanwhile being there


def cable(lan, a, b):
    lan.disconnect(a)
    wait_for(lambda: not a.shoal("peers", "--json"), timeout=5)
    yield
    lan.connect(a)


def interface(lan, a, b):
    a.run("ip", "link", "set", "eth0", "down")
    wait_for(lambda: not a.shoal("peers", "--json"), timeout=5)
    yield
    a.run("ip", "link", "set", "eth0", "up")


def other_address(lan, a, b):
    a.run("ip", "address", "flush", "dev", "eth0")
    wait_for(lambda: not a.shoal("peers", "--json"), timeout=5)
    yield
    a.run("ip", "address", "add", f"10.{lan.number}.0.99/24", "broadcast", "+", "dev", "eth0")


def flap(lan, a, b):
    """Down and up five times, too fast for anything to settle."""
    yield
    for _ in range(5):
        lan.disconnect(b)
        lan.connect(b)


@pytest.mark.parametrize("who", ["saver", "other"])
@pytest.mark.parametrize("change", [cable, interface, other_address, flap])
def test_soon_there_again(lab, change, who):
    lan, a, b = pair(lab)
    equal(a, b)
    saver, other = (a, b) if who == "saver" else (b, a)
    for n in range(2):
        steps = change(lan, a, b)
        next(steps)
        (saver.dir / "x.txt").write_text(f"meanwhile {n}")
        next(steps, None)
        begin = time.monotonic()
        wait_for(lambda: (other.dir / "x.txt").read_text() == f"meanwhile {n}", timeout=20)
        took = time.monotonic() - begin
        print(f"{took:.2f} s")
        assert took < SOON, f"{took:.2f} s"
    meet(a, b)
