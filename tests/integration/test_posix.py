# SPDX-License-Identifier: GPL-2.0-or-later
"""System call by system call, what POSIX and Linux promise of names, owners and permissions, for every type
of file and by several users."""
import ctypes
import errno
import os
import shutil
import socket
import stat
import time

import pytest

from conformance import (ANA, AT_FDCWD, BEN, CLEO, ELSEWHERE, FILES, FORMAT, NODES, TYPES,
                         as_user, create, d, fails, libc, make, mode_of, mount, open_with,
                         owner_of, remove, settle, stays, times, updates, utimensat,
                         with_short_path)

assert d and mount and settle  # fixtures


# ---- errors that all calls with a path share ----

LONG, TOO_LONG = "n" * 255, "n" * 256


def path_calls(other):
    """Each system call with one path to give it."""
    return {
        "chmod": lambda p: os.chmod(p, 0o600),
        "chown": lambda p: os.chown(p, 1, 1),
        "lchown": lambda p: os.lchown(p, 1, 1),
        "link from": lambda p: os.link(p, other / "l", follow_symlinks=True),
        "link to": lambda p: os.link(other / "f", p),
        "mkdir": lambda p: os.mkdir(p),
        "mkfifo": lambda p: os.mkfifo(p),
        "mknod": lambda p: os.mknod(p, stat.S_IFCHR | 0o600, os.makedev(1, 2)),
        "open": lambda p: open_with(p, os.O_RDONLY),
        "creat": create,
        "rename from": lambda p: os.rename(p, other / "r"),
        "rename to": lambda p: os.rename(other / "f", p),
        "rmdir": os.rmdir,
        "symlink": lambda p: os.symlink("x", p),
        "truncate": lambda p: os.truncate(p, 1),
        "unlink": os.unlink,
        "utimensat": lambda p: utimensat(p, 0, 0),
        "stat": os.stat,
        "readlink": os.readlink,
        "listxattr": os.listxattr,
        "statfs": os.statvfs,
    }


# Names the last component themselves, so a loop or nothing there is no error or another one.
MAKES = {"link to", "mkdir", "mkfifo", "mknod", "creat", "rename to", "symlink"}
LAST_NOT_FOLLOWED = MAKES | {"link from", "lchown", "rename from", "rmdir", "unlink", "readlink"}


def test_errors_of_paths(d):
    create(d / "f")
    create(d / "plain")
    (d / "loop1").symlink_to("loop2")
    (d / "loop2").symlink_to("loop1")
    for name, call in path_calls(d).items():
        fails(errno.ENOTDIR, call, d / "plain" / "x", name=name)
        fails(errno.ENOENT, call, d / "missing" / "x", name=name)
        if name not in MAKES:
            fails(errno.ENOENT, call, d / "missing", name=name)
            fails(errno.ENOENT, call, d / LONG, name=name)
        fails(errno.ENAMETOOLONG, call, d / TOO_LONG, name=name)
        fails(errno.ENAMETOOLONG, call, d / TOO_LONG / "x", name=name)
        fails(errno.ENAMETOOLONG, call, str(d) + "/." * 3000, name=name)
        fails(errno.ELOOP, call, d / "loop1" / "x", name=name)
        if name not in LAST_NOT_FOLLOWED:
            fails(errno.ELOOP, call, d / "loop1", name=name)
    for name in ("chmod", "chown", "mkdir", "mkfifo", "unlink", "rmdir", "truncate"):
        args = {"chmod": (0,), "chown": (0, 0), "mkdir": (0,), "mkfifo": (0,), "truncate": (0,)}
        fails(errno.EFAULT, libc, name, ctypes.c_void_p(8), *args.get(name, ()))
    fails(errno.EFAULT, libc, "rename", d / "f", ctypes.c_void_p(8))
    fails(errno.EFAULT, libc, "rename", ctypes.c_void_p(8), d / "f")
    fails(errno.EFAULT, libc, "symlink", ctypes.c_void_p(8), d / "f2")
    fails(errno.EFAULT, libc, "open", ctypes.c_void_p(8), os.O_RDONLY)


def test_search_and_write_permission(d):
    shut = make("dir", d / "shut", 0o700, (ANA, ANA))
    create(shut / "f")
    (shut / "sub").mkdir()
    create(d / "f")
    os.chown(d / "f", ANA, ANA)
    ana, ben = (ANA, ANA), (BEN, BEN)
    calls = path_calls(d)
    for name, call in calls.items():
        target = "new" if name in MAKES else "sub" if name == "rmdir" else "f"
        fails(errno.EACCES, call, shut / target, by=ben, name=name)
    shut.chmod(0o555)  # nobody may change names, not its owner either
    for name in ("mkdir", "mkfifo", "creat", "rename to", "symlink"):
        fails(errno.EACCES, calls[name], shut / "new", by=ana, name=name)
    for name, target in (("unlink", "f"), ("rmdir", "sub"), ("rename from", "f")):
        fails(errno.EACCES, calls[name], shut / target, by=ana, name=name)
    shut.chmod(0o666)  # names may not be looked up
    for name in ("chmod", "open", "truncate", "stat", "unlink", "utimensat"):
        fails(errno.EACCES, calls[name], shut / "f", by=ana, name=name)
    shut.chmod(0o755)


@pytest.mark.parametrize("kind", TYPES)
def test_names_as_long_as_they_may_be(d, settle, kind):
    p = d / (LONG[:-9] + "-last.txt")
    assert len(p.name) == 255
    make(kind, p)
    assert stat.S_IFMT(os.lstat(p).st_mode) == FORMAT[kind]
    settle()
    os.rename(p, d / LONG)
    assert os.listdir(d) == [LONG]
    fails(errno.ENAMETOOLONG, os.rename, d / LONG, d / TOO_LONG)
    remove(d / LONG)
    assert os.listdir(d) == []


def test_paths_as_long_as_they_may_be(d):
    deep = str(d)
    while len(deep) + 1 + 200 < 4000:
        deep += "/" + "p" * 200
        os.mkdir(deep)
    rest = 4095 - len(deep) - 1
    longest = deep + "/" + "q" * rest
    assert len(longest) == 4095
    for call in (create, os.stat, lambda p: os.chmod(p, 0o600), lambda p: os.truncate(p, 3), os.unlink,
                 os.mkdir, os.rmdir, lambda p: os.symlink("x" * 4095, p), os.readlink, os.unlink):
        call(longest)
    fails(errno.ENAMETOOLONG, create, longest + "q")
    fails(errno.ENAMETOOLONG, os.symlink, "x" * 4096, longest)


def test_names_are_any_bytes(d, settle):
    names = [b"\xff\xfe", b"a\nb", b"\x01", b" ", b"...", b"-", "é".encode("latin-1"), b"*?[", b"\\"]
    for n in names:
        create(os.path.join(os.fsencode(d), n))
    settle()
    assert sorted(os.listdir(os.fsencode(d))) == sorted(names)
    for n in names:
        os.mkdir(os.path.join(os.fsencode(d), n + b"d"))
        os.unlink(os.path.join(os.fsencode(d), n))
    settle()
    assert sorted(os.listdir(os.fsencode(d))) == sorted(n + b"d" for n in names)


# ---- chmod ----


@pytest.mark.parametrize("kind", NODES)
def test_chmod(d, settle, kind):
    p = make(kind, d / "x")
    for mode in (0o111, 0o7777, 0o2755, 0o4644, 0o1777, 0):
        with updates(settle, c=p):
            os.chmod(p, mode)
        assert mode_of(p) == mode
    (d / "link").symlink_to("x")
    os.chmod(d / "link", 0o640)
    assert mode_of(p) == 0o640
    os.chown(p, ANA, ANA)
    with updates(settle, c=p):
        as_user((ANA, ANA), os.chmod, p, 0o642)
    with stays(settle, p):
        fails(errno.EPERM, os.chmod, p, 0o777, by=(BEN, ANA))
        fails(errno.EPERM, os.chmod, d / "link", 0o777, by=(BEN, BEN))
    assert mode_of(p) == 0o642
    # The set-group-id bit wants a member of the group.
    os.chown(p, ANA, BEN)
    as_user((ANA, BEN), os.chmod, p, 0o2755)
    assert mode_of(p) == 0o2755
    as_user((ANA, CLEO, BEN), os.chmod, p, 0o2751)
    assert mode_of(p) == 0o2751
    as_user((ANA, CLEO), os.chmod, p, 0o2755)
    assert mode_of(p) == 0o755


# ---- chown ----


@pytest.mark.parametrize("kind", TYPES)
def test_chown(d, settle, kind):
    p = make(kind, d / "x")
    assert owner_of(p) == (0, 0)
    for owner in ((123, 456), (0, 0), (4294967294, 4294967294), (ANA, BEN)):
        with updates(settle, c=p):
            os.lchown(p, *owner)
        assert owner_of(p) == owner
    settle()
    assert owner_of(p) == (ANA, BEN)
    with updates(settle, c=p):
        as_user((ANA, CLEO), os.lchown, p, -1, CLEO)
    with updates(settle, c=p):
        as_user((ANA, CLEO, BEN), os.lchown, p, ANA, BEN)
    assert owner_of(p) == (ANA, BEN)
    with stays(settle, p):
        fails(errno.EPERM, os.lchown, p, BEN, -1, by=(ANA, BEN))
        fails(errno.EPERM, os.lchown, p, -1, CLEO, by=(ANA, BEN))
        fails(errno.EPERM, os.lchown, p, ANA, BEN, by=(BEN, BEN))
        fails(errno.EPERM, os.lchown, p, -1, BEN, by=(BEN, BEN))
    as_user((BEN, BEN), os.lchown, p, -1, -1)
    assert owner_of(p) == (ANA, BEN)


@pytest.mark.parametrize("kind", NODES)
def test_chown_through_a_link(d, kind):
    make(kind, d / "x")
    (d / "link").symlink_to("x")
    os.chown(d / "link", ANA, BEN)
    assert owner_of(d / "x") == (ANA, BEN) and owner_of(d / "link") == (0, 0)
    os.lchown(d / "link", BEN, CLEO)
    assert owner_of(d / "x") == (ANA, BEN) and owner_of(d / "link") == (BEN, CLEO)


@pytest.mark.parametrize("kind", [t for t in NODES if t != "dir"])
def test_chown_takes_the_set_id_bits(d, settle, kind):
    p = make(kind, d / "x", 0o6555, (ANA, BEN))
    as_user((ANA, CLEO), os.chown, p, -1, CLEO)
    assert mode_of(p) == 0o555 and owner_of(p) == (ANA, CLEO)
    os.chmod(p, 0o6555)
    settle()
    as_user((ANA, CLEO, BEN), os.chown, p, ANA, BEN)
    assert mode_of(p) == 0o555


def test_owners_survive_a_remount(d, mount, settle):
    if not mount:
        return
    for kind in TYPES:
        make(kind, d / kind, owner=(ANA, BEN))
    settle()
    os.mknod(d / "dev", stat.S_IFCHR | 0o640, os.makedev(12, 345))
    before = {p.name: os.lstat(p) for p in d.iterdir()}
    mount.stop()
    mount.start()
    assert sorted(before) == sorted(os.listdir(d))
    for name, s in before.items():
        now = os.lstat(d / name)
        assert (now.st_mode, now.st_uid, now.st_gid, now.st_rdev) == \
            (s.st_mode, s.st_uid, s.st_gid, s.st_rdev), name
        assert abs(now.st_ctime_ns - s.st_ctime_ns) < 10**9, name


def test_owners_and_special_files_are_not_synced(d, mount):
    if not mount:
        return
    for kind in TYPES:
        make(kind, d / kind, 0o640, (ANA, BEN))
    mount.settle_and_sync()
    there = [p.split("/")[1] for p in mount.remote_paths() if p.startswith(d.name + "/")]
    assert sorted(there) == ["dir", "regular", "symlink"]
    mount.remote_put(f"{d.name}/theirs.txt", b"hello\n")
    mount.remote_put(f"{d.name}/regular", b"changed there\n")
    mount.sync()
    mount.settle()
    assert owner_of(d / "theirs.txt") == (0, 0)
    assert owner_of(d / "regular") == (ANA, BEN)


def test_owner_follows_the_file_of_a_save(d, settle):
    """Renamed over, or moved to another directory at the top, the file keeps its owner."""
    p = d / "x.json"
    p.write_text('{"a": 1}\n')
    settle()
    new = d / "x.json.new"
    new.write_text('{"a": 2}\n')
    os.chown(new, ANA, BEN)
    os.rename(new, p)
    assert owner_of(p) == (ANA, BEN)
    settle()
    assert owner_of(p) == (ANA, BEN) and p.read_text() == '{"a": 2}\n'
    other = d.with_name(d.name + "o")
    other.mkdir()
    os.rename(p, other / "y.json")
    settle()
    assert owner_of(other / "y.json") == (ANA, BEN)
    os.unlink(other / "y.json")
    other.chmod(0o777)
    as_user((BEN, CLEO), create, other / "y.json")
    assert owner_of(other / "y.json") == (BEN, CLEO)
    settle()
    assert owner_of(other / "y.json") == (BEN, CLEO)
    shutil.rmtree(other)


# ---- making things ----


def makers():
    return {
        "regular": lambda p, mode: create(p, mode=mode),
        "dir": os.mkdir,
        "fifo": os.mkfifo,
        "block": lambda p, mode: os.mknod(p, mode | stat.S_IFBLK, os.makedev(8, 70)),
        "char": lambda p, mode: os.mknod(p, mode | stat.S_IFCHR, os.makedev(1, 3)),
        "socket": lambda p, mode: os.mknod(p, mode | stat.S_IFSOCK),
        "mknod": lambda p, mode: os.mknod(p, mode | stat.S_IFREG),
    }


@pytest.mark.parametrize("kind", list(makers()))
def test_making(d, settle, kind):
    call = makers()[kind]
    p = d / "x"
    for umask, mode, want in ((0, 0o755, 0o755), (0, 0o151, 0o151), (0o077, 0o151, 0o100),
                              (0o070, 0o345, 0o305), (0o501, 0o345, 0o244)):
        as_user((0, 0), call, p, mode, umask=umask)
        assert mode_of(p) == want
        assert stat.S_IFMT(os.lstat(p).st_mode) == FORMAT.get(kind, stat.S_IFREG)
        settle()
        assert mode_of(p) == want
        remove(p)
    with updates(settle, mc=d):
        call(p, 0o644)
    s = os.lstat(p)
    assert s.st_mtime_ns == s.st_atime_ns >= times(d)[0] - 10**7
    if kind in ("block", "char"):
        assert (os.major(s.st_rdev), os.minor(s.st_rdev)) == \
            {"block": (8, 70), "char": (1, 3)}[kind]
        fails(errno.EPERM, call, d / "y", 0o644, by=(ANA, ANA))
    else:
        as_user((ANA, BEN), call, d / "y", 0o644)
        assert owner_of(d / "y") == (ANA, BEN)
        settle()
        assert owner_of(d / "y") == (ANA, BEN)
    for there in TYPES:
        q = make(there, d / ("e" + there))
        if kind == "regular" and there != "symlink":
            continue
        with stays(settle, q, d):
            fails(errno.EEXIST, call if kind != "regular" else lambda p, m: create(p, os.O_EXCL, m),
                  q, 0o644)
    # The group of the directory, if that has the bit.
    g = make("dir", d / "g", 0o2777, (ANA, CLEO))
    if kind not in ("block", "char"):
        as_user((BEN, BEN), call, g / "n", 0o755)
        assert owner_of(g / "n") == (BEN, CLEO)
        assert mode_of(g / "n") == (0o2755 if kind == "dir" else 0o755)
        settle()
        assert owner_of(g / "n") == (BEN, CLEO)


def test_symlinks(d, settle):
    with updates(settle, mc=d):
        os.symlink("a" * 4095, d / "l")
    s = os.lstat(d / "l")
    assert s.st_size == 4095 and os.readlink(d / "l") == "a" * 4095 and s.st_nlink == 1
    as_user((ANA, BEN), os.symlink, "x", d / "m")
    assert owner_of(d / "m") == (ANA, BEN) and mode_of(d / "m") == 0o777
    for kind in TYPES:
        q = make(kind, d / kind)
        with stays(settle, q, d):
            fails(errno.EEXIST, os.symlink, "x", q)
    fails(errno.EINVAL, os.readlink, d / "regular")
    fails(errno.EINVAL, os.readlink, d / "fifo")
    fails(errno.ENOENT, os.symlink, "", d / "empty")


def test_directories_count_theirs(d, settle):
    assert os.stat(d).st_nlink == 2
    for n in range(5):
        (d / f"sub{n}").mkdir()
        create(d / f"file{n}")
        assert os.stat(d).st_nlink == 3 + n
    settle()
    assert os.stat(d).st_nlink == 7
    os.rename(d / "sub1", d / "sub2" / "moved")
    assert (os.stat(d).st_nlink, os.stat(d / "sub2").st_nlink) == (6, 3)
    os.rename(d / "sub3", d / "sub4")
    assert os.stat(d).st_nlink == 5
    assert os.stat(d / "sub2" / "..").st_ino == os.stat(d).st_ino
    assert os.stat(d / "sub2" / "moved" / "..").st_ino == os.stat(d / "sub2").st_ino
    (d / "sub0").rmdir()
    assert os.stat(d).st_nlink == 4
    for p in d.iterdir():
        if p.is_file():
            assert p.stat().st_nlink == 1


def test_remote_directories_count(d, mount):
    if not mount:
        return
    mount.settle_and_sync()
    assert os.stat(d).st_nlink == 2
    mount.ask("mkdir", f"{d.name}/theirs")
    mount.sync()
    mount.settle()
    assert os.stat(d).st_nlink == 3


# ---- open ----


def test_open(d, settle):
    p = d / "x"
    with updates(settle, mc=d):
        create(p, mode=0o600)
    with stays(settle, d, p):
        open_with(p, os.O_CREAT | os.O_RDONLY)
        fails(errno.EEXIST, create, p, os.O_EXCL)
    p.write_text("hello")
    with updates(settle, mc=p):
        open_with(p, os.O_WRONLY | os.O_TRUNC)
    assert p.stat().st_size == 0
    p.write_text("hello again")
    with updates(settle, mc=p):
        open_with(p, os.O_RDONLY | os.O_TRUNC)
    assert p.read_text() == ""
    os.chown(p, ANA, BEN)
    for mode, who, flags, number in (
            (0o400, (ANA, ANA), os.O_WRONLY, errno.EACCES), (0o200, (ANA, ANA), os.O_RDONLY, errno.EACCES),
            (0o040, (CLEO, BEN), os.O_RDWR, errno.EACCES), (0o004, (CLEO, BEN), os.O_RDONLY, errno.EACCES),
            (0o002, (CLEO, CLEO), os.O_RDONLY, errno.EACCES), (0o770, (CLEO, CLEO), os.O_RDONLY, errno.EACCES),
            (0o400, (ANA, ANA), os.O_RDONLY, 0), (0o200, (ANA, ANA), os.O_WRONLY, 0),
            (0o060, (CLEO, BEN), os.O_RDWR, 0), (0o006, (CLEO, CLEO), os.O_RDWR, 0),
            (0o060, (CLEO, CLEO, BEN), os.O_RDWR, 0), (0o444, (ANA, ANA), os.O_RDONLY | os.O_TRUNC, errno.EACCES)):
        os.chmod(p, mode)
        if number:
            fails(number, open_with, p, flags, by=who)
        else:
            as_user(who, open_with, p, flags)
    (d / "sub").mkdir()
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC, os.O_RDONLY | os.O_CREAT):
        fails(errno.EISDIR, open_with, d / "sub", flags)
    fails(errno.ENOTDIR, open_with, p, os.O_DIRECTORY)
    make("fifo", d / "fifo")
    make("socket", d / "socket")
    fails(errno.ENXIO, open_with, d / "fifo", os.O_WRONLY)
    fails(errno.ENXIO, open_with, d / "socket", os.O_RDONLY)
    (d / "link").symlink_to("x")
    fails(errno.ELOOP, open_with, d / "link", os.O_NOFOLLOW)
    fails(errno.EEXIST, create, d / "link", os.O_EXCL)
    (d / "dangling").symlink_to("made")
    create(d / "dangling")
    assert (d / "made").exists()


def test_create_in_a_directory_that_is_gone(d):
    (d / "gone").mkdir()
    fd = os.open(d / "gone", os.O_RDONLY)
    (d / "gone").rmdir()
    for call in (lambda: os.mkdir("x", dir_fd=fd), lambda: os.mkfifo("x", dir_fd=fd),
                 lambda: os.symlink("x", "x", dir_fd=fd),
                 lambda: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)):
        fails(errno.ENOENT, call)
    assert os.fstat(fd).st_nlink == 0 and os.listdir(fd) == []
    os.close(fd)


def test_fifo_and_socket_work(d):
    make("fifo", d / "fifo")
    r = os.open(d / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    w = os.open(d / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    os.write(w, b"through")
    assert os.read(r, 100) == b"through"
    os.unlink(d / "fifo")
    assert stat.S_ISFIFO(os.fstat(r).st_mode) and os.fstat(r).st_nlink == 0
    os.close(r)
    os.close(w)
    with socket.socket(socket.AF_UNIX) as s, socket.socket(socket.AF_UNIX) as t:
        with_short_path(s.bind, d / "sock")
        s.listen()
        with_short_path(t.connect, d / "sock")


def test_text_file_busy(d):
    program = d / "sleep"
    shutil.copy("/bin/sleep", program)
    os.chmod(program, 0o755)
    child = os.posix_spawn(program, ["sleep", "60"], os.environ)
    try:
        while os.readlink(f"/proc/{child}/exe") != str(program):
            time.sleep(0.01)
        for flags in (os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_TRUNC):
            fails(errno.ETXTBSY, open_with, program, flags)
        fails(errno.ETXTBSY, os.truncate, program, 123)
    finally:
        os.kill(child, 9)
        assert os.waitpid(child, 0)[1] == 9  # and nothing else had killed it
    os.truncate(program, 123)


# ---- removing ----


@pytest.mark.parametrize("kind", FILES)
def test_unlink(d, settle, kind):
    p = make(kind, d / "x")
    settle()
    fails(errno.ENOTDIR, os.rmdir, p)
    with updates(settle, mc=d):
        os.unlink(p)
    fails(errno.ENOENT, os.lstat, p)
    fails(errno.ENOENT, os.unlink, p)
    make(kind, p)
    with updates(settle, mc=d):
        os.unlink(p)  # before anybody could take note of it
    assert os.listdir(d) == []


def test_unlink_a_directory(d):
    (d / "sub").mkdir()
    fails(errno.EISDIR, os.unlink, d / "sub")


@pytest.mark.parametrize("settled", [False, True])
def test_open_files_live_without_a_name(d, settle, settled):
    p = d / "x.txt"
    p.write_bytes(b"hello")
    if settled:
        settle()
    fd = os.open(p, os.O_RDWR)
    with updates(lambda: None, mc=d):
        before = os.fstat(fd)
        os.unlink(p)
    s = os.fstat(fd)
    assert s.st_nlink == 0 and s.st_size == 5 and s.st_ctime_ns > before.st_ctime_ns
    os.pwrite(fd, b"J", 0)
    os.ftruncate(fd, 4)
    os.fchmod(fd, 0o640)
    os.fchown(fd, ANA, BEN)
    os.utime(fd, ns=(5, 7))
    s = os.fstat(fd)
    assert (s.st_size, stat.S_IMODE(s.st_mode), s.st_uid, s.st_gid, s.st_atime_ns, s.st_mtime_ns) == \
        (4, 0o640, ANA, BEN, 5, 7)
    assert os.pread(fd, 10, 0) == b"Jell"
    create(p)
    os.unlink(p)
    settle()
    assert os.pread(fd, 10, 0) == b"Jell" and os.fstat(fd).st_nlink == 0
    os.close(fd)
    assert os.listdir(d) == []


def test_rmdir(d, settle):
    for kind in TYPES:
        (d / "sub").mkdir()
        make(kind, d / "sub" / "x")
        with stays(settle, d, d / "sub"):
            fails(errno.ENOTEMPTY, os.rmdir, d / "sub")
        remove(d / "sub" / "x")
        with updates(settle, mc=d):
            os.rmdir(d / "sub")
        fails(errno.ENOENT, os.rmdir, d / "sub")
    (d / "sub").mkdir()
    fails(errno.EINVAL, os.rmdir, f"{d}/sub/.")
    fails(errno.ENOTEMPTY, os.rmdir, f"{d}/sub/..")
    if not ELSEWHERE:
        fails(errno.EBUSY, os.rmdir, d.parent)


# ---- rename ----


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("settled", [False, True])
def test_rename(d, settle, kind, settled):
    (d / "a").mkdir()
    (d / "b").mkdir()
    p = make(kind, d / "a" / "x", 0o640, (ANA, BEN))
    if settled:
        settle()
    s = os.lstat(p)
    with updates(settle, mc=[d / "a", d / "b"]):
        os.rename(p, d / "b" / "y")
    fails(errno.ENOENT, os.lstat, p)
    t = os.lstat(d / "b" / "y")
    assert (t.st_ino, t.st_mode, t.st_uid, t.st_gid, t.st_nlink, t.st_rdev, t.st_size) == \
        (s.st_ino, s.st_mode, s.st_uid, s.st_gid, s.st_nlink, s.st_rdev, s.st_size)
    assert t.st_mtime_ns == s.st_mtime_ns and t.st_ctime_ns > s.st_ctime_ns
    with stays(settle, d / "b" / "y"):
        os.rename(d / "b" / "y", d / "b" / "y")
        fails(errno.ENOENT, os.rename, d / "b" / "missing", d / "b" / "y")


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("over", TYPES)
@pytest.mark.parametrize("kind", TYPES)
def test_rename_over(d, settle, kind, over, settled):
    p, q = make(kind, d / "x", 0o640, (ANA, BEN)), make(over, d / "y")
    if settled:
        settle()
    if (kind == "dir") != (over == "dir"):
        with stays(settle, p, q, d):
            fails(errno.ENOTDIR if kind == "dir" else errno.EISDIR, os.rename, p, q)
        return
    fd = os.open(q, os.O_RDONLY | os.O_NONBLOCK) if over in ("regular", "dir", "fifo") else None
    before = os.lstat(p)
    with updates(settle, mc=d):
        os.rename(p, q)
    now = os.lstat(q)
    assert (now.st_ino, now.st_mode, now.st_uid, now.st_gid) == \
        (before.st_ino, before.st_mode, ANA, BEN)
    assert os.listdir(d) == ["y"]
    if fd is not None:
        assert os.fstat(fd).st_nlink == 0
        os.close(fd)
    settle()
    now = os.lstat(q)
    assert (now.st_ino, now.st_mode, now.st_uid, now.st_gid) == \
        (before.st_ino, before.st_mode, ANA, BEN)


def test_rename_directories(d, settle):
    (d / "a" / "b" / "c").mkdir(parents=True)
    (d / "full").mkdir()
    for kind in TYPES:
        make(kind, d / "full" / "x")
        with stays(settle, d, d / "a", d / "full"):
            fails(errno.ENOTEMPTY, os.rename, d / "a", d / "full")
        remove(d / "full" / "x")
    fails(errno.EINVAL, os.rename, d / "a", d / "a" / "b" / "d")
    fails(errno.EINVAL, os.rename, d / "a", d / "a" / "x")
    fails(errno.ENOTEMPTY, os.rename, d / "a" / "b", d / "a")
    for name in (".", ".."):
        fails(errno.EBUSY, os.rename, f"{d}/a/{name}", d / "z")
        fails(errno.EBUSY, os.rename, d / "full", f"{d}/a/{name}")
    os.rename(d / "a", d / "full")
    assert (d / "full" / "b" / "c").is_dir()


def test_rename_between_directories_at_the_top(d, settle):
    """Each is a collection of its own; an empty directory can leave it as a file can."""
    other = d.with_name(d.name + "o")
    other.mkdir()
    for kind in TYPES:
        p = make(kind, d / kind, 0o750, (ANA, BEN))
        before = os.lstat(p)
        os.rename(p, other / kind)
        now = os.lstat(other / kind)
        assert (now.st_ino, now.st_mode, now.st_uid, now.st_gid, now.st_mtime_ns) == \
            (before.st_ino, before.st_mode, ANA, BEN, before.st_mtime_ns), kind
        settle()
        now = os.lstat(other / kind)
        assert (now.st_ino, now.st_mode, now.st_uid, now.st_gid) == \
            (before.st_ino, before.st_mode, ANA, BEN), kind
    os.rename(other / "dir", d.parent / (d.name + "t"))
    os.rename(d.parent / (d.name + "t"), d / "dir")
    create(d / "dir" / "f")
    (other / "dir").mkdir()
    os.rename(other / "dir", d / "dir2")
    (other / "dir").mkdir()
    (d / "dir2" / "deep").mkdir()
    fails(errno.ENOTEMPTY, os.rename, other / "dir", d / "dir2")
    (d / "dir2" / "deep").rmdir()
    os.rename(other / "dir", d / "dir2")
    shutil.rmtree(other)


def test_rename_flags(d, settle):
    def renameat2(a, b, flags):
        libc("renameat2", AT_FDCWD, a, AT_FDCWD, b, flags)

    for kind in TYPES:
        for other in TYPES:
            p, q = make(kind, d / "x"), make(other, d / "y")
            fails(errno.EEXIST, renameat2, p, q, 1)
            ids = os.lstat(p).st_ino, os.lstat(q).st_ino
            renameat2(p, q, 2)
            assert (os.lstat(q).st_ino, os.lstat(p).st_ino) == ids, (kind, other)
            assert stat.S_IFMT(os.lstat(q).st_mode) == FORMAT[kind]
            settle()
            renameat2(p, q, 2)
            assert (os.lstat(p).st_ino, os.lstat(q).st_ino) == ids, (kind, other)
            remove(p)
            remove(q)
    fails(errno.ENOENT, renameat2, make("regular", d / "x"), d / "y", 2)
    fails(errno.EINVAL, renameat2, d / "x", d / "y", 3)


# ---- sticky directories ----


@pytest.mark.parametrize("kind", TYPES)
def test_sticky(d, settle, kind):
    s = make("dir", d / "s", 0o1777, (ANA, ANA))
    free = make("dir", d / "free", 0o777)
    p = make(kind, s / "x", owner=(BEN, BEN))
    if kind == "dir":
        p.chmod(0o777)
    drop = os.rmdir if kind == "dir" else os.unlink
    with stays(settle, s, p):
        fails(errno.EPERM, drop, p, by=(CLEO, CLEO))
        fails(errno.EPERM, os.rename, p, free / "x", by=(CLEO, CLEO))
        fails(errno.EPERM, os.rename, p, s / "y", by=(CLEO, CLEO))
    mine = make(kind, free / "mine", owner=(CLEO, CLEO))
    fails(errno.EPERM, os.rename, mine, p, by=(CLEO, CLEO))
    as_user((BEN, BEN), os.rename, p, s / "y")
    as_user((ANA, ANA), os.rename, s / "y", p) if kind != "dir" else os.rename(s / "y", p)
    as_user((ANA, ANA), drop, p)
    make(kind, p, owner=(BEN, BEN))
    as_user((BEN, BEN), drop, p)
    make(kind, p, owner=(BEN, BEN))
    s.chmod(0o777)
    as_user((CLEO, CLEO), drop, p)


def test_others_directories_keep_their_parent(d):
    """Moving a directory changes its `..`, which wants the right to write into it."""
    (d / "a").mkdir()
    (d / "b").mkdir()
    (d / "a").chmod(0o777)
    (d / "b").chmod(0o777)
    p = make("dir", d / "a" / "x", 0o755, (BEN, BEN))
    fails(errno.EACCES, os.rename, p, d / "b" / "x", by=(CLEO, CLEO))
    as_user((CLEO, CLEO), os.rename, p, d / "a" / "y")
