# SPDX-License-Identifier: GPL-2.0-or-later
"""Who is reachable through whom: `shoal peers --graph`, in meshes of several shapes."""
import contextlib
import json
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from lab import BUILD, wait_for
from test_idle import segments, wait_quiet
from test_mesh import connected


def mesh(lab, links, *names):
    """Hosts of one mesh with a network for each link; returns {name: host}, {link: network}."""
    meeting = lab.network()
    lans = {link: lab.network() for link in links}
    hosts = {name: lab.host(name, meeting) for name in names}
    for (one, other), lan in lans.items():
        lan.plug(hosts[one])
        lan.plug(hosts[other])
    first, *rest = hosts.values()
    first.up()
    token = first.shoal("invite", "--uses", str(len(rest)))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda host: host.shoal("join", "-", input=token), rest))
        for host in hosts.values():
            meeting.disconnect(host)
        list(pool.map(lambda host: host.up(), rest))
    return hosts, lans


def graph(host):
    return host.shoal("peers", "--graph", "--json")


def edges(host):
    """{frozenset of two names: said by both}"""
    return {frozenset((link["a"], link["b"])): link["both"] for link in graph(host)["links"]}


def knows(host, *links, **options):
    """All of these links are known, said by both ends, and no others."""
    wanted = {frozenset(link): True for link in links}
    options.setdefault("timeout", 60)
    wait_for(lambda: edges(host) == wanted, what=f"{wanted} at {host}", **options)


def ways(host):
    """{device: (hops, through whom, how known)}"""
    return {d["device"]: (d["hops"], d["through"], d["known"]) for d in graph(host)["devices"]}


def drawn(host):
    lines = host.shoal("peers", "--graph").splitlines()
    assert all(len(line) <= 80 for line in lines), lines
    return lines


def test_a_chain_of_four(lab):
    links = [("a", "b"), ("b", "c"), ("c", "d")]
    hosts, lans = mesh(lab, links, "a", "b", "c", "d")
    a, b, c, d = hosts.values()
    for host in hosts.values():
        knows(host, *links)
    assert ways(a) == {"a": (0, None, "self"), "b": (1, "a", "first-hand"),
                       "c": (2, "b", "hearsay"), "d": (3, "c", "hearsay")}
    assert ways(c) == {"c": (0, None, "self"), "b": (1, "c", "first-hand"),
                       "d": (1, "c", "first-hand"), "a": (2, "b", "hearsay")}
    said = graph(a)
    assert {d["told_by"] for d in said["devices"] if d["known"] == "hearsay"} == {"b"}
    for link in said["links"]:
        assert link["transport"] == "tcp" and 0 < link["rtt_us"] < 1000000, link
        assert link["connected_s"] < 60
    assert {(link["a"], link["b"]): link["known"] for link in said["links"]} == {
        ("a", "b"): "self", ("b", "c"): "first-hand", ("c", "d"): "hearsay"}

    lines = drawn(a)
    assert re.fullmatch(r"a +this device", lines[0])
    for line, start in zip(lines[1:], ("└─ b ", "   └─ c ", "      └─ d ")):
        assert re.fullmatch(start + r" +tcp +[\d.]+ [mu]s +for \d+ s( +hearsay)?", line), lines
    assert [line.endswith("hearsay") for line in lines] == [False, False, False, True]
    plain = a.shoal("peers", "--graph", env={"LC_ALL": "C"})
    assert plain.isascii() and "   `- c " in plain

    dot = a.shoal("peers", "--dot")
    assert dot == a.shoal("peers", "--graph", "--dot")
    ids = {device["device"]: device["id"] for device in said["devices"]}
    for one, other in links:
        assert f'"{ids[one]}" -- "{ids[other]}" [label="tcp ' in dot, dot
    if shutil.which("dot"):
        assert "<svg" in a.run("dot", "-Tsvg", input=dot).stdout
    both = a.run(BUILD / "shoal", "peers", "--dot", "--json", check=False)
    assert both.returncode == 2 and "--dot" in both.stderr

    # The end goes: everybody hears of it, though only its neighbour notices.
    d.down()
    for host in (a, b, c):
        knows(host, *links[:2])
    assert "d" not in ways(a)
    # It begins anew, and others.
    d.up()
    for host in hosts.values():
        knows(host, *links)
    b.kill9()
    for host in (c, d):
        knows(host, links[2])
    knows(a)
    assert ways(a) == {"a": (0, None, "self")}
    b.up()
    for host in hosts.values():
        knows(host, *links)


def test_a_name_beside_a_shorter_one(lab):
    """Names that fit into the line between them are told in full, whichever is the longer one."""
    names = ["a", "devb", "vm"]
    links = [("a", "devb"), ("a", "vm"), ("devb", "vm")]
    hosts, _ = mesh(lab, links, *names)
    for host in hosts.values():
        knows(host, *links)
    lines = drawn(hosts["a"])
    assert re.match(r"(devb ─ vm|vm ─ devb) +tcp ", lines[lines.index("And between them:") + 1]), lines


def test_a_ring(lab):
    """The shortest way is drawn, the link that closes the ring is told besides; cut, it is a chain."""
    names = "abcde"
    links = [(one, other) for one, other in zip(names, names[1:] + names[0])]
    hosts, lans = mesh(lab, links, *names)
    for host in hosts.values():
        knows(host, *links)
    a = hosts["a"]
    assert {name: (hops, through) for name, (hops, through, _) in ways(a).items()} == {
        "a": (0, None), "b": (1, "a"), "e": (1, "a"), "c": (2, "b"), "d": (2, "e")}
    lines = drawn(a)
    between = lines.index("And between them:")
    assert [line.split()[0] for line in lines[:between - 1]] == ["a", "├─", "│", "└─", "└─"]
    assert re.match(r"[cd] ─ [cd] +tcp ", lines[between + 1]), lines
    for host in (hosts["a"], hosts["b"]):
        lans["a", "b"].disconnect(host)
    rest = [link for link in links if link != ("a", "b")]
    for host in hosts.values():
        knows(host, *rest)
    assert ways(a)["b"][:2] == (4, "c")
    for host in (hosts["a"], hosts["b"]):
        lans["a", "b"].connect(host)
    for host in hosts.values():
        knows(host, *links)


def test_a_star_that_is_cut(lab):
    """Each side shows who is left on it; nobody shows who is not reachable."""
    links = [("hub", name) for name in ("p", "q", "r", "s")] + [("s", "t")]
    hosts, lans = mesh(lab, links, "hub", "p", "q", "r", "s", "t")
    for host in hosts.values():
        knows(host, *links)
    assert ways(hosts["p"])["t"][:2] == (3, "s")
    for name in ("hub", "s"):
        lans["hub", "s"].disconnect(hosts[name])
    for name in ("hub", "p", "q", "r"):
        knows(hosts[name], *links[:3])
    for name in ("s", "t"):
        knows(hosts[name], links[4])
    # What changed on the other side meanwhile is known after.
    hosts["q"].down()
    for name in ("hub", "p", "r"):
        knows(hosts[name], links[0], links[2])
    for name in ("hub", "s"):
        lans["hub", "s"].connect(hosts[name])
    left = [link for link in links if "q" not in link]
    for name in ("hub", "p", "r", "s", "t"):
        knows(hosts[name], *left)
    assert connected(hosts["hub"]) == {"p", "r", "s"}


def lag(host):
    """(to get, to give) of the only peer, the same wherever it is told."""
    peer, = host.shoal("peers", "--json")
    sync = host.shoal("status", "--json")["sync"]
    each, = sync["each"]
    assert each["device"] == peer["device"] and each["id"] == peer["id"]
    shown = json.loads((host.dir / ".shoal/status.json").read_text())["sync"]["each"]
    found = {(x["behind_here"], x["behind_there"]) for x in (peer, each, sync, *shown)}
    assert len(found) == 1, found
    return found.pop()


@contextlib.contextmanager
def stopped(host):
    """The daemon does not run meanwhile, but its links are not cut."""
    pid = host.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def lag_in_the_middle(a, b, lan, name, count=4000):
    """a writes so many files while b is away and is stopped while it sends them. False: it had sent all."""
    (a.dir / name).mkdir()
    wait_for((b.dir / name).exists)
    lan.disconnect(b)
    wait_for(lambda: not connected(b))
    # What can be packed well is on its way as a whole before the first of it has arrived.
    for number in range(count):
        (a.dir / name / f"{number}.json").write_text('{"text": "%s"}' % os.urandom(500).hex())
    wait_for(lambda: a.shoal("status", "--json")["mount"]["local_files"] == 0, what="files that may be told of")
    lan.connect(b)
    wait_for(lambda: len(os.listdir(b.dir / name)) > 30, every=0.001)
    with stopped(a):
        get, give = lag(b)
        if get == 0:
            wait_for(lambda: len(os.listdir(b.dir / name)) == count, what="all, when nothing is to get")
            return False
        assert get <= count and give == 0
        assert "TO GET" in b.shoal("peers")
        assert f", {get} to get, 0 to give" in b.shoal("status")
    wait_for(lambda: len(os.listdir(b.dir / name)) == count, timeout=60)
    return True


def test_lag_is_shown_both_ways(lab):
    """What is to get and to give, of each peer and in sum, in all places that tell it."""
    hosts, lans = mesh(lab, [("a", "b")], "a", "b")
    a, b = hosts.values()
    for host in (a, b):
        wait_for(lambda: connected(host), what="a link")
        wait_for(lambda: lag(host) == (0, 0), what="nothing to get or to give")
    (a.dir / "d").mkdir()
    wait_for((b.dir / "d").exists)
    with stopped(b):
        for number in range(20):
            (a.dir / f"d/{number}.json").write_text("{}")
        wait_for(lambda: lag(a)[1] >= 20, what="twenty to give", timeout=8)
        assert lag(a)[0] == 0
    for host in (a, b):
        wait_for(lambda: lag(host) == (0, 0), what="nothing to get or to give")
    assert len(os.listdir(b.dir / "d")) == 20

    # Much comes, and then nothing for a while: what is missing is told. The sender may be through before
    # it is stopped: then there is more.
    told = False
    for attempt in range(8):
        told = told or lag_in_the_middle(a, b, lans["a", "b"], f"d{attempt}")
        for host in (a, b):
            wait_for(lambda: lag(host) == (0, 0), what="nothing to get or to give", timeout=60)
        if told:
            break
    assert told, "it was stopped too late each time"


@pytest.mark.timeout(300)
def test_a_quiet_mesh_says_nothing(lab):
    """Once all know all, the graph costs not a packet: what is left is what a link costs anyway."""
    links = [("a", "b"), ("b", "c")]
    hosts, _ = mesh(lab, links, "a", "b", "c")
    for host in hosts.values():
        knows(host, *links)
    a = hosts["a"]
    wait_quiet(a)
    before, begin = segments(a), time.monotonic()
    wait_for(lambda: time.monotonic() > begin + 60, timeout=70, every=1)
    connections = 1 + sum(bool(peer["standby"]) for peer in a.shoal("peers", "--json"))
    used = segments(a) - before
    assert used <= connections * 6, f"{used} packets"
    knows(a, *links)
