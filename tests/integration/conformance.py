# SPDX-License-Identifier: GPL-2.0-or-later
"""What the tests of POSIX promises share (test_posix.py, test_posix_data.py). They pass on other file
systems too, which shows that they are right: SHOAL_POSIX_DIR names a directory to run them in instead
of a mount."""
import ctypes
import errno
import os
import shutil
import stat
import struct
import time
from pathlib import Path

import pytest

from fsmount import Mount

ANA, BEN, CLEO = 65534, 65533, 65532
ELSEWHERE = os.environ.get("SHOAL_POSIX_DIR")
TYPES = ["regular", "dir", "fifo", "block", "char", "socket", "symlink"]
NODES = [t for t in TYPES if t != "symlink"]
FILES = [t for t in TYPES if t != "dir"]
FORMAT = {"regular": stat.S_IFREG, "dir": stat.S_IFDIR, "fifo": stat.S_IFIFO, "block": stat.S_IFBLK,
          "char": stat.S_IFCHR, "socket": stat.S_IFSOCK, "symlink": stat.S_IFLNK}
LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, UTIME_NOW, UTIME_OMIT = -100, (1 << 30) - 1, (1 << 30) - 2


@pytest.fixture(scope="module")
def mount():
    if ELSEWHERE:
        yield None
        return
    m = Mount("allow_other,dev,suid")
    m.top.chmod(0o755)
    yield m
    m.close()


@pytest.fixture
def settle(mount):
    """What the file system does by and by has been done."""
    return mount.settle if mount else lambda: None


@pytest.fixture
def d(mount, request):
    top = Path(ELSEWHERE) if ELSEWHERE else mount.dir
    made = top / f"t{os.getpid()}-{time.monotonic_ns()}"
    made.mkdir()
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)


# ---- doing something as somebody ----


def as_user(who, call, *args, umask=0, **options):
    """The result of the call in a process of that user: (uid, gid, more groups). Errors are raised."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        answer = b"?"
        try:
            uid, gid, *groups = who
            os.setgroups(groups)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            os.umask(umask)
            call(*args, **options)
            answer = b"0"
        except OSError as e:
            answer = str(e.errno).encode()
        finally:
            os.write(write, answer)
            os._exit(0)
    os.close(write)
    with open(read, "rb") as f:
        answer = f.read()
    os.waitpid(child, 0)
    assert answer != b"?", f"{call} broke"
    if answer != b"0":
        raise OSError(int(answer), os.strerror(int(answer)))


def fails(number, call, *args, by=None, name=None, **options):
    name = name or call.__name__
    try:
        if by:
            as_user(by, call, *args, **options)
        else:
            call(*args, **options)
    except OSError as e:
        assert e.errno == number, f"{name}{args}: {e} instead of {errno.errorcode[number]}"
        return
    raise AssertionError(f"{name}{args} by {by}: no {errno.errorcode[number]}")


def make(kind, path, mode=None, owner=None):
    if kind == "regular":
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
    elif kind == "dir":
        os.mkdir(path, 0o755)
    elif kind == "fifo":
        os.mkfifo(path, 0o644)
    elif kind in ("block", "char"):
        os.mknod(path, 0o644 | FORMAT[kind], os.makedev(1, 2))
    elif kind == "socket":
        os.mknod(path, 0o644 | stat.S_IFSOCK)
    else:
        os.symlink("target", path)
    if owner:
        os.lchown(path, *owner)
    if mode is not None and kind != "symlink":
        os.chmod(path, mode)
    return path


def with_short_path(call, path):
    """Addresses of sockets have room for 108 bytes."""
    fd = os.open(path.parent, os.O_RDONLY)
    call(f"/proc/self/fd/{fd}/{path.name}")
    os.close(fd)


def remove(path):
    if path.is_dir() and not path.is_symlink():
        path.rmdir()
    else:
        path.unlink()


def create(path, flags=0, mode=0o644):
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY | flags, mode))


def open_with(path, flags):
    os.close(os.open(path, flags | os.O_NONBLOCK))


def libc(name, *args):
    values = [os.fsencode(a) if isinstance(a, (str, Path)) else a for a in args]
    if getattr(LIBC, name)(*values) < 0:
        raise OSError(ctypes.get_errno(), name)


def utimensat(path, atime, mtime, flags=0):
    """Times in nanoseconds, or UTIME_NOW, UTIME_OMIT."""
    times = [(0, t) if t in (UTIME_NOW, UTIME_OMIT) else divmod(t, 10**9) for t in (atime, mtime)]
    libc("utimensat", AT_FDCWD, path, struct.pack("qqqq", *times[0], *times[1]), flags)


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


def owner_of(path):
    s = os.lstat(path)
    return s.st_uid, s.st_gid


def times(path):
    s = os.lstat(path)
    return s.st_mtime_ns, s.st_ctime_ns


class updates:
    """ctime (c), mtime (m) or neither grow in the block; once it is over they stay as they are."""

    def __init__(self, settle, **paths):
        self.settle = settle
        self.paths = [(p, how if how in ("c", "mc") else "") for how, given in paths.items()
                      for p in (given if isinstance(given, list) else [given])]

    def __enter__(self):
        self.before = [times(p) for p, _ in self.paths]
        self.settle()
        time.sleep(0.012)

    def __exit__(self, kind, value, trace):
        if kind:
            return
        for seen in ("at once", "later"):
            for (p, how), (mtime, ctime) in zip(self.paths, self.before):
                m, c = times(p)
                assert (m > mtime) == ("m" in how) and m >= mtime, (seen, p, "mtime", how, m - mtime)
                assert (c > ctime) == ("c" in how) and c >= ctime, (seen, p, "ctime", how, c - ctime)
            self.settle()


def stays(settle, *paths):
    return updates(settle, neither=list(paths))
