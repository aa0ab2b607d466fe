# SPDX-License-Identifier: GPL-2.0-or-later
"""Two laptops, one directory: apart and together."""
import json

from lab import wait_for

COUNT = 100


def pair(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.up()
    b.shoal("join", "-", input=a.shoal("invite"))
    b.up()
    meet(a, b)
    return lan, a, b


def meet(*hosts):
    for host in hosts:
        wait_for(lambda: host.shoal("peers", "--json"), what=f"{host.name} meeting somebody")


def equal(a, b, timeout=30):
    for host in (a, b):
        host.shoal("wait", "--timeout", str(timeout))
    wait_for(lambda: a.tree_hash() == b.tree_hash(), timeout=timeout, what="equal trees")


def save(host, name, change):
    """As a program does: read, change, write the whole file."""
    path = host.dir / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=2) + "\n")


def test_a_file_appears(lab):
    _, a, b = pair(lab)
    (a.dir / "cars").mkdir()
    (a.dir / "cars" / "7.json").write_text('{"doors": 3}\n')
    wait_for(lambda: (b.dir / "cars" / "7.json").read_text() == '{"doors": 3}\n')
    (b.dir / "cars" / "7.json").write_text('{"doors": 5}\n')
    wait_for(lambda: (a.dir / "cars" / "7.json").read_text() == '{"doors": 5}\n')
    equal(a, b)


def test_different_fields_while_apart(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    for i in range(COUNT):
        (a.dir / "c" / f"{i}.json").write_text(json.dumps({"a": 0, "b": 0, "n": i}, indent=2) + "\n")
    equal(a, b)
    lan.disconnect(a)
    lan.disconnect(b)
    for host in (a, b):
        wait_for(lambda: not host.shoal("peers", "--json"), what=f"{host.name} being alone")
    for i in range(COUNT):
        save(a, f"c/{i}.json", lambda v: v.update(a=i + 1))
        save(b, f"c/{i}.json", lambda v: v.update(b=i + 2))
    (a.dir / "c" / "from-a.txt").write_text("a\n")
    (b.dir / "c" / "from-b.txt").write_text("b\n")
    lan.connect(a)
    lan.connect(b)
    meet(a, b)
    equal(a, b)
    for i in range(COUNT):
        value = json.loads((a.dir / "c" / f"{i}.json").read_text())
        assert value == {"a": i + 1, "b": i + 2, "n": i}
    names = {f"{i}.json" for i in range(COUNT)} | {"from-a.txt", "from-b.txt"}
    assert {path.name for path in (b.dir / "c").iterdir()} == names


def test_the_same_field_while_apart(lab):
    lan, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"n": 0}\n')
    equal(a, b)
    lan.split([a], [b])
    save(a, "x.json", lambda v: v.update(n=1))
    save(b, "x.json", lambda v: v.update(n=2))
    lan.heal()
    meet(a, b)
    wait_for(lambda: (a.dir / "x.json").read_text() == (b.dir / "x.json").read_text())
    equal(a, b)
    assert json.loads((a.dir / "x.json").read_text())["n"] in (1, 2)
    wait_for(lambda: a.shoal("status", "--json")["conflicts"] == 1)
    save(a, "x.json", lambda v: v.update(n=3))
    wait_for(lambda: json.loads((b.dir / "x.json").read_text()) == {"n": 3})
    wait_for(lambda: b.shoal("status", "--json")["conflicts"] == 0)


def test_names_files_and_deletions_travel(lab):
    _, a, b = pair(lab)
    (a.dir / "d" / "e").mkdir(parents=True)
    (a.dir / "d" / "e" / "photo.raw").write_bytes(bytes(range(256)) * 4000)
    (a.dir / "d" / "link").symlink_to("e/photo.raw")
    equal(a, b)
    (b.dir / "d" / "e" / "photo.raw").rename(b.dir / "d" / "picture.raw")
    (b.dir / "d" / "link").unlink()
    wait_for(lambda: not (a.dir / "d" / "link").is_symlink())
    equal(a, b)
    assert (a.dir / "d" / "picture.raw").read_bytes() == bytes(range(256)) * 4000


def test_daemon_that_is_killed_comes_back(lab):
    _, a, b = pair(lab)
    (a.dir / "x.json").write_text('{"n": 1}\n')
    equal(a, b)
    b.kill9()
    (a.dir / "x.json").write_text('{"n": 2}\n')
    b.up()
    wait_for(lambda: (b.dir / "x.json").read_text() == '{"n": 2}\n')
    equal(a, b)
