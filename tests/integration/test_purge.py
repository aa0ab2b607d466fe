# SPDX-License-Identifier: GPL-2.0-or-later
"""What was deleted long ago is purged, and a device that was away for a year brings nothing of it back
and loses nothing of its own."""
import json
import subprocess

import pytest

from lab import SOURCE, wait_for

YEAR = 366 * 86400
MANY = 600  # files: several commits of a purge


@pytest.fixture(scope="module")
def later(tmp_path_factory):
    """The environment of a daemon for which it is a year later."""
    library = tmp_path_factory.mktemp("clock") / "later.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE / "tests/helpers/laterclock.c"], check=True)
    return {"LD_PRELOAD": str(library), "SHOAL_LATER": str(YEAR)}


def meet(*hosts):
    for host in hosts:
        wait_for(lambda: len(host.shoal("peers", "--json")) >= 2, what=f"{host.name} meeting the others", timeout=60)


def equal(*hosts):
    for host in hosts:
        host.shoal("wait", "--peers", str(len(hosts) - 1), "--timeout", "60", timeout=90)
    wait_for(lambda: len({host.tree_hash() for host in hosts}) == 1, what="equal trees", timeout=60)


def test_away_for_a_year(lab, later):
    lan = lab.network()
    a, b, c = (lab.host(name, lan) for name in ("anna", "ben", "carl"))
    a.up()
    b.join(a)
    c.join(a)
    meet(a, b, c)
    (a.dir / "c").mkdir()
    for name, text in (("x.json", '{"n": 1}\n'), ("y.txt", "why\n"), ("z.json", '{"a": 1, "b": 1}\n')):
        (a.dir / "c" / name).write_text(text)
    for number in range(MANY):
        (a.dir / "c" / f"{number}.txt").write_text(f"{number}\n")
    equal(a, b, c)

    lan.disconnect(b)
    (b.dir / "c" / "x.json").write_text('{"n": 1, "ben": 2}\n')
    (b.dir / "c" / "z.json").write_text('{"a": 1, "b": 2}\n')
    (b.dir / "c" / "new.txt").write_text("of ben\n")
    b.down()
    for name in ["x.json", "y.txt", *(f"{number}.txt" for number in range(MANY))]:
        (a.dir / "c" / name).unlink()
    (a.dir / "c" / "z.json").write_text('{"a": 2, "b": 1}\n')
    wait_for(lambda: sorted(p.name for p in (c.dir / "c").iterdir()) == ["z.json"], timeout=60)
    a.down()
    c.down()

    a.up(env=later)
    c.up(env=later)
    wait_for(lambda: f"nothing is kept any more of what {MANY + 2} deleted files held" in a.log(), timeout=200)
    a.kill9()
    a.down()
    a.up(env=later)
    assert a.shoal("verify", "--json")["errors"] == 0
    b.up(env=later)
    lan.connect(b)
    meet(a, b, c)
    equal(a, b, c)
    for host in (a, b, c):
        assert sorted(p.name for p in (host.dir / "c").iterdir()) == ["new.txt", "x.json", "z.json"]
        assert json.loads((host.dir / "c" / "x.json").read_text()) == {"n": 1, "ben": 2}
        assert json.loads((host.dir / "c" / "z.json").read_text()) == {"a": 2, "b": 2}
        assert (host.dir / "c" / "new.txt").read_text() == "of ben\n"
        assert host.shoal("verify", "--json")["errors"] == 0
