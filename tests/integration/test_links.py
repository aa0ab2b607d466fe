# SPDX-License-Identifier: GPL-2.0-or-later
"""Links between hosts: found without addresses, kept, lost and had back."""
import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import wait_for
from linkpeer import LINKPEER, Peer, linkpeer


@pytest.fixture
def mesh(lab, tmp_path):
    """Identities of one mesh: mesh("anna") is the directory of that device's."""
    linkpeer("init", tmp_path / "anna", "family", "anna")
    made = {"anna": tmp_path / "anna"}

    def identity(name):
        if name not in made:
            made[name] = tmp_path / name
            linkpeer("admit", made["anna"], made[name], name, "member")
        return made[name]
    return identity


def hosts(lab, mesh, network, *names, options=()):
    return [Peer(lab.host(name, network), mesh(name), *options) for name in names]


def test_found_without_addresses(lab, mesh):
    lan = lab.network()
    a, = hosts(lab, mesh, lan, "anna")
    begin = time.monotonic()
    b, = hosts(lab, mesh, lan, "ben")
    b.expect("up anna")
    a.expect("up ben")
    took = time.monotonic() - begin
    assert took < 3, f"it took {took:.1f} s"
    c, = hosts(lab, mesh, lan, "cleo")
    for peer, others in ((a, ("ben", "cleo")), (b, ("anna", "cleo")), (c, ("anna", "ben"))):
        wait_for(lambda: peer.linked(*others), what=f"links to {others}")
    a.say("send hello")
    b.expect("got anna hello")
    c.expect("got anna hello")
    a.expect("got ben echo hello")
    for peer in (a, b, c):
        peer.quit()


def test_found_with_one_family_only(lab, mesh):
    """Hosts without IPv4 addresses find each other by IPv6, and the other way round."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    for host in (a, b):
        host.run("ip", "-4", "address", "flush", "dev", "eth0")
    six = [Peer(host, mesh(host.name)) for host in (a, b)]
    assert "fe80" in six[0].expect(r"up ben \S+ (\S+)")[1]
    for peer in six:
        peer.quit()
    lan = lab.network()
    c, d = lab.host("cleo", lan), lab.host("dora", lan)
    for host in (c, d):
        host.run("ip", "-6", "address", "flush", "dev", "eth0")
    four = [Peer(host, mesh(host.name)) for host in (c, d)]
    assert "10.2.0" in four[0].expect(r"up dora \S+ (\S+)")[1]


def test_several_on_one_host(lab, mesh):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    peers = {"anna": Peer(a, mesh("anna")), "cleo": Peer(a, mesh("cleo")),
             "ben": Peer(b, mesh("ben")), "dora": Peer(b, mesh("dora"))}
    assert peers["anna"].port != peers["cleo"].port
    for name, peer in peers.items():
        wait_for(lambda: peer.linked(*(set(peers) - {name})), what=f"all links of {name}")


def test_network_that_comes_later(lab, mesh):
    """No interface at the start; then one, then another network."""
    one, two = lab.network(), lab.network()
    a = lab.host("anna")
    late = Peer(a, mesh("anna"))
    b, = hosts(lab, mesh, one, "ben")
    c, = hosts(lab, mesh, two, "cleo")
    assert late.linked()
    one.plug(a)
    begin = time.monotonic()
    late.expect("up ben")
    assert time.monotonic() - begin < 5
    two.plug(a)
    late.expect("up cleo")
    wait_for(lambda: late.linked("ben", "cleo"))
    assert b.linked("anna") and c.linked("anna")


def test_address_that_goes_away(lab, mesh):
    """A link from an address that the host lost is given up and replaced at once."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    x = Peer(a, mesh("anna"), "--no-discover")
    y = Peer(b, mesh("ben"), "--no-discover", "--connect", f"{a.addresses[lan]}:{x.port}")
    y.expect("up anna")
    start = len(y.lines)
    b.run("ip", "address", "del", f"{b.addresses[lan]}/24", "dev", "eth0")
    y.expect("down anna this device left", start, timeout=3)
    b.run("ip", "address", "add", "10.1.0.77/24", "dev", "eth0")
    y.expect("up anna", start, timeout=5)


NOTICED = 16  # seconds: 14, what a timer that looks every second adds, and a busy machine


def test_silent_death_is_noticed(lab, mesh):
    """By the one that has said something, in time after that, at any moment; the other one knows as soon as
    there is a way again. Three pairs at once: it is all waiting."""
    moments = {"a": 0, "b": 1, "c": 12.5}
    lans = {name: lab.network() for name in moments}
    peers = {name: [Peer(lab.host(f"{who}-{name}", lan), mesh(f"{who}-{name}")) for who in ("anna", "ben")]
             for name, lan in lans.items()}
    with ThreadPoolExecutor(len(moments)) as pool:
        died = [pool.submit(dies, lans[name], *peers[name], name, moment) for name, moment in moments.items()]
    for one in died:
        one.result()


def dies(lan, x, y, name, moment):
    a, b = x.host, y.host
    anna, ben = f"anna-{name}", f"ben-{name}"
    x.expect(f"note {ben}: standby up")
    y.expect(f"note {anna}: standby up")
    start = len(x.lines), len(y.lines)
    lan.split([a], [b])
    begin = time.monotonic()
    wait_for(lambda: time.monotonic() >= begin + moment)
    begin = time.monotonic()
    x.say("send hello")
    x.expect(f"down {ben}", start[0], timeout=25)
    took = time.monotonic() - begin
    assert 13 < took < NOTICED, f"{name}: noticed after {took:.1f} s"
    start = len(x.lines), start[1]
    lan.heal()
    x.expect(f"up {ben}", start[0], timeout=20)
    y.expect(f"down {anna}", start[1], timeout=20)
    y.expect(f"up {anna}", start[1], timeout=20)
    wait_for(lambda: x.linked(ben) and y.linked(anna))


def test_quiet_connections_are_probed(lab, mesh):
    """By the kernel, after a minute, the link and the standby."""
    lan = lab.network()
    x, y = hosts(lab, mesh, lan, "anna", "ben")
    x.expect("note ben: standby up")
    y.expect("note anna: standby up")

    def timers():
        shown = x.host.run("ss", "-tonH", "state", "established").stdout
        return re.findall(r"timer:\(keepalive,(\d+)sec,0\)", shown)
    found = wait_for(lambda: (found := timers()) and len(found) == 2 and found)
    assert all(30 < int(seconds) <= 60 for seconds in found), found


def test_carrier_lost_at_one_end(lab, mesh):
    """One end sees its cable go and comes back before the other end has noticed: the new link
    takes the place of the old one, and that is all."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    x, y = Peer(a, mesh("anna")), Peer(b, mesh("ben"))

    def settle():
        """Beyond the time in which the two could be taken for ones that dial each other at once;
        what else a change brought has come by then."""
        wait_for(lambda: x.linked("ben") and y.linked("anna"))
        wait_for(lambda: min(x.age("ben"), y.age("anna")) > 10.1)
    settle()
    for gone in (a, b):
        start = len(x.lines), len(y.lines)
        lan.disconnect(gone)
        (x if gone is a else y).expect("down", start[0 if gone is a else 1], timeout=5)
        lan.connect(gone)
        x.expect("up ben", start[0], timeout=10)
        y.expect("up anna", start[1], timeout=10)
        settle()
        assert x.linked("ben") and y.linked("anna")
        for peer, first in ((x, start[0]), (y, start[1])):
            ups = [line for line in peer.lines[first:] if line.startswith("up ")]
            assert len(ups) == 1, peer.lines[first:]


def test_carrier_lost_and_the_other_notices(lab, mesh):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    x, y = Peer(a, mesh("anna")), Peer(b, mesh("ben"))
    wait_for(lambda: x.linked("ben") and y.linked("anna"))
    lan.disconnect(a)
    begin = time.monotonic()
    x.expect("down ben", timeout=5)
    y.say("send hello")
    y.expect("down anna", timeout=25)
    assert time.monotonic() - begin < NOTICED


def test_killed_and_back(lab, mesh):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    x = Peer(a, mesh("anna"))
    for _ in range(5):
        start = len(x.lines)
        y = Peer(b, mesh("ben"))
        x.expect("up ben", start)
        y.expect("up anna")
        wait_for(lambda: x.linked("ben") and y.linked("anna"))
        os.kill(y.process.pid, signal.SIGKILL)
        y.process.wait(timeout=10)
        x.expect("down ben", start, timeout=5)


def test_join_across_hosts(lab, mesh, tmp_path):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    x = Peer(a, mesh("anna"))
    x.say("invite member 60 1")
    token = x.expect("token (.*)")[1]
    assert "joined anna" in b.run(LINKPEER, "join", tmp_path / "new", token, "newcomer").stdout
    x.expect("member newcomer member")
    y = Peer(b, tmp_path / "new")
    y.expect("up anna")
    x.expect("up newcomer")
    again = b.run(LINKPEER, "join", tmp_path / "second", token, "second", check=False)
    assert again.returncode == 1 and "used already" in again.stdout
    assert not any(token in line for line in x.lines if not line.startswith("token "))


def test_much_data_both_ways(lab, mesh):
    lan = lab.network()
    x, y = hosts(lab, mesh, lan, "anna", "ben")
    x.expect("up ben")
    y.expect("up anna")
    size = 30_000_000
    x.say(f"flood {size}")
    y.say(f"flood {size}")
    x.expect(f"flooded ben {size}", timeout=30)
    y.expect(f"flooded anna {size}", timeout=30)


def test_beacons_show_nothing_stable(lab, mesh):
    """What a stranger captures on the network has no bytes in common but the version."""
    lan = lab.network()
    stranger = lab.host("stranger", lan)
    script = (
        "import socket,sys,time\n"
        "s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\n"
        "s.setsockopt(socket.SOL_SOCKET,socket.SO_REUSEADDR,1)\n"
        "s.bind(('',7580))\n"
        "s.setsockopt(socket.IPPROTO_IP,socket.IP_ADD_MEMBERSHIP,"
        "socket.inet_aton('239.255.83.104')+socket.inet_aton(sys.argv[1]))\n"
        "print('ready',flush=True)\n"
        "end=time.time()+3\n"
        "s.settimeout(3)\n"
        "while time.time()<end:\n"
        "  try: print(s.recv(2000).hex(),flush=True)\n"
        "  except TimeoutError: break\n")
    listener = stranger.popen("/usr/bin/python3", "-c", script, stranger.addresses[lan],
                              stdout=-1, text=True)
    assert listener.stdout.readline() == "ready\n"
    hosts(lab, mesh, lan, "anna", "ben")
    heard = [bytes.fromhex(line) for line in listener.stdout]
    assert len(heard) >= 4
    assert {len(one) for one in heard} == {52}
    for offset in range(1, 49):
        windows = [one[offset:offset + 4] for one in heard]
        assert len(set(windows)) == len(windows), f"the bytes at {offset} repeat"


def test_found_by_avahi(lab, mesh):
    """Where our beacons do not get through, DNS-SD is enough."""
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    for host in (a, b):
        host.start_avahi()
    x, y = (Peer(host, mesh(host.name), "--no-beacons") for host in (a, b))
    x.expect("up ben", timeout=30)
    y.expect("up anna", timeout=30)
    published = a.run("avahi-browse", "-prt", "_shoal._tcp").stdout
    assert "b=" in published
    assert "anna" not in re.sub(r"anna\.local", "", published) and "ben" not in published.replace(
        "ben.local", ""), "a name is published"
    # Both go; one comes back with another port, and is found through what Avahi still knows.
    y.quit()
    x.expect("down ben")
    start = len(x.lines)
    y = Peer(b, mesh("ben"), "--no-beacons", "--port", "7999")
    x.expect("up ben", start, timeout=30)
    y.expect("up anna", timeout=30)


def test_avahi_restarts(lab, mesh):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    for host in (a, b):
        host.start_avahi()
    x = Peer(a, mesh("anna"), "--no-beacons")
    avahi = a.children[-2]  # the last is the peer
    command = avahi.args[len(a.command()):]
    avahi.kill()
    avahi.wait(timeout=10)
    a.popen(*command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    y = Peer(b, mesh("ben"), "--no-beacons")
    x.expect("up ben", timeout=30)
    y.expect("up anna", timeout=30)
