# SPDX-License-Identifier: GPL-2.0-or-later
"""Hard links: one file under several names, here and on the other device."""
import ctypes
import errno
import os
import stat
import subprocess
import time

import pytest

from fsmount import wait_until
from inotify import Watcher
from test_mount import RENAME_EXCHANGE, fails_with, renameat2

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_FOLLOW = -100, 0x400


def sh(where, command):
    return subprocess.run(["bash", "-ec", command], cwd=where, check=True, timeout=60,
                          capture_output=True, text=True).stdout


def one(*paths):
    """All are the same file, which has no other names."""
    found = [p.stat() for p in paths]
    assert len({s.st_ino for s in found}) == 1, found
    assert {s.st_nlink for s in found} == {len(paths)}, found


def state(m, settled):
    if settled:
        m.settle()


settled = pytest.mark.parametrize("settled", [True, False], ids=["settled", "new"])
name = pytest.mark.parametrize("name", ["a.json", "a.txt", "a.bin"])


@settled
@name
def test_a_second_name(m, d, name, settled):
    a, b, c = d / name, d / ("b-" + name), d / ("c-" + name)
    a.write_text('{"k": 1}\n')
    state(m, settled)
    os.link(a, b)
    one(a, b)
    os.link(b, c)
    one(a, b, c)
    b.write_text('{"k": 2}\n')
    assert a.read_text() == c.read_text() == '{"k": 2}\n'
    fails_with(errno.EEXIST, os.link, a, b)
    a.unlink()
    one(b, c)
    os.rename(c, d / "x")
    one(b, d / "x")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", f"c/b-{name}", "c/x"]
    assert m.remote_bytes("c/x") == m.remote_bytes(f"c/b-{name}") == b'{"k": 2}\n'
    m.stop()
    m.start()
    one(b, d / "x")
    b.unlink()
    one(d / "x")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/x"]
    (d / "x").unlink()
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


@name
def test_a_remote_edit_shows_under_both(m, d, name):
    a, b = d / name, d / ("b-" + name)
    a.write_text('{"k": 1}\n')
    os.link(a, b)
    m.settle_and_sync()
    assert a.read_text() == b.read_text()
    m.remote_put(f"c/b-{name}", b'{"k": 1, "m": 2}\n')
    m.sync()
    m.settle()
    assert a.read_text() == b.read_text() == '{"k": 1, "m": 2}\n'
    one(a, b)


def test_a_deletion_elsewhere_takes_one_name(m, d):
    a, b = d / "a.json", d / "b.json"
    m.new_document("c/a.json", {"n": 1})
    os.link(a, b)
    m.settle_and_sync()
    with a.open() as f:
        m.ask("rm", "c/a.json")
        m.sync()
        m.settle()
        wait_until(lambda: not a.exists(), what="the deletion")
        assert os.fstat(f.fileno()).st_nlink == 1
        assert f.read() == b.read_text()
    one(b)


def test_saving_by_rename_breaks_the_link(m, d):
    """As on any other file system: the other name keeps what was."""
    for kept, saved in (("a.json", "b.json"), ("b.json", "a.json")):
        m.new_document("c/a.json", {"n": 1})
        os.link(d / "a.json", d / "b.json")
        sh(d, f"sed -i 's/1/2/' {saved}")
        assert m.json(f"c/{saved}") == {"n": 2} and m.json(f"c/{kept}") == {"n": 1}
        one(d / kept)
        one(d / saved)
        m.settle_and_sync()
        assert m.remote_json(f"c/{saved}") == {"n": 2} and m.remote_json(f"c/{kept}") == {"n": 1}
        sh(d, "rm a.json b.json")
        m.settle_and_sync()
        assert m.remote_paths() == ["c"]


def test_saving_in_place_keeps_it(m, d):
    (d / "a.txt").write_text("one\n")
    os.link(d / "a.txt", d / "b.txt")
    m.settle()
    sh(d, "vim -u NONE -i NONE -n -es -c '%s/one/two/' -c x a.txt; true")
    one(d / "a.txt", d / "b.txt")
    assert (d / "b.txt").read_text() == "two\n"


@settled
def test_replaced_and_exchanged(m, d, settled):
    for n in "axy":
        (d / n).write_text(n)
    os.link(d / "a", d / "b")
    state(m, settled)
    os.rename(d / "x", d / "a")
    one(d / "a")
    one(d / "b")
    assert (d / "a").read_text() == "x" and (d / "b").read_text() == "a"
    os.link(d / "b", d / "c")
    m.settle()
    renameat2(d / "c", d / "a", RENAME_EXCHANGE)
    one(d / "a", d / "b")
    assert (d / "c").read_text() == "x"
    os.rename(d / "a", d / "b")  # two names of one file: nothing happens
    one(d / "a", d / "b")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a", "c/b", "c/c", "c/y"]


def test_symbolic_links_and_directories(m, d):
    os.symlink("nowhere", d / "l")
    os.link(d / "l", d / "m", follow_symlinks=False)
    assert os.readlink(d / "m") == "nowhere" and os.lstat(d / "m").st_nlink == 2
    (d / "dir").mkdir()
    fails_with(errno.EPERM, os.link, d / "dir", d / "other")
    m.path("other").mkdir()
    (d / "t.tmp").write_text("t")
    fails_with(errno.EXDEV, os.link, d / "t.tmp", m.path("other/t"))
    os.link(d / "t.tmp", d / "t")
    fails_with(errno.EXDEV, os.rename, d / "t", m.path("other/t"))
    (d / "a").write_text("a")
    m.settle()
    fails_with(errno.EXDEV, os.link, d / "a", m.path("other/a"))
    os.link(d / "a", d / "dir/a")
    fails_with(errno.EXDEV, os.rename, d / "dir/a", m.path("other/a"))
    fails_with(errno.EXDEV, os.rename, d / "a", m.path("other/a"))
    sh(d, "mv a ../other/")
    assert m.path("other/a").read_text() == (d / "dir/a").read_text() == "a"
    one(d / "dir/a")


TYPES = {"regular": lambda p: p.touch(),
         "fifo": os.mkfifo,
         "socket": lambda p: os.mknod(p, stat.S_IFSOCK | 0o644),
         "char": lambda p: os.mknod(p, stat.S_IFCHR | 0o644, os.makedev(1, 3)),
         "block": lambda p: os.mknod(p, stat.S_IFBLK | 0o644, os.makedev(7, 3)),
         "symlink": lambda p: os.symlink("x", p)}


@settled
@pytest.mark.parametrize("kind", TYPES)
def test_every_type(m, d, kind, settled):
    (d / "sub").mkdir()
    a, b = d / "a", d / "sub/b"
    TYPES[kind](a)
    state(m, settled)
    before, parent = a.lstat(), b.parent.stat()
    assert before.st_nlink == 1
    time.sleep(0.01)  # so that times differ
    os.link(a, b, follow_symlinks=False)
    x, y = a.lstat(), b.lstat()
    assert x == y and x.st_nlink == 2 and x.st_ino == before.st_ino and x.st_mode == before.st_mode
    assert x.st_ctime_ns > before.st_ctime_ns and x.st_mtime_ns == before.st_mtime_ns
    after = b.parent.stat()
    assert after.st_mtime_ns > parent.st_mtime_ns and after.st_ctime_ns > parent.st_ctime_ns
    os.lchown(b, 65534, 65533)
    if kind != "symlink":
        os.chmod(a, 0o640)
    assert a.lstat() == b.lstat() and a.lstat().st_uid == 65534
    before = a.lstat()
    (d / "there").touch()
    fails_with(errno.EEXIST, os.link, a, d / "there", follow_symlinks=False)
    fails_with(errno.ENOTDIR, os.link, a, d / "there/x", follow_symlinks=False)
    fails_with(errno.ENOENT, os.link, a, d / "none/x", follow_symlinks=False)
    fails_with(errno.ENAMETOOLONG, os.link, a, d / ("x" * 256), follow_symlinks=False)
    assert a.lstat() == before
    os.rename(a, b)
    assert a.lstat() == b.lstat() == before
    time.sleep(0.01)
    a.unlink()
    x = b.lstat()
    assert x.st_nlink == 1 and x.st_ctime_ns > before.st_ctime_ns
    b.unlink()
    assert sorted(os.listdir(d)) == ["sub", "there"] and os.listdir(d / "sub") == []


@pytest.mark.parametrize("make", [os.mkfifo, lambda p: os.mknod(p, stat.S_IFSOCK | 0o644)],
                         ids=["fifo", "socket"])
def test_special_files(m, d, make):
    make(d / "p")
    os.link(d / "p", d / "q")
    os.link(d / "q", d / "r~")
    one(d / "p", d / "q", d / "r~")
    m.stop()
    m.start()
    one(d / "p", d / "q", d / "r~")
    (d / "p").unlink()
    os.rename(d / "r~", d / "s")
    one(d / "q", d / "s")
    os.chmod(d / "s", 0o600)
    assert stat.S_IMODE((d / "q").stat().st_mode) == 0o600
    m.stop()
    m.start()
    one(d / "q", d / "s")
    (d / "s").unlink()
    one(d / "q")
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


def test_a_lock_by_link(m, d):
    """dotlockfile(1) and others: whose scrap has two names holds the lock."""
    (d / ".lk1234").write_text("1234")
    os.link(d / ".lk1234", d / "mbox.lock")
    one(d / ".lk1234", d / "mbox.lock")
    (d / ".lk5678").write_text("5678")
    fails_with(errno.EEXIST, os.link, d / ".lk5678", d / "mbox.lock")
    (d / ".lk1234").unlink()
    one(d / "mbox.lock")
    assert (d / "mbox.lock").read_text() == "1234"


@pytest.mark.parametrize("temp", ["x.tmp", "a.json.Xy12Zw"])
def test_a_temporary_file_gets_its_name_by_link(m, d, temp):
    """As git makes its objects."""
    (d / temp).write_text('{"n": 1}\n')
    os.link(d / temp, d / "a.json")
    one(d / temp, d / "a.json")
    (d / temp).unlink()
    one(d / "a.json")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.json"] and m.remote_json("c/a.json") == {"n": 1}


def test_a_temporary_name_that_stays(m, d):
    (d / "x.tmp").write_text("x")
    os.link(d / "x.tmp", d / "a.txt")
    (d / "x.tmp").write_text("y")
    m.stop()
    m.start()
    assert (d / "x.tmp").read_text() == (d / "a.txt").read_text() == "y"
    wait_until(lambda: m.settle_and_sync() or "c/a.txt" in m.remote_paths(), timeout=20,
               what="the file on the other device")
    one(d / "x.tmp", d / "a.txt")


def test_a_draft(m, d):
    """What is no document yet has two names as well, and they are two names of the document."""
    (d / "a.json").write_text('{"n": 1}\n')
    os.link(d / "a.json", d / "b.json")
    m.settle()
    with pytest.raises(OSError) as e, (d / "b.json").open("w") as f:
        f.write("{")
    assert e.value.errno == errno.EINVAL
    one(d / "a.json", d / "b.json")
    (d / "a.json").write_text('{"n": 2}\n')
    assert m.json("c/b.json") == {"n": 2}


def test_open_files_go_on(m, d):
    (d / "a").write_text("old")
    os.link(d / "a", d / "b")
    with (d / "a").open("r+") as f:
        (d / "a").unlink()
        f.write("new")
        f.flush()
        assert os.fstat(f.fileno()).st_nlink == 1
        (d / "b").unlink()
        assert os.fstat(f.fileno()).st_nlink == 0
        f.seek(0)
        assert f.read() == "new"
        path = f"/proc/self/fd/{f.fileno()}".encode()
        assert LIBC.linkat(AT_FDCWD, path, AT_FDCWD, bytes(d / "c"), AT_SYMLINK_FOLLOW) == -1
        assert ctypes.get_errno() == errno.ENOENT
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


def test_times(m, d):
    """A name more or less is a change of the file, not of its content."""
    (d / "a").write_text("a")
    m.settle()
    before = (d / "a").stat()
    os.link(d / "a", d / "b")
    between = (d / "b").stat()
    assert between.st_ctime_ns > before.st_ctime_ns and between.st_mtime_ns == before.st_mtime_ns
    (d / "a").unlink()
    after = (d / "b").stat()
    assert after.st_ctime_ns > between.st_ctime_ns and after.st_mtime_ns == before.st_mtime_ns


def test_programs(m, d):
    """cp and tar and rsync and find know names of one file, and keep them so."""
    (d / "from").mkdir()
    (d / "from/a.txt").write_text("text\n")
    (d / "from/b.json").write_text('{"n": 1}\n')
    sh(d, "ln from/a.txt from/c.txt; ln from/b.json from/d.json")
    m.settle()
    sh(d, "cp -a from copy; mkdir tarred; tar -C from -cf - . | tar -C tarred -xf -; "
          "rsync -aH from/ synced/; cp -al from linked")
    for copy in ("copy", "tarred", "synced"):
        one(d / copy / "a.txt", d / copy / "c.txt")
        one(d / copy / "b.json", d / copy / "d.json")
    assert (d / "from/a.txt").stat().st_nlink == 4
    assert sh(d, "find . -samefile from/a.txt | sort").split() == [
        "./from/a.txt", "./from/c.txt", "./linked/a.txt", "./linked/c.txt"]
    sh(d, "echo more >> linked/c.txt")
    m.settle_and_sync()
    assert m.remote_bytes("c/from/a.txt") == b"text\nmore\n"
    sh(d, "rm -r from")
    m.settle_and_sync()
    assert m.remote_bytes("c/linked/a.txt") == b"text\nmore\n"
    one(d / "linked/a.txt", d / "linked/c.txt")
    assert "c/from/a.txt" not in m.remote_paths()


def test_git(m, d):
    """git makes its objects by link and unlink."""
    sh(d, "git init -q r; cd r; git config user.email a@b; git config user.name a; "
          "for i in $(seq 20); do echo $i > f$i; done; git add .; git commit -qm one; git fsck --strict; "
          "git clone -q . ../s; cd ../s; git fsck --strict; git log | grep -q one")


# ---- what the other device links ----


def test_links_made_elsewhere(m, d):
    m.new_document("c/a.json", {"n": 1})
    m.settle_and_sync()
    before = (d / "a.json").stat()
    watch = Watcher(d)
    try:
        m.ask("link", "c/a.json", "c/b.json")
        m.sync()
        m.settle()
        one(d / "a.json", d / "b.json")
        assert (d / "b.json").stat().st_ino == before.st_ino
        (d / "b.json").write_text('{"n": 2}\n')
        assert m.json("c/a.json") == {"n": 2}
        m.settle_and_sync()
        m.ask("mv", "c/b.json", "c/x.json")
        m.sync()
        m.settle()
        one(d / "a.json", d / "x.json")
        m.ask("rm", "c/a.json")
        m.sync()
        m.settle()
        wait_until(lambda: not (d / "a.json").exists(), what="the deletion")
        one(d / "x.json")
        assert (d / "x.json").stat().st_ino == before.st_ino
        names = [(sorted(e.what)[0], os.path.basename(e.path)) for e in watch.read(0.5) + watch.read()]
        assert ("CREATE", "b.json") in names and ("MOVED_TO", "x.json") in names
        assert [n for n in names if n[1] == "a.json" and n[0] in ("DELETE", "MOVED_FROM")]
    finally:
        watch.close()
    m.ask("rm", "c/x.json")
    m.sync()
    m.settle()
    wait_until(lambda: os.listdir(d) == [], what="the deletion")


def test_apart(m, d):
    """One makes a name, the other one removes the file: nobody loses what he sees."""
    m.new_document("c/a.json", {"n": 1})
    m.settle_and_sync()
    m.ask("link", "c/a.json", "c/b.json")
    (d / "a.json").unlink()
    m.settle()
    m.sync()
    m.settle_and_sync()
    assert m.json("c/b.json") == {"n": 1} and m.remote_json("c/b.json") == {"n": 1}
    assert sorted(p.name for p in d.iterdir()) == [p[2:] for p in m.remote_paths() if p != "c"]


# ---- what can go wrong with several names ----


def test_a_backup_by_rename(m, d):
    """emacs and others: the backup is a copy that stays here, the other names keep what was."""
    m.new_document("c/a.json", {"n": 1})
    os.link(d / "a.json", d / "b.json")
    for n in (2, 3):
        os.rename(d / "a.json", d / "a.json~")
        (d / "a.json").write_text('{"n": %d}\n' % n)
        assert m.json("c/a.json~") == {"n": n - 1}
        m.settle_and_sync()
        assert m.remote_paths() == ["c", "c/a.json", "c/b.json"]
    assert m.json("c/b.json") == {"n": 1} and m.remote_json("c/a.json") == {"n": 3}
    one(d / "b.json")


def test_a_save_by_rename_merges_again_when_the_other_name_is_gone(m, d):
    m.new_document("c/a.json", {"n": 1, "m": 1})
    os.link(d / "a.json", d / "b.json")
    (d / "b.json").unlink()
    m.settle_and_sync()
    text = (d / "a.json").read_text()
    m.remote_set("c/a.json", m=2)
    (d / "a.json.tmp").write_text(text.replace('"n": 1', '"n": 2').replace('"n":1', '"n":2'))
    os.rename(d / "a.json.tmp", d / "a.json")
    m.settle_and_sync()
    assert m.json("c/a.json") == m.remote_json("c/a.json") == {"n": 2, "m": 2}


@pytest.mark.parametrize("temp", ["{}.tmp", "{}.Xy12zQ"])
@pytest.mark.parametrize("name", ["a.txt", "a.json"])
def test_a_save_by_link(m, d, name, temp):
    """unlink, link and unlink, as programs do that know no rename: what others wrote meanwhile stays."""
    temp = temp.format(name)
    lines = ['{\n', '  "n": 1,\n', '  "k": 5,\n', '  "m": 1\n', '}\n']
    (d / name).write_text("".join(lines))
    m.settle_and_sync()
    read = (d / name).read_text()
    m.remote_put("c/" + name, read.replace('"m": 1', '"m": 2'))
    (d / temp).write_text(read.replace('"n": 1', '"n": 2'))
    (d / name).unlink()
    os.link(d / temp, d / name)
    assert (d / name).read_text() == (d / temp).read_text()
    (d / temp).unlink()
    m.settle_and_sync()
    assert (d / name).read_text() == "".join(lines).replace('"n": 1', '"n": 2').replace('"m": 1', '"m": 2')
    assert m.remote_paths() == ["c", "c/" + name]
    one(d / name)


def test_exchange_with_a_linked_document(m, d):
    m.new_document("c/a.txt", {"n": 1})
    os.link(d / "a.txt", d / "b.txt")
    m.settle()
    (d / "b.txt.tmp").write_text("new\n")
    renameat2(d / "b.txt.tmp", d / "b.txt", RENAME_EXCHANGE)
    (d / "b.txt.tmp").unlink()
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.txt", "c/b.txt"] and m.remote_bytes("c/b.txt") == b"new\n"


def test_a_scrap_that_gets_its_name_by_rename(m, d):
    (d / "x.tmp").write_text("x")
    os.link(d / "x.tmp", d / "x.txt~")
    os.rename(d / "x.tmp", d / "x.txt")
    (d / "x.txt~").unlink()
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/x.txt"]


def test_nothing_is_left_of_a_name(m, d):
    """Neither record of two names of a local file, whichever goes first, is found by what comes after it."""
    (d / "a.tmp").write_text("a")
    os.link(d / "a.tmp", d / "b.tmp")
    m.settle()
    (d / "a.tmp").unlink()
    (d / "b.tmp").unlink()
    os.mkfifo(d / "a.tmp")
    m.settle()
    m.stop()
    m.start()
    assert os.listdir(d) == ["a.tmp"] and (d / "a.tmp").stat().st_nlink == 1


@pytest.mark.parametrize("edit", ["none", "before", "after"])
def test_names_that_are_removed_apart(m, d, edit):
    """Each leaves the name that the other one removes: nobody has deleted the file, and no edit of it is lost."""
    m.new_document("c/a.json", {"n": 1})
    os.link(d / "a.json", d / "b.json")
    m.settle_and_sync()
    if edit == "before":
        m.remote_put("c/b.json", '{"n": 1, "m": 3}\n')
    m.ask("rm", "c/a.json")
    if edit == "after":
        m.remote_put("c/b.json", '{"n": 1, "m": 3}\n')
    (d / "b.json").unlink()
    m.settle()
    m.settle_and_sync()
    assert [p for p in m.remote_paths() if p != "c"] == ["c/a.json"]
    assert os.listdir(d) == ["a.json"]
    assert m.json("c/a.json") == ({"n": 1} if edit == "none" else {"n": 1, "m": 3})
    (d / "a.json").unlink()
    m.settle_and_sync()
    assert [p for p in m.remote_paths() if p != "c"] == os.listdir(d) == []


def test_a_draft_of_what_loses_its_names_elsewhere(m, d):
    """The bytes stay to be found, as those of a document with one name do."""
    m.new_document("c/a.json", {"n": 1})
    os.link(d / "a.json", d / "b.json")
    m.settle_and_sync()
    fails_with(errno.EINVAL, (d / "a.json").write_text, "{broken")
    m.ask("rm", "c/a.json")
    m.ask("rm", "c/b.json")
    m.sync()
    m.settle()
    wait_until(lambda: len(os.listdir(d)) == 1, what="the draft to show")
    name, = os.listdir(d)
    assert (d / name).read_text() == "{broken" and m.drafts() == ["c/" + name]


def test_many_names_of_a_scrap(m, d):
    (d / "a.tmp").write_text("a")
    for n in range(999):
        os.link(d / "a.tmp", d / f"n{n}")
    fails_with(errno.EMLINK, os.link, d / "a.tmp", d / "one-too-many")


def test_what_a_rule_ignores_under_one_of_its_names_stays(m, d):
    (d / ".shoalignore").write_text("*.log\n*.bak\n")
    m.settle_and_sync()
    (d / "a.log").write_text("a")
    os.link(d / "a.log", d / "b.bak")
    m.remote_put("c/.shoalignore", "*.bak\n")
    m.sync()
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/.shoalignore"]
    (d / "b.bak").unlink()
    wait_until(lambda: m.settle_and_sync() or "c/a.log" in m.remote_paths(), what="a.log to be shared")


def test_a_place_that_was_left_is_not_revived(m, d):
    (d / "a.txt").write_text("a\n")
    os.link(d / "a.txt", d / "b.txt")
    m.settle_and_sync()
    with (d / "b.txt").open("a") as f:
        f.write("more\n")
        f.flush()
        (d / "a.txt").unlink()
        m.ask("rm", "c/a.txt")
        m.ask("rm", "c/b.txt")
        m.sync()
        m.settle()
    m.settle_and_sync()
    assert "a.txt" not in os.listdir(d) or "b.txt" not in os.listdir(d)


def test_ctime_of_a_remote_unlink(m, d):
    m.new_document("c/a.json", {"n": 1})
    os.link(d / "a.json", d / "b.json")
    m.settle_and_sync()
    before = (d / "a.json").stat()
    m.ask("rm", "c/b.json")
    m.sync()
    m.settle()
    wait_until(lambda: (d / "a.json").stat().st_nlink == 1, what="the other name to go")
    assert (d / "a.json").stat().st_ctime_ns > before.st_ctime_ns


def test_many_names(m, d):
    (d / "a").write_text("a")
    m.settle()
    for n in range(999):
        os.link(d / "a", d / f"n{n}")
    fails_with(errno.EMLINK, os.link, d / "a", d / "one-too-many")
    begin = time.monotonic()
    assert all(e.stat().st_nlink == 1000 for e in os.scandir(d))
    assert time.monotonic() - begin < 20
