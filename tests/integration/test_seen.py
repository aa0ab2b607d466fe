# SPDX-License-Identifier: GPL-2.0-or-later
"""user.shoal.seen_by: who has a file durably, and nobody who has not."""
import errno
import json
import os
import random

import pytest

from lab import wait_for
from test_mesh import connected, edit, join, read, settle, write


def seen_by(path):
    return set(os.getxattr(path, "user.shoal.seen_by").decode().splitlines())


def seen(path, *names):
    wait_for(lambda: seen_by(path) == set(names), what=f"{path} seen by {names}")


def test_who_has_it_is_named(lab):
    """Files, directories and the root; nobody before he has it, nor for what he has not."""
    lan = lab.network()
    anna, ben, carl = [lab.host(name, lan) for name in ("anna", "ben", "carl")]
    join(anna, ben, carl)
    wait_for(lambda: connected(anna) == {"ben", "carl"})
    assert seen_by(anna.dir) == {"ben", "carl"}, "nothing: everybody has it"
    (anna.dir / "d/deep").mkdir(parents=True)
    write(anna.dir / "d/deep/x.json", {"n": 1})
    (anna.dir / "d/b.bin").write_bytes(random.Random(1).randbytes(300000))
    (anna.dir / "d/plain.txt").write_text("text\n")
    for name in ("d/deep/x.json", "d/b.bin", "d/plain.txt", "d/deep", "d", ""):
        seen(anna.dir / name, "ben", "carl")
    settle(anna, ben, carl)
    seen(ben.dir / "d/deep/x.json", "anna", "carl")
    # They are not listed, and cannot be set.
    assert os.listxattr(anna.dir / "d/b.bin") == []
    with pytest.raises(PermissionError):
        os.setxattr(anna.dir / "d/b.bin", "user.shoal.seen_by", b"me")

    lan.disconnect(carl)
    wait_for(lambda: not connected(carl), what="carl alone")
    assert seen_by(anna.dir / "d/deep/x.json") == {"ben", "carl"}, "what he had he has"
    edit(anna.dir / "d/deep/x.json", n=2)
    seen(anna.dir / "d/deep/x.json", "ben")
    for name in ("d/deep", "d", ""):
        seen(anna.dir / name, "ben")
    # What is saved at this moment nobody has; what is written and not saved neither.
    with open(anna.dir / "d/plain.txt", "a") as file:
        file.write("more\n")
        file.flush()
        assert seen_by(anna.dir / "d/plain.txt") == set()
        assert seen_by(anna.dir / "d") == set()
    seen(anna.dir / "d/plain.txt", "ben")
    (anna.dir / "d/deep/bad.json").write_text("{}")
    seen(anna.dir / "d/deep/bad.json", "ben")
    with pytest.raises(OSError):
        (anna.dir / "d/deep/bad.json").write_text("{")
    assert seen_by(anna.dir / "d/deep/bad.json") == set(), "a draft"
    assert seen_by(anna.dir / "d/deep") == set()
    (anna.dir / "d/deep/bad.json").write_text("{}")

    lan.connect(carl)
    for name in ("d/deep/x.json", "d/deep", "d", ""):
        seen(anna.dir / name, "ben", "carl")
    # What never leaves this device is nothing that others could have.
    (anna.dir / "d/.x.swp").write_text("litter")
    for path in (anna.dir / "d/.x.swp", anna.dir / ".shoal/status.json"):
        with pytest.raises(OSError) as error:
            seen_by(path)
        assert error.value.errno == errno.ENODATA


def test_who_lacks_contents_is_not_named(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "d").mkdir()
    (anna.dir / "d/b.bin").write_bytes(random.Random(2).randbytes(500000))
    write(anna.dir / "d/x.json", {"n": 1})
    for name in ("d/b.bin", "d/x.json", "d"):
        seen(anna.dir / name, "ben")
    settle(anna, ben)
    ben.shoal("evict", ben.dir / "d/b.bin")
    for name in ("d/b.bin", "d"):
        seen(anna.dir / name)
    seen(anna.dir / "d/x.json", "ben")
    ben.shoal("fetch", ben.dir / "d/b.bin")
    for name in ("d/b.bin", "d"):
        seen(anna.dir / name, "ben")


def test_who_does_not_keep_it_is_not_named(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    for name in ("kept", "left"):
        (anna.dir / name).mkdir()
        write(anna.dir / name / "x.json", {"n": 1})
        seen(anna.dir / name / "x.json", "ben")
    settle(anna, ben)
    ben.shoal("subscribe", "left", "--where", "n = 5")
    seen(anna.dir / "left/x.json")
    assert seen_by(anna.dir) == set()
    edit(anna.dir / "kept/x.json", n=2)
    seen(anna.dir / "kept/x.json", "ben")


@pytest.mark.timeout(420)
def test_what_was_claimed_survives_a_kill(lab):
    """kill -9 at the peer right after it is named: it is there when the peer is back, each time."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "d").mkdir()
    settle(anna, ben)
    rnd = random.Random(7)
    for cycle in range(12):
        pid = ben.daemon_pid()
        kind = cycle % 3
        path = anna.dir / ("d/b.bin" if kind == 0 else "d/x.json" if kind == 1 else f"d/{cycle}.txt")
        data = (rnd.randbytes(200000 + cycle) if kind == 0 else
                json.dumps({"cycle": cycle}).encode() if kind == 1 else b"line\n" * cycle)
        path.write_bytes(data)
        target = path if cycle % 2 else path.parent

        def named():
            return b"ben" in os.getxattr(target, "user.shoal.seen_by")
        wait_for(named, every=0.001)
        os.kill(pid, 9)
        # Without the other one, who would send it anew.
        lan.disconnect(anna)
        wait_for(lambda: ben.daemon_pid() is None)
        ben.up()
        there = ben.dir / "d" / path.name
        assert there.read_bytes() == data, cycle
        lan.connect(anna)
        wait_for(lambda: connected(ben) == {"anna"}, what="together again")
    assert ben.shoal("verify", "--json")["errors"] == 0
