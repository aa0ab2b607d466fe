# SPDX-License-Identifier: GPL-2.0-or-later
"""How changes spread where there is more than one way."""
import time

from lab import wait_for
from test_graph import mesh
from test_mesh import read, settle, write

CHANGES = 6
SQUARE = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]


def came(host):
    """{peer: changes of files that came from it over its present link}"""
    return {peer["device"]: peer["deltas_in"] for peer in host.shoal("peers", "--json")}


def in_step(hosts):
    return all(peer["in_step"] for host in hosts for peer in host.shoal("peers", "--json"))


def change(hosts, number):
    """One at a, and all that is said because of it."""
    write(hosts["a"].dir / "notes/x.json", {"n": number})
    for host in hosts.values():
        wait_for(lambda: read(host.dir / "notes/x.json") == {"n": number}, timeout=60,
                 what=f"change {number} at {host}")
    wait_for(lambda: in_step(hosts.values()), timeout=60, what="all are in step", every=0.1)


def test_a_change_goes_over_one_of_two_ways(lab):
    """Over the other one goes only word of it; when the first one is silent, that is asked for."""
    hosts, lans = mesh(lab, SQUARE, *"abcd")
    a, b, c = hosts["a"], hosts["b"], hosts["c"]
    for name, host in hosts.items():
        wanted = {one if other == name else other for one, other in SQUARE if name in (one, other)}
        wait_for(lambda: set(came(host)) == wanted, timeout=60, what=f"the two links of {name}")
    (a.dir / "notes").mkdir()
    write(a.dir / "notes/x.json", {"n": 0})
    settle(*hosts.values())
    for number in range(1, 5):
        change(hosts, number)

    before, direct = came(c), came(b)
    for number in range(5, 5 + CHANGES):
        change(hosts, number)
    after = {peer: n - before[peer] for peer, n in came(c).items()}
    made = came(b)["a"] - direct["a"]
    assert made >= CHANGES
    assert sum(after.values()) <= made + 2, f"{made} changes came to c as {after}"
    assert came(b)["c"] == direct["c"], "none comes back"

    first = max(after, key=after.get)
    link = next(link for link in SQUARE if set(link) == {first, "c"})
    lans[link].split([hosts[first]], [c])
    begin = time.monotonic()
    write(a.dir / "notes/x.json", {"n": "another way"})
    wait_for(lambda: read(c.dir / "notes/x.json") == {"n": "another way"}, timeout=9,
             what="what the other neighbour has announced")
    assert time.monotonic() - begin > 0.5, "it was not the way that was cut"
