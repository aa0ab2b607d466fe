# SPDX-License-Identifier: GPL-2.0-or-later
"""`shoal import` and `shoal export`: what goes in comes out, what breaks off goes on, what is refused is told."""
import csv
import json
import os
import pty
import re
import select
import signal
import stat
import subprocess

import pytest

import shoal
from lab import BUILD, tree, wait_for
from test_evict import evict


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    return host


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def counts(answer):
    return tuple(answer[key] for key in ("created", "changed", "unchanged"))


def fails(host, *words, says, status=1, **options):
    result = host.run(BUILD / "shoal", *words, check=False, **options)
    assert result.returncode == status and says in result.stderr, result
    return result


def load(path):
    return json.loads(path.read_text())


def test_json_lines(anna):
    """A document a line, named by its id; again changes nothing, a newer file brings in what is new."""
    file = anna.home / "cars.jsonl"
    file.write_text(lines({"id": 7, "doors": 3}, {"id": "x/y", "n": 1}) + '\n{"id":"..","price":1.10}\n')
    answer = anna.shoal("import", file, "--json")
    assert counts(answer) == (3, 0, 0) and answer["named_by"] == "id" and answer["to"] == "cars"
    cars = anna.dir / "cars"
    assert sorted(x.name for x in cars.iterdir()) == ["%2E..json", "7.json", "x%2Fy.json"]
    assert load(cars / "7.json") == {"id": 7, "doors": 3} and "1.10" in (cars / "%2E..json").read_text()
    before = tree(cars)
    assert counts(anna.shoal("import", file, "--json")) == (0, 0, 3) and tree(cars) == before
    file.write_text(lines({"doors": 3, "id": 7.0}, {"id": "x/y", "n": 2}, {"id": 8}))
    text = anna.shoal("import", file)
    assert text == 'cars: 2 new, 1 changed, 0 as they were; named by "id"\n', text
    assert load(cars / "x%2Fy.json")["n"] == 2 and load(cars / "7.0.json")["id"] == 7


def test_names(anna):
    """By what is said, or _id, or the numbers of the lines."""
    def names(text, *words):
        answer = anna.shoal("import", "-", "d", "--format", "jsonl", "--json", *words, input=text)
        found = {x.name for x in (anna.dir / "d").iterdir()}
        for name in found:
            (anna.dir / "d" / name).unlink()
        return answer["named_by"], found

    assert names(lines({"_id": 1}, {"_id": 2})) == ("_id", {"1.json", "2.json"})
    assert names(lines({"n": 1}, 5, "text", {"id": 7})) == (None, {"1.json", "2.json", "3.json", "4.json"})
    assert names(lines({"id": 1, "n": {"a/b": "x"}}), "--id", "/n/a~1b") == ("/n/a~1b", {"x.json"})
    assert names(lines({"id": 1, "key": 2}), "--id=key") == ("key", {"2.json"})
    assert names(lines({"id": 1, "n": 1}, {"id": 1, "n": 2})) == ("id", {"1.json"})
    long = anna.home / "deep.tar.jsonl"
    long.write_text("1\n")
    assert anna.shoal("import", long, "--json")["to"] == "deep"
    assert anna.shoal("import", long, "a/b/c", "--json")["to"] == "a/b/c" and load(anna.dir / "a/b/c/1.json") == 1
    assert anna.shoal("import", long, anna.dir / "a/b/d", "--json")["to"] == "a/b/d"


def test_csv(anna):
    file = anna.home / "cars.csv"
    file.write_bytes(b"\xef\xbb\xbfid,name,/size/doors,note\r\n7,\"Ann, \"\"A\"\"\",3,\r\n008,true,,\"two\r\nlines\"\r\n")
    assert counts(anna.shoal("import", file, "--json")) == (2, 0, 0)
    assert load(anna.dir / "cars/7.json") == {"id": 7, "name": 'Ann, "A"', "size": {"doors": 3}}
    assert load(anna.dir / "cars/008.json") == {"id": "008", "name": True, "note": "two\r\nlines"}
    anna.shoal("import", file, "texts", "--text")
    assert load(anna.dir / "texts/7.json")["size"] == {"doors": "3"}
    fails(anna, "import", "-", "d", "--format", "csv", input="id,n\n1,2\n2\n3,4\n",
          says="standard input:3: the row has 1 cells, and the header 2")
    assert [x.name for x in (anna.dir / "d").iterdir()] == ["1.json"]


def test_refused(anna):
    """The line is named, what is before it is in; with -k all else is in."""
    file = anna.home / "cars.jsonl"
    good = [{"id": n} for n in range(2500)]
    broken = [lines(x) for x in good]
    broken[1700] = '{"id": 1700,}\n'
    file.write_text("".join(broken))
    result = fails(anna, "import", file, says=f"{file}:1701: column 13")
    assert result.stderr.count("\n") == 1
    there = {x.name for x in (anna.dir / "cars").iterdir()}
    assert {f"{n}.json" for n in range(1700)} == there
    broken[3] = lines({"name": "nameless"})
    broken[4] = lines({"id": "x" * 251})
    broken[5] = lines({"id": None})
    broken[6] = lines({"id": ""})
    broken[7] = "\0\n"
    file.write_text("".join(broken))
    result = fails(anna, "import", file, "-k", "--json", says="6 lines were refused")
    answer = json.loads(result.stdout)
    assert counts(answer) == (2500 - 1701, 0, 1695) and answer["refused"] == 6
    for line, why in ((4, 'there is no "id"'), (5, "more than 250 bytes"), (6, "is no text or number"),
                      (7, "is no text or number"), (8, "column 1"), (1701, "column 13")):
        assert re.search(rf"^{re.escape(str(file))}:{line}: .*{why}", result.stderr, re.M), result.stderr
    file.write_text(lines(*good))
    assert counts(anna.shoal("import", file, "--json")) == (1, 0, 2499)


def test_refused_by_the_daemon(anna):
    """What the collection's schema does not take is told by its line, too, out of the middle of a batch."""
    (anna.dir / "cars").mkdir()
    (anna.dir / "cars/.schema.json").write_text('{"properties": {"n": {"maximum": 5000}}}\n')
    file = anna.home / "cars.jsonl"
    values = [{"id": n, "n": n if n not in (1500, 1501, 3999) else 9999} for n in range(6000)]
    file.write_text(lines(*[x for x in values if x["n"] <= 5000 or x["n"] == 9999]))
    fails(anna, "import", file, says=f"{file}:1501: ")
    assert all((anna.dir / f"cars/{n}.json").exists() for n in range(1500))
    result = fails(anna, "import", file, "--keep-going", says="3 lines were refused")
    for line in (1501, 1502, 4000):
        assert f"{file}:{line}: " in result.stderr
    assert {int(x.stem) for x in (anna.dir / "cars").iterdir() if x.name[0] != "."} == \
        {x["id"] for x in values if x["n"] <= 5000}


def test_from(anna):
    file = anna.home / "cars.jsonl"
    file.write_text(lines(*({"_id": n, "id": f"x{n}"} if n else {"_id": 0} for n in range(3000))))
    answer = anna.shoal("import", file, "--from", "2001", "--json")
    assert counts(answer) == (1000, 0, 0) and answer["named_by"] == "_id"
    assert (anna.dir / "cars/2000.json").exists() and not (anna.dir / "cars/1999.json").exists()


def test_breaks_off(anna):
    """Killed, and with the daemon killed under it: the same command goes on."""
    file = anna.home / "cars.jsonl"
    file.write_text(lines(*({"id": n, "text": "x" * 200} for n in range(60_000))))
    for kill in ("import", "daemon"):
        process = anna.popen(BUILD / "shoal", "import", file, stderr=subprocess.PIPE, text=True)
        some = int(kill == "daemon") * 20_000
        with anna.connect() as store:
            wait_for(lambda: exists(store, f"cars/{some + 3000}.json"), what="some of it")
        if kill == "daemon":
            anna.kill9()
            assert process.wait(timeout=30) == 1 and "daemon went away" in process.stderr.read()
            anna.run("umount", "-l", anna.dir)
            anna.up()
        else:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=30)
    answer = anna.shoal("import", file, "--json")
    assert sum(counts(answer)) == 60_000 and answer["changed"] == 0 and answer["unchanged"] >= 3000
    assert len(os.listdir(anna.dir / "cars")) == 60_000
    assert counts(anna.shoal("import", file, "--json")) == (0, 0, 60_000)
    assert anna.shoal("verify", "--json")["errors"] == 0


def exists(store, path):
    try:
        return bool(store.get(path))
    except shoal.NotFound:
        return False


def test_wrong_use(anna):
    (anna.home / "cars.txt").write_text("1\n")
    fails(anna, "import", anna.home / "cars.txt", says="--format", status=2)
    fails(anna, "import", anna.home / "cars.txt", "--format", "xml", says="no format", status=2)
    fails(anna, "import", "-", "--format", "jsonl", says="where it shall go is missing", input="1\n")
    fails(anna, "import", anna.home / "none.jsonl", says="No such file")
    fails(anna, "import", anna.home / "cars.txt", "/", "--format", "jsonl", says="not inside")
    (anna.dir / "file.json").write_text("1\n")
    fails(anna, "import", anna.home / "cars.txt", "file.json", "--format", "jsonl", says="something else")
    fails(anna, "export", "nowhere", says="No such file")
    fails(anna, "export", "file.json", says="shoal cat")
    fails(anna, "export", ".", "--json", says="name one", status=2)
    fails(anna, "import", anna.home, says="the other way round")
    (anna.dir / "in").mkdir()
    fails(anna, "import", anna.dir, "in", says="the other way round")
    fails(anna, "export", ".", anna.dir / "in/x", says="the other way round")
    anna.down()
    fails(anna, "import", anna.home / "cars.txt", "cars", "--format", "jsonl", says="no daemon", status=4)


def test_export_json_lines(anna):
    file = anna.home / "cars.jsonl"
    file.write_text('{"id":1,"a":[1.10,"x y"],"b":{}}\n{"id":2,"big":18446744073709551616}\n{"id":3}\n')
    anna.shoal("import", file)
    (anna.dir / "cars/deep").mkdir()
    (anna.dir / "cars/deep/4.json").write_text('{"id":4}')
    (anna.dir / "cars/notes.txt").write_text("no document\n")
    (anna.dir / "cars/.hidden.json").write_text("{}\n")
    want = file.read_text() + '{"id":4}\n'
    assert anna.shoal("export", "cars") == want and anna.shoal("export", anna.dir / "cars", "-") == want
    out = anna.home / "out.jsonl"
    assert anna.shoal("export", "cars", out, "--json") == {"to": str(out), "documents": 4, "failed": 0}
    assert out.read_text() == want
    assert counts(anna.shoal("import", out, "again", "--json")) == (4, 0, 0)
    assert anna.shoal("export", "again") == want
    # What is no JSON stays out, and is told; the file that was there is whole all the time.
    (anna.dir / "cars/bad.json").write_text("{no\n")
    result = fails(anna, "export", "cars", out, says="bad.json: it is no JSON, line 1")
    assert "1 documents are missing" in result.stderr and out.read_text() == want
    fails(anna, "export", "cars", anna.home / "none/out.jsonl", says="cannot write")
    assert sorted(x.name for x in anna.home.iterdir() if "out" in x.name) == ["out.jsonl"]


def test_export_csv(anna):
    values = [{"id": 1, "name": "Ann, A", "size": {"doors": 3, "x": {"y": None}}, "tags": ["a", 1.50]},
              {"id": "2", "name": "true", "size": {"doors": 5}, "e": {}},
              {"id": "x", "name": "", "tags": []}]
    file = anna.home / "cars.jsonl"
    file.write_text(lines(*values))
    anna.shoal("import", file)
    out = anna.home / "out.csv"
    anna.shoal("export", "cars", out)
    with open(out, newline="") as table:
        rows = list(csv.reader(table))
    assert rows[0] == ["id", "name", "/size/doors", "/size/x/y", "tags", "e"]
    assert rows[1] == ["1", "Ann, A", "3", "null", '["a",1.5]', ""] and len(rows) == 4
    anna.shoal("import", out, "again")
    for value in values:
        assert load(anna.dir / f"again/{value['id']}.json") == value
    tabs = anna.home / "out.tsv"
    anna.shoal("export", "cars", tabs)
    anna.shoal("import", tabs, "tabs")
    assert anna.shoal("export", "tabs") == anna.shoal("export", "again")
    assert anna.shoal("export", "cars", "--format", "csv") == out.read_text()
    (anna.dir / "cars/list.json").write_text("[1]\n")
    fails(anna, "export", "cars", out, says="list.json: it is no object")


def make_tree(top):
    (top / "deep/er").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "a.json").write_text('{ "odd" :1.0}')
    (top / "broken.json").write_text("{")
    (top / "deep/er/photo.raw").write_bytes(os.urandom(3_000_000))
    (top / "deep/notes.md").write_text("# Notes\n")
    (top / "deep/run").write_text("#!/bin/sh\n")
    (top / "deep/run").chmod(0o755)
    (top / "deep/link").symlink_to("../a.json")
    (top / "deep/hung").symlink_to("/nowhere")
    (top / "zero").touch()
    (top / ("n" * 255)).write_text("long\n")
    os.utime(top / "deep/notes.md", ns=(10**18, 1234567890123456789))


def test_directory(anna):
    """In and out again, byte for byte, with times, permissions and links; twice does nothing."""
    source = anna.home / "stuff"
    make_tree(source)
    os.mkfifo(source / "pipe")
    answer = anna.shoal("import", source, "--json")
    assert counts(answer) == (9, 0, 0) and answer["left_out"] == 1 and answer["failed"] == 0
    (source / "pipe").unlink()
    assert counts(anna.shoal("import", source, "--json")) == (0, 0, 9)
    back = anna.home / "back"
    assert counts(anna.shoal("export", "stuff", back, "--json")) == (9, 0, 0)
    assert counts(anna.shoal("export", "stuff", back, "--json")) == (0, 0, 9)
    for copy in (anna.dir / "stuff", back):
        assert tree(copy) == tree(source)
        assert (copy / "deep/notes.md").stat().st_mtime_ns == 1234567890123456789
        assert stat.S_IMODE((copy / "deep/run").stat().st_mode) == 0o755
        assert os.readlink(copy / "deep/hung") == "/nowhere" and (copy / "empty").is_dir()
    # What is newer on either side goes over, and what is only there stays.
    (source / "a.json").write_text('{"odd": 2}')
    (source / "deep/hung").unlink()
    (source / "deep/hung").symlink_to("/elsewhere")
    (anna.dir / "stuff/own.txt").write_text("own\n")
    assert counts(anna.shoal("import", source, "--json")) == (0, 2, 7)
    assert (anna.dir / "stuff/a.json").read_text() == '{"odd": 2}' and (anna.dir / "stuff/own.txt").exists()
    assert not [x for x in (anna.dir / "stuff").rglob(".*")]


def test_directory_says_what_failed(anna):
    source = anna.home / "stuff"
    make_tree(source)
    (anna.dir / "stuff/a.json").mkdir(parents=True)
    (anna.dir / "stuff/deep").write_text("a file where a directory shall be\n")
    result = fails(anna, "import", source, "--json", says="2 of them could not be copied")
    assert "a.json: there is something else" in result.stderr and "deep: there is something else" in result.stderr
    answer = json.loads(result.stdout)
    assert counts(answer) == (3, 0, 0) and answer["failed"] == 2
    fails(anna, "import", source, "--id", "x", says="are about a file", status=2)


def test_no_link_of_the_target_is_followed(anna):
    """A link that another device put into the store leads no copy astray."""
    outside = anna.home / "outside"
    outside.mkdir()
    source = anna.home / "stuff"
    (source / "a").mkdir(parents=True)
    (source / "a/x.txt").write_text("x\n")
    (source / "b.txt").write_text("b\n")
    (anna.dir / "stuff").mkdir()
    (anna.dir / "stuff/a").symlink_to(outside)
    (anna.dir / "stuff/b.txt").symlink_to(outside / "b.txt")
    (anna.dir / "stuff/.b.txt.part").symlink_to(outside / "part")
    fails(anna, "import", source, says="a: there is something else of this name already")
    assert not list(outside.iterdir()) and (anna.dir / "stuff/b.txt").read_text() == "b\n"
    assert not (anna.dir / "stuff/b.txt").is_symlink()


def test_directory_breaks_off(anna):
    """What is there has its whole content, however it ended."""
    source = anna.home / "stuff"
    source.mkdir()
    for n in range(40):
        (source / f"{n:02}.raw").write_bytes(os.urandom(2_000_000))
    process = anna.popen(BUILD / "shoal", "import", source)
    wait_for((anna.dir / "stuff/03.raw").exists, what="some of it")
    process.kill()
    process.wait(timeout=30)
    there = [x for x in (anna.dir / "stuff").iterdir() if x.suffix == ".raw" and x.name[0] != "."]
    assert 4 <= len(there) < 40 and all(x.read_bytes() == (source / x.name).read_bytes() for x in there)
    answer = anna.shoal("import", source, "--json")
    assert answer["unchanged"] >= len(there) and sum(counts(answer)) == 40
    assert tree(anna.dir / "stuff") == tree(source)


def test_not_mounted(anna):
    """Lines go in without a mount; what needs one says so."""
    anna.down()
    daemon = anna.popen(BUILD / "shoald", "--foreground", "--store", anna.store, stderr=subprocess.DEVNULL)
    wait_for(lambda: anna.daemon_pid() is not None, what="the daemon")
    assert counts(anna.shoal("import", "-", "cars", "--format", "jsonl", "--json", input='{"id":1}\n')) == (1, 0, 0)
    with anna.connect() as store:
        assert store.get("cars/1.json").json() == {"id": 1}
    for words in (("export", "cars"), ("import", BUILD / "tests", "x")):
        fails(anna, *words, says="not mounted")
    daemon.terminate()
    assert daemon.wait(timeout=30) == 0


def test_bar(anna):
    """On a terminal it shows how far it is, and takes that away again."""
    reader, writer = os.pipe()
    ours, theirs = pty.openpty()
    process = anna.popen(BUILD / "shoal", "import", "-", "cars", "--format", "jsonl", stdin=reader,
                         stdout=subprocess.PIPE, stderr=theirs, text=True)
    os.close(reader)
    os.close(theirs)
    shown = b""
    with open(writer, "w") as pipe:
        # Until there has been one; a pipe has no length, so it has no end in sight either.
        n = 0
        while b"/s" not in shown:
            for _ in range(500):
                pipe.write(json.dumps({"id": n}) + "\n")
                n += 1
            pipe.flush()
            if select.select([ours], [], [], 0)[0]:
                shown += os.read(ours, 4096)
    output, _ = process.communicate(timeout=60)
    with open(ours, "rb", buffering=0) as terminal:
        try:
            while data := terminal.read(4096):
                shown += data
        except OSError:
            pass  # its other end is closed
    assert process.returncode == 0 and output.startswith(f"cars: {n} new")
    assert re.search(rb"[\d,]+ documents  [\d,]+/s", shown) and shown.endswith(b" \r")


def test_no_bar_without_terminal(anna):
    file = anna.home / "cars.jsonl"
    file.write_text(lines(*({"id": n} for n in range(30_000))))
    result = anna.run(BUILD / "shoal", "import", file)
    assert result.stderr == "" and result.stdout.count("\n") == 1


def test_evicted(lab):
    """Contents that are not here are told, and all else is exported."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    anna.up()
    ben.join(anna)
    (anna.dir / "photos").mkdir()
    (anna.dir / "photos/a.raw").write_bytes(os.urandom(300_000))
    (anna.dir / "photos/b.txt").write_text("b\n")
    anna.shoal("wait", "--device", "ben", "--timeout", "30s")
    evict(anna, "photos/a.raw")
    ben.down()
    wait_for(lambda: not anna.shoal("peers", "--json"), what="ben's leaving")
    result = fails(anna, "export", "photos", anna.home / "out", says="a.raw: its contents are not on")
    assert "shoal fetch" in result.stderr and (anna.home / "out/b.txt").read_text() == "b\n"
    assert [x.name for x in (anna.home / "out").iterdir()] == ["b.txt"]
