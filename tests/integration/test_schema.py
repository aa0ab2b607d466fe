# SPDX-License-Identifier: GPL-2.0-or-later
""".schema.json of a collection: which saves it refuses in which words, what merges may break, and how values
merge that it declares."""
import errno
import json
import os

import pytest

from fsmount import Mount
from lab import BUILD
from test_conflicts import apart, calm, state
from test_two_hosts import equal, pair, save

SCHEMA = {
    "type": "object",
    "required": ["plate"],
    "properties": {
        "plate": {"type": "string", "pattern": "^[A-Z0-9-]+$"},
        "doors": {"type": "integer", "minimum": 0},
        "views": {"type": "integer", "x-shoal-type": "counter"},
    },
    "maxProperties": 4,
}
GOOD = {"plate": "SH-7", "doors": 4}


def dump(document):
    return (json.dumps(document, indent=2) + "\n").encode()


@pytest.fixture
def cars(m, d):
    (d / ".schema.json").write_bytes(dump(SCHEMA))
    (d / "7.json").write_bytes(dump(GOOD))
    m.settle_and_sync()
    return d


def in_place(path, data):
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, 0)
        os.pwrite(fd, data, 0)
        os.fsync(fd)
    finally:
        try:
            os.close(fd)
        except OSError:
            pass


def truncated(path, data):
    path.write_bytes(data)


def renamed(path, data):
    beside = path.with_name("t.tmp")
    beside.write_bytes(data)
    os.rename(beside, path)


def error_of(path):
    return os.getxattr(path, "user.shoal.error").decode()


@pytest.mark.parametrize("save", [in_place, truncated, renamed])
def test_a_save_that_breaks_it(m, cars, save):
    path = cars / "7.json"
    bad = dump(dict(GOOD, doors=-1))
    with pytest.raises(OSError) as failure:
        save(path, bad)
    assert failure.value.errno == errno.EINVAL
    if save is not renamed:
        assert error_of(path) == \
            "line 3, column 12: /doors must be at least 0, says .schema.json"
        assert path.read_bytes() == bad
        assert os.getxattr(path, "user.shoal.state") == b"draft"
    m.sync()
    assert m.remote_json("c/7.json") == GOOD
    good = dict(GOOD, doors=5)
    save(path, dump(good))
    m.settle_and_sync()
    assert m.remote_json("c/7.json") == m.json("c/7.json") == good
    assert "c/t.tmp" not in m.remote_paths()


@pytest.mark.parametrize("save", [truncated, renamed])
def test_a_new_document_that_breaks_it(m, cars, save):
    path = cars / "8.json"
    with pytest.raises(OSError) as failure:
        save(path, b'{"doors": 2}')
    assert failure.value.errno == errno.EINVAL
    m.ask("idle")  # after a rename the name is news to the kernel
    assert error_of(path) == 'line 1, column 1: the document must have a member "plate", ' \
        "says .schema.json"
    m.settle_and_sync()
    assert "c/8.json" not in m.remote_paths()
    assert path.read_bytes() == b'{"doors": 2}'
    save(path, dump(GOOD))
    m.settle_and_sync()
    assert m.remote_json("c/8.json") == GOOD


def test_it_holds_for_its_collection(m, cars):
    (cars / "sub").mkdir()
    with pytest.raises(OSError):
        (cars / "sub/8.json").write_bytes(b"[]")
    (m.path("other")).mkdir()
    m.path("other/8.json").write_bytes(b"[]")
    m.path("9.json").write_bytes(b"[]")
    m.settle()
    with pytest.raises(OSError) as failure:
        os.rename(m.path("other/8.json"), cars / "8.json")
    assert failure.value.errno == errno.EINVAL
    os.rename(cars / "7.json", m.path("other/7.json"))
    m.settle_and_sync()
    assert m.remote_json("other/7.json") == GOOD and m.remote_json("other/8.json") == []


def test_a_field(m, cars):
    doors = m.path(".shoal/fields/c/7/doors")
    with pytest.raises(OSError) as failure:
        doors.write_bytes(b"-3\n")
    assert failure.value.errno == errno.EINVAL
    assert m.json("c/7.json") == GOOD
    doors.write_bytes(b"3\n")
    assert m.json("c/7.json") == dict(GOOD, doors=3)


def test_what_is_no_schema(m, cars):
    path = cars / ".schema.json"
    with pytest.raises(OSError) as failure:
        path.write_bytes(b'{"type": "car"}')
    assert failure.value.errno == errno.EINVAL
    assert error_of(path).startswith("line 1, column 10: a type is null, boolean,")
    # The one before holds.
    with pytest.raises(OSError):
        truncated(cars / "7.json", b"{}")
    path.write_bytes(b"{}")
    truncated(cars / "7.json", b"{}")
    m.settle_and_sync()
    assert m.remote_json("c/7.json") == {}
    with pytest.raises(OSError):
        (m.path("c2")).mkdir()
        m.path("c2/.schema.json").write_bytes(b"[]")


@pytest.mark.parametrize("save", [truncated, renamed])
def test_it_holds_at_once(m, d, save):
    save(d / ".schema.json", dump(SCHEMA))
    with pytest.raises(OSError):
        (d / "7.json").write_bytes(b"{}")


def test_it_comes_from_elsewhere_and_goes(m, d):
    m.new_document("c/7.json", {"doors": "four"})
    m.settle_and_sync()
    m.remote_put("c/.schema.json", dump(SCHEMA))
    m.sync()
    m.settle()
    # What is there stays, until it is saved.
    assert m.json("c/7.json") == {"doors": "four"}
    with pytest.raises(OSError):
        (d / "7.json").write_bytes(dump({"doors": "four", "wheels": 4}))
    (d / "7.json").write_bytes(dump(dict(GOOD, wheels=4)))
    os.rename(d / ".schema.json", d / "schema.json")
    m.settle()
    (d / "7.json").write_bytes(b"[]")
    os.rename(d / "schema.json", d / ".schema.json")
    m.settle()
    with pytest.raises(OSError):
        (d / "7.json").write_bytes(b"[1]")
    os.unlink(d / ".schema.json")
    m.settle()
    (d / "7.json").write_bytes(b"[2]")
    m.settle_and_sync()
    assert m.remote_json("c/7.json") == [2]


def test_counters_that_it_declares(m, cars):
    path = cars / "7.json"
    path.write_bytes(dump(dict(GOOD, views=10)))
    m.settle_and_sync()
    here = json.loads(path.read_bytes())
    m.remote_put("c/7.json", dump(dict(GOOD, views=13)))
    path.write_bytes(dump(dict(here, views=12)))
    m.settle_and_sync()
    assert m.json("c/7.json")["views"] == m.remote_json("c/7.json")["views"] == 15


def test_lenient():
    m = Mount("lenient")
    try:
        m.path("c").mkdir()
        m.path("c/.schema.json").write_bytes(dump(SCHEMA))
        m.settle()
        m.path("c/7.json").write_bytes(b"{}")
        assert error_of(m.path("c/7.json")).endswith('must have a member "plate", says .schema.json')
        m.settle_and_sync()
        assert "c/7.json" not in m.remote_paths()
        m.path("c/7.json").write_bytes(dump(GOOD))
        m.settle_and_sync()
        assert m.remote_json("c/7.json") == GOOD
    finally:
        m.close()


def test_a_merge_that_breaks_it(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    (a.dir / "c/.schema.json").write_bytes(dump({"maxProperties": 2}))
    (a.dir / "c/x.json").write_bytes(dump({"n": 1}))
    (a.dir / "c/y.json").write_bytes(dump({"n": 1}))
    equal(a, b)
    apart(lan, a, b, lambda: save(a, "c/x.json", lambda v: v.update(a=1)),
          lambda: save(b, "c/x.json", lambda v: v.update(b=2)))
    assert json.loads((a.dir / "c/x.json").read_bytes()) == {"n": 1, "a": 1, "b": 2}
    why = "the document must have at most 2 members, and has 3, says .schema.json"
    for host in (a, b):
        listed = host.shoal("conflicts", "--json")
        assert [(f["path"], f["schema"], f["places"]) for f in listed] == [("c/x.json", why, [])]
        assert why in host.shoal("conflicts", "c")
        assert host.shoal("conflicts", "c/y.json") == "Nothing is in conflict.\n"
        assert state(host, "c/x.json") == "conflict"
        assert error_of(host.dir / "c/x.json") == f"line 1, column 1: {why}"
        assert state(host, "c/y.json") != "conflict"
    with pytest.raises(OSError):
        save(a, "c/x.json", lambda v: v.update(a=3))
    (a.dir / "c/x.json").write_bytes(dump({"n": 1, "b": 2}))
    equal(a, b)
    calm(a, b)


def test_transactions(lab):
    host = lab.host("anna")
    host.up()
    (host.dir / "c").mkdir()
    (host.dir / "c/.schema.json").write_bytes(dump(SCHEMA))
    put = '{{"put": "c/{}.json", "value": {}}}\n'
    failed = host.run(BUILD / "shoal", "txn", check=False,
                      input=put.format(1, json.dumps(GOOD)) + put.format(2, '{"plate": ""}'))
    assert failed.returncode == 1
    assert "/plate must match ^[A-Z0-9-]+$, says .schema.json" in failed.stderr
    assert sorted(os.listdir(host.dir / "c")) == [".schema.json"]
    host.run(BUILD / "shoal", "txn", input=put.format(1, json.dumps(GOOD)))
    assert json.loads((host.dir / "c/1.json").read_bytes()) == GOOD
