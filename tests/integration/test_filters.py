# SPDX-License-Identifier: GPL-2.0-or-later
"""A part of a collection: shoal subscribe --where."""
import os

from lab import wait_for
from test_mesh import join, read, settle, write
from test_subscriptions import becomes, fill, state


def names(directory):
    return sorted(os.listdir(directory), key=lambda name: (len(name), name))


def has(directory, *expected):
    wait_for(lambda: names(directory) == list(expected), timeout=60,
             what=f"{expected} in {directory}")


def part(lab, where, count=20):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    fill(anna.dir / "cars", count)
    settle(anna, ben)
    ben.shoal("subscribe", "cars", "--where", where)
    return anna, ben


def test_leavers_leave_and_enterers_arrive(lab):
    anna, ben = part(lab, "n < 3")
    assert state(ben, "cars") == {"collection": "cars", "state": "filtered", "where": "n < 3"}
    has(ben.dir / "cars", "0.json", "1.json", "2.json")
    write(anna.dir / "cars/1.json", {"n": 100})
    has(ben.dir / "cars", "0.json", "2.json")
    write(anna.dir / "cars/15.json", {"n": 2, "from": "anna"})
    has(ben.dir / "cars", "0.json", "2.json", "15.json")
    assert read(ben.dir / "cars/15.json") == {"n": 2, "from": "anna"}
    # What is changed in the part goes to who keeps all, and what leaves there is not lost.
    write(ben.dir / "cars/0.json", {"n": 0, "by": "ben"})
    wait_for(lambda: read(anna.dir / "cars/0.json") == {"n": 0, "by": "ben"}, timeout=60,
             what="Ben's change at Anna")
    write(ben.dir / "cars/2.json", {"n": 50, "by": "ben"})
    has(ben.dir / "cars", "0.json", "15.json")
    assert read(anna.dir / "cars/2.json") == {"n": 50, "by": "ben"}
    write(ben.dir / "cars/new.json", {"n": 1})
    os.unlink(ben.dir / "cars/15.json")
    wait_for(lambda: (anna.dir / "cars/new.json").exists() and
             not (anna.dir / "cars/15.json").exists(), timeout=60, what="what Ben made and deleted")
    assert len(names(anna.dir / "cars")) == 20
    for host in anna, ben:
        assert host.shoal("verify", "--json")["errors"] == 0


def test_the_filter_changes(lab):
    anna, ben = part(lab, "n < 2")
    has(ben.dir / "cars", "0.json", "1.json")
    ben.shoal("subscribe", "cars", "--where", "n BETWEEN 1 AND 2")
    has(ben.dir / "cars", "1.json", "2.json")
    ben.kill9()
    write(anna.dir / "cars/9.json", {"n": 1})
    ben.up()
    has(ben.dir / "cars", "1.json", "2.json", "9.json")
    ben.shoal("subscribe", "cars", "--where", "_path LIKE 'cars/1%' AND _id IS NOT NULL")
    has(ben.dir / "cars", *["1.json"] + [f"{n}.json" for n in range(10, 20)])
    ben.shoal("subscribe", "cars")
    settle(anna, ben)
    assert names(ben.dir / "cars") == names(anna.dir / "cars")
    write(ben.dir / "cars/7.json", {"n": "ben"})
    settle(anna, ben)
    assert read(anna.dir / "cars/7.json") == {"n": "ben"}


def test_a_part_is_unsubscribed(lab):
    anna, ben = part(lab, "n < 3")
    has(ben.dir / "cars", "0.json", "1.json", "2.json")
    ben.shoal("config", "courier.quota", "0")
    write(ben.dir / "cars/2.json", {"n": 2, "by": "ben"})
    ben.shoal("unsubscribe", "cars")
    becomes(ben, "cars", "none", "carried")
    assert names(ben.dir / "cars") == []
    assert read(anna.dir / "cars/2.json") == {"n": 2, "by": "ben"}
    assert len(names(anna.dir / "cars")) == 20
    assert ben.shoal("verify", "--json")["errors"] == 0


def test_bad_expressions(lab):
    anna = lab.host("anna", lab.network())
    anna.up()
    fill(anna.dir / "cars", 2)
    for where, says in (("n >> = 3", 'character 6: the filter is no expression'),
                        ("n > random()", "may only depend on the document"),
                        ("n IN (SELECT 1)", "subquery"),
                        ("", "the filter is empty")):
        done = anna.run("shoal", "subscribe", "cars", "--where", where, check=False)
        assert done.returncode == 1, where
        assert says in done.stderr, done.stderr
    done = anna.run("shoal", "subscribe", "--new", "--where", "n", check=False)
    assert done.returncode == 1 and "one collection" in done.stderr
    assert state(anna, "cars")["state"] == "subscribed"
