# SPDX-License-Identifier: GPL-2.0-or-later
"""A hub: a device without a mount at a fixed address, which others are not in one network with."""
import itertools
import time

import pytest

from hub import Hub, Load
from lab import wait_for


@pytest.fixture
def meshes(lab):
    """A hub that two networks reach, and a device in each, which know its address only."""
    west, east = lab.network(), lab.network()
    hub = Hub(lab.host("hub", west, east))
    a, c = lab.host("anna", west), lab.host("cleo", east)
    for host in (a, c):
        host.shoal("join", "-", input=hub.host.shoal("invite"))
        host.shoal("config", "network.discovery", "no")
        host.up()
    yield west, east, hub, a, c
    hub.end()


def connected(host):
    return {peer["device"] for peer in host.shoal("peers", "--json")}


def test_devices_that_never_meet(meshes):
    """By an IPv4 address the one, by an IPv6 address the other, at different times, past a hub that
    restarts in between."""
    west, east, hub, a, c = meshes
    a.shoal("connect", hub.host.addresses[west])
    c.shoal("connect", f"[{hub.host.addresses6[east]}]:7580")
    for host in (a, c):
        wait_for(lambda: connected(host) == {"hub"})
    (a.dir / "c").mkdir()
    (a.dir / "c" / "x.json").write_text('{"by": "anna", "n": 1}\n')
    wait_for(lambda: '"n": 1' in (c.dir / "c" / "x.json").read_text())

    # Cleo is away when Anna saves, Anna when Cleo is back, and the hub dies in between.
    c.down()
    (a.dir / "c" / "x.json").write_text('{"by": "anna", "n": 2}\n')
    (a.dir / "c" / "blob.bin").write_bytes(bytes(range(256)) * 2000)
    a.shoal("wait", "--device", "hub", "--timeout", "30")
    a.down()
    hub.kill()
    hub.start()
    c.up()
    wait_for(lambda: '"n": 2' in (c.dir / "c" / "x.json").read_text())
    wait_for(lambda: (c.dir / "c" / "blob.bin").read_bytes() == bytes(range(256)) * 2000)
    (c.dir / "c" / "y.json").write_text('{"by": "cleo"}\n')
    c.shoal("wait", "--device", "hub", "--timeout", "30")
    c.down()
    a.up()
    wait_for(lambda: "cleo" in (a.dir / "c" / "y.json").read_text())
    assert connected(a) == {"hub"}


def test_hub_that_restarts(meshes):
    """Both stay up; a hub that is away for a while is had back by itself, and both go on."""
    west, east, hub, a, c = meshes
    a.shoal("connect", hub.host.addresses[west])
    c.shoal("connect", hub.host.addresses[east])
    for host in (a, c):
        wait_for(lambda: connected(host) == {"hub"})
    for n in range(2):
        hub.kill()
        for host in (a, c):
            wait_for(lambda: not connected(host))
        (a.dir / "x.txt").write_text(f"meanwhile {n}")
        hub.start()
        wait_for(lambda: (c.dir / "x.txt").read_text() == f"meanwhile {n}", timeout=10)


def test_name_that_means_two_addresses(meshes):
    """The first of them answers nothing; the other is tried a moment later."""
    west, east, hub, a, c = meshes
    name = f"{hub.host.namespace}.test"
    line = f"10.{west.number}.0.250 {name}\n{hub.host.addresses[west]} {name}\n"
    # The resolver's file of this host alone.
    hosts = a.home / "hosts"
    hosts.write_text(line)
    a.down()
    daemon = a.popen("unshare", "--mount", "sh", "-c",
                     'mount --make-rprivate / && mount --bind "$0" /etc/hosts && exec "$@"', hosts,
                     "shoald", "--store", a.store, "--no-mount", "--foreground")
    wait_for(a.daemon_pid)
    begin = time.monotonic()
    a.shoal("connect", name)
    wait_for(lambda: connected(a) == {"hub"})
    took = time.monotonic() - begin
    assert took < 5, f"{took:.1f} s"
    daemon.terminate()
    daemon.wait(timeout=30)


def test_many_devices(lab, tmp_path):
    """A few seconds' worth of tests/bench/bench_hub.py: each costs little, and all get what one saves."""
    hub = Hub(lab.host("hub"))
    few, many = 20, 220
    first = Load(hub, tmp_path / "first", few)
    first.expect(f"connected {few}")
    before = hub.resident()
    load = Load(hub, tmp_path / "load", many)
    load.expect(f"connected {many}")
    for _ in range(3):
        load.say("write")
        load.expect(f"seen {many - 1} ")
    each = (hub.resident() - before) / many
    print(f"{each / 1024:.0f} KiB each")
    assert each <= 256 * 1024
    load.end()
    first.end()
    hub.end()


STUCK = 4 << 20


def test_peers_that_stop_reading(lab, tmp_path):
    """Cost so much at most, however much there is to say to them, and hold up nobody else."""
    hub = Hub(lab.host("hub"))
    a = lab.host("anna")
    stuck = 60
    load = Load(hub, tmp_path / "load", stuck + 2)
    load.expect("connected")
    load.say(f"stop {stuck}")
    load.expect("stopped")
    # A writer that has read a token over the loopback of the hub's own host.
    token = hub.host.shoal("invite").strip()
    env = {"SHOAL_STORE": str(a.store), "HOME": str(a.home), "XDG_RUNTIME_DIR": str(a.runtime)}
    hub.host.run("shoal", "join", "--address", "127.0.0.1:7580", token, env=env)
    hub.host.run("shoal", "config", "network.discovery", "no", env=env)
    hub.host.run("shoal", "connect", "127.0.0.1:7580", env=env, check=False)
    hub.host.run("shoal", "up", a.dir, env=env)
    hub.host.run("shoal", "connect", "127.0.0.1:7580", env=env, check=False)
    wait_for(lambda: hub.host.run("shoal", "peers", "--json", env=env).stdout.count("device"))
    (a.dir / "c").mkdir()
    text = "x" * 4000
    numbers = itertools.count()

    def save(count):
        for _ in range(count):
            n = next(numbers)
            (a.dir / "c" / f"{n}.txt").write_text(f"{n} {text}\n" * 5)
        hub.host.run("shoal", "wait", "--device", "hub", "--timeout", "60", env=env)
    before = hub.resident()
    # Ten times as much as all of them may cost, if it were kept for each. What the store itself takes for
    # it, a third of that, is in the measure.
    save(2000)
    load.say("write")
    load.expect("seen 1 ")
    grown = hub.resident() - before
    print(f"{grown / stuck / 1024:.0f} KiB each, the store's share included")
    assert grown <= stuck * STUCK
    hub.host.run("shoal", "down", a.dir, env=env)
    load.process.kill()
    load.process.wait(timeout=10)
    hub.end()
