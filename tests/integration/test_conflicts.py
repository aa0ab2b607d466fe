# SPDX-License-Identifier: GPL-2.0-or-later
"""Conflicts: both devices list the same, one settles them, programs do by saving."""
import json
import os
import re

import pytest

from lab import BUILD, wait_for
from test_two_hosts import equal, meet, pair, save


def apart(lan, a, b, on_a, on_b):
    """a and then b do something while they do not see each other."""
    lan.split([a], [b])
    on_a()
    on_b()
    for host in (a, b):
        host.shoal("conflicts")  # which ends the moment for which a new file stays where it is
    lan.heal()
    meet(a, b)
    equal(a, b)


def places(host, path=""):
    """{(path, pointer): (shown value, {id: value that lost})} as the host lists it."""
    listed = host.shoal("conflicts", path, "--json") if path else host.shoal("conflicts", "--json")
    return {(f["path"], p["pointer"]): (p["shown"]["value"], {v["id"]: v["value"] for v in p["lost"]})
            for f in listed for p in f["places"]}


def calm(*hosts):
    """Nothing is in conflict any more, and all say so."""
    for host in hosts:
        wait_for(lambda: host.shoal("conflicts", "--json") == [], what=f"no conflict on {host.name}")
        assert host.shoal("conflicts") == "Nothing is in conflict.\n"
        assert host.shoal("status", "--json")["conflicts"] == 0
        assert os.listdir(host.dir / ".shoal" / "conflicts") == []


def state(host, path):
    return os.getxattr(host.dir / path, "user.shoal.state").decode()


def test_the_same_field(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    (a.dir / "c" / "x.json").write_text('{"n": 0, "m": {"k": 0}, "z": 0}\n')
    (a.dir / "calm.json").write_text("{}\n")
    equal(a, b)
    apart(lan, a, b, lambda: save(a, "c/x.json", lambda v: v.update(n=1, m={"k": 1})),
          lambda: save(b, "c/x.json", lambda v: v.update(n=2, m={"k": 2})))
    listed = a.shoal("conflicts", "--json")
    assert listed == b.shoal("conflicts", "--json")
    assert [f["path"] for f in listed] == ["c/x.json"] and listed[0]["type"] == "file"
    both = places(a)
    assert set(both) == {("c/x.json", "/n"), ("c/x.json", "/m/k")}
    shown, lost = both["c/x.json", "/n"]
    assert {shown, *lost.values()} == {1, 2} and len(lost) == 1
    one = next(p for p in listed[0]["places"] if p["pointer"] == "/n")
    writer = {1: "anna", 2: "ben"}
    assert one["shown"]["device"] == writer[shown]
    assert one["lost"][0]["device"] == writer[3 - shown] and one["lost"][0]["time"].endswith("Z")
    assert places(a, "c") == both and places(b, "c/x.json") == both and places(a, "calm.json") == {}
    text = b.shoal("conflicts", cwd=b.dir / "c")
    identifier = next(iter(lost))
    assert re.search(rf"^    /n +{shown} +shown +{writer[shown]} .*\n +{3 - shown} +{identifier} ", text, re.M)
    assert "--take ID" in text and "in conflict: `shoal conflicts`" in a.shoal("status")
    assert a.shoal("status", "--json")["conflicts"] == b.shoal("status", "--json")["conflicts"] == 1
    assert state(a, "c/x.json") == "conflict"

    inside = b.dir / ".shoal" / "conflicts"
    assert os.listdir(inside) == ["c"] and os.listdir(inside / "c") == ["x.json"]
    files = {p.name: json.loads(p.read_text()) for p in (inside / "c" / "x.json").iterdir()}
    assert files == {**lost, **both["c/x.json", "/m/k"][1]}
    assert (inside / "c" / "x.json" / identifier).stat().st_size == 2
    assert not (inside / "calm.json").exists() and not (inside / "c" / "x.json" / "0").exists()
    with pytest.raises(OSError):
        (inside / "c" / "x.json" / identifier).write_text("5")

    assert "took" in b.shoal("resolve", "c/x.json", "--take", identifier)
    assert json.loads((b.dir / "c" / "x.json").read_text())["n"] == 3 - shown
    wait_for(lambda: json.loads((a.dir / "c" / "x.json").read_text())["n"] == 3 - shown)
    assert "already" in b.shoal("resolve", "c/x.json", "--take", identifier)
    wait_for(lambda: set(places(a)) == {("c/x.json", "/m/k")})
    assert places(b) == places(a)
    done = a.shoal("resolve", a.dir / "c" / "x.json", "/m/k", "--keep", "--json")
    assert (done["path"], done["settled"], done["conflict"]) == ("c/x.json", 1, False)
    assert "nothing was" in a.shoal("resolve", "c/x.json", "--keep")
    calm(a, b)
    equal(a, b)
    assert state(b, "c/x.json") == "synced"


def test_a_save_that_read_the_shown_value_ends_it(lab):
    lan, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"n": 0, "other": 0}\n')
    equal(a, b)
    apart(lan, a, b, lambda: save(a, "x.json", lambda v: v.update(n=1)),
          lambda: save(b, "x.json", lambda v: v.update(n=2)))
    save(a, "x.json", lambda v: v.update(other=1))
    wait_for(lambda: '"other": 1' in (b.dir / "x.json").read_text())
    assert set(places(b)) == {("x.json", "/n")}  # nobody has written there since
    save(a, "x.json", lambda v: v.update(n=3))
    calm(a, b)
    equal(a, b)
    assert json.loads((b.dir / "x.json").read_text()) == {"n": 3, "other": 1}


def test_bytes_that_lost(lab):
    lan, a, b = pair(lab)
    one, two = os.urandom(3_000_000), os.urandom(900_000)
    (a.dir / "film.raw").write_bytes(b"first")
    equal(a, b)
    apart(lan, a, b, lambda: (a.dir / "film.raw").write_bytes(one),
          lambda: (b.dir / "film.raw").write_bytes(two))
    assert (a.dir / "film.raw").read_bytes() in (one, two)
    lost = one if (a.dir / "film.raw").read_bytes() == two else two
    for host in (a, b):
        inside = host.dir / ".shoal" / "conflicts" / "film.raw"
        (name,) = os.listdir(inside)
        assert name.endswith(".raw") and (inside / name).stat().st_size == len(lost)
        assert (inside / name).read_bytes() == lost
    listed = b.shoal("conflicts", "--json")
    assert listed == a.shoal("conflicts", "--json")
    (value,) = listed[0]["places"][0]["lost"]
    assert value["size"] == len(lost) and value["type"] == "blob" and value["id"] + ".raw" == name
    assert "all of it" in a.shoal("conflicts")
    b.shoal("resolve", "film.raw", "--take", value["id"][:4])
    assert (b.dir / "film.raw").read_bytes() == lost
    calm(a, b)
    equal(a, b)
    assert (a.dir / "film.raw").read_bytes() == lost


def test_values_of_two_types(lab):
    lan, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"address": null}\n')
    equal(a, b)
    home = {"street": "Main Street 1", "zip": [1, 2, 3]}
    apart(lan, a, b, lambda: save(a, "x.json", lambda v: v.update(address=home)),
          lambda: save(b, "x.json", lambda v: v.update(address="Main Street 1")))
    (shown, lost), = places(a).values()
    assert places(b) == places(a) and {json.dumps(shown), *map(json.dumps, lost.values())} == {
        json.dumps(home), '"Main Street 1"'}
    (identifier, value), = lost.items()
    inside = a.dir / ".shoal" / "conflicts" / "x.json" / identifier
    assert json.loads(inside.read_text()) == value
    a.shoal("resolve", "x.json", "--take", identifier)
    calm(a, b)
    equal(a, b)
    assert json.loads((b.dir / "x.json").read_text()) == {"address": value}


def test_two_files_of_one_name(lab):
    lan, a, b = pair(lab)
    apart(lan, a, b, lambda: (a.dir / "plan.txt").write_text("of anna\n"),
          lambda: (b.dir / "plan.txt").write_text("of ben\n"))
    listed = a.shoal("conflicts", "--json")
    assert listed == b.shoal("conflicts", "--json")
    (file,) = listed
    (other,) = file["names"]
    assert file["path"] == "plan.txt" and file["places"] == []
    assert re.fullmatch(r"plan~[0-9a-f]{6}\.txt", other["path"])
    assert other["device"] in ("anna", "ben") and other["type"] == "file"
    assert f"{other['path']} is another file of this name, of {other['device']}" in a.shoal("conflicts")
    assert a.shoal("conflicts", other["path"], "--json") == listed
    assert a.shoal("status", "--json")["conflicts"] == 1
    assert (a.dir / other["path"]).read_text() == f"of {other['device']}\n"
    (b.dir / other["path"]).rename(b.dir / "plan-2.txt")
    calm(a, b)
    equal(a, b)


def test_settled_apart(lab):
    """What the one that settles had not seen is not lost; settling the same twice is no conflict."""
    lan, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"n": 0}\n')
    equal(a, b)
    apart(lan, a, b, lambda: save(a, "x.json", lambda v: v.update(n=1)),
          lambda: save(b, "x.json", lambda v: v.update(n=2)))
    apart(lan, a, b, lambda: a.shoal("resolve", "x.json", "--keep"),
          lambda: save(b, "x.json", lambda v: v.update(n=3)))
    (shown, lost), = places(a).values()
    assert 3 in (shown, *lost.values())
    identifier, = lost
    apart(lan, a, b, lambda: a.shoal("resolve", "x.json", "--take", identifier),
          lambda: b.shoal("resolve", "x.json", "--take", identifier))
    calm(a, b)
    equal(a, b)


def test_what_is_refused(lab):
    a = lab.host("anna", lab.network())

    def fails(status, *words, says=""):
        result = a.run(BUILD / "shoal", *words, check=False)
        assert result.returncode == status and says in result.stderr, (words, result.stderr)
        assert result.stderr.count("\n") == 1

    fails(4, "conflicts")
    fails(4, "resolve", "x.json", "--keep")
    a.up()
    (a.dir / "d").mkdir()
    (a.dir / "d" / "x.json").write_text('{"n": 1}\n')
    fails(2, "resolve", "d/x.json", says="either")
    fails(2, "resolve", "d/x.json", "--keep", "--take", "1234567890", says="either")
    fails(2, "resolve")
    fails(1, "conflicts", "none", says='"none"')
    fails(1, "resolve", "none", "--keep", says='"none"')
    fails(1, "resolve", "d", "--keep", says="directory")
    fails(1, "resolve", "d/x.json", "--take", "xyz", says="hexadecimal")
    fails(1, "resolve", "d/x.json", "--take", "1234567890", says="d/x.json: no value that lost")
    fails(1, "resolve", "d/x.json", "/m", "--keep", says="no place")
    fails(1, "resolve", "d/x.json", "m", "--keep", says="JSON pointer")
    assert a.shoal("conflicts", "--json") == []


def test_many_conflicts(lab):
    """More than fits into one answer; the list comes whole, the directory, too."""
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    long = "x" * 3000
    for i in range(200):
        (a.dir / "c" / f"{i}.json").write_text('{"n": 0}\n')
    equal(a, b)

    def write(host):
        for i in range(200):
            save(host, f"c/{i}.json", lambda v: v.update(n=f"{host.name} {long} {i}"))

    apart(lan, a, b, lambda: write(a), lambda: write(b))
    assert len(places(a)) == 200 and places(a) == places(b)
    assert a.shoal("status", "--json")["conflicts"] == 200
    assert len(os.listdir(b.dir / ".shoal" / "conflicts" / "c")) == 200
    assert sum(1 for _ in (b.dir / ".shoal" / "conflicts").rglob("*")) == 401
