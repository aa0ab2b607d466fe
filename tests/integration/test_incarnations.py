# SPDX-License-Identifier: GPL-2.0-or-later
"""Stores that are copied and brought back: nothing is lost, and no change is taken for another."""
import json
import shutil
import subprocess

from lab import tree_hash, wait_for
from test_two_hosts import equal, meet, pair, save


def incarnation(host):
    return host.shoal("status", "--json")["device"]["incarnation"]


def told(host):
    """What status and doctor say of copies: by what it was seen, and the finding."""
    renewed = host.shoal("status", "--json")["device"]["renewed"]
    finding = next(f for f in host.shoal("doctor", "--json") if f["check"] == "copies")
    assert ("copy " in host.shoal("status")) == bool(renewed)
    return renewed and renewed["by"], finding["result"], finding["message"]


def copy(source, target):
    subprocess.run(["cp", "-a", "--no-target-directory", source, target], check=True)


def sound(*hosts):
    for host in hosts:
        report = host.shoal("verify", "--json")
        assert report["errors"] == 0, (host, report)


def converged(*hosts, timeout=60):
    def same():
        return len({tree_hash(host.dir) for host in hosts}) == 1

    wait_for(same, timeout=timeout, what="equal trees")


def content(host, name):
    return json.loads((host.dir / name).read_text())


def test_an_ordinary_restart_is_none(lab):
    _, a, b = pair(lab)
    before = incarnation(a), incarnation(b)
    (a.dir / "x.json").write_text('{"n": 1}\n')
    equal(a, b)
    a.down()
    a.up()
    b.kill9()
    b.up()
    assert (incarnation(a), incarnation(b)) == before
    a.down()
    a.store.rename(a.home / "moved")
    (a.home / "moved").rename(a.store)
    a.up()
    assert incarnation(a) == before[0] and "copied" not in a.log() + b.log()
    assert told(a)[:2] == told(b)[:2] == (None, "ok")
    meet(a, b)
    equal(a, b)
    sound(a, b)


def test_brought_back(lab):
    """An older copy is put in the store's place; the other device knows what came after it."""
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    for i in range(20):
        (a.dir / "c" / f"{i}.json").write_text(json.dumps({"a": 0, "b": 0, "again": 0}) + "\n")
    (a.dir / "photo.raw").write_bytes(b"old" * 30000)
    equal(a, b)
    first = incarnation(a)
    a.down()
    copy(a.store, a.home / "copy")
    a.up()
    meet(a, b)
    for i in range(20):
        save(a, f"c/{i}.json", lambda v: v.update(a=i + 1))
    (a.dir / "c" / "later.json").write_text('{"only": "b knows"}\n')
    (a.dir / "photo.raw").write_bytes(b"new" * 30000)
    equal(a, b)
    # Not only split: a kernel goes on sending what a process that ended had written.
    b.down()
    save(a, "c/0.json", lambda v: v.update(lost="never sent"))
    a.down()
    shutil.rmtree(a.store)
    copy(a.home / "copy", a.store)
    lan.split([a], [b])
    a.up()
    b.up()
    assert incarnation(a) != first and "brought back" in a.log()
    assert told(a)[:2] == ("copy", "note") and "brought back" in told(a)[2]
    assert content(a, "c/7.json")["a"] == 0
    for i in range(20):
        save(a, f"c/{i}.json", lambda v: v.update(again=i + 1))
        save(b, f"c/{i}.json", lambda v: v.update(b=i + 1))
    (a.dir / "c" / "new.json").write_text('{"made": "apart"}\n')
    lan.heal()
    meet(a, b)
    equal(a, b)
    for i in range(20):
        assert content(a, f"c/{i}.json") == {"a": i + 1, "b": i + 1, "again": i + 1}
    assert content(b, "c/new.json") == {"made": "apart"}
    assert content(a, "c/later.json") == {"only": "b knows"}
    assert (a.dir / "photo.raw").read_bytes() == b"new" * 30000
    assert a.shoal("conflicts", "--json") == []
    sound(a, b)
    # The same copy once more: a third incarnation.
    second = incarnation(a)
    a.down()
    shutil.rmtree(a.store)
    copy(a.home / "copy", a.store)
    a.up()
    assert incarnation(a) not in (first, second)
    save(a, "c/3.json", lambda v: v.update(again=100))
    meet(a, b)
    equal(a, b)
    assert content(b, "c/3.json")["a"] == 4 and content(b, "c/3.json")["b"] == 4
    sound(a, b)


def test_only_the_database_is_brought_back(lab):
    _, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"n": 0, "m": 0}\n')
    equal(a, b)
    first = incarnation(a)
    a.down()
    copy(a.store / "db", a.home / "db")
    a.up()
    meet(a, b)
    save(a, "x.json", lambda v: v.update(n=1))
    equal(a, b)
    a.down()
    shutil.rmtree(a.store / "db")
    copy(a.home / "db", a.store / "db")
    a.up()
    assert incarnation(a) != first
    save(a, "x.json", lambda v: v.update(m=1))
    meet(a, b)
    equal(a, b)
    assert content(a, "x.json") == {"n": 1, "m": 1}
    sound(a, b)


def test_a_copy_beside_the_store(lab):
    """Both go on under one name; a third device gets the changes of both."""
    lan, a, b = pair(lab)
    for i in range(10):
        (a.dir / f"{i}.json").write_text('{"a": 0, "b": 0, "c": 0, "all": 0}\n')
    equal(a, b)
    first = incarnation(a)
    a.down()
    c = lab.host("copy", lan)
    copy(a.store, c.store)
    a.up()
    c.up()
    assert incarnation(a) == first != incarnation(c)
    assert "copied" in c.log() and "copied" not in a.log()
    lan.split([a], [b], [c])
    for i in range(10):
        for host, key in ((a, "a"), (b, "b"), (c, "c")):
            save(host, f"{i}.json", lambda v: v.update({key: i + 1}))
    (a.dir / "of-a.txt").write_text("a\n")
    (c.dir / "of-c.txt").write_text("c\n")
    lan.heal()
    converged(a, b, c)
    for i in range(10):
        assert content(b, f"{i}.json") == {"a": i + 1, "b": i + 1, "c": i + 1, "all": 0}
    # Once more, with both knowing of each other.
    lan.split([a], [b], [c])
    for i in range(10):
        for host in (a, c):
            save(host, f"{i}.json", lambda v: v.update(all=host.name))
    lan.heal()
    converged(a, b, c)
    assert {content(b, f"{i}.json")["all"] for i in range(10)} <= {"anna", "copy"}
    assert incarnation(a) == first
    wait_for(lambda: "runs twice" in b.log(), what="the two being told apart")
    wait_for(lambda: any(peer["copies"] for peer in b.shoal("peers", "--json")), what="it being said")
    assert told(b)[1] == "warning" and "copy" not in told(b)[2].split() and "runs twice" in told(b)[2]
    sound(a, b, c)
