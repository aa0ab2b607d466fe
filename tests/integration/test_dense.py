# SPDX-License-Identifier: GPL-2.0-or-later
"""Many devices in reach of each other: a few neighbours each (shoal-protocol(7), Neighbours)."""
import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from time import monotonic

from lab import BUILD, wait_for
from linkpeer import Peer, linkpeer

LIMIT = 5
EXTRA = 3
REPAIRED = 120  # seconds; on an idle machine some ten are enough


class Daemon:
    """shoald --no-mount on a host; finds the others by their beacons alone."""

    def __init__(self, host):
        self.host = host
        self.name = host.name

    def start(self):
        with open(self.host.home / "log", "ab") as log:
            self.process = self.host.popen(BUILD / "shoald", "--store", self.host.store,
                                           "--no-mount", "--foreground", stdout=log, stderr=log)

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(timeout=10)

    def peers(self):
        return self.host.shoal("peers", "--json")

    def neighbours(self):
        return {peer["device"] for peer in self.peers()}

    def through(self):
        """{device without a link: the neighbour on the way there}"""
        devices = self.host.shoal("devices", "--json")
        return {d["name"]: d["through"] for d in devices if d["through"]}

    def reaches(self):
        devices = self.host.shoal("peers", "--graph", "--json")["devices"]
        return {device["device"] for device in devices}

    def put(self, path, value):
        self.host.shoal("txn", input=json.dumps({"put": path, "value": value}) + "\n")

    def has(self, path, value):
        done = self.host.run(BUILD / "shoal", "cat", path, check=False)
        return done.returncode == 0 and json.loads(done.stdout) == value


def at_once(daemons, what):
    """[what(daemon)], several at a time."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(what, daemons))


def mesh(lab, count):
    """So many daemons of one mesh on one network, started at once."""
    lan = lab.network()
    hosts = [lab.host(f"d{i:02}", lan) for i in range(count)]
    first = Daemon(hosts[0])
    first.host.shoal("init", "--device", first.name)
    first.start()
    wait_for(first.host.daemon_pid, what="the first daemon")
    token = first.host.shoal("invite", "--uses", str(count))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda host: host.shoal("join", "-", input=token), hosts[1:]))
    daemons = [first] + [Daemon(host) for host in hosts[1:]]
    for daemon in daemons[1:]:
        daemon.start()
    for daemon in daemons:
        wait_for(daemon.host.daemon_pid, what=f"the daemon of {daemon.name}")
    return daemons


def connected(links):
    """All of them are reachable from the first over these links, which both ends have."""
    reached, todo = set(), [next(iter(links))]
    while todo:
        name = todo.pop()
        if name not in reached:
            reached.add(name)
            todo += [other for other in links[name] if other in links and name in links[other]]
    return len(reached) == len(links)


def joined_up(daemons, timeout=REPAIRED):
    """Waits until they have few neighbours and all are connected."""
    last = {}

    def good():
        last.update(zip((d.name for d in daemons), at_once(daemons, Daemon.neighbours)))
        counts = {k: len(n) for k, n in last.items()}
        assert max(counts.values()) <= LIMIT + EXTRA, counts
        assert sum(n > LIMIT for n in counts.values()) <= len(counts) // 10, counts
        return connected(last)
    wait_for(good, timeout=timeout, what="few neighbours, all connected", every=0.5)
    return last


def spreads(daemons, author, path, value):
    author.put(path, value)
    wait_for(lambda: all(at_once(daemons, lambda d: d.has(path, value))), timeout=30,
             what=f"{path} everywhere", every=0.2)


def members(lab, directory, count, hosts):
    """The network, so many hosts, and the identities of so many members: names of directories beside "hub"."""
    lan = lab.network()
    linkpeer("init", directory / "hub", "family", "hub")
    names = [f"p{i:02}" for i in range(count)]
    for name in names:
        linkpeer("admit", directory / "hub", directory / name, name, "member")
    return lan, [lab.host(f"h{i}", lan) for i in range(hosts)], names


def few(peers):
    """{name: links to others than the hub}: all have one to that, and a few."""
    links = {name: set(peer.links()) for name, peer in peers.items()}
    assert all("hub" in found for found in links.values()), links
    links = {name: found - {"hub"} for name, found in links.items()}
    assert all(2 <= len(found) <= LIMIT + EXTRA for found in links.values()), links
    return links


def test_links_of_twenty(lab, tmp_path):
    """Devices without documents: their links settle and are repaired; one by an address does
    not count."""
    lan, hosts, names = members(lab, tmp_path, 20, 5)
    hub = Peer(hosts[0], tmp_path / "hub", "--no-discover")
    address = f"{hosts[0].addresses[lan]}:{hub.port}"
    peers = {name: Peer(hosts[i % 5], tmp_path / name, "--connect", address)
             for i, name in enumerate(names)}

    def good():
        links = few(peers)
        assert connected(links), links
        return links

    def quiet():
        """None came up or went in ten seconds."""
        last = max(max(time for time, line in zip(peer.times, peer.lines)
                       if re.match("up|down", line)) for peer in peers.values())
        return monotonic() > last + 10
    wait_for(good, timeout=REPAIRED, what="few links, all connected", every=0.5)
    wait_for(quiet, timeout=REPAIRED, what="links that last")
    links = good()
    assert sum(map(len, links.values())) / 20 > 4, links
    wait_for(lambda: len(hub.links()) == 20, what="the hub's links")
    for name in names[::4]:
        dead = peers.pop(name)
        dead.process.kill()
        dead.process.wait(timeout=10)
    wait_for(good, timeout=REPAIRED, what="the rest being connected", every=0.5)
    for peer in [*peers.values(), hub]:
        peer.quit()


def test_who_hears_a_hub_keeps_it(lab, tmp_path):
    """It says so in its greeting: nobody lets it go, and it takes no neighbour's place."""
    _, hosts, names = members(lab, tmp_path, 14, 4)
    hub = Peer(hosts[0], tmp_path / "hub", "--hub")
    peers = {name: Peer(hosts[i % 4], tmp_path / name) for i, name in enumerate(names)}

    def good():
        links = few(peers)
        return connected(links) and sum(len(n) == LIMIT for n in links.values()) >= 7
    wait_for(good, timeout=REPAIRED, what="few neighbours, and the hub", every=0.5)
    # Nobody let it go on the way there.
    assert all(peer.find("down hub ") is None for peer in peers.values())
    for peer in [*peers.values(), hub]:
        peer.quit()


def test_eleven_are_linked_each_to_each(lab):
    daemons = mesh(lab, 11)
    wait_for(lambda: all(len(n) == 10 for n in at_once(daemons, Daemon.neighbours)),
             what="ten neighbours each", every=0.2)


def twelve(lab):
    """Too many to be linked each to each; all of them know of all. And their names."""
    daemons = mesh(lab, 12)
    joined_up(daemons)
    wait_for(lambda: all(len(n) >= 3 for n in at_once(daemons, Daemon.neighbours)), timeout=REPAIRED,
             what="three neighbours each", every=0.5)
    names = {d.name for d in daemons}
    wait_for(lambda: all(r == names for r in at_once(daemons, Daemon.reaches)), timeout=60,
             what="everybody knows of everybody", every=0.5)
    return daemons, names


def test_twelve(lab):
    daemons, names = twelve(lab)
    spreads(daemons, daemons[3], "a.json", {"n": 1})

    def said(daemon):
        """Everybody is a neighbour or behind one."""
        near, through = daemon.neighbours(), daemon.through()
        return (set(through) == names - {daemon.name} - near and set(through.values()) <= near
                and re.search(rf"^{11 - len(near)} more are reachable through them",
                              daemon.host.shoal("peers"), re.M)
                and "through d" in daemon.host.shoal("devices"))
    wait_for(lambda: all(at_once(daemons, said)), what="everybody being listed by everybody", every=0.2)

    # Who has it says so itself: for that there are links that are let go afterwards.
    far = min(daemons[2].through())
    daemons[2].put("b.json", {"n": 2})
    daemons[2].host.shoal("wait", "--device", far, "--timeout", "30s")
    other = daemons[9]
    other.put("c.json", {"n": 3})
    other.host.shoal("wait", "--peers", "11", "--timeout", "60s", timeout=70)
    wrong = other.host.run(BUILD / "shoal", "wait", "--device", "nobody", check=False)
    assert wrong.returncode == 1 and "no device" in wrong.stderr
    joined_up(daemons, timeout=120)


def test_seen_by(lab):
    """Names who said so itself: neighbours, then all that `wait` asked; never one that lacks it."""
    daemons, names = twelve(lab)
    writer = daemons[4]
    writer.host.up()
    # One that is no neighbour stops: it gets nothing, and says nothing.
    silent = next(d for d in daemons if d.name in writer.through())
    silent.kill()
    path = writer.host.dir / "seen.json"
    path.write_text('{"n": 1}\n')

    def seen():
        named = set(os.getxattr(path, "user.shoal.seen_by").decode().split())
        assert silent.name not in named and writer.name not in named, named
        return named
    wait_for(lambda: len(seen()) >= 3, what="neighbours that have it")
    for name in seen():
        assert next(d for d in daemons if d.name == name).has("seen.json", {"n": 1})
    writer.host.shoal("wait", "--peers", "10", "--timeout", "60s", timeout=70)
    assert seen() == names - {writer.name, silent.name}
    done = writer.host.run(BUILD / "shoal", "wait", "--device", silent.name, "--timeout", "2s",
                           check=False)
    assert done.returncode != 0 and silent.name not in seen(), done
    silent.start()
    wait_for(lambda: writer.reaches() == names, timeout=60, what="it being known again", every=0.5)
    writer.host.shoal("wait", "--device", silent.name, "--timeout", "60s", timeout=70)
    assert set(os.getxattr(path, "user.shoal.seen_by").decode().split()) == names - {writer.name}


def test_contents_of_no_neighbour(lab):
    """Who reads what only a device without a link to it has gets it, by a link for that."""
    daemons, _ = twelve(lab)
    at_once(daemons, lambda d: d.host.shoal("config", "blob.eager_max", "100000"))
    reader = daemons[0]
    reader.host.up()
    # Three, as the one or other may still become a neighbour.
    authors = [d for d in daemons if d.name in reader.through()][:3]
    content = os.urandom(300000)
    for i, author in enumerate(authors):
        author.host.up()
        for name in ("big", "other"):
            (author.host.dir / f"{name}-{author.name}").write_bytes(content[i:])
    for author in authors:
        for name in (f"big-{author.name}", f"other-{author.name}"):
            wait_for((reader.host.dir / name).exists, timeout=60, what=name)
            assert os.getxattr(reader.host.dir / name, "user.shoal.state") == b"evicted"
    near = reader.neighbours()
    author = next(d for d in authors if d.name not in near)
    big, other = (reader.host.dir / f"{name}-{author.name}" for name in ("big", "other"))
    content = content[authors.index(author):]
    began = monotonic()
    assert big.read_bytes() == content
    assert monotonic() < began + 30
    reader.host.shoal("fetch", other, timeout=60)
    assert other.read_bytes() == content

    # Nobody has it any more: all in reach say so, and that is the end of it.
    (author.host.dir / "lost.bin").write_bytes(content[9:])
    wait_for((reader.host.dir / "lost.bin").exists, timeout=60, what="lost.bin")
    author.host.down()
    began = monotonic()
    lost = reader.host.run("cat", reader.host.dir / "lost.bin", check=False, timeout=90)
    assert lost.returncode != 0 and "Host is down" in lost.stderr, lost
    assert monotonic() < began + 60


def test_twenty(lab):
    """Some of whom die at once. More of them: tests/unit/test_neighbours.c."""
    daemons = mesh(lab, 20)
    links = joined_up(daemons)
    average = sum(map(len, links.values())) / 20
    assert average > 4, links
    names = {d.name for d in daemons}
    wait_for(lambda: daemons[7].reaches() == names, timeout=60, what="all are known", every=0.5)
    spreads(daemons, daemons[3], "a.json", {"n": 1})
    for daemon in daemons[::5]:
        daemon.kill()
    rest = [d for i, d in enumerate(daemons) if i % 5]
    spreads(rest, rest[0], "b.json", {"n": 2})
    joined_up(rest)
