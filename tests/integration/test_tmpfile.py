# SPDX-License-Identifier: GPL-2.0-or-later
"""Files that are made without a name (O_TMPFILE), and get one, or none."""
import contextlib
import errno
import json
import os
import random
import stat
import subprocess

import pytest

from lab import wait_for
from test_mount import fails_with
from test_upgrade import settled, upgrade


def nameless(directory, flags=os.O_RDWR, mode=0o640):
    return os.open(directory, os.O_TMPFILE | os.O_CLOEXEC | flags, mode)


def name_it(fd, path):
    # With a descriptor of a directory (which an absolute path does not need) it is linkat(AT_SYMLINK_FOLLOW).
    os.link(f"/proc/self/fd/{fd}", path, src_dir_fd=fd)


def test_nobody_sees_it(m, d):
    fd = nameless(d)
    assert os.write(fd, b"nobody sees this") == 16
    os.fsync(fd)
    assert os.pread(fd, 100, 7) == b"sees this"
    found = os.fstat(fd)
    assert found.st_nlink == 0 and found.st_size == 16
    assert stat.S_IMODE(found.st_mode) == 0o640
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, 6)
    assert os.pread(fd, 100, 0) == b"nobody" and stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    assert os.listdir(d) == []
    m.settle_and_sync()
    assert m.remote_paths() == ["c"]
    os.close(fd)
    d.rmdir()


def test_it_gets_a_name(m, d):
    fd = nameless(d)
    os.write(fd, b"words\n")
    os.utime(fd, ns=(10**18, 10**18))
    number = os.fstat(fd).st_ino
    (d / "taken").write_text("here first")
    fails_with(errno.EEXIST, name_it, fd, d / "taken")
    name_it(fd, d / "a.txt")
    found = (d / "a.txt").stat()
    assert (found.st_ino, found.st_nlink, found.st_size, found.st_mtime_ns) == (number, 1, 6, 10**18)
    os.write(fd, b"more\n")
    os.close(fd)
    assert (d / "a.txt").read_text() == "words\nmore\n"
    os.link(d / "a.txt", d / "b.txt")
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.txt", "c/b.txt", "c/taken"]
    assert m.remote_bytes("c/a.txt") == m.remote_bytes("c/b.txt") == b"words\nmore\n"
    assert (d / "taken").read_text() == "here first"
    assert stat.S_IMODE((d / "a.txt").stat().st_mode) == 0o640
    (d / "a.txt").unlink()
    assert (d / "b.txt").read_text() == "words\nmore\n"


def test_its_time_is_kept(m, d):
    fd = nameless(d)
    os.write(fd, b"old\n")
    os.utime(fd, ns=(10**18, 10**18))
    name_it(fd, d / "old.txt")
    os.close(fd)
    m.settle_and_sync()
    assert (d / "old.txt").stat().st_mtime_ns == 10**18


def test_what_may_have_none(m, d):
    """O_EXCL says so. Unlinked files may have none again."""
    fd = nameless(d, os.O_RDWR | os.O_EXCL)
    fails_with(errno.ENOENT, name_it, fd, d / "x")
    os.close(fd)
    fd = nameless(d)
    name_it(fd, d / "y")
    os.unlink(d / "y")
    fails_with(errno.ENOENT, name_it, fd, d / "z")
    os.close(fd)
    assert os.listdir(d) == []


def test_a_scrap_stays_here(m, d):
    fd = nameless(d)
    os.write(fd, b"x")
    name_it(fd, d / ".a.txt.swp")
    os.close(fd)
    m.settle_and_sync()
    assert m.remote_paths() == ["c"] and (d / ".a.txt.swp").read_text() == "x"


@pytest.mark.parametrize("way", ["rename", "unlink"])
def test_it_saves_a_document(m, d, way):
    """Under another name, which is renamed over the document; or under its own, which was taken
    away before. What was changed elsewhere meanwhile stays, and so does the document."""
    m.new_document("c/d.json", {"a": 1, "b": 1})
    before = os.getxattr(d / "d.json", "user.shoal.version")
    document = m.json("c/d.json")
    fd = nameless(d)
    m.remote_set("c/d.json", b=2)
    document["a"] = 2
    os.write(fd, json.dumps(document, indent=2).encode() + b"\n")
    os.fsync(fd)
    if way == "rename":
        name_it(fd, d / "d.json.AbC1dE")
        os.rename(d / "d.json.AbC1dE", d / "d.json")
    else:
        os.unlink(d / "d.json")
        name_it(fd, d / "d.json")
    os.close(fd)
    m.settle_and_sync()
    assert m.json("c/d.json") == m.remote_json("c/d.json") == {"a": 2, "b": 2}
    assert m.remote_paths() == ["c", "c/d.json"] and os.listdir(d) == ["d.json"]
    assert before != os.getxattr(d / "d.json", "user.shoal.version")


def test_no_document_is_refused(m, d):
    """As from whoever makes the file under its name. It has none yet then, and may be put right."""
    m.new_document("c/d.json", {"a": 1})
    fd = nameless(d)
    os.write(fd, b'{"a": ')
    os.unlink(d / "d.json")
    fails_with(errno.EINVAL, name_it, fd, d / "d.json")
    assert os.fstat(fd).st_nlink == 0 and os.pread(fd, 100, 0) == b'{"a": '
    os.pwrite(fd, b'{"a": 2}\n', 0)
    name_it(fd, d / "other.json")
    os.close(fd)
    m.settle_and_sync()
    assert m.remote_json("c/other.json") == {"a": 2}


@pytest.mark.parametrize("where", [".shoal", "ignored"])
def test_where_it_cannot_be(m, d, where):
    (d / ".shoalignore").write_text("ignored\n")
    (d / "ignored").mkdir()
    directory = d / "ignored" if where == "ignored" else m.dir / ".shoal"
    fails_with(errno.EOPNOTSUPP, nameless, directory)


def test_a_large_one(m, d):
    whole = random.Random(5).randbytes(24 << 20)
    fd = nameless(d)
    for at in range(0, len(whole), 1 << 20):
        os.pwrite(fd, whole[at:at + (1 << 20)], at)
    name_it(fd, d / "film")
    os.close(fd)
    m.settle()
    assert (d / "film").read_bytes() == whole


def test_across_an_upgrade(lab):
    host = lab.host("anna")
    host.up()
    directory = host.dir / "c"
    directory.mkdir()
    fd = nameless(directory)
    os.write(fd, b"begun ")
    upgrade(host)
    os.write(fd, b"and done\n")
    name_it(fd, directory / "a.txt")
    upgrade(host)
    os.close(fd)
    settled(host)
    assert (directory / "a.txt").read_text() == "begun and done\n"


@pytest.mark.parametrize("size", [100, 3 << 20], ids=["small", "large"])
def test_what_was_synced_is_there_after_a_crash(lab, size):
    """fsync of the file, a name, fsync of the directory."""
    host = lab.host("anna")
    host.up()
    directory = host.dir / "c"
    directory.mkdir()
    whole = random.Random(size).randbytes(size)
    top = os.open(directory, os.O_RDONLY)
    fd = nameless(directory)
    os.write(fd, whole)
    os.fsync(fd)
    name_it(fd, directory / "a.bin")
    os.fsync(top)
    host.kill9()
    for open_file in (top, fd):
        with contextlib.suppress(OSError):  # nobody hears of it
            os.close(open_file)
    host.up()
    assert (directory / "a.bin").read_bytes() == whole
    assert host.shoal("verify", "--json")["errors"] == 0


def test_many_that_get_none(lab):
    """Nothing of them is left: no descriptor of the daemon's, no room on the disk."""
    host = lab.host("anna")
    host.up()

    def descriptors():
        return len(os.listdir(f"/proc/{host.daemon_pid()}/fd"))

    before = descriptors()
    for _ in range(200):
        fd = nameless(host.dir)
        os.write(fd, b"x" * (2 << 20))
        os.close(fd)
    wait_for(lambda: descriptors() <= before + 10)
    used = subprocess.run(["du", "-s", "-B1", host.store], check=True, capture_output=True, timeout=30)
    assert int(used.stdout.split()[0]) < 100 << 20
    assert host.shoal("verify", "--json")["errors"] == 0
