# SPDX-License-Identifier: GPL-2.0-or-later
"""The mounted directory as programs know file systems, and what is Shoal's own about it."""
import ctypes
import errno
import hashlib
import json
import mmap
import multiprocessing
import os
import random
import shutil
import stat
import subprocess

import pytest

from fsmount import Failed, Mount, wait_until


def run(*command, **options):
    return subprocess.run(command, check=True, timeout=120, capture_output=True, text=True,
                          **options)


def fails_with(number, call, *args, **more):
    with pytest.raises(OSError) as caught:
        call(*args, **more)
    assert caught.value.errno == number, caught.value
    return caught.value


def write_raw(path, data, flags=os.O_WRONLY | os.O_TRUNC):
    """Writes and closes, with the error of each."""
    fd = os.open(path, flags, 0o644)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def renameat2(a, b, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, bytes(a), -100, bytes(b), flags) < 0:
        raise OSError(ctypes.get_errno(), f"renameat2 {a} {b}")


RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2


# ---- files ----


def test_bytes_come_back(m, d):
    for n in (0, 1, 4095, 4096, 4097, 70000, 3 << 20):
        data = random.Random(n).randbytes(n)
        p = d / f"b{n}.bin"
        p.write_bytes(data)
        assert p.read_bytes() == data and p.stat().st_size == n
    m.settle_and_sync()
    for n in (0, 1, 4095, 4096, 4097, 70000, 3 << 20):
        data = random.Random(n).randbytes(n)
        assert (d / f"b{n}.bin").read_bytes() == data
        assert m.remote_bytes(f"c/b{n}.bin") == data


def test_inode_size_and_mtime_survive_settling(m, d):
    p = d / "x.json"
    p.write_text('{"a": 1}')
    before = p.stat()
    m.settle()
    after = p.stat()
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == \
           (after.st_ino, after.st_size, after.st_mtime_ns)


def test_a_directorys_time_moves_at_once_and_stays(m, d):
    def moved(do):
        """The directory's time after `do`: later than before, and the same when all is settled."""
        before = d.stat()
        do()
        at_once = d.stat()
        m.settle()
        os.listdir(d)
        later = d.stat()
        assert before.st_mtime_ns < at_once.st_mtime_ns == later.st_mtime_ns
        assert before.st_ctime_ns < at_once.st_ctime_ns
        return later.st_mtime_ns

    moved(lambda: (d / "a.json").write_text("{}"))
    moved(lambda: (d / "b.txt").write_text("b"))
    moved(lambda: (d / "a.json").unlink())
    moved(lambda: (d / "b.txt").rename(d / "c.txt"))
    moved(lambda: (d / "s").mkdir())
    moved(lambda: (d / "c.txt").rename(d / "s" / "c.txt"))
    moved(lambda: (d / "l").symlink_to("s"))
    last = moved(lambda: (d / "s" / "c.txt").rename(d / "e.txt"))
    (d / "e.txt").write_text("more")
    (d / ".e.txt.swp").write_text("litter of an editor")
    m.settle()
    assert d.stat().st_mtime_ns == last, "what does not come or go, or never leaves, does not count"
    (d / "new.json").write_text("{}")
    os.utime(d, ns=(1, 1_600_000_000_123_456_789))
    (d / "e.txt").unlink()
    os.utime(d, ns=(1, 1_600_000_000_123_456_789))
    m.settle()
    os.listdir(d)
    assert d.stat().st_mtime_ns == 1_600_000_000_123_456_789, "a time set afterwards stays"


def test_a_fresh_file_is_what_was_written(m, d):
    text = '{ "b":1,\n"a" : [ 1,2 ] }'
    (d / "odd.json").write_text(text)
    m.settle_and_sync()
    assert (d / "odd.json").read_text() == text
    assert m.remote_bytes("c/odd.json").decode() == text


def test_too_big_is_said_while_writing(m, d):
    m.new_document("c/big.json", {"a": 1})
    fd = os.open(d / "big.json", os.O_WRONLY)
    fails_with(errno.EFBIG, os.pwrite, fd, b"x", 16 << 20)
    fails_with(errno.EFBIG, os.ftruncate, fd, (16 << 20) + 1)
    os.close(fd)
    assert m.json("c/big.json") == {"a": 1}


def test_other_files_have_no_limit(m, d):
    fd = os.open(d / "big", os.O_WRONLY | os.O_CREAT)
    os.pwrite(fd, b"x", (64 << 20) - 1)
    os.pwrite(fd, b"y", 64 << 20)
    os.ftruncate(fd, 1 << 42)
    os.close(fd)
    m.settle_and_sync()
    status = (d / "big").stat()
    assert status.st_size == 1 << 42 and status.st_blocks * 512 <= 2 * 65536
    with open(d / "big", "rb") as f:
        f.seek((64 << 20) - 1)
        assert f.read(3) == b"xy\0"


def test_append(m, d):
    p = d / "log.txt"
    for i in range(20):
        with open(p, "a") as f:
            f.write(f"{i}\n")
        if i == 10:
            m.settle()
    assert p.read_text() == "".join(f"{i}\n" for i in range(20))


def test_truncate(m, d):
    p = d / "t.bin"
    p.write_bytes(b"0123456789")
    m.settle()
    os.truncate(p, 4)
    assert p.read_bytes() == b"0123"
    os.truncate(p, 8)
    assert p.read_bytes() == b"0123\0\0\0\0"
    m.settle_and_sync()
    assert m.remote_bytes("c/t.bin") == b"0123\0\0\0\0"


def test_open_unlinked_files_go_on(m, d):
    for settled in (False, True):
        p = d / "u.txt"
        p.write_text("there")
        if settled:
            m.settle()
        with open(p, "r+") as f:
            p.unlink()
            assert not p.exists() and f.read() == "there"
            f.write(" and more")
            f.seek(0)
            assert f.read() == "there and more"
            assert os.fstat(f.fileno()).st_nlink == 0
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


def test_replaced_while_open(m, d):
    p = d / "r.txt"
    p.write_text("old")
    m.settle()
    with open(p) as f:
        (d / "new").write_text("new")
        os.replace(d / "new", p)
        assert f.read() == "old"
    assert p.read_text() == "new"


def test_names(m, d):
    (d / "ünïcode \n name").write_text("x")
    (d / ("n" * 255)).write_text("y")
    fails_with(errno.ENAMETOOLONG, (d / ("n" * 256)).write_text, "z")
    m.settle()
    assert sorted(os.listdir(d)) == sorted(["ünïcode \n name", "n" * 255])


def test_symbolic_links(m, d):
    os.symlink("../somewhere/else", d / "l")
    assert os.readlink(d / "l") == "../somewhere/else"
    assert os.lstat(d / "l").st_size == len("../somewhere/else")
    fails_with(errno.EEXIST, os.symlink, "x", d / "l")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/l"]
    os.unlink(d / "l")
    assert not os.path.lexists(d / "l")


def test_a_link_to_a_backup_name_is_a_copy(m, d):
    m.new_document("c/a.json", {"a": 1})
    os.link(d / "a.json", d / "a.json~")
    assert json.loads((d / "a.json~").read_text()) == {"a": 1}
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.json"]


def test_modes_and_times(m, d):
    p = d / "m.txt"
    p.write_text("x")
    m.settle()
    p.chmod(0o640)
    os.utime(p, ns=(1, 1_600_000_000_123_456_789))
    s = p.stat()
    assert stat.S_IMODE(s.st_mode) == 0o640 and s.st_mtime_ns == 1_600_000_000_123_456_789
    m.settle_and_sync()
    s = p.stat()
    assert stat.S_IMODE(s.st_mode) == 0o640 and s.st_mtime_ns == 1_600_000_000_123_456_789


# ---- directories and renames ----


def test_directories(m, d):
    (d / "sub").mkdir()
    (d / "sub/f.txt").write_text("x")
    fails_with(errno.ENOTEMPTY, os.rmdir, d / "sub")
    fails_with(errno.EEXIST, os.mkdir, d / "sub")
    fails_with(errno.ENOTDIR, os.rmdir, d / "sub/f.txt")
    (d / "other").mkdir()
    fails_with(errno.EISDIR, os.rename, d / "sub/f.txt", d / "other")
    fails_with(errno.ENOTDIR, os.rename, d / "other", d / "sub/f.txt")
    (d / "other").rmdir()
    (d / "sub/f.txt").unlink()
    (d / "sub").rmdir()
    assert os.listdir(d) == []


@pytest.mark.parametrize("settled", [False, True])
def test_rename(m, d, settled):
    for name in "ab":
        (d / f"{name}.txt").write_text(name)
    if settled:
        m.settle()
    os.rename(d / "a.txt", d / "c.txt")
    assert sorted(os.listdir(d)) == ["b.txt", "c.txt"]
    os.rename(d / "c.txt", d / "b.txt")
    assert os.listdir(d) == ["b.txt"] and (d / "b.txt").read_text() == "a"
    fails_with(errno.ENOENT, os.rename, d / "c.txt", d / "d.txt")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/b.txt"] and m.remote_bytes("c/b.txt") == b"a"


def test_rename_keeps_a_documents_identity(m, d):
    m.new_document("c/a.json", {"a": 1})
    before = os.getxattr(d / "a.json", "user.shoal.id")
    os.rename(d / "a.json", d / "b.json")
    assert os.getxattr(d / "b.json", "user.shoal.id") == before
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/b.json"]


def test_rename_flags(m, d):
    for settled in (False, True):
        (d / "a").write_text("A")
        (d / "b").write_text("B")
        if settled:
            m.settle()
        fails_with(errno.EEXIST, renameat2, d / "a", d / "b", RENAME_NOREPLACE)
        renameat2(d / "a", d / "b", RENAME_EXCHANGE)
        assert (d / "a").read_text() == "B" and (d / "b").read_text() == "A"
        fails_with(errno.ENOENT, renameat2, d / "a", d / "none", RENAME_EXCHANGE)
    m.settle_and_sync()
    assert m.remote_bytes("c/a") == b"B" and m.remote_bytes("c/b") == b"A"


def test_exchange_of_a_fifo_and_a_new_file(m, d):
    """Each stays what it is, and what can be shared is, in whichever place it ends."""
    os.mkfifo(d / "a")
    (d / "b").write_text("B")
    os.mkfifo(d / "x")
    (d / "y.tmp").write_text("Y")
    renameat2(d / "a", d / "b", RENAME_EXCHANGE)
    renameat2(d / "y.tmp", d / "x", RENAME_EXCHANGE)
    m.settle_and_sync()
    m.stop()
    m.start()
    assert stat.S_ISFIFO((d / "b").stat().st_mode) and (d / "a").read_text() == "B"
    assert stat.S_ISFIFO((d / "y.tmp").stat().st_mode) and (d / "x").read_text() == "Y"
    assert m.remote_paths() == ["c", "c/a", "c/x"]


def test_exchange_of_a_document_and_a_new_file(m, d):
    m.new_document("c/a.json", {"n": 1})
    (d / "b.txt").write_text('{"n": 2}')
    (d / "new.tmp").write_text('{"n": 3}')
    renameat2(d / "b.txt", d / "a.json", RENAME_EXCHANGE)
    assert m.json("c/a.json") == {"n": 2} and m.json("c/b.txt") == {"n": 1}
    renameat2(d / "a.json", d / "new.tmp", RENAME_EXCHANGE)
    assert m.json("c/a.json") == {"n": 3} and m.json("c/new.tmp") == {"n": 2}
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.json", "c/b.txt"]
    assert m.remote_json("c/a.json") == {"n": 3} and m.remote_json("c/b.txt") == {"n": 1}


def test_directory_trees_move(m, d):
    (d / "t/u").mkdir(parents=True)
    (d / "t/u/f.json").write_text("{}")
    m.settle()
    os.rename(d / "t", d / "v")
    assert (d / "v/u/f.json").read_text() == "{}"
    fails_with(errno.EINVAL, os.rename, d / "v", d / "v/u/w")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/v", "c/v/u", "c/v/u/f.json"]
    shutil.rmtree(d / "v")
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


def test_ten_thousand_files_in_a_directory(m, d):
    names = [f"f{i:05}.json" for i in range(10000)]
    for i, name in enumerate(names):
        fd = os.open(d / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        os.write(fd, b'{"n": %d}' % i)
        os.close(fd)
    assert sorted(os.listdir(d)) == names
    m.settle()
    assert sorted(os.listdir(d)) == names
    assert all(e.stat().st_size > 7 for e in os.scandir(d))
    inodes = {e.name: e.inode() for e in os.scandir(d)}
    assert inodes == {n: os.stat(d / n).st_ino for n in names}, "d_ino is st_ino"
    for name in names[::2]:
        os.unlink(d / name)
    assert sorted(os.listdir(d)) == names[1::2]
    shutil.rmtree(d)
    assert not d.exists()


def test_local_names_stay_here(m, d):
    names = [".d.json.swp", "d.json~", "4913", "#d.json#", ".#d.json", "sedAb12Cd", "x.tmp",
             ".goutputstream-ABCDEF", ".~lock.d.odt#", "base.db-journal", ".nfs0001"]
    for name in names:
        (d / name).write_text(name)
    (d / "real.txt").write_text("x")
    m.settle_and_sync()
    assert sorted(os.listdir(d)) == sorted(names + ["real.txt"])
    assert m.remote_paths() == ["c", "c/real.txt"]
    # and are still there after a restart
    m.stop()
    m.start()
    assert sorted(os.listdir(d)) == sorted(names + ["real.txt"])
    for name in names:
        assert (d / name).read_text() == name
        (d / name).unlink()


# ---- documents ----


def test_bad_json_is_a_draft(m, d):
    m.new_document("c/a.json", {"n": 1})
    p = d / "a.json"
    version = os.getxattr(p, "user.shoal.version")
    bad = b'{"n": 1,\n "m" 2}\n'
    fails_with(errno.EINVAL, write_raw, p, bad)
    assert p.read_bytes() == bad and p.stat().st_size == len(bad)
    assert os.getxattr(p, "user.shoal.state") == b"draft"
    assert os.getxattr(p, "user.shoal.version") == version
    assert b"line 2, column" in os.getxattr(p, "user.shoal.error")
    assert m.drafts() == ["c/a.json"]
    assert (m.path(".shoal/drafts/c/a.json")).read_bytes() == bad
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == {"n": 1}
    # it survives a crash of the daemon
    m.kill()
    m.start()
    assert p.read_bytes() == bad and os.getxattr(p, "user.shoal.state") == b"draft"
    # a change arrives, then a good save of what was read before it
    m.remote_set("c/a.json", other=5)
    assert p.read_bytes() == bad
    write_raw(p, b'{"n": 1, "m": 2}\n')
    m.settle_and_sync()
    assert m.json("c/a.json") == {"n": 1, "m": 2, "other": 5}
    assert m.remote_json("c/a.json") == {"n": 1, "m": 2, "other": 5}
    assert m.drafts() == []
    fails_with(errno.ENODATA, os.getxattr, p, "user.shoal.error")


def test_bad_json_by_rename(m, d):
    m.new_document("c/a.json", {"n": 1})
    (d / "t").write_text("{bad")
    fails_with(errno.EINVAL, os.rename, d / "t", d / "a.json")
    assert (d / "a.json").read_text() == "{bad" and (d / "t").read_text() == "{bad"
    (d / "t").unlink()
    assert (d / "a.json").read_text() == "{bad", "the text is not lost with the temp file"
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == {"n": 1}
    write_raw(d / "a.json", b'{"n": 2}')
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == {"n": 2}


def test_bad_json_by_fsync(m, d):
    m.new_document("c/a.json", {"n": 1})
    fd = os.open(d / "a.json", os.O_WRONLY | os.O_TRUNC)
    os.write(fd, b"{")
    fails_with(errno.EINVAL, os.fsync, fd)
    os.write(fd, b'"n": 3}')
    os.fsync(fd)
    os.close(fd)
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == {"n": 3} and m.drafts() == []


def test_a_new_file_that_is_no_json_is_kept(m, d):
    p = d / "n.json"
    write_raw(p, b"not yet", os.O_WRONLY | os.O_CREAT)
    m.settle_and_sync()
    assert p.read_text() == "not yet" and m.remote_bytes("c/n.json") == b"not yet"
    write_raw(p, b'{"now": true}')
    m.settle_and_sync()
    assert m.remote_json("c/n.json") == {"now": True}
    assert os.getxattr(p, "user.shoal.kind") == b"document"


def test_strict():
    m = Mount("strict")
    try:
        m.path("c").mkdir()
        p = m.path("c/n.json")
        fails_with(errno.EINVAL, write_raw, p, b"not json", os.O_WRONLY | os.O_CREAT)
        assert p.read_bytes() == b"not json"
        m.settle_and_sync()
        assert m.remote_paths() == ["c"]
        write_raw(p, b"[1]")
        m.settle_and_sync()
        assert m.remote_json("c/n.json") == [1]
    finally:
        m.close()


def test_lenient():
    m = Mount("lenient")
    try:
        m.new_document("c/a.json", {"n": 1})
        write_raw(m.path("c/a.json"), b"{bad")
        m.path("c/t").write_text("{worse")
        os.rename(m.path("c/t"), m.path("c/a.json"))
        assert m.path("c/a.json").read_text() == "{worse"
        assert os.getxattr(m.path("c/a.json"), "user.shoal.state") == b"draft"
        m.settle_and_sync()
        assert m.remote_json("c/a.json") == {"n": 1}
    finally:
        m.close()


# ---- new documents: closed, but not settled yet ----

GOOD, BAD = b'{"a": 1}\n', b'{"a": 1,\n'


def truncating(p):
    write_raw(p, BAD)


def appending(p):
    write_raw(p, b"}", os.O_WRONLY | os.O_APPEND)


def in_place(p):
    write_raw(p, BAD, os.O_RDWR)


def by_creating(p):
    write_raw(p, BAD, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)


def by_path(p):
    os.truncate(p, 5)


def by_rename(p):
    write_raw(p.with_name("t"), BAD, os.O_WRONLY | os.O_CREAT)
    os.rename(p.with_name("t"), p)


def by_exchange(p):
    write_raw(p.with_name("t"), BAD, os.O_WRONLY | os.O_CREAT)
    renameat2(p, p.with_name("t"), RENAME_EXCHANGE)


def by_backup_name(p):
    os.rename(p, p.with_name(p.name + "~"))
    by_creating(p)


def by_mapping(p):
    fd = os.open(p, os.O_RDWR)
    with mmap.mmap(fd, 0) as view:
        view[0:1] = b"["
        view.flush()
    os.close(fd)


def with_tools(p):
    p.with_name("bad.txt").write_bytes(BAD)
    done = subprocess.run(["cp", p.with_name("bad.txt"), p], capture_output=True)
    if done.returncode:
        raise OSError(errno.EINVAL if b"Invalid argument" in done.stderr else 0, done.stderr)


SAVES = [truncating, appending, in_place, by_creating, by_path, by_rename, by_exchange,
         by_backup_name, by_mapping, with_tools]


@pytest.mark.parametrize("save", SAVES)
def test_bad_json_over_a_document_that_is_new(m, d, save):
    p = d / "f.json"
    write_raw(p, GOOD, os.O_WRONLY | os.O_CREAT)
    fails_with(errno.EINVAL, save, p)
    assert os.getxattr(p, "user.shoal.state") == b"draft"
    assert os.getxattr(p, "user.shoal.kind") == b"document"
    assert b"line " in os.getxattr(p, "user.shoal.error")
    bad = p.read_bytes()
    assert bad != GOOD and m.drafts() == ["c/f.json"]
    m.settle_and_sync()
    assert m.remote_bytes("c/f.json") == GOOD and p.read_bytes() == bad
    write_raw(p, b'{"a": 2}')
    m.settle_and_sync()
    assert m.remote_json("c/f.json") == {"a": 2} and m.drafts() == []


@pytest.mark.parametrize("made", ["echo '{\"a\":1}' > f.json",
                                  "{ printf '{\"a\"'; cat rest; } > f.json",
                                  "echo '{\"a\":1}' | tee f.json",
                                  "(echo '{\"a\":1}' > t && mv t f.json)"])
def test_bad_json_over_what_a_shell_made(m, d, made):
    (m.top / "rest").write_text(":1}\n")
    shutil.copy(m.top / "rest", d / "rest")
    done = subprocess.run(["bash", "-c", f"{made}; printf '{{\"a\":' > f.json; cat f.json"], cwd=d,
                          capture_output=True, text=True)
    assert done.stdout.endswith('{"a":')
    assert m.drafts() == ["c/f.json"]
    m.settle_and_sync()
    assert m.remote_bytes("c/f.json") == b'{"a":1}\n'


def test_emptied_by_path_is_a_draft_too(m, d):
    p = d / "f.json"
    p.write_bytes(GOOD)
    os.truncate(p, 0)
    m.settle_and_sync()
    assert m.drafts() == ["c/f.json"] and p.read_bytes() == b""
    assert m.remote_bytes("c/f.json") == GOOD


def test_a_good_save_of_a_new_document_is_an_edit(m, d):
    for k, save in enumerate((lambda p: p.write_bytes(b'{"a": 2}'),
                              lambda p: (p.with_name("t").write_bytes(b'{"a": 2}'),
                                         os.rename(p.with_name("t"), p)))):
        p = d / f"{k}.json"
        p.write_bytes(GOOD)
        os.close(os.open(p, os.O_WRONLY))
        before = os.getxattr(p, "user.shoal.id")
        save(p)
        assert os.getxattr(p, "user.shoal.id") == before
        m.settle_and_sync()
        assert m.remote_json(f"c/{k}.json") == {"a": 2}


def test_a_first_write_that_goes_on_is_no_document(m, d):
    p = d / "f.json"
    fd = os.open(p, os.O_WRONLY | os.O_CREAT)
    os.write(fd, GOOD)
    os.fsync(fd)
    os.close(os.open(p, os.O_WRONLY))    # closed by one who wrote nothing
    write_raw(p, BAD)
    assert os.getxattr(p, "user.shoal.kind") == b"local"
    os.close(fd)
    m.settle_and_sync()
    assert m.drafts() == [] and os.getxattr(p, "user.shoal.kind") == b"text"


def test_a_shell_that_writes_on_and_on(m, d):
    """Each echo closes a copy of the descriptor, which looks as if the file were closed."""
    run("bash", "-c", "exec 3> f.json; echo '{}' >&3; cat f.json; echo '{}' >&3; exec 3>&-", cwd=d)
    m.settle_and_sync()
    assert m.drafts() == [] and m.remote_bytes("c/f.json") == b"{}\n{}\n"


def test_a_handle_from_before_the_document(m, d):
    p = d / "f.json"
    early = os.open(p, os.O_WRONLY | os.O_CREAT)
    write_raw(p, GOOD)
    os.ftruncate(early, 0)
    os.write(early, BAD)
    fails_with(errno.EINVAL, os.close, early)
    assert p.read_bytes() == BAD and m.drafts() == ["c/f.json"]
    m.settle_and_sync()
    assert m.remote_bytes("c/f.json") == GOOD


def test_a_new_scrap_is_no_document(m, d):
    for name in (".#f.json", "~$f.json"):
        (d / name).write_bytes(GOOD)
        write_raw(d / name, BAD)
        assert os.getxattr(d / name, "user.shoal.state") == b"local"
    m.settle_and_sync()
    assert m.drafts() == [] and m.remote_paths() == ["c"]


def test_what_became_of_a_new_document_survives_a_crash(m, d):
    p = d / "f.json"
    p.write_bytes(GOOD)
    fails_with(errno.EINVAL, write_raw, p, BAD)
    m.kill()
    m.start()
    assert p.read_bytes() == BAD and m.drafts() == ["c/f.json"]
    m.settle_and_sync()
    assert m.remote_bytes("c/f.json") == GOOD


def test_new_documents_in_a_strict_mount():
    m = Mount("strict")
    try:
        m.path("c").mkdir()
        p = m.path("c/n.json")
        fails_with(errno.EINVAL, write_raw, p, BAD, os.O_WRONLY | os.O_CREAT)
        fails_with(errno.EINVAL, write_raw, p, BAD)
        write_raw(p, GOOD)
        fails_with(errno.EINVAL, write_raw, p, BAD)
        assert p.read_bytes() == BAD
        m.settle_and_sync()
        assert m.remote_bytes("c/n.json") == GOOD
    finally:
        m.close()


def test_new_documents_in_a_lenient_mount():
    m = Mount("lenient")
    try:
        m.path("c").mkdir()
        p = m.path("c/n.json")
        p.write_bytes(GOOD)
        write_raw(p, BAD)
        assert p.read_bytes() == BAD and os.getxattr(p, "user.shoal.state") == b"draft"
        m.settle_and_sync()
        assert m.remote_bytes("c/n.json") == GOOD
    finally:
        m.close()


# ---- attributes ----


def test_extended_attributes(m, d):
    m.new_document("c/a.json", {"n": 1})
    p = d / "a.json"
    assert len(os.getxattr(p, "user.shoal.id")) == 32
    assert os.getxattr(p, "user.shoal.author") == b"11" * 16
    assert os.listxattr(p) == []
    os.setxattr(p, "user.colour", b"red")
    assert os.getxattr(p, "user.colour") == b"red" and os.listxattr(p) == ["user.colour"]
    fails_with(errno.EPERM, os.setxattr, p, "user.shoal.id", b"x")
    fails_with(errno.EOPNOTSUPP, os.setxattr, p, "system.posix_acl_access", b"x" * 28)
    fails_with(errno.EEXIST, os.setxattr, p, "user.colour", b"x", os.XATTR_CREATE)
    os.removexattr(p, "user.colour")
    fails_with(errno.ENODATA, os.getxattr, p, "user.colour")
    # of a file that has not settled: carried over
    (d / "new.txt").write_text("x")
    os.setxattr(d / "new.txt", "user.size", b"small")
    m.settle()
    assert os.getxattr(d / "new.txt", "user.size") == b"small"


# ---- changes from elsewhere ----


def test_remote_changes_show(m, d):
    m.new_document("c/a.json", {"n": 1})
    p = d / "a.json"
    for i in range(2, 30):
        body = {"n": i, "filling": "x" * random.Random(i).randrange(9000)}
        m.remote_put("c/a.json", json.dumps(body))
        m.sync()
        m.settle()
        assert m.json("c/a.json") == body
        assert p.stat().st_size == len(p.read_bytes())


def test_remote_names_show(m, d):
    assert not (d / "new.json").exists()      # a cached "no such file"
    assert os.listdir(d) == []
    m.settle_and_sync()
    m.remote_put("c/new.json", '{"a": 1}')
    m.ask("mkdir", "c/sub")
    m.sync()
    m.settle()
    assert (d / "new.json").read_text() == '{"a": 1}'
    assert sorted(os.listdir(d)) == ["new.json", "sub"]
    m.ask("mv", "c/new.json", "c/sub/moved.json")
    m.sync()
    m.settle()
    assert not (d / "new.json").exists() and (d / "sub/moved.json").read_text() == '{"a": 1}'
    m.ask("rm", "c/sub/moved.json")
    m.sync()
    m.settle()
    assert os.listdir(d / "sub") == []


def test_edit_beats_a_deletion_that_waits(m, d):
    m.new_document("c/a.json", {"n": 1})
    (d / "a.json").unlink()
    assert not (d / "a.json").exists()
    m.remote_put("c/a.json", '{"n": 2}')
    m.sync()
    m.settle()
    assert m.json("c/a.json") == {"n": 2}


def test_a_deletion_survives_a_crash(m, d):
    m.new_document("c/a.json", {"n": 1})
    (d / "a.json").unlink()
    m.kill()
    m.start()
    assert not (d / "a.json").exists()
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]


def test_new_files_survive_a_crash(m, d):
    (d / "a.json").write_text('{"n": 1}')
    (d / "big.bin").write_bytes(b"z" * 300000)
    (d / "a.json~").write_text("backup")
    m.kill()
    m.start()
    m.settle_and_sync()
    assert m.json("c/a.json") == {"n": 1}
    assert (d / "big.bin").read_bytes() == b"z" * 300000
    assert (d / "a.json~").read_text() == "backup"
    assert m.remote_paths() == ["c", "c/a.json", "c/big.bin"]


# ---- the mount itself ----


def test_a_dead_daemon_and_a_new_mount(m, d):
    (d / "a.txt").write_text("x")
    m.settle()
    m.kill()
    fails_with(errno.ENOTCONN, os.listdir, d)
    m.start()
    assert (d / "a.txt").read_text() == "x"


def test_a_file_that_settles_once_more(m, d):
    """As after a crash between the node and the end of the local file that it was."""
    with open(d / "a.txt", "w") as f:
        f.write("once\n")
        f.flush()
        m.ask("here", "c/a.txt", "once\n")
    m.settle_and_sync()
    assert m.remote_bytes("c/a.txt") == b"once\n" == (d / "a.txt").read_bytes()


def test_unmounting(m, d):
    (d / "a.txt").write_text("x")
    fd = os.open(d / "a.txt", os.O_WRONLY | os.O_APPEND)
    os.write(fd, b"y")
    with pytest.raises(Failed) as caught:
        m.ask("unmount")
    assert caught.value.errno == errno.EBUSY
    m.ask("force")
    fails_with(errno.ENOTCONN, os.write, fd, b"z")
    fails_with(errno.ENOTCONN, os.close, fd)
    assert os.listdir(m.dir) == []
    m.stop()
    m.start()
    assert (d / "a.txt").read_text() == "xy"


def test_unmounted_by_others(m, d):
    subprocess.run(["umount", m.dir], check=True)
    wait_until(lambda: b"ended" in (m.top / "log").read_bytes(), what="the daemon hears of it")


@pytest.mark.parametrize("options, message", [
    ("nonsense", "nonsense"), ("strict,lenient", "contradict"), ("uid=x", "uid=x")])
def test_bad_options(options, message):
    with pytest.raises(Failed, match=message):
        Mount(options)


def test_usual_options_are_accepted():
    m = Mount("defaults,noatime,x-systemd.automount,dev,suid,nofail,rw")
    assert any(f" {m.dir} fuse.shoal " in line for line in open("/proc/self/mounts"))
    m.close()


def test_read_only():
    m = Mount("ro")
    fails_with(errno.EROFS, os.mkdir, m.path("c"))
    m.close()


def test_shoal_directory(m, d):
    assert ".shoal" not in os.listdir(m.dir)
    assert json.loads(m.path(".shoal/status.json").read_text())["files"] >= 0
    assert sorted(os.listdir(m.path(".shoal"))) == ["at", "conflicts", "drafts", "fields",
                                                       "status.json"]
    fails_with(errno.EACCES, m.path(".shoal/status.json").write_text, "x")


# ---- whole programs ----


def digest(top):
    found = {}
    for at, dirs, files in os.walk(top):
        for name in files:
            p = os.path.join(at, name)
            with open(p, "rb") as f:
                found[os.path.relpath(p, top)] = hashlib.sha256(f.read()).hexdigest()
    return found


def make_tree(top, seed):
    rng = random.Random(seed)
    for i in range(150):
        p = top / f"d{rng.randrange(9)}" / f"e{rng.randrange(5)}" / f"f{i}.{rng.choice(['json', 'txt', 'bin'])}"
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_bytes(json.dumps({"n": i, "x": "y" * rng.randrange(2000)}).encode()
                      if p.suffix == ".json" else rng.randbytes(rng.randrange(20000)))
        if rng.random() < 0.2:
            p.chmod(0o755)


@pytest.mark.parametrize("how", ["cp", "tar", "rsync"])
def test_trees_are_copied_whole(m, d, how):
    source = m.top / "source"
    make_tree(source, 7)
    if how == "cp":
        run("cp", "-a", str(source), str(d / "t"))
    elif how == "tar":
        (d / "t").mkdir()
        run("tar", "-C", str(source), "-cf", str(m.top / "t.tar"), ".")
        run("tar", "-C", str(d / "t"), "-xf", str(m.top / "t.tar"))
    else:
        run("rsync", "-a", f"{source}/", str(d / "t"))
    assert digest(d / "t") == digest(source)
    m.settle_and_sync()
    assert digest(d / "t") == digest(source)
    run("diff", "-r", str(source), str(d / "t"))
    again = run("rsync", "-ani", f"{source}/", str(d / "t") + "/").stdout
    assert again == "", "times and modes are kept"
    assert len(run("find", str(d / "t"), "-type", "f").stdout.splitlines()) == 150
    for path, sha in digest(source).items():
        assert hashlib.sha256(m.remote_bytes(f"c/t/{path}")).hexdigest() == sha


def test_git(m, d):
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
           "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}

    def git(*words):
        return run("git", "-c", "safe.directory=*", *words, cwd=d, env=env).stdout
    git("init", "-q", "-b", "main")
    for i in range(30):
        (d / f"f{i}.txt").write_text(f"{i}\n" * 50)
    git("add", ".")
    git("commit", "-qm", "one")
    git("checkout", "-qb", "other")
    (d / "f1.txt").write_text("changed\n")
    git("commit", "-qam", "two")
    git("checkout", "-q", "main")
    git("merge", "-q", "other")
    git("gc", "-q")
    assert git("status", "--porcelain") == ""
    assert git("fsck", "--strict") == ""
    m.settle()
    assert git("status", "--porcelain") == ""


def test_sqlite(m, d):
    import sqlite3
    for mode in ("DELETE", "WAL"):
        db = sqlite3.connect(d / f"{mode}.db")
        db.execute(f"PRAGMA journal_mode={mode}")
        db.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)")
        for i in range(100):
            with db:
                db.execute("INSERT INTO t(b) VALUES (?)", (f"row {i}",))
        assert db.execute("SELECT count(*) FROM t").fetchone() == (100,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()


def read_and_write(directory, seed):
    """A process of its own: what a save changes is told by what its process had read last."""
    rng = random.Random(seed)
    for _ in range(60):
        p = directory / f"{rng.randrange(8)}.json"
        if rng.random() < 0.5:
            json.loads(p.read_bytes())
        else:
            document = json.loads(p.read_bytes())
            document["a"] = rng.randrange(1 << 30)
            temp = directory / f"t{seed}.{rng.randrange(1 << 30)}"
            temp.write_text(json.dumps(document))
            os.replace(temp, p)


def test_many_readers_and_writers(m, d):
    """Every read is one whole version; the last state is the same on both devices."""
    for i in range(8):
        m.new_document(f"c/{i}.json", {"a": 0, "b": 0, "fill": "x" * 3000})
    jobs = [multiprocessing.get_context("fork").Process(target=read_and_write, args=(d, seed))
            for seed in range(6)]
    for job in jobs:
        job.start()
    try:
        for k in range(20):
            m.remote_set(f"c/{k % 8}.json", b=k)
        for job in jobs:
            job.join(60)
        assert [job.exitcode for job in jobs] == [0] * 6
    finally:
        for job in jobs:
            job.kill()
            job.join()
    m.settle_and_sync()
    for i in range(8):
        assert m.remote_bytes(f"c/{i}.json") == (d / f"{i}.json").read_bytes()
        assert m.json(f"c/{i}.json")["b"] == max(k for k in range(20) if k % 8 == i)
    assert m.remote_paths() == ["c"] + [f"c/{i}.json" for i in range(8)]
