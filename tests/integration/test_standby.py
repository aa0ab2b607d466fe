# SPDX-License-Identifier: GPL-2.0-or-later
"""A second connection to the same device, which takes over when the link fails."""
import hashlib
import itertools
import json
import os
import subprocess
import sys
import threading
import time

import pytest

from lab import wait_for
from linkpeer import Peer, linkpeer
from test_links import mesh  # noqa: F401  (fixture)
from test_two_hosts import equal, meet


def connected(host):
    """(remote of the link, remote of the standby) to the only peer."""
    peers = host.shoal("peers", "--json")
    assert len(peers) == 1
    return peers[0]["address"], peers[0]["standby"] or ""


def why(host):
    """Why the link to the only peer goes that way."""
    peer, = host.shoal("peers", "--json")
    assert peer["reason"] in host.shoal("peers")
    return peer["reason"]


def both_up(*hosts):
    for host in hosts:
        wait_for(lambda: all(connected(host)), what=f"{host.name} having a link and a standby")


def network_of(remote, *networks):
    """Which network an address belongs to; link-local ones say it by the interface, which has its
    number in all hosts here."""
    for number, network in enumerate(networks):
        if (f"10.{network.number}." in remote or f"fd00:{network.number}:" in remote
                or f"%eth{number}" in remote):
            return network
    raise AssertionError(remote)


def both_ways(host, *networks):
    return {network_of(one, *networks) for one in connected(host) if one} == set(networks)


@pytest.fixture
def two_ways(lab):
    """Two hosts on two networks, linked over one and with a standby over the other."""
    west, east = lab.network(), lab.network()
    a, b = lab.host("anna", west, east), lab.host("ben", west, east)
    a.up()
    b.join(a)
    meet(a, b)
    # The first standby may be of the other family; it gives way to the one that goes another way.
    for host in (a, b):
        wait_for(lambda: both_ways(host, west, east), timeout=60,
                 what="a standby on the other network")
    equal(a, b)
    return west, east, a, b


class Stream:
    """One side saves a file again and again; the largest pause in which the other sees nothing new."""

    def __init__(self, writer, reader):
        self.there, self.here = reader.dir / "tick.txt", writer.dir / "tick.txt"
        self.done = threading.Event()
        self.seen = []
        self.threads = [threading.Thread(target=one) for one in (self.write, self.watch)]
        for thread in self.threads:
            thread.start()
        wait_for(lambda: len(self.seen) > 5, what="the stream")

    def write(self):
        for n in itertools.count():
            if self.done.wait(0.02):
                break
            self.here.write_text(f"{n}\n")

    def watch(self):
        last = None
        while not self.done.wait(0.005):
            try:
                text = self.there.read_text()
            except OSError:
                continue
            if text != last:
                self.seen.append(time.monotonic())
                last = text

    def gap_after(self, begin, timeout=30):
        """Until something new came for a second without a pause of more than half of one."""
        wait_for(lambda: self.settled(begin), timeout=timeout, what="the stream going on")
        times = [begin] + [t for t in list(self.seen) if t > begin]
        return max(after - before for before, after in zip(times, times[1:]))

    def settled(self, begin):
        late = [t for t in list(self.seen) if t > time.monotonic() - 1]
        return (time.monotonic() > begin + 1.5 and len(late) > 10
                and all(b - a < 0.5 for a, b in zip(late, late[1:])))

    def end(self):
        self.done.set()
        for thread in self.threads:
            thread.join(timeout=10)


# A second, and what a busy machine adds.
WITHIN = 1.5


@pytest.mark.parametrize("how", ["silent", "cable"])
def test_the_other_takes_over(two_ways, how):
    west, east, a, b = two_ways
    carrying = network_of(connected(a)[0], west, east)
    stream = Stream(a, b)
    try:
        begin = time.monotonic()
        if how == "silent":
            carrying.split([a], [b])
        else:
            carrying.disconnect(a)
        gap = stream.gap_after(begin)
    finally:
        stream.end()
    assert gap < WITHIN, f"nothing came for {gap:.2f} s"
    print(f"gap {gap:.2f} s")
    other = east if carrying is west else west
    for host in (a, b):
        assert network_of(connected(host)[0], west, east) is other
    equal(a, b)
    carrying.heal() if how == "silent" else carrying.connect(a)
    # The way that is back becomes the standby.
    for host in (a, b):
        wait_for(lambda: both_ways(host, west, east), timeout=60,
                 what="a standby on the network that is back")
    # One of the two calls, for a reason that it knows; the other may only know that it was called.
    reason = {"silent": "the other way fell silent", "cable": "the other way broke off"}[how]
    reasons = {why(a), why(b)}
    assert reason in reasons and reasons <= {reason, "the other device changed over to it"}, reasons


class Reading:
    """A program that reads a file whose contents are elsewhere."""

    def __init__(self, path, name):
        self.process = subprocess.Popen(
            [sys.executable, "-c",
             "import errno, hashlib, sys\n"
             "h = hashlib.sha256()\n"
             "try:\n"
             "    with open(sys.argv[1], 'rb', buffering=0) as f:\n"
             "        print('open', flush=True)\n"
             "        while data := f.read(65536):\n"
             "            h.update(data)\n"
             "except OSError as e:\n"
             "    print(errno.errorcode[e.errno])\n"
             "else:\n"
             "    print(h.hexdigest())\n", path / name],
            stdout=subprocess.PIPE, text=True)
        assert self.process.stdout.readline() == "open\n"

    def result(self, timeout=30):
        """Its sum, or why there is none."""
        return self.process.communicate(timeout=timeout)[0].strip()

    def end(self):
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def on_demand(two_ways):
    """As two_ways; anna has contents that are not at ben."""
    west, east, a, b = two_ways
    b.shoal("config", "blob.eager_max", "1000")
    sums = {}
    for name in ("one.bin", "two.bin"):
        data = os.urandom(8 << 20)
        (a.dir / name).write_bytes(data)
        sums[name] = hashlib.sha256(data).hexdigest()
        wait_for(lambda: (b.dir / name).exists(), what=name)
    both_up(a, b)
    return west, east, a, b, sums


def test_a_reader_waits_while_the_other_takes_over(on_demand):
    """Of the only device that has them contents come, whatever way there is."""
    west, east, a, b, sums = on_demand
    for name, how in (("one.bin", "silent"), ("two.bin", "cable")):
        assert os.getxattr(b.dir / name, "user.shoal.state") == b"evicted"
        carrying = network_of(connected(b)[0], west, east)
        before = b.log().count("connected to anna")
        # Nothing comes any more, so that it waits when the link ends.
        carrying.split([a], [b])
        reading = Reading(b.dir, name)
        try:
            if how == "cable":
                carrying.disconnect(b)
            assert reading.result() == sums[name], how
        finally:
            reading.end()
        assert b.log().count("connected to anna") > before
        carrying.heal()
        if how == "cable":
            carrying.connect(b)
        for host in (a, b):
            wait_for(lambda: both_ways(host, west, east), timeout=60, what="a standby again")


def test_a_reader_is_told_when_no_way_is_left(on_demand):
    west, east, a, b, sums = on_demand
    for network in (west, east):
        network.split([a], [b])
    reading = Reading(b.dir, "one.bin")
    try:
        for network in (west, east):
            network.disconnect(b)
        begin = time.monotonic()
        assert reading.result() == "EHOSTDOWN"
        took = time.monotonic() - begin
    finally:
        reading.end()
    assert took < WITHIN + 1.5, f"it was told after {took:.1f} s"


def test_nothing_acknowledged_is_sent_again(two_ways):
    """Much is in step when the link fails; after that a little goes over the other one."""
    west, east, a, b = two_ways
    (a.dir / "c").mkdir()
    for n in range(300):
        (a.dir / "c" / f"{n}.json").write_text(json.dumps({"n": n, "text": "x" * 1000}) + "\n")
    equal(a, b)
    carrying = network_of(connected(a)[0], west, east)
    carrying.disconnect(a)
    (a.dir / "c" / "7.json").write_text('{"n": "seven"}\n')
    wait_for(lambda: "seven" in (b.dir / "c" / "7.json").read_text(), timeout=5)
    equal(a, b)
    peer, = a.shoal("peers", "--json")
    assert peer["sync_bytes_out"] < 4000, peer


def test_standby_that_is_dead_itself(two_ways):
    """Both ways are gone at once: the usual time-out, and both come back."""
    west, east, a, b = two_ways
    for network in (west, east):
        network.split([a], [b])
    (a.dir / "x.txt").write_text("apart")
    wait_for(lambda: not a.shoal("peers", "--json"), timeout=30)
    for network in (west, east):
        network.heal()
    wait_for(lambda: (b.dir / "x.txt").read_text() == "apart", timeout=30)
    both_up(a, b)
    equal(a, b)


def test_a_standby_alone_fails(two_ways):
    """The link goes on, and another standby is found when there is a way again."""
    west, east, a, b = two_ways
    resting = network_of(connected(a)[1], west, east)
    before = a.log().count("connected to ben")
    assert why(b) == "it came first, the other way is no better"
    resting.disconnect(b)
    wait_for(lambda: not connected(b)[1] or network_of(connected(b)[1], west, east) is not resting)
    (a.dir / "x.txt").write_text("still")
    wait_for(lambda: (b.dir / "x.txt").read_text() == "still", timeout=2)
    resting.connect(b)
    wait_for(lambda: connected(b)[1] and network_of(connected(b)[1], west, east) is resting,
             timeout=60)
    assert a.log().count("connected to ben") == before


def test_two_families_of_one_network(lab):
    """The address that the link uses goes away; the other family carries on."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.up()
    b.join(a)
    both_up(a, b)
    link, standby = connected(b)
    assert ("[" in link) != ("[" in standby)
    stream = Stream(a, b)
    try:
        begin = time.monotonic()
        b.run("ip", "-6" if "[" in link else "-4", "address", "flush", "dev", "eth0")
        gap = stream.gap_after(begin)
    finally:
        stream.end()
    assert gap < WITHIN, f"nothing came for {gap:.2f} s"
    assert ("[" in connected(b)[0]) != ("[" in link)


def test_one_standby_only(lab, mesh):  # noqa: F811
    """Three networks, no daemon restarts: one link, one standby, and nothing keeps being dialled."""
    networks = [lab.network() for _ in range(3)]
    a, b = lab.host("anna", *networks), lab.host("ben", *networks)
    x, y = Peer(a, mesh("anna")), Peer(b, mesh("ben"))
    for peer, other in ((x, "ben"), (y, "anna")):
        peer.expect(f"note {other}: standby up")

    def connections():
        return a.run("ss", "-tnH", "state", "established").stdout.count("\n")
    # Beacons come every ten seconds; what is going to be dialled is dialled by then.
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() > begin + 12)
    before = len(x.lines), len(y.lines)
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() > begin + 15)
    assert (len(x.lines), len(y.lines)) == before, x.lines + y.lines
    assert connections() == 2
    assert x.linked("ben") and y.linked("anna")


def test_an_intruder_cannot_call(lab, mesh, tmp_path):  # noqa: F811
    """Bytes other than a call on a connection that rests end it, and leave the link alone."""
    lan = lab.network()
    a = lab.host("anna", lan)
    x = Peer(a, mesh("anna"), "--no-discover")
    b = Peer(lab.host("ben", lan), mesh("ben"), "--no-discover", "--connect",
             f"{a.addresses[lan]}:{x.port}")
    x.expect("up ben")
    script = (
        "import socket,ssl,sys\n"
        "c=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)\n"
        "c.check_hostname=False\nc.verify_mode=ssl.CERT_NONE\n"
        "c.set_alpn_protocols(['shoal/1'])\n"
        "c.load_cert_chain(sys.argv[3],sys.argv[4])\n"
        "w=c.wrap_socket(socket.create_connection((sys.argv[1],int(sys.argv[2])),timeout=10))\n"
        "w.sendall(b'\\x02')\nassert w.recv(1)==b'\\x02','not made to rest'\n"
        "w.sendall(b'garbage')\n"
        "assert w.recv(1)==b'','it lives'\n")
    b.host.run("/usr/bin/python3", "-c", script, a.addresses6[lan], x.port,
               mesh("ben") / "device.crt", mesh("ben") / "device.key")
    x.expect("note ben: standby down: the peer says something")
    x.say("send hello")
    b.expect("got anna hello")
    assert not x.find("down")
