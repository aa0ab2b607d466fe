# SPDX-License-Identifier: GPL-2.0-or-later
"""What POSIX and Linux promise of what is in files and said about them: sizes, times, set-id bits, mappings,
locks, extended attributes, listings."""
import ctypes
import errno
import fcntl
import mmap
import os
import stat
import struct
import time

import pytest

from fsmount import Mount
from conformance import (ANA, AT_FDCWD, BEN, ELSEWHERE, FORMAT, TYPES, UTIME_NOW, UTIME_OMIT,
                         as_user, create, d, fails, libc, make, mode_of, mount, open_with, settle,
                         stays, times, updates, utimensat)

assert d and mount and settle  # fixtures


# ---- sizes ----


@pytest.mark.parametrize("by_handle", [False, True])
def test_truncate(d, settle, by_handle):
    p = d / "x"
    p.write_bytes(b"0123456789")

    def truncate(path, size, flags=os.O_RDWR):
        if not by_handle:
            os.truncate(path, size)
            return
        fd = os.open(path, flags)
        try:
            os.ftruncate(fd, size)
        finally:
            os.close(fd)

    for size in (5, 0, 1234567, 567):
        with updates(settle, mc=p):
            truncate(p, size)
        assert p.stat().st_size == size == len(p.read_bytes())
    os.chown(p, ANA, ANA)
    os.chmod(p, 0o444)
    with stays(settle, p):
        fails(errno.EACCES, truncate, p, 3, by=(ANA, ANA))
        fails(errno.EACCES, truncate, p, 3, by=(BEN, BEN))
        fails(errno.EINVAL, truncate, p, -1)
    assert p.stat().st_size == 567
    fails(errno.EISDIR, truncate, d, 3)
    if by_handle:
        fails(errno.EINVAL, truncate, p, 3, os.O_RDONLY)
        fd = os.open(p, os.O_WRONLY)
        os.chmod(p, 0)
        os.ftruncate(fd, 2)  # what was open stays open
        os.close(fd)
    else:
        (d / "link").symlink_to("x")
        os.truncate(d / "link", 2)
        fails(errno.EINVAL, os.truncate, make("fifo", d / "fifo"), 1)
    assert p.stat().st_size == 2
    fails(errno.EFBIG, truncate, p, 999999999999999)


def test_fallocate(d, settle):
    p = d / "x.bin"
    p.write_bytes(b"abc")
    fd = os.open(p, os.O_RDWR)
    with updates(settle, mc=p):
        os.posix_fallocate(fd, 1000, 500)
    assert p.stat().st_size == 1500
    fails(errno.EINVAL, os.posix_fallocate, fd, 0, 0)
    fails(errno.EINVAL, os.posix_fallocate, fd, -1, 1)
    os.close(fd)
    assert p.read_bytes() == b"abc" + bytes(1497)
    fd = os.open(p, os.O_RDONLY)
    fails(errno.EBADF, os.posix_fallocate, fd, 0, 1)
    os.close(fd)


def fallocate(fd, mode, offset, length):
    libc("fallocate", fd, mode, ctypes.c_long(offset), ctypes.c_long(length))


KEEP_SIZE, PUNCH_HOLE, COLLAPSE, ZERO_RANGE = 1, 2, 8, 16


@pytest.mark.parametrize("size", [10000, 300000, 3 << 20])
@pytest.mark.parametrize("fresh", [True, False])
def test_punching_holes(d, settle, size, fresh):
    """In a file that is being written and in a version that is on the disk; small and large."""
    p = d / "x.bin"
    want = bytearray(os.urandom(size))
    p.write_bytes(want)
    if not fresh:
        settle()
    fd = os.open(p, os.O_RDWR)
    for mode, at, n in ((PUNCH_HOLE | KEEP_SIZE, 100, 5000), (PUNCH_HOLE | KEEP_SIZE, size - 50, 4000),
                        (ZERO_RANGE | KEEP_SIZE, 6001, 7), (ZERO_RANGE | KEEP_SIZE, size - 3, 100)):
        fallocate(fd, mode, at, n)
        want[at:at + n] = bytes(len(want[at:at + n]))
        assert os.pread(fd, size + 10, 0) == want
    fallocate(fd, ZERO_RANGE, size - 10, 30)
    want[size - 10:] = bytes(30)
    if size > 1 << 20:
        hole = size // 3 // 4096 * 4096
        fallocate(fd, PUNCH_HOLE | KEEP_SIZE, hole, 1 << 20)
        want[hole:hole + (1 << 20)] = bytes(1 << 20)
        assert os.lseek(fd, 50000, os.SEEK_HOLE) == hole
        assert os.lseek(fd, hole + 100, os.SEEK_DATA) == hole + (1 << 20)
        os.pwrite(fd, b"data", hole + 5000)
        want[hole + 5000:hole + 5004] = b"data"
    fallocate(fd, KEEP_SIZE, 0, size * 2)
    assert os.fstat(fd).st_size == len(want)
    if not ELSEWHERE:
        fails(errno.EOPNOTSUPP, fallocate, fd, COLLAPSE, 0, 4096)
    os.close(fd)
    assert p.read_bytes() == want
    settle()
    assert p.read_bytes() == want and p.stat().st_size == len(want)


def test_the_largest_offset(d):
    p = d / "big.bin"
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"end", (1 << 40) - 3)
    assert os.fstat(fd).st_size == 1 << 40
    assert os.lseek(fd, 0, os.SEEK_DATA) >= (1 << 40) - (1 << 20)
    assert os.pread(fd, 10, (1 << 40) - 3) == b"end"
    os.close(fd)


# ---- times ----


@pytest.mark.parametrize("kind", TYPES)
def test_utimensat(d, settle, kind):
    p = make(kind, d / "x")
    nofollow = 0x100

    def got():
        s = os.lstat(p)
        return s.st_atime_ns, s.st_mtime_ns

    for a, m in ((1900000000_123456789, 1950000000_000000001), (1, 999999999), (-5_000000003, -1),
                 (2**31 * 10**9, 2**32 * 10**9 + 7)):
        before = os.lstat(p).st_ctime_ns
        time.sleep(0.002)
        utimensat(p, a, m, nofollow)
        assert got() == (a, m) and os.lstat(p).st_ctime_ns > before
        settle()
        assert got() == (a, m)
    a, m = got()
    utimensat(p, UTIME_OMIT, 17, nofollow)
    assert got() == (a, 17)
    utimensat(p, 19, UTIME_OMIT, nofollow)
    assert got() == (19, 17)
    with stays(settle, p):
        utimensat(p, UTIME_OMIT, UTIME_OMIT, nofollow)
    now = time.time_ns()
    utimensat(p, UTIME_NOW, UTIME_NOW, nofollow)
    assert all(now - 10**8 < t < now + 5 * 10**9 for t in got())
    os.lchown(p, ANA, ANA)
    if kind == "symlink":
        return
    os.chmod(p, 0o644)
    with stays(settle, p):
        fails(errno.EACCES, utimensat, p, UTIME_NOW, UTIME_NOW, by=(BEN, BEN))
        fails(errno.EPERM, utimensat, p, 1, 1, by=(BEN, BEN))
        fails(errno.EPERM, utimensat, p, UTIME_OMIT, 1, by=(BEN, BEN))
        fails(errno.EINVAL, libc, "utimensat", AT_FDCWD, p, struct.pack("qqqq", 0, 10**9, 0, 0), 0)
    os.chmod(p, 0o666)
    fails(errno.EPERM, utimensat, p, UTIME_NOW, UTIME_OMIT, by=(BEN, BEN))
    as_user((BEN, BEN), utimensat, p, UTIME_NOW, UTIME_NOW)
    as_user((ANA, ANA), utimensat, p, 5, 6)
    assert got() == (5, 6)


def test_times_beyond_all_years(d, settle):
    p = d / "x"
    create(p)
    for t in (2**62, -2**62):
        libc("utimensat", AT_FDCWD, p, struct.pack("qqqq", t, 0, t, 0), 0)
        settle()
        os.lstat(p)


def test_writing_changes_times(d, settle):
    p = d / "x.txt"
    create(p)
    fd = os.open(p, os.O_RDWR)
    with updates(settle, mc=p):
        os.write(fd, b"abc")
    with stays(settle, p):
        os.pread(fd, 3, 0)
        os.fsync(fd)
    seen = times(p)
    time.sleep(0.3)
    os.close(fd)
    assert times(p) == seen
    settle()
    assert times(p) == seen


# ---- set-id bits ----


def test_writing_takes_the_set_id_bits(d, settle):
    p = d / "x.bin"
    for settled in (False, True):
        for mode, want in ((0o4777, 0o777), (0o2777, 0o777), (0o6777, 0o777), (0o777, 0o777)):
            p.write_bytes(b"program")
            os.chown(p, ANA, ANA)
            os.chmod(p, mode)
            if settled:
                settle()
            as_user((BEN, BEN), write_at, p, b"P", 0)
            assert mode_of(p) == want, (settled, oct(mode))
            os.chmod(p, mode)
            as_user((BEN, BEN), os.truncate, p, 3)
            assert mode_of(p) == want, (settled, "truncate", oct(mode))
            os.chmod(p, mode)
            as_user((BEN, BEN), open_with, p, os.O_WRONLY | os.O_TRUNC)
            assert mode_of(p) == want, (settled, "O_TRUNC", oct(mode))
            os.chmod(p, mode)
            write_at(p, b"P", 0)  # root may
            assert mode_of(p) == mode


@pytest.fixture
def ignored():
    """A directory that a rule ignores."""
    m = Mount("allow_other,dev,suid")
    m.top.chmod(0o755)
    (m.dir / ".shoalignore").write_text("out/\n")
    m.settle()
    (m.dir / "out").mkdir()
    (m.dir / "out").chmod(0o777)
    yield m.dir / "out"
    m.close()


def test_writing_takes_the_set_id_bits_of_what_is_ignored(ignored):
    assert os.getxattr(ignored, "user.shoal.state") == b"local"
    p = ignored / "x.bin"
    p.write_bytes(b"program")
    for work in ((write_at, p, b"P", 0), (os.truncate, p, 3),
                 (open_with, p, os.O_WRONLY | os.O_TRUNC)):
        os.chmod(p, 0o6777)
        as_user((BEN, BEN), *work)
        assert mode_of(p) == 0o777, work
    os.chmod(p, 0o6777)
    os.chown(p, os.getuid(), os.getgid())
    assert mode_of(p) == 0o777


def write_at(path, data, offset):
    fd = os.open(path, os.O_WRONLY)
    os.pwrite(fd, data, offset)
    os.close(fd)


# ---- reading, writing, mapping, locking ----


def test_append(d):
    p = d / "log.txt"
    a = os.open(p, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    b = os.open(p, os.O_RDWR | os.O_APPEND)
    for n in range(20):
        os.write((a, b)[n % 2], b"%03d\n" % n)
        os.lseek(b, 0, os.SEEK_SET)
    os.close(a)
    assert os.pread(b, 100, 0) == b"".join(b"%03d\n" % n for n in range(20))
    os.close(b)


@pytest.mark.parametrize("settled", [False, True])
def test_mappings(d, settle, settled):
    p = d / "m.bin"
    want = bytearray(os.urandom(20000))
    p.write_bytes(want)
    if settled:
        settle()
    fd = os.open(p, os.O_RDWR)
    with mmap.mmap(fd, 20000, mmap.MAP_SHARED) as shared, \
            mmap.mmap(fd, 20000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as private:
        shared[5000:5003] = b"abc"
        want[5000:5003] = b"abc"
        assert os.pread(fd, 20000, 0) == want and private[5000:5003] == b"abc"
        private[0:4] = b"mine"
        assert os.pread(fd, 4, 0) == want[:4] and shared[0:4] == want[:4]
        os.pwrite(fd, b"xyz", 9000)
        want[9000:9003] = b"xyz"
        assert shared[:] == want
        shared.flush()
    os.close(fd)
    assert p.read_bytes() == want
    settle()
    assert p.read_bytes() == want


def test_locks(d):
    p = d / "l"
    create(p)
    fd = os.open(p, os.O_RDWR)
    fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)

    def lock(start, length):
        other = os.open(p, os.O_RDWR)
        fcntl.lockf(other, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)

    fails(errno.EAGAIN, lock, 7, 3, by=(0, 0))
    as_user((0, 0), lock, 15, 10)
    other = os.open(p, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX)
    fails(errno.EAGAIN, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(fd, fcntl.LOCK_UN)
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    os.close(fd)
    os.close(other)


def test_copy_file_range(d, settle):
    data = os.urandom(1 << 20)
    (d / "a.bin").write_bytes(data)
    settle()
    a, b = os.open(d / "a.bin", os.O_RDONLY), os.open(d / "b.bin", os.O_CREAT | os.O_RDWR)
    done = 0
    while done < len(data) - 1000:
        n = os.copy_file_range(a, b, len(data), 1000 + done, 10 + done)
        assert n > 0
        done += n
    os.close(a)
    os.close(b)
    assert (d / "b.bin").read_bytes() == bytes(10) + data[1000:]


@pytest.mark.parametrize("kind", ["regular", "dir"])
def test_extended_attributes(d, settle, kind):
    p = make(kind, d / "x")
    for settled in (False, True):
        with updates(settle, c=p):
            os.setxattr(p, "user.a", b"1" * 1000)
        os.setxattr(p, "user.empty", b"")
        assert sorted(os.listxattr(p)) == ["user.a", "user.empty"]
        assert os.getxattr(p, "user.a") == b"1" * 1000 and os.getxattr(p, "user.empty") == b""
        fails(errno.EEXIST, os.setxattr, p, "user.a", b"", os.XATTR_CREATE)
        fails(errno.ENODATA, os.setxattr, p, "user.b", b"", os.XATTR_REPLACE)
        fails(errno.ENODATA, os.getxattr, p, "user.b")
        fails(errno.ENODATA, os.removexattr, p, "user.b")
        fails(errno.ERANGE, os.setxattr, p, "user." + "n" * 251, b"")
        os.setxattr(p, "user." + "n" * 250, b"x")
        os.removexattr(p, "user." + "n" * 250)
        fails(errno.E2BIG, os.setxattr, p, "user.a", b"1" * 65537)
        with updates(settle, c=p):
            os.removexattr(p, "user.a")
        os.removexattr(p, "user.empty")
        assert os.listxattr(p) == []
        settle()


def test_listing_under_change(d, settle):
    """A name that is there all the time is seen exactly once, whatever comes and goes meanwhile."""
    lasting = {f"lasting{n:04}" for n in range(1500)}
    for n in lasting:
        create(d / n)
    settle()
    seen = []
    with os.scandir(d) as entries:
        for k, e in enumerate(entries):
            seen.append(e.name)
            create(d / f"new{k:04}")
            if k % 3 == 0:
                os.unlink(d / f"new{k:04}")
    assert len(seen) == len(set(seen)) and lasting <= set(seen)


def test_statfs(d):
    s = os.statvfs(d)
    assert s.f_namemax == 255 and s.f_bsize >= 512 and s.f_blocks >= s.f_bfree >= s.f_bavail > 0
    assert os.pathconf(d, "PC_NAME_MAX") == 255


def test_read_only():
    if ELSEWHERE:
        return
    m = Mount("allow_other")
    try:
        (m.dir / "d").mkdir()
        for kind in TYPES:
            make(kind, m.dir / "d" / kind)
        m.settle()
        m.stop()
        m.start("allow_other,ro")
        for call in (create, os.mkdir, os.mkfifo, lambda p: os.symlink("x", p)):
            fails(errno.EROFS, call, m.dir / "d" / "new")
        for kind in TYPES:
            p = m.dir / "d" / kind
            assert stat.S_IFMT(os.lstat(p).st_mode) == FORMAT[kind]
            fails(errno.EROFS, os.rmdir if kind == "dir" else os.unlink, p)
            fails(errno.EROFS, os.rename, p, m.dir / "d" / "new")
            fails(errno.EROFS, os.lchown, p, 1, 1)
            if kind != "symlink":
                fails(errno.EROFS, os.chmod, p, 0o600)
                fails(errno.EROFS, utimensat, p, 1, 1)
        fails(errno.EROFS, os.truncate, m.dir / "d" / "regular", 1)
        fails(errno.EROFS, open_with, m.dir / "d" / "regular", os.O_WRONLY)
    finally:
        m.close()
