# SPDX-License-Identifier: GPL-2.0-or-later
"""Views below .shoal in a mounted replica beside another device: values as files, and the past."""
import errno
import json
import os
import stat
import subprocess
import threading
import time

import pytest

from fsmount import Mount, wait_until
from test_mount import fails_with, renameat2, RENAME_EXCHANGE, RENAME_NOREPLACE


@pytest.fixture
def f(m):
    m.new_document("cars/7.json", {"model": "Panda", "doors": 5, "sold": False, "price": None,
                                   "tags": ["a", "b"], "owner": {"name": "Ana", "age": 30}})
    return m.path(".shoal/fields")


def sh(where, command, check=True):
    return subprocess.run(["bash", "-c", command], cwd=where, check=check, timeout=60,
                          capture_output=True, text=True)


def out(where, command):
    return sh(where, command).stdout


# ---- reading ----


def test_read(m, f):
    assert out(f, "find . | sort").split() == [
        ".", "./cars", "./cars/7", "./cars/7/doors", "./cars/7/model", "./cars/7/owner",
        "./cars/7/owner/age", "./cars/7/owner/name", "./cars/7/price", "./cars/7/sold",
        "./cars/7/tags", "./cars/7/tags/0", "./cars/7/tags/1"]
    assert out(f, "cd cars/7; cat model doors sold price tags/1 owner/name") == \
        "Panda\n5\nfalse\nnull\nb\nAna\n"
    document = m.path("cars/7.json").stat()
    for path in ("model", "tags", "owner", "owner/age"):
        st = (f / "cars/7" / path).stat()
        assert st.st_mtime_ns == document.st_mtime_ns
        assert stat.S_ISDIR(st.st_mode) == (path in ("tags", "owner"))
    assert (f / "cars/7/model").stat().st_size == 6
    kinds = {"model": "string", "doors": "number", "sold": "boolean", "price": "null",
             "tags": "array", "owner": "object", "": "object"}
    for name, kind in kinds.items():
        assert os.getxattr(f / "cars/7" / name, "user.shoal.kind").decode() == kind
    with os.scandir(f / "cars/7") as entries:
        for entry in entries:
            assert entry.inode() == entry.stat().st_ino
            assert entry.is_dir() == (entry.name in ("tags", "owner"))
    fails_with(errno.ENOENT, os.stat, f / "cars/7/nothing")
    fails_with(errno.ENOENT, os.stat, f / "cars/7/tags/2")
    fails_with(errno.ENOENT, os.stat, f / "cars/7/tags/01")
    fails_with(errno.ENOENT, os.stat, f / "cars/8")
    fails_with(errno.ENOTDIR, os.stat, f / "cars/7/doors/x")
    assert ".shoal" not in os.listdir(m.dir)


def test_only_documents(m, f):
    m.path("notes.txt").write_text("x")
    m.path("bad.json").write_text("{")
    m.path("n.json").write_text("3\n")
    m.settle()
    assert sorted(os.listdir(f)) == ["cars", "n"]
    assert (f / "n").read_text() == "3\n"
    (f / "n").write_text("4\n")
    assert m.path("n.json").read_text() == "4\n"


def test_a_new_document_is_there_at_once(m):
    assert out(m.dir, "mkdir d; echo '{\"n\": 1}' > d/x.json; echo 2 > .shoal/fields/d/x/n;"
                      "echo '{}' > d/y.json; ls .shoal/fields/d; cat d/x.json") == \
        'x\ny\n{"n": 2}\n'
    m.path("d/x.json").unlink()
    assert os.listdir(m.path(".shoal/fields/d")) == ["y"]
    fails_with(errno.ENOENT, os.stat, m.path(".shoal/fields/d/x"))


def test_names_that_clash(m):
    for path in ("d/7.json", "d/7.json.json", "d/8.json", "d/8.json.json", "d/..json",
                 "d/...json", "d/....json"):
        m.new_document(path, {"path": path})
    m.path("d/7").mkdir()
    d = m.path(".shoal/fields/d")
    assert sorted(os.listdir(d)) == sorted(["7", "7.json", "7.json.json", "8", "8.json", "..json",
                                            "...json", "..."])
    told = {name: (d / name / "path").read_text().strip()
            for name in os.listdir(d) if name != "7"}
    assert told == {"7.json": "d/7.json", "7.json.json": "d/7.json.json", "8": "d/8.json",
                    "8.json": "d/8.json.json", "..json": "d/..json", "...json": "d/...json",
                    "...": "d/....json"}
    assert os.listdir(d / "7") == []


KEYS = ["a/b", "nul\0", "", ".", "..", "%", "100%", "50%25", "%2F", "%~x", "x" * 255, "x" * 256,
        "x" * 257, "ü" * 200, "/" * 86, "a b\nc", "...", "~1", "%2f", "-", "0"]


def test_keys_of_all_kinds(m):
    m.new_document("k.json", {key: i for i, key in enumerate(KEYS)})
    k = m.path(".shoal/fields/k")
    names = os.listdir(k)
    assert len(set(names)) == len(KEYS) and all(len(os.fsencode(n)) <= 255 for n in names)
    read = [int((k / name).read_text()) for name in names]
    assert read == list(range(len(KEYS)))
    assert names[:9] == ["a%2Fb", "nul%00", "%", "%2E", "%2E%2E", "%25", "100%", "50%2525",
                         "%252F"]
    for i, name in enumerate(names):
        (k / name).write_text(f"{i + 100}\n")
    assert m.json("k.json") == {key: i + 100 for i, key in enumerate(KEYS)}
    for name in names:
        (k / name).unlink()
    assert m.json("k.json") == {}
    for key, name in zip(KEYS, names):
        if "%~" not in name:
            (k / name).write_text("1")
    assert m.json("k.json") == {key: 1 for key, name in zip(KEYS, names) if "%~" not in name}
    # A name that no key has, for the key is written in another way
    for name in ("%41", "%2E%2E%2E", "%~0123456789abcdef", b"\xff"):
        with pytest.raises(OSError) as caught:
            open(os.path.join(os.fsencode(k), os.fsencode(name)), "w")
        assert caught.value.errno == errno.EINVAL


# ---- writing ----


@pytest.mark.parametrize("before,text,after", [
    (5, "3\n", 3), (5, "3", 3), (5, "-1.50\n", -1.5), (5, "true\n", True), (5, "null\n", None),
    (5, "hello\n", "hello"), (5, '"3"\n', "3"), (5, "hello\nworld\n", "hello\nworld"),
    (5, "\n", ""), (5, "", 5), (5, '{"a": [1]}\n', {"a": [1]}), (5, "{a}\n", "{a}"),
    (5, "3 4\n", "3 4"), (5, " 3 \n", 3), (5, "\n\n", "\n"),
    ("x", "3\n", "3"), ("x", '"3"\n', "3"), ("x", "true\n", "true"), ("x", "{}\n", "{}"),
    ("x", "a\nb\n", "a\nb"), ("x", "a\nb\n\n", "a\nb\n"), ("x", '"a\\nb"\n', "a\nb"),
    ("x", "\n", ""), ("x", "", "x"), ("x", 'say "hi"\n', 'say "hi"'), ("x", "tab\t\\n\n", "tab\t\\n"),
])
def test_what_is_written(m, before, text, after):
    m.new_document("x.json", {"v": before, "w": 1})
    v = m.path(".shoal/fields/x/v")
    v.write_text(text)
    assert m.json("x.json") == {"v": after, "w": 1}
    if not isinstance(after, dict):
        read = v.read_bytes()
        assert v.stat().st_size == len(read)
        v.write_bytes(read)
        assert m.json("x.json") == {"v": after, "w": 1}


STRINGS = ["", "\n", "a", "a\n", "a\n\n", '"', '"quoted"', '""', ' "x" ', "3", "null", "{}",
           "line\nline", "nul\0byte", "\\", '\\"', "\t", "ü€𝄞", " ", "[1", '"a" "b"', '"\n"']


def test_strings_survive(m):
    m.new_document("s.json", {str(i): s for i, s in enumerate(STRINGS)})
    for i, s in enumerate(STRINGS):
        v = m.path(f".shoal/fields/s/{i}")
        text = v.read_text()
        if not (s.strip().startswith('"') and s.strip().endswith('"') and len(s) > 1):
            assert text == s + "\n"
        v.write_text("other\n")
        v.write_text(text)
        assert m.json("s.json")[str(i)] == s, i
    (m.path(".shoal/fields/s") / "bad").write_text("ok")
    with pytest.raises(OSError) as caught:
        (m.path(".shoal/fields/s/bad")).write_bytes(b"\xff\xfe\n")
    assert caught.value.errno == errno.EINVAL
    assert m.json("s.json")["bad"] == "ok"


def test_shells_write(m, f):
    car = f / "cars/7"
    sh(car, "echo 3 > doors; echo Fiat >> model; printf 'x' > new; echo -n 4 > four;"
            "cp model copy; echo 12 | tee -a doors; { echo a; date > /dev/null; echo b; } > both;"
            "cat <<< '[1, {\"k\": 2}]' > list; dd if=model of=dd status=none")
    document = m.json("cars/7.json")
    assert document == {
        "model": "Panda\nFiat", "doors": "3\n12", "sold": False, "price": None, "tags": ["a", "b"],
        "owner": {"name": "Ana", "age": 30}, "new": "x", "four": 4, "copy": "Panda\nFiat",
        "both": "a\nb", "list": [1, {"k": 2}], "dd": "Panda\nFiat"}
    assert out(car, "jq . list/1/k; cat list/0") == "2\n1\n"
    m.settle_and_sync()
    assert m.remote_json("cars/7.json") == document
    # The document keeps the look that it has, and is not saved by what changes nothing
    assert m.path("cars/7.json").read_text() == json.dumps(document, indent=2) + "\n"
    saves = m.stats()["saves"]
    sh(car, "x=$(cat doors); echo \"$x\" > doors; : > four; cat < model > /dev/null")
    assert m.stats()["saves"] == saves


def test_a_file_that_is_being_written(m, f):
    doors, new = f / "cars/7/doors", f / "cars/7/new"
    with open(doors, "w") as writer:
        writer.write("4")
        writer.flush()
        assert doors.read_text() == "5\n" and m.json("cars/7.json")["doors"] == 5
        os.fsync(writer.fileno())
        assert doors.read_text() == "4\n" and m.json("cars/7.json")["doors"] == 4
        writer.write("2\n")
    assert m.json("cars/7.json")["doors"] == 42
    with open(new, "x") as writer:
        assert os.fstat(writer.fileno()).st_size == 0
        writer.write("1\n")
    assert m.json("cars/7.json")["new"] == 1
    with open(new, "r+") as both:
        assert both.read() == "1\n"
        both.seek(0)
        both.truncate()
        both.write("2\n")
    assert m.json("cars/7.json")["new"] == 2
    open(f / "cars/7/never", "w").close()
    assert "never" not in m.json("cars/7.json")
    fails_with(errno.ENOENT, os.stat, f / "cars/7/never")
    (f / "cars/7/doors").write_text('{"front": 2}')
    assert (f / "cars/7/doors/front").read_text() == "2\n"


def test_one_field_is_the_delta(m, f):
    """Others change the document between opening and writing: other fields stay theirs; of the same
    field what was written later shows, and the other is a conflict."""
    with open(f / "cars/7/doors", "w") as doors, open(f / "cars/7/model", "w") as model:
        m.remote_set("cars/7.json", sold=True, model="Uno", owner={"name": "Ben", "age": 30})
        doors.write("3\n")
        doors.close()
        model.write("Tipo\n")
        model.close()
    m.settle_and_sync()
    document = m.json("cars/7.json")
    assert document == m.remote_json("cars/7.json")
    assert (document["doors"], document["sold"], document["owner"]["name"]) == (3, True, "Ben")
    assert document["model"] == "Tipo"
    lost = m.path(".shoal/conflicts/cars/7.json")
    assert [p.read_text() for p in lost.iterdir()] == ['"Uno"\n']
    (f / "cars/7/model").write_text("Argo")  # by one who has seen both
    assert list(m.path(".shoal/conflicts/cars").iterdir()) == []


def test_a_counter(m):
    m.new_document("c/stock.json", {"n": 10, "m": 1})
    m.ask("type", "c", "/n", "counter")
    m.settle_and_sync()
    n = m.path(".shoal/fields/c/stock/n")
    with open(n, "w") as writer:
        m.remote_set("c/stock.json", n=15)
        writer.write("7\n")
    m.settle_and_sync()
    assert m.json("c/stock.json")["n"] == m.remote_json("c/stock.json")["n"] == 12
    assert n.read_text() == "12\n"


def test_two_writers_of_other_fields(m, f):
    def work(k):
        for i in range(30):
            (f / "cars/7" / f"k{k}").write_text(f"{i}\n")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    document = m.json("cars/7.json")
    assert [document[f"k{k}"] for k in range(6)] == [29] * 6
    m.settle_and_sync()
    assert m.remote_json("cars/7.json") == document


def test_lists(m, f):
    tags = f / "cars/7/tags"
    sh(tags, "echo c > 2; echo d > -; mkdir -- -; echo x > 4/k; echo B > 1")
    assert m.json("cars/7.json")["tags"] == ["a", "B", "c", "d", {"k": "x"}]
    assert os.listdir(tags) == ["0", "1", "2", "3", "4"]
    fails_with(errno.EINVAL, (tags / "9").write_text, "x")
    fails_with(errno.EINVAL, (tags / "x").write_text, "x")
    fails_with(errno.EINVAL, os.rename, tags / "0", tags / "1")
    fails_with(errno.ENOTEMPTY, os.rmdir, tags / "4")
    sh(tags, "rm 0; rm -r 3")
    assert m.json("cars/7.json")["tags"] == ["B", "c", "d"]
    # Both devices add at the end, at once
    with open(tags / "3", "x") as mine:
        m.remote_set("cars/7.json", tags=["B", "c", "d", "theirs"])
        mine.write("mine")
    assert sorted(m.json("cars/7.json")["tags"]) == ["B", "c", "d", "mine", "theirs"]
    sh(tags, "rmdir ../tags")
    assert "tags" not in m.json("cars/7.json")


def test_long_lists_and_objects(m):
    """All of 100,000 values are listed and looked at: nothing is gone through for each of them."""
    n = 100_000
    m.path("big.json").write_text(json.dumps({"o": {f"k{i}": i for i in range(n)},
                                              "l": list(map(str, range(n)))}))
    m.settle()
    for name, last in (("o", f"k{n - 1}"), ("l", f"{n - 1}")):
        d = m.path(".shoal/fields/big") / name
        began = time.monotonic()
        assert len(os.listdir(d)) == n
        listed = time.monotonic()
        for entry in os.listdir(d)[-5000:]:
            assert (d / entry).stat().st_size > 1
        looked = time.monotonic()
        assert (d / last).read_text() == f"{n - 1}\n"
        # Going through all for each would be minutes
        assert listed - began < 15 and looked - listed < 30, (listed - began, looked - listed)


# ---- names ----


def test_names_come_and_go(m, f):
    car = f / "cars/7"
    sh(car, "mkdir -p spec/engine; echo 70 > spec/engine/kw; mv model name; mv owner/age age;"
            "rm doors; mv spec/engine .; rmdir spec")
    assert m.json("cars/7.json") == {
        "sold": False, "price": None, "tags": ["a", "b"], "owner": {"name": "Ana"},
        "engine": {"kw": 70}, "name": "Panda", "age": 30}
    sh(car, "mv name owner/name; rm -r owner engine")
    assert m.json("cars/7.json") == {"sold": False, "price": None, "tags": ["a", "b"], "age": 30}
    m.settle_and_sync()
    assert m.remote_json("cars/7.json") == m.json("cars/7.json")


def test_between_documents(m, f):
    m.new_document("cars/8.json", {"model": "Uno"})
    fails_with(errno.EXDEV, os.rename, f / "cars/7/owner", f / "cars/8/owner")
    sh(f / "cars", "mv 7/owner 8/; cp -r 7/tags 8/spares; mv 7/doors 8/")
    assert m.json("cars/8.json") == {"model": "Uno", "owner": {"name": "Ana", "age": 30},
                                     "spares": {"0": "a", "1": "b"}, "doors": 5}
    assert set(m.json("cars/7.json")) == {"model", "sold", "price", "tags"}
    fails_with(errno.EXDEV, os.rename, f / "cars/7/model", m.path("model"))
    fails_with(errno.EXDEV, os.rename, m.path("cars/7.json"), f / "cars/7/x")


def test_what_is_refused(m, f):
    car = f / "cars/7"
    fails_with(errno.EISDIR, (car / "owner").write_text, "x")
    fails_with(errno.EISDIR, os.unlink, car / "owner")
    fails_with(errno.ENOTDIR, os.rmdir, car / "doors")
    fails_with(errno.ENOTEMPTY, os.rmdir, car / "owner")
    fails_with(errno.EEXIST, os.mkdir, car / "doors")
    fails_with(errno.EPERM, os.link, car / "doors", car / "windows")
    fails_with(errno.EPERM, os.symlink, "doors", car / "windows")
    fails_with(errno.EPERM, os.mkfifo, car / "pipe")
    fails_with(errno.EPERM, os.setxattr, car / "doors", "user.x", b"y")
    fails_with(errno.EPERM, os.utime, car / "doors")
    fails_with(errno.EPERM, os.truncate, car / "doors", 1)
    fails_with(errno.EACCES, os.mkdir, f / "cars/8")
    fails_with(errno.EACCES, (f / "cars/8").write_text, "{}")
    fails_with(errno.EACCES, (f / "9").write_text, "{}")
    fails_with(errno.EACCES, os.rename, f / "cars/7", f / "cars/8")
    fails_with(errno.EEXIST, renameat2, car / "doors", car / "model", RENAME_NOREPLACE)
    fails_with(errno.EINVAL, renameat2, car / "doors", car / "model", RENAME_EXCHANGE)
    fails_with(errno.EACCES, (car / "model~").write_text, "x")
    assert sh(car, "sed -i s/5/6/ doors", check=False).returncode != 0
    for name in ("status.json", "conflicts", "x"):
        with pytest.raises(OSError):
            (m.path(".shoal") / name).write_text("x")
    (car / "empty").mkdir()
    (car / "empty").rmdir()
    assert m.json("cars/7.json") == m.remote_json("cars/7.json")


def test_modes(m, f):
    m.path("cars/7.json").chmod(0o640)
    m.settle()
    assert stat.S_IMODE((f / "cars/7/doors").stat().st_mode) == 0o640
    assert stat.S_IMODE((f / "cars/7").stat().st_mode) == 0o750
    assert stat.S_IMODE((f / "cars").stat().st_mode) == 0o555


def test_read_only():
    m = Mount()
    try:
        m.new_document("x.json", {"n": 1})
        m.stop()
        m.start("ro")
        fails_with(errno.EROFS, m.path(".shoal/fields/x/n").write_text, "2")
        assert m.path(".shoal/fields/x/n").read_text() == "1\n"
    finally:
        m.close()


def test_the_document_shows_it(m, f):
    """Who has it open or cached sees the change."""
    document = m.path("cars/7.json")
    before = document.stat()
    assert "Panda" in document.read_text()
    (f / "cars/7/model").write_text("Grande Panda\n")
    assert "Grande" in document.read_text()
    m.settle()
    assert document.stat().st_size == len(document.read_bytes())
    assert document.stat().st_mtime_ns > before.st_mtime_ns


def test_deleted_under_a_writer(m, f):
    with pytest.raises(OSError) as caught:
        with open(f / "cars/7/doors", "w") as doors:
            doors.write("3")
            m.ask("rm", "cars/7.json")
            m.sync()
    assert caught.value.errno == errno.ENOENT
    fails_with(errno.ENOENT, os.stat, f / "cars/7")


def test_dot_shoal_stays(m, f):
    fails_with(errno.EEXIST, os.mkdir, m.path(".shoal"))
    fails_with(errno.EPERM, os.rmdir, m.path(".shoal"))
    fails_with(errno.EPERM, os.rename, m.path(".shoal"), m.path("x"))
    m.path("dir").mkdir()
    fails_with(errno.EPERM, os.rename, m.path("dir"), m.path(".shoal"))
    with pytest.raises(OSError):
        m.path(".shoal").write_text("x")
    assert sorted(os.listdir(m.dir)) == ["cars", "dir"]
    # Another device, that does not know of it, cannot make one here either
    m.ask("mkdir", ".shoal")
    m.ask("put", ".shoal/x.json", "{}")
    m.ask("put", "last.json", "{}")
    m.sync()
    m.settle()
    assert sorted(os.listdir(m.dir)) == ["cars", "dir", "last.json"]
    assert sorted(os.listdir(m.path(".shoal"))) == ["at", "conflicts", "drafts", "fields",
                                                     "status.json"]


# ---- the past ----


class Past:
    """Times that something lies between, however fast it is. New files have their names since they were
    made, which is at once, and contents are kept when they were not replaced in the same second."""

    def __init__(self, m):
        self.m = m
        self.at = m.path(".shoal/at")

    def now(self):
        self.m.settle()
        second = time.time()
        # A version that is replaced within the second in which it was written is not kept
        wait_until(lambda: int(time.time()) > int(second), what="the next second")
        text = f"@{time.time():.6f}"
        wait_until(lambda: (self.at / text).exists(), what="that it is past")
        return self.at / text


@pytest.fixture
def past(m):
    return Past(m)


def tree(top):
    """Path to kind, mode and content."""
    found = {}
    for path in sorted(top.rglob("*")):
        st = path.lstat()
        content = (os.readlink(path) if path.is_symlink() else
                   path.read_bytes() if path.is_file() else None)
        assert content is None or st.st_size == len(content)
        found[str(path.relative_to(top))] = (stat.S_IFMT(st.st_mode), stat.S_IMODE(st.st_mode),
                                             content)
    return found


def test_the_past(m, past):
    began = past.now()
    c = m.path("c")
    (c / "sub").mkdir(parents=True)
    (c / "x.json").write_text('{"n": 1}\n')
    (c / "sub/t.txt").write_text("first\n")
    (c / "b.bin").write_bytes(os.urandom(300_000))
    (c / "run.sh").write_text("#!/bin/sh\n")
    (c / "run.sh").chmod(0o750)
    (c / "link").symlink_to("x.json")
    first, shown = past.now(), tree(m.dir)
    assert tree(began) == {} and began.is_dir()
    assert tree(first) == shown
    m.remote_set("c/x.json", n=2)
    with open(c / "b.bin", "r+b") as b:
        b.seek(1000)
        b.write(b"changed")
    second, shown2 = past.now(), tree(m.dir)
    (c / "sub/t.txt").rename(c / "sub/u.txt")
    (c / "link").unlink()
    (c / "b.bin").unlink()
    c.rename(m.path("d"))
    (m.path("d") / "new.txt").write_text("new\n")
    third, shown3 = past.now(), tree(m.dir)
    sh(m.dir, "rm -r d")
    last = past.now()
    assert tree(m.dir) == tree(last) == {}
    for _ in range(2):
        assert tree(first) == shown and tree(second) == shown2 and tree(third) == shown3
    assert tree(began) == {}
    # It is so at the next start as well
    m.stop()
    m.start()
    assert tree(first) == shown and tree(second) == shown2 and tree(third) == shown3
    assert (first / "c/x.json").read_text() == '{"n": 1}\n'
    assert (first / "c/x.json").stat().st_mtime < float(first.name[1:])
    # ... and comes back by copying
    sh(m.dir, f"cp -a '{first}/c' . && diff -r '{first}/c' c")
    assert tree(m.dir) == shown
    assert (c / "x.json").stat().st_mtime_ns == (first / "c/x.json").stat().st_mtime_ns


def test_the_past_and_shells(m, past):
    sh(m.dir, "mkdir c; echo '{\"n\": 1}' > c/x.json; echo one > c/t.txt; ln -s t.txt c/l")
    before = past.now()
    sh(m.dir, "echo '{\"n\": 2}' > c/x.json; rm c/t.txt; echo two > c/u.txt")
    m.settle()
    diff = sh(m.dir, f"diff -r --no-dereference '.shoal/at/{before.name}/c' c", check=False)
    assert diff.returncode == 1
    assert '< {"n": 1}\n---\n> {"n": 2}\n' in diff.stdout
    assert f"Only in .shoal/at/{before.name}/c: t.txt" in diff.stdout
    assert "Only in c: u.txt" in diff.stdout
    assert out(before, "find . | sort; jq .n c/x.json; cat c/l; grep -r on . ; ls -i c | wc -l") == \
        "./c\n./c/l\n./c/t.txt\n./c/x.json\n".join([".\n", "1\none\n./c/t.txt:one\n3\n"])
    utc = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(float(before.name[1:])))
    fraction = before.name.split(".")[1]
    for name in (f"{utc}.{fraction}Z", f"{utc}.{fraction}+00:00"):
        assert tree(m.path(f".shoal/at/{name}")) == tree(before)
    with open(before / "c/x.json") as f:
        sh(m.dir, "echo '{\"n\": 3}' > c/x.json")
        assert f.read() == '{"n": 1}\n'


def test_what_is_no_past(m, past):
    m.new_document("c/x.json", {"n": 1})
    now = past.now()
    assert os.listdir(past.at) == []
    for name in ("yesterday", "-1h", "2026", "x", "@99999999999", "2099-01-01"):
        fails_with(errno.ENOENT, os.stat, past.at / name)
    assert os.listdir(past.at / "1990-01-01") == []
    x = now / "c/x.json"
    fails_with(errno.EROFS, x.write_text, "{}")
    fails_with(errno.EROFS, (now / "new").write_text, "{}")
    fails_with(errno.EROFS, os.truncate, x, 0)
    fails_with(errno.EROFS, os.unlink, x)
    fails_with(errno.EROFS, os.rmdir, now / "c")
    fails_with(errno.EROFS, os.mkdir, now / "d")
    fails_with(errno.EROFS, os.rename, x, now / "y.json")
    fails_with(errno.EXDEV, os.rename, m.path("c/x.json"), now / "y.json")
    fails_with(errno.EROFS, os.chmod, x, 0o600)
    fails_with(errno.EROFS, os.utime, x)
    fails_with(errno.EROFS, os.setxattr, x, "user.x", b"y")
    fails_with(errno.EROFS, os.mkdir, past.at / "2026-01-01x")
    fails_with(errno.ENOENT, os.stat, now / ".shoal")


def test_the_other_devices_changes_are_of_the_past_too(m, past):
    m.new_document("c/x.json", {"n": 1})
    m.new_document("c/y.json", {"n": 1})
    before, shown = past.now(), tree(m.path("c"))
    m.ask("mv", "c/x.json", "c/z.json")
    m.ask("rm", "c/y.json")
    m.remote_put("c/new.json", "{}")
    m.sync()
    assert sorted(os.listdir(m.path("c"))) == ["new.json", "z.json"]
    assert tree(before / "c") == shown
