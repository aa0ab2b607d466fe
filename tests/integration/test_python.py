# SPDX-License-Identifier: GPL-2.0-or-later
"""The Python module: everything a program does with a store, and what it is told when that fails."""
import contextlib
import decimal
import errno
import inspect
import json
import os
import socket
import subprocess
import textwrap
import threading

import pytest

import shoal
from lab import BUILD, SOURCE, wait_for

MODULE = SOURCE / "tools/python"


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    (host.dir / "cars").mkdir()
    return host


@pytest.fixture
def store(anna):
    with anna.connect() as made:
        yield made


def python(host, program, **options):
    """What a program of its own prints on that host."""
    env = {"PYTHONPATH": str(MODULE), "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
    return host.run("/usr/bin/python3", "-c", textwrap.dedent(program), env=env, **options).stdout


def test_files(anna, store):
    with pytest.raises(shoal.NotFound, match="nowhere"):
        store.put("nowhere/a.json", 1)
    first = store.put("cars/a.json", {"a": 1, "name": "Übergröße \U0001f697\n"}, if_version=None)
    file = store.get("cars/a.json")
    assert (file.version, file.form, len(first)) == (first, "json", 32)
    assert file.json() == {"a": 1, "name": "Übergröße \U0001f697\n"}
    assert file.data == (anna.dir / "cars/a.json").read_bytes() and file.text() == file.data.decode()
    with pytest.raises(shoal.Stale) as stale:
        store.put("cars/a.json", 1, if_version=None)
    assert stale.value.errno == errno.ESTALE and "line 1" not in str(stale.value)
    second = store.merge("cars/a.json", {"name": None, "b": [1]}, if_version=first[:8])
    assert second != first
    with pytest.raises(shoal.Stale):
        store.merge("cars/a.json", {}, if_version=first)
    third = store.patch("cars/a.json", [{"op": "test", "path": "/b/0", "value": 1},
                                        {"op": "add", "path": "/b/-", "value": None}])
    assert store.get("cars/a.json").json() == {"a": 1, "b": [1, None]}
    assert store.get("cars/a.json", version=third[:6]).json()["b"] == [1, None]
    with pytest.raises(shoal.Cancelled):
        store.patch("cars/a.json", [{"op": "test", "path": "/b/0", "value": 2}])
    assert store.get("cars/a.json").version == third
    assert store.delete("cars/a.json") is None
    for missing in (store.get, store.delete):
        with pytest.raises(FileNotFoundError):
            missing("cars/a.json")
    with pytest.raises(IsADirectoryError):
        store.get("cars")
    store.sync()


def test_numbers_keep_their_digits(anna, store):
    text = '{"price": 1.10, "big": 1e400, "id": 18446744073709551616123}'
    store.put("cars/a.json", shoal.Raw(text))
    assert json.loads((anna.dir / "cars/a.json").read_text(), parse_float=str) == json.loads(text, parse_float=str)
    assert store.get("cars/a.json").json(parse_float=decimal.Decimal)["price"].as_tuple().digits == (1, 1, 0)
    store.put("cars/a.json", shoal.Raw('{\n "a":\r\n 1}'))
    assert store.get("cars/a.json").json() == {"a": 1}


def test_what_is_no_value_goes_nowhere(store):
    for value in (float("nan"), [float("inf")], "\ud800"):
        with pytest.raises(ValueError):
            store.put("cars/a.json", value)
    for value in ({1, 2}, object(), b"x"):
        with pytest.raises(TypeError):
            store.put("cars/a.json", value)
    for raw in ("{", "1 2", "", '1}\n{"delete": "cars/b.json"', '1,"if":null,"more":1'):
        with pytest.raises(shoal.Error) as error:
            store.put("cars/a.json", shoal.Raw(raw))
        assert error.value.errno == errno.EINVAL
    with pytest.raises(TypeError):
        store.put("cars/a.json", 1, if_version=7)
    with pytest.raises(TypeError):
        store.put(b"cars/a.json", 1)
    with pytest.raises(shoal.Error) as error:
        store.put("cars/a.json", "x" * (9 << 20))
    assert error.value.errno == errno.E2BIG
    with pytest.raises(FileNotFoundError):
        store.get("cars/a.json")


def test_directories(anna, store):
    store.mkdir("/new/and//deep/")
    assert (anna.dir / "new/and/deep").is_dir() and store.call("mkdir", {"path": "new/and"}) == {"made": 0}
    assert store.call("mkdir", {"path": "new/and/wide/a/b"}) == {"made": 3} and store.call("mkdir") == {"made": 0}
    store.put("new/and/deep/a.json", 1)
    for path in ("new/and/deep/a.json", "new/and/deep/a.json/b"):
        with pytest.raises(shoal.Error, match="something else") as error:
            store.mkdir(path)
        assert error.value.errno == errno.ENOTDIR
    for path in ("new/..", "new/" + "x" * 256):
        with pytest.raises(shoal.Error):
            store.mkdir(path)
    assert sorted(x.name for x in (anna.dir / "new").iterdir()) == ["and"]


def test_what_was_done(store):
    """Each file counts once, with its last step."""
    store.put("cars/old.json", {"a": 1.0})
    store.put("cars/gone.json", 1)
    store.put("cars/same.json", {"a": 1, "b": 2})
    answer = store.call("txn", {"lines": "".join(json.dumps(line) + "\n" for line in (
        {"put": "cars/new.json", "value": 1}, {"put": "cars/old.json", "value": 3}, {"delete": "cars/gone.json"},
        {"put": "cars/same.json", "value": {"b": 2, "a": 1.0}}, {"put": "cars/new.json", "value": 2},
        {"put": "cars/brief.json", "value": 2}, {"delete": "cars/brief.json"}))})
    assert [(x["path"], x["did"]) for x in answer["changes"]] == [
        ("cars/new.json", "nothing"), ("cars/old.json", "changed"), ("cars/gone.json", "deleted"),
        ("cars/same.json", "nothing"), ("cars/new.json", "created"), ("cars/brief.json", "nothing"),
        ("cars/brief.json", "nothing")]


def test_large_file(anna, store):
    data = os.urandom(3_000_000)
    (anna.dir / "photo.raw").write_bytes(data)
    file = store.get("photo.raw", max_size=len(data))
    assert file.data == data and file.form == "blob" and len(file.version) == 32
    with pytest.raises(shoal.Error, match="3000000 bytes, more than 2999999") as error:
        store.get("photo.raw", max_size=len(data) - 1)
    assert error.value.errno == errno.EFBIG
    # What is left of its answers disturbs nobody.
    assert store.put("cars/a.json", 1) == store.get("cars/a.json").version
    (anna.dir / "empty").write_bytes(b"")
    assert store.get("empty").data == b""


def test_txn(store):
    with store.txn(sync=True) as txn:
        txn.put("cars/a.json", {"n": 1}, if_version=None)
        txn.put("cars/b.json", {"n": 1})
        txn.merge("cars/a.json", {"n": 2})
        assert len(txn) == 3 and txn.versions is None
    assert txn.versions[0] == txn.versions[2] == store.get("cars/a.json").version
    with pytest.raises(ValueError):
        txn.delete("cars/a.json")
    with pytest.raises(shoal.Stale) as stale, store.txn() as txn:
        txn.delete("cars/a.json")
        txn.patch("cars/b.json", [{"op": "replace", "path": "/n", "value": 5}], if_version="0000")
    assert stale.value.step == 1 and str(stale.value).startswith("step 2: ")
    assert store.get("cars/a.json").json() == {"n": 2} and store.get("cars/b.json").json() == {"n": 1}
    with pytest.raises(KeyError), store.txn() as txn:
        txn.delete("cars/a.json")
        raise KeyError
    assert store.get("cars/a.json").json() == {"n": 2}
    full = store.txn()
    for n in range(1000):
        full.put("cars/a.json", n)
    with pytest.raises(shoal.Error) as error:
        full.put("cars/a.json", 1000)
    assert error.value.errno == errno.E2BIG and len(full.run()) == 1000
    assert store.get("cars/a.json").json() == 999
    assert store.txn().run() == []


def test_bulk(anna, store):
    """So much is under way that neither side takes any more of it before the other one does."""
    with store.bulk(window=32, sync=True) as bulk:
        for n in range(50_000):
            bulk.put(f"cars/{n}.json", {"n": n})
    assert bulk.count == 50_000
    assert store.get("cars/0.json").json() == {"n": 0} and store.get("cars/49999.json").json() == {"n": 49999}
    assert sum(1 for _ in os.scandir(anna.dir / "cars")) == 50_000
    with store.bulk(steps=7) as bulk:
        for n in range(100):
            bulk.delete(f"cars/{n}.json")
    assert bulk.count == 100 and store.get("cars/100.json").json() == {"n": 100}
    with pytest.raises(FileNotFoundError):
        store.get("cars/99.json")
    wait_for(lambda: not (anna.dir / "cars/99.json").exists(), what="the kernel's knowledge of it")
    # Documents of a size that a thousand of them are more than a request.
    with store.bulk() as bulk:
        for n in range(40):
            bulk.put(f"cars/{n}.json", "x" * 300_000)
    assert len(store.get("cars/39.json").json()) == 300_000


def test_bulk_says_what_failed(store):
    bulk = store.bulk(steps=10, window=1)
    with pytest.raises(shoal.NotFound) as error, bulk:
        for n in range(1000):
            bulk.put(f"cars/{n}.json" if n != 25 else "nowhere/25.json", n)
    assert error.value.step == 25 and str(error.value).startswith("step 26: ") and bulk.count == 20
    assert store.get("cars/19.json").json() == 19
    with pytest.raises(FileNotFoundError):
        store.get("cars/20.json")


def test_threads(anna):
    """Each with a connection of its own."""
    failed = []

    def count():
        try:
            with anna.connect() as mine:
                for _ in range(25):
                    while True:
                        file = mine.get("cars/n.json")
                        with contextlib.suppress(shoal.Stale):
                            mine.put("cars/n.json", file.json() + 1, if_version=file.version)
                            break
        except BaseException as error:
            failed.append(error)

    with anna.connect() as store:
        store.put("cars/n.json", 0)
        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed and store.get("cars/n.json").json() == 100


def test_requests_side_by_side(anna, store):
    """Answers to one request wait while another one is asked."""
    data = os.urandom(2_000_000)
    (anna.dir / "photo.raw").write_bytes(data)
    results = store.stream("cat", {"path": "photo.raw"})
    first = next(results)
    assert first["size"] == len(data) and store.put("cars/a.json", 1)
    assert sum(1 for _ in results) > 10
    with pytest.raises(shoal.Error) as error:
        store.call("nonsense")
    assert error.value.errno == errno.ENOSYS


def test_query(anna, store):
    with store.bulk() as bulk:
        for n in range(30_000):
            bulk.put(f"cars/{n}.json", {"n": n, "name": f"car {n}", "price": n + 0.5})
    rows = store.query("SELECT body ->> 'n' AS n, body FROM cars WHERE n >= :least AND _id <> :name ORDER BY n",
                       {"least": 29_990, "name": "29995"})
    assert rows.columns == ["n", "body"]
    found = list(rows)
    assert [n for n, _ in found] == [n for n in range(29_990, 30_000) if n != 29_995]
    assert found[0] == (29_990, {"n": 29_990, "name": "car 29990", "price": 29_990.5})
    assert sum(n for n, in store.query("SELECT body ->> 'n' FROM cars")) == sum(range(30_000))
    one = "SELECT 1 AS a, 1.5 AS b, NULL AS c, 'x' AS d, x'00ff' AS e, 9e999 AS f, :t AS t, :f AS g, :n AS n, :i AS i"
    params = {"t": "5", "f": True, "n": None, "i": -3.25}
    assert next(store.query(one, params).dicts()) == {
        "a": 1, "b": 1.5, "c": None, "d": "x", "e": b"\0\xff", "f": float("inf"), "t": "5", "g": 1, "n": None, "i": -3.25}
    assert list(store.query("SELECT body FROM cars WHERE _id = '7'", raw=True)) == \
        [(store.get("cars/7.json").text(),)]
    assert list(store.query("SELECT 1 WHERE 0")) == []
    # Those that are left at their first row hold up nobody.
    for _ in range(20):
        with store.query("SELECT body FROM cars") as rows:
            next(rows)
    with pytest.raises(ValueError):
        next(rows)
    for sql, code in (("SELEC 1", errno.EINVAL), ("SELECT nothing", errno.EINVAL), ("DELETE FROM cars", errno.EPERM)):
        with pytest.raises(shoal.Error) as error:
            store.query(sql)
        assert error.value.errno == code
    with pytest.raises(TypeError):
        store.query("SELECT :x", {"x": b"bytes"})


def test_two_devices(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    anna.up()
    ben.join(anna)
    (anna.dir / "cars").mkdir()
    wait_for((ben.dir / "cars").is_dir, what="the directory")
    with anna.connect() as store, ben.connect() as other, other.watch("cars") as watch:
        store.put("cars/1.json", {"doors": 3})
        assert store.wait(device="ben", timeout=30) == ["ben"]
        store.merge("cars/1.json", {"doors": 5})
        store.put("elsewhere.json", 1)
        assert store.wait("cars", peers=1, timeout=30) == ["ben"]
        store.put("cars/end.json", 1)
        told = []
        while not told or told[-1]["path"] != "cars/end.json":
            told.append(watch.next(30))
        kinds = [(x["kind"], x["device"], x["remote"]) for x in told
                 if x["path"] == "cars/1.json" and x["kind"] != "attributes"]
        assert kinds[0] == ("created", "anna", True) and kinds[-1] == ("changed", "anna", True)
        assert {x["path"] for x in told} == {"cars/1.json", "cars/end.json"}
        with pytest.raises(TimeoutError):
            while True:
                watch.next(0.05)  # attributes may follow
        ben.down()
        with pytest.raises(shoal.Disconnected):
            for _ in watch:
                pass
        with pytest.raises(shoal.TimedOut):
            store.wait(peers=7, timeout=0.01)
        with pytest.raises(shoal.Error) as error:
            store.wait(device="nobody")
        assert error.value.errno == errno.ENODEV


def test_where_the_store_is(anna):
    """By its directory, from inside of its mount, by the environment."""
    program = "import shoal, sys; print(shoal.Store(*sys.argv[1:]).path)"

    def found(*where, **options):
        env = {"PYTHONPATH": str(MODULE), "PYTHONDONTWRITEBYTECODE": "1", **options.pop("env", {})}
        return anna.run("/usr/bin/python3", "-c", program, *where, env=env, **options).stdout.strip()

    store = str(anna.store)
    assert found() == store
    assert found(anna.store, env={"SHOAL_STORE": "/nowhere"}) == store
    assert found(anna.dir / "cars", env={"SHOAL_STORE": ""}) == store
    assert found(cwd=anna.dir / "cars", env={"SHOAL_STORE": ""}) == store
    link = anna.home / "link"
    link.symlink_to(anna.dir)
    assert found(link / "cars", env={"SHOAL_STORE": ""}) == store
    own = anna.home / ".local/share/shoal"
    own.parent.mkdir(parents=True)
    own.symlink_to(anna.store)
    assert os.path.samefile(found(env={"SHOAL_STORE": ""}), store)
    long = anna.home / ("x" * 150)
    long.symlink_to(anna.store)
    assert os.path.samefile(found(long), store)


def test_no_daemon(anna):
    store = anna.connect()
    anna.down()
    with pytest.raises(shoal.Disconnected, match="the daemon went away"):
        store.put("cars/a.json", 1)
    with pytest.raises(ConnectionResetError):
        store.get("cars/a.json")
    store.close()
    with pytest.raises(ValueError):
        store.get("cars/a.json")
    with pytest.raises(shoal.NoDaemon, match="shoal up"):
        anna.connect()
    with pytest.raises(shoal.NotFound, match="there is no store"):
        shoal.Store(anna.home / "nothing")


class Liar:
    """A daemon that answers each request with what it is told to."""

    def __init__(self, directory, *answers):
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(str(directory / "control.sock"))
        self.listening.listen()
        self.answers = answers
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        client, _ = self.listening.accept()
        with client, client.makefile("rb") as lines:
            for answer, _ in zip(self.answers, lines):
                for piece in answer if isinstance(answer, tuple) else (answer,):
                    client.sendall(piece)
            lines.read()  # until it leaves

    def close(self):
        self.thread.join()
        self.listening.close()


@pytest.mark.parametrize("answer", [
    b"nonsense\n", b"[]\n", b"{}\n", b'{"result":{}\n', b"\xff\n", b'{"error":7,"id":1}\n', b'{"error":{},"id":1}\n',
    b'{"error":{"code":"x","message":1},"id":1}\n', b"\n", b"[" * 100_000 + b"\n"], ids=range(10))
def test_lying_daemon(tmp_path, answer):
    with contextlib.closing(Liar(tmp_path, answer)), shoal.Store(tmp_path, timeout=20) as store:
        with pytest.raises(shoal.Error) as error:
            store.call("status")
        assert error.value.errno == errno.EPROTO
        with pytest.raises(shoal.Error):
            store.call("status")


def test_slow_daemon(tmp_path):
    """In pieces, to somebody else, late, or never."""
    one = (b'{"result":{"n":0},"id":77}\n{"result":', b'{"n":1},"more":true,', b'"id":1}\n{"result":{"n":', b'2},"id":1}\n')
    late = b'{"result":{"late":true},"id":2}\n{"result":{"n":3},"id":3}\n'
    with contextlib.closing(Liar(tmp_path, one, b"", late)), shoal.Store(tmp_path, timeout=20) as store:
        assert list(store.stream("a")) == [{"n": 1}, {"n": 2}]
        with pytest.raises(shoal.TimedOut):
            store.call("b", timeout=0.05)
        assert store.call("c") == {"n": 3}


def test_example_of_module(anna):
    """What its documentation shows runs."""
    (anna.dir / "cars/7.json").write_text('{"doors": 3}\n')
    example = shoal.__doc__.split("stay in step with other devices.\n")[1].split("\nThe store's daemon")[0]
    python(anna, example)
    assert json.loads((anna.dir / "cars/7.json").read_text()) == {"doors": 5}


def test_everything_is_documented():
    """What is public says what it does, and is what the module says it has."""
    public = {name for name, x in vars(shoal).items() if inspect.isclass(x) and not name.startswith("_")}
    assert public | {"ANY"} == set(shoal.__all__)
    for name in public:
        kind = getattr(shoal, name)
        assert inspect.getdoc(kind), name
        for member, x in vars(kind).items():
            if inspect.isfunction(x) and not member.startswith("_"):
                assert x.__doc__, f"{name}.{member}"


def test_needs_no_other_package(anna):
    """Not even those that Python is installed with on this machine."""
    assert subprocess.run(["/usr/bin/python3", "-I", "-S", "-c", "import sys; sys.dont_write_bytecode = True; "
                           f"sys.path.append({str(MODULE)!r}); import shoal; "
                           f"print(shoal.Store({str(anna.store)!r}).call('status')['mesh'])"],
                          capture_output=True, text=True, check=True).stdout.strip()


def test_installed(tmp_path):
    """make install puts it where the makefile says, for that prefix."""
    subprocess.run(["make", "-s", "-C", BUILD, "install-dist_pymoduleDATA", f"DESTDIR={tmp_path}"], check=True,
                   capture_output=True, timeout=120)
    installed = list(tmp_path.rglob("shoal.py"))
    assert len(installed) == 1 and installed[0].read_bytes() == (MODULE / "shoal.py").read_bytes()
    assert installed[0].parent.name in ("dist-packages", "site-packages")
