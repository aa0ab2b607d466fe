# SPDX-License-Identifier: GPL-2.0-or-later
"""What was: earlier versions, what they differ in, and how they and deleted things come back."""
import json
import os
import re
import shutil

import pytest

from lab import BUILD, Failed, next_second, tree, wait_for

LOG_KEYS = {"path", "version", "conflict", "deleted", "versions", "left_out"}
VERSION_KEYS = {"version", "time", "device", "form", "size", "current", "replaced", "deleted"}
DELETED_KEYS = {"path", "kind", "time", "device"}


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    return host


def pair(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.up()
    b.join(a)
    meet(a, b)
    return lan, a, b


def meet(*hosts):
    for host in hosts:
        wait_for(lambda: host.shoal("peers", "--json"), what=f"{host.name} meeting somebody")


def equal(a, b):
    for host in (a, b):
        host.shoal("wait", "--timeout", "30")
    wait_for(lambda: a.tree_hash() == b.tree_hash(), what="equal trees")


def versions(host, path):
    return host.shoal("log", path, "--json")["versions"]


def cat(host, path, version):
    return host.run(BUILD / "shoal", "cat", f"{path}@{version}", text=False).stdout


def fails(host, *words, says):
    result = host.run(BUILD / "shoal", *words, check=False)
    assert result.returncode == 1 and result.stderr.count("\n") == 1, result
    assert says in result.stderr, result.stderr


def edit(host, path, command):
    """Runs a program on a file; its new bytes, once they are a version that a later one replaces."""
    before = versions(host, path)[0]["version"]
    next_second()
    host.run("bash", "-c", command, cwd=host.dir)
    wait_for(lambda: versions(host, path)[0]["version"] != before, what=f"a version by {command}")
    content = (host.dir / path).read_bytes()
    # Programs that work in steps leave the version of their last one.
    wait_for(lambda: cat(host, path, versions(host, path)[0]["version"]) == content)
    return content


def write(host, path, content):
    """The same for a write by this process."""
    next_second()
    (host.dir / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    data = (host.dir / path).read_bytes()
    wait_for(lambda: host.run(BUILD / "shoal", "cat", path, text=False).stdout == data)
    return data


EDITS = [
    """sed -i 's/"title": "[^"]*"/"title": "by sed"/' c/d.json""",
    """jq '.title="by jq"' c/d.json > t && mv t c/d.json""",
    """python3 -c 'import json; d = json.load(open("c/d.json")); d["title"] = "by python"
json.dump(d, open("c/d.json", "w"), indent=4)'""",
    """perl -pi -e 's/by python/by perl/' c/d.json""",
    """awk '{ sub("by perl", "by awk"); print }' c/d.json > t && cat t > c/d.json; rm t""",
    """printf '%s\n' 'g/by awk/s//by ed/' w q | ed -s c/d.json""",
    """printf '{"title":"by printf"}' > c/d.json""",
    """echo '{"title": "by tee"}' | tee c/d.json""",
    """echo '{"title": "by dd", "long": "xxxxxxxxxxxx"}' | dd of=c/d.json""",
    """echo '{ "title": "by cp" }' > /tmp/$$ && cp /tmp/$$ c/d.json; rm /tmp/$$""",
]


def test_ten_programs(anna):
    missing = [t for t in ("jq", "perl", "awk", "ed") if not shutil.which(t)]
    assert not missing, "not installed: " + ", ".join(missing)
    (anna.dir / "c").mkdir()
    kept = [b'{\n  "title": "draft",\n  "n": 1\n}\n']
    (anna.dir / "c" / "d.json").write_bytes(kept[0])
    wait_for(lambda: anna.shoal("cat", "c/d.json").encode() == kept[0])
    for command in EDITS:
        kept.append(edit(anna, "c/d.json", command))
    assert len(set(kept)) == len(EDITS) + 1

    def check():
        log = anna.shoal("log", "c/d.json", "--json")
        assert set(log) == LOG_KEYS and log["path"] == "c/d.json" and log["deleted"] is None
        found = log["versions"]
        assert log["version"] == found[0]["version"] and not log["left_out"]
        assert all(set(v) == VERSION_KEYS and v["device"] == "anna" and not v["deleted"]
                   and v["form"] == "json" for v in found)
        assert [v["current"] for v in found] == [True] + [False] * (len(found) - 1)
        times = [v["time"] for v in found]
        assert times == sorted(times, reverse=True)
        contents = [cat(anna, "c/d.json", v["version"][:8]) for v in reversed(found)]
        assert [len(c) for c in contents] == [v["size"] for v in reversed(found)]
        # A program that truncates first may leave a version of its own in between.
        assert [c for c in contents if c in kept] == kept, contents
    check()
    lines = anna.shoal("log", "c/d.json").splitlines()
    assert re.fullmatch(r"[0-9a-f]{12}  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  anna  \d+ B  newest", lines[0])
    assert anna.shoal("log", anna.dir / "c" / "d.json") == anna.shoal("log", "c/d.json")
    anna.shoal("verify")
    anna.down()
    anna.up()
    check()
    with open(anna.dir / "c" / "d.json") as file:
        os.fsync(file.fileno())
    anna.kill9()
    anna.up()
    check()


def test_binaries_and_large_documents(anna):
    film = [os.urandom(1_000_000) for _ in range(3)]
    book = [json.dumps({"n": n, "text": "word " * 40000}).encode() for n in range(3)]
    for one, other in zip(film, book):
        write(anna, "film.bin", one)
        write(anna, "book.json", other)
    for path, wanted in (("film.bin", film), ("book.json", book)):
        found = versions(anna, path)
        assert [cat(anna, path, v["version"]) for v in reversed(found)] == wanted
    said = anna.shoal("diff", "film.bin")
    assert said == "Not texts: 1.0 MB before (1000000 bytes), 1.0 MB after (1000000 bytes)\n"
    difference = anna.shoal("diff", "film.bin", "--json")
    assert difference["form"] == "binary"
    assert (difference["from_size"], difference["to_size"]) == (1_000_000, 1_000_000)
    assert anna.shoal("diff", "book.json") == "/n: 1 -> 2\n"
    oldest = versions(anna, "film.bin")[-1]["version"]
    anna.shoal("restore", f"film.bin@{oldest}")
    assert (anna.dir / "film.bin").read_bytes() == film[0]
    report = anna.shoal("verify", "--json")
    assert report["errors"] == 0 and report["versions"] == 5 and report["unreferenced"] == 0


def test_diff_of_documents(anna):
    write(anna, "d.json", '{"a": 1, "b": {"x": "old"}, "c": [1, 2], "e": [1, {"y": 1}], "~/": 1}')
    write(anna, "d.json", '{"a": 2, "b": {"x": "new"}, "c": [1, 2, 3], "e": [1, {"y": 2}], "f": null}')
    write(anna, "d.json", '{\n  "a": 2.0, "b": {"x": "new"}, "c": [1, 2, 3],\n'
                          '  "e": [1, {"y": 2}], "f": null\n}\n')
    newest, middle, oldest = (v["version"] for v in versions(anna, "d.json"))
    assert "written in another way" in anna.shoal("diff", "d.json")
    assert anna.shoal("diff", "d.json", newest, newest) == "They are the same.\n"
    assert anna.shoal("diff", "d.json", oldest[:6], "@" + middle[:6]).splitlines() == [
        '/a: 1 -> 2', '/b/x: "old" -> "new"', '/c: [1,2] -> [1,2,3]', '/e/1/y: 1 -> 2',
        '/~0~1: - 1', '/f: + null']
    told = anna.shoal("diff", "d.json", oldest, "--json")
    assert (told["path"], told["from"], told["to"]) == ("d.json", oldest, newest)
    assert told["form"] == "json" and told["changes"][0] == {"pointer": "/a", "old": 1, "new": 2.0}
    assert {"pointer": "/~0~1", "old": 1} in told["changes"]
    assert {"pointer": "/f", "new": None} in told["changes"]
    back = anna.shoal("diff", "d.json", middle, oldest, "--json")["changes"]
    assert {"pointer": "/f", "old": None} in back
    fails(anna, "diff", "d.json", "00000000", says="no version")
    fails(anna, "diff", "d.json", "xyz", says="is no version")
    fails(anna, "diff", "d.json", "abc", says="at least 4")
    fails(anna, "diff", "none.json", says="none.json")


def test_diff_of_texts(anna):
    lines = [f"line {n}\n" for n in range(30)]
    write(anna, "t.txt", "".join(lines))
    fails(anna, "diff", "t.txt", says="only one version")
    lines[10] = "changed ü\n"
    write(anna, "t.txt", "".join(lines))
    new, old = (v["version"] for v in versions(anna, "t.txt"))
    said = anna.shoal("diff", "t.txt").splitlines()
    assert said[:3] == [f"--- t.txt@{old[:12]}", f"+++ t.txt@{new[:12]}", "@@ -8,7 +8,7 @@"]
    assert "-line 10" in said and "+changed ü" in said and len(said) == 11
    told = anna.shoal("diff", "t.txt", old, new, "--json")
    assert told["form"] == "text" and told["diff"].splitlines() == said
    # What turned from text into a document is compared as text.
    write(anna, "x.json", "not JSON\n")
    write(anna, "x.json", "{}\n")
    assert "-not JSON\n+{}\n" in anna.shoal("diff", "x.json")


def test_restore_merges_with_a_concurrent_edit(lab):
    lan, a, b = pair(lab)
    write(a, "d.json", '{\n  "n": 1,\n  "m": 1,\n  "k": 1\n}\n')
    equal(a, b)
    write(a, "d.json", '{\n  "n": 2,\n  "m": 2,\n  "k": 1\n}\n')
    equal(a, b)
    wait_for(lambda: len(versions(b, "d.json")) == 2)
    assert versions(b, "d.json")[1]["device"] == "anna"
    lan.split([a], [b])
    # Ben takes back what Anna did, while she goes on elsewhere in the document.
    write(a, "d.json", '{\n  "n": 2,\n  "m": 2,\n  "k": 9\n}\n')
    old = versions(b, "d.json")[1]["version"]
    told = b.shoal("restore", f"d.json@{old[:8]}", "--json")
    assert told == {"path": "d.json", "restored": ["d.json"], "left": []}
    assert json.loads((b.dir / "d.json").read_text()) == {"n": 1, "m": 1, "k": 1}
    assert len(versions(b, "d.json")) == 3, "one new version"
    lan.heal()
    meet(a, b)
    wait_for(lambda: json.loads((a.dir / "d.json").read_text()) == {"n": 1, "m": 1, "k": 9})
    equal(a, b)
    assert a.shoal("status", "--json")["conflicts"] == 0


def test_restore_answers_for_what_it_cannot_do(anna):
    write(anna, "d.json", '{"n": 1}')
    write(anna, "d.json", '{"n": 2}')
    (anna.dir / "c").mkdir()
    version = versions(anna, "d.json")[1]["version"]
    fails(anna, "restore", "d.json", says="say which version")
    fails(anna, "restore", "d.json@00000000", says="no version")
    fails(anna, "restore", "none", says="none was deleted")
    fails(anna, "restore", "c", says="--deleted c")
    fails(anna, "restore", "--to", "c", f"d.json@{version}", says="there already")
    fails(anna, "restore", "--to", "x/y.json", f"d.json@{version}", says='"x')
    fails(anna, "log", "c", says="is a directory")
    anna.shoal("restore", "--to", "c/copy.json", "d.json", f"@{version[:6]}")
    assert (anna.dir / "c" / "copy.json").read_text() == '{"n": 1}'
    assert (anna.dir / "d.json").read_text() == '{"n": 2}'


def test_a_deleted_file(lab):
    _, a, b = pair(lab)
    (a.dir / "c").mkdir()
    blob = os.urandom(100_000)
    for name, content in (("d.json", b'{"n": 1}\n'), ("film.bin", blob), ("t.txt", b"one\n")):
        (a.dir / "c" / name).write_bytes(content)
    (a.dir / "c" / "film.bin").chmod(0o600)
    (a.dir / "c" / "link").symlink_to("t.txt")
    equal(a, b)
    last = write(a, "c/t.txt", "two\n")
    equal(a, b)
    whole = a.tree()
    for name in ("d.json", "film.bin", "t.txt", "link"):
        (a.dir / "c" / name).unlink()
    # What waits in case it is a save is meant as well.
    listed = a.shoal("log", "--deleted", "--json")["deleted"]
    assert {x["path"] for x in listed} == {f"c/{n}" for n in ("d.json", "film.bin", "t.txt", "link")}
    assert all(set(x) == DELETED_KEYS and x["device"] == "anna" for x in listed)
    assert {x["kind"] for x in listed} == {"file", "link"}
    equal(a, b)
    # The other device brings them back: it held them, too.
    wait_for(lambda: len(b.shoal("log", "--deleted", "c", "--json")["deleted"]) == 4)
    log = b.shoal("log", "c/t.txt", "--json")
    assert log["deleted"]["device"] == "anna" and log["version"] is None
    assert [cat(b, "c/t.txt", v["version"]) for v in log["versions"]] == [last, b"one\n"]
    assert "brings it back" in b.shoal("log", b.dir / "c" / "t.txt")
    b.shoal("restore", b.dir / "c" / "film.bin")
    b.shoal("restore", "link", cwd=b.dir / "c")
    b.shoal("restore", f"c/t.txt@{log['versions'][1]['version'][:8]}")
    equal(a, b)
    assert (a.dir / "c" / "film.bin").read_bytes() == blob
    assert (a.dir / "c" / "film.bin").stat().st_mode & 0o777 == 0o600
    assert (a.dir / "c" / "t.txt").read_text() == "one\n"
    a.shoal("restore", "c/d.json")
    equal(a, b)
    assert b.tree() == dict(whole, **{"c/t.txt": b.tree()["c/t.txt"]})
    assert b.shoal("log", "--deleted") == a.shoal("log", "--deleted") == ""
    for host in (a, b):
        assert host.shoal("verify", "--json")["errors"] == 0


def test_a_deletion_that_waits_is_taken_back(anna):
    path = anna.dir / "d.json"
    for number in range(5):
        path.write_text('{"n": %d}' % number)
        wait_for(lambda: anna.shoal("cat", "d.json") == path.read_text())
        path.unlink()
        anna.shoal("restore", "d.json")
        assert path.read_text() == '{"n": %d}' % number


def test_a_deleted_directory(lab):
    _, a, b = pair(lab)
    os.makedirs(a.dir / "p" / "deep" / "er")
    os.makedirs(a.dir / "p" / "empty")
    for number in range(150):
        (a.dir / "p" / "deep" / f"{number}.json").write_text('{"n": %d}\n' % number)
    (a.dir / "p" / "deep" / "er" / "film").write_bytes(os.urandom(300_000))
    (a.dir / "p" / "notes.txt").write_text("notes\n")
    equal(a, b)
    whole = tree(a.dir)
    assert len(whole) == 156
    shutil.rmtree(a.dir / "p")
    equal(a, b)
    assert tree(b.dir) == {}
    inside = b.shoal("log", "--deleted", "p/deep", "--json")
    assert inside["path"] == "p/deep" and len(inside["deleted"]) == 152
    assert "p/deep/er/\n" in b.shoal("log", "--deleted", "p")
    told = b.shoal("restore", "p", "--json")
    assert len(told["restored"]) == 156 and told["left"] == []
    assert set(told["restored"]) == set(whole)
    equal(a, b)
    assert tree(a.dir) == whole and tree(b.dir) == whole
    for host in (a, b):
        assert host.shoal("log", "--deleted") == ""
        assert host.shoal("verify", "--json")["errors"] == 0
    # A file alone brings its directories along.
    shutil.rmtree(b.dir / "p")
    assert b.shoal("restore", "p/deep/er/film") == "Restored p/deep/er/film\n"
    assert set(tree(b.dir)) == {"p", "p/deep", "p/deep/er", "p/deep/er/film"}
    equal(a, b)
    assert (a.dir / "p" / "deep" / "er" / "film").stat().st_size == 300_000


def test_a_name_that_is_taken(anna):
    (anna.dir / "c").mkdir()
    write(anna, "c/t.txt", "old\n")
    (anna.dir / "c" / "t.txt").unlink()
    assert anna.shoal("log", "--deleted").endswith("  c/t.txt\n")
    write(anna, "c/t.txt", "new\n")
    found = versions(anna, "c/t.txt")
    assert [(v["current"], v["deleted"]) for v in found] == [(True, False), (False, True)]
    old = found[1]["version"]
    assert cat(anna, "c/t.txt", old) == b"old\n"
    # Over the file that took the name.
    next_second()
    anna.shoal("restore", f"c/t.txt@{old}")
    assert (anna.dir / "c" / "t.txt").read_text() == "old\n"
    assert [cat(anna, "c/t.txt", v["version"]) for v in versions(anna, "c/t.txt")] == [
        b"old\n", b"new\n", b"old\n"]
    # Or beside it: then it is that file's history again.
    anna.shoal("restore", "--to", "c/back.txt", f"c/t.txt@{versions(anna, 'c/t.txt')[2]['version']}")
    assert (anna.dir / "c" / "back.txt").read_text() == "old\n"
    assert len(versions(anna, "c/t.txt")) == 2 and len(versions(anna, "c/back.txt")) == 1
    # A directory, of which a file took the name.
    (anna.dir / "c" / "d").mkdir()
    write(anna, "c/d/x", "in d\n")
    shutil.rmtree(anna.dir / "c" / "d")
    anna.shoal("log", "--deleted")
    write(anna, "c/d", "a file\n")
    fails(anna, "restore", "c/d", says="say which version")
    fails(anna, "restore", "c/d/x", says='the name "d" now; say where it shall go with --to')
    anna.shoal("restore", "--to", "c/x", "c/d/x")
    assert (anna.dir / "c" / "x").read_text() == "in d\n"


def test_the_daemon_lets_versions_go(anna):
    """A minute after its start, then once an hour."""
    for number in range(3):
        write(anna, "film.bin", os.urandom(200_000))
        write(anna, "d.json", '{"n": %d}' % number)
    (anna.dir / "d.json").unlink()
    assert len(versions(anna, "film.bin")) == 3 and len(versions(anna, "d.json")) == 3
    anna.shoal("config", "history.share", "0")
    wait_for(lambda: "let 4 earlier versions go; 0 are left, and 1 deletions" in anna.log(), timeout=120)
    assert len(versions(anna, "film.bin")) == 1
    report = anna.shoal("verify", "--json")
    assert report["errors"] == 0 and report["versions"] == 1
    anna.shoal("restore", "d.json")
    assert json.loads((anna.dir / "d.json").read_text()) == {"n": 2}


def test_moved_and_removed(anna):
    """A name's history is that of the file, wherever it went."""
    (anna.dir / "c").mkdir()
    (anna.dir / "other").mkdir()
    first = write(anna, "c/d.json", '{"n": 1}')
    write(anna, "c/d.json", '{"n": 2}')
    (anna.dir / "c" / "d.json").rename(anna.dir / "c" / "e.json")
    wait_for(lambda: anna.shoal("cat", "c/e.json"))
    found = versions(anna, "c/e.json")
    assert len(found) == 2 and cat(anna, "c/e.json", found[1]["version"]) == first
    with pytest.raises(Failed):
        anna.shoal("log", "c/d.json")
    # Into another collection it goes as a copy, and a deletion of the original.
    (anna.dir / "c" / "e.json").rename(anna.dir / "other" / "e.json")
    wait_for(lambda: anna.shoal("cat", "other/e.json"))
    assert cat(anna, "c/e.json", found[1]["version"]) == first
    anna.shoal("restore", "--to", "other/first.json", f"c/e.json@{found[1]['version']}")
    assert (anna.dir / "other" / "first.json").read_bytes() == first
    assert json.loads((anna.dir / "other" / "e.json").read_text()) == {"n": 2}


LINE_KEYS = {"line", "time", "older", "device", "seq", "text"}


def lines(host, path):
    return host.shoal("blame", path, "--json")["lines"]


def test_blame_of_a_text(lab):
    _, a, b = pair(lab)
    (a.dir / "notes").mkdir()
    write(a, "notes/poem.md", "roses are red\nviolets are blue\n")
    equal(a, b)
    write(b, "notes/poem.md", "roses are red\nviolets are violet\n")
    equal(a, b)
    next_second()
    with open(a.dir / "notes" / "poem.md", "a") as file:
        file.write("and so are \u00fc\tmlauts")
    equal(a, b)
    for host in (a, b):
        found = lines(host, "notes/poem.md")
        assert all(set(x) == LINE_KEYS for x in found), found
        assert [(x["line"], x["device"], x["text"]) for x in found] == [
            (1, "anna", "roses are red"), (2, "ben", "violets are violet"),
            (3, "anna", "and so are \u00fc\tmlauts")], found
        assert not any(x["older"] for x in found), found
        assert found[0]["time"] < found[1]["time"] < found[2]["time"]
        said = host.shoal("blame", "notes/poem.md").splitlines()
        stamp = r" \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
        assert re.fullmatch(stamp + r"  anna  1\) roses are red", said[0]), said
        assert re.fullmatch(stamp + r"  ben   2\) violets are violet", said[1]), said
        assert len(said) == 3
    (a.dir / "notes" / "d.json").write_text("{}")
    assert lines(a, "notes/d.json") is None
    (a.dir / "notes" / "empty.md").write_text("")
    assert lines(a, "notes/empty.md") == []


def test_blame_by_a_device_that_comes_late(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.up()
    (a.dir / "notes").mkdir()
    for poem in ("one\n", "one\ntwo\n", "one\ntwo\nthree\n"):
        write(a, "notes/poem.md", poem)
    # Others are sent what is durable: not the version before, and then this one.
    with open(a.dir / "notes/poem.md", "rb+") as file:
        os.fsync(file.fileno())
    b.join(a)
    meet(a, b)
    equal(a, b)
    assert [x["older"] for x in lines(a, "notes/poem.md")] == [False] * 3
    assert [x["older"] for x in lines(b, "notes/poem.md")] == [True, True, False]
    assert [x[0] for x in b.shoal("blame", "notes/poem.md").splitlines()] == ["^", "^", " "]


def contents(directory):
    return {p.name: (p.read_text(), p.stat().st_nlink) for p in directory.iterdir()}


def test_a_hard_link_that_was_deleted(anna):
    """It had the versions of its file; it comes back as a link, an earlier version without the other name."""
    c = anna.dir / "c"
    c.mkdir()
    write(anna, "c/a.txt", "one\n")
    os.link(c / "a.txt", c / "b.txt")
    write(anna, "c/b.txt", "two\n")
    (c / "b.txt").unlink()
    wait_for(lambda: anna.shoal("log", "--deleted", "--json")["deleted"], what="the deletion")
    log = anna.shoal("log", "c/b.txt", "--json")
    assert log["deleted"] and [v["form"] for v in log["versions"]] == ["text", "text"]
    old = log["versions"][-1]["version"]
    assert cat(anna, "c/b.txt", old) == b"one\n"
    anna.shoal("restore", "c/b.txt")
    assert contents(c) == {"a.txt": ("two\n", 2), "b.txt": ("two\n", 2)}
    for name in ("a.txt", "b.txt"):
        (c / name).unlink()
    for n, name in enumerate(("b.txt", "a.txt"), 1):
        anna.shoal("restore", f"c/{name}")
        assert contents(c)[name] == ("two\n", n)
    (c / "b.txt").unlink()
    anna.shoal("restore", f"c/b.txt@{old}")
    assert contents(c) == {"a.txt": ("two\n", 1), "b.txt": ("one\n", 1)}
    assert len(versions(anna, "c/a.txt")) == 2 and len(versions(anna, "c/b.txt")) == 3
    anna.shoal("verify")
