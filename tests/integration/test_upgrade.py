# SPDX-License-Identifier: GPL-2.0-or-later
"""The daemon becomes another program, and nobody who uses the mount notices."""
import contextlib
import fcntl
import json
import mmap
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from inotify import Watcher, brief
from lab import BUILD, alive, wait_for
from test_two_hosts import equal, pair

# More than one answer to a listing holds.
MANY = [f"{n:03d}-{'x' * 120}" for n in range(400)]


@pytest.fixture
def host(lab):
    made = lab.host("anna")
    made.up()
    return made


@pytest.fixture
def opened():
    """Closes descriptors at the end."""
    with contextlib.ExitStack() as stack:
        def new(path, flags=os.O_RDONLY, mode=0o644):
            fd = os.open(path, flags | os.O_CLOEXEC, mode)
            stack.callback(os.close, fd)
            return fd
        yield new


def upgrade(host, *words, **options):
    pid = host.daemon_pid()
    said = host.shoal("upgrade", *words, **options)
    assert host.daemon_pid() == pid and alive(pid)
    return said


def settled(host):
    """Nothing waits to become a version."""
    wait_for(lambda: host.shoal("status", "--json")["mount"]["local_files"] == 0)


def xattr(path, name):
    return os.getxattr(path, f"user.shoal.{name}").decode()


# ---- what is open ----


def test_open_files(host, opened):
    d = host.dir / "c"
    d.mkdir()
    (d / "read.txt").write_text("".join(f"line {n}\n" for n in range(5000)))
    (d / "doc.json").write_text('{"a": 1, "b": 2}')
    reader = open(d / "read.txt", "rb", buffering=0)
    assert reader.read(6) == b"line 0"
    new = opened(d / "new.txt", os.O_RDWR | os.O_CREAT | os.O_EXCL)
    os.write(new, b"unsaved ")
    log = opened(d / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, b"one\n")
    doc = opened(d / "doc.json", os.O_RDWR)
    os.pwrite(doc, b'{"a": 7, "b": 2}', 0)
    gone = opened(d / "gone.txt", os.O_RDWR | os.O_CREAT)
    os.write(gone, b"nobody sees this")
    os.unlink(d / "gone.txt")
    numbers = {p: os.stat(d / p).st_ino for p in ("read.txt", "new.txt", "log.txt", "doc.json")}

    upgrade(host)

    assert {p: os.stat(d / p).st_ino for p in numbers} == numbers
    assert reader.read(8) == b"\nline 1\n"
    assert reader.readall().endswith(b"line 4999\n")
    reader.close()
    assert os.pread(new, 100, 0) == b"unsaved "
    os.write(new, b"and saved")
    os.write(log, b"two\n")
    assert os.fstat(gone).st_nlink == 0
    os.write(gone, b", still")
    assert os.pread(gone, 100, 0) == b"nobody sees this, still"
    os.pwrite(doc, b"3", 14)
    for fd in (new, log, doc):
        os.fsync(fd)
    assert (d / "new.txt").read_text() == "unsaved and saved"
    assert (d / "log.txt").read_text() == "one\ntwo\n"
    assert json.loads((d / "doc.json").read_text()) == {"a": 7, "b": 3}
    assert sorted(os.listdir(d)) == ["doc.json", "log.txt", "new.txt", "read.txt"]
    assert host.shoal("status", "--json")["mount"]["open_files"] == 4


def test_large_and_sparse(host, opened):
    """What is written of a large file is in a file without a name; the rest is of the version."""
    whole = random.Random(1).randbytes(3 << 20)
    (host.dir / "big.bin").write_bytes(whole)
    settled(host)
    part = opened(host.dir / "big.bin", os.O_RDWR)
    os.pwrite(part, b"changed", 1 << 20)
    fresh = opened(host.dir / "fresh.bin", os.O_RDWR | os.O_CREAT)
    os.pwrite(fresh, whole, 0)
    os.pwrite(fresh, b"end", 9 << 20)
    old = opened(host.dir / "big.bin")

    upgrade(host)

    changed = whole[:1 << 20] + b"changed" + whole[(1 << 20) + 7:]
    assert os.pread(part, 4 << 20, 0) == changed
    assert os.pread(old, 4 << 20, 0) == changed
    os.pwrite(part, b"again", 2 << 20)
    assert os.pread(fresh, 10, (9 << 20) - 7) == b"\0" * 7 + b"end"
    os.fsync(part)
    os.fsync(fresh)
    upgrade(host)
    expected = changed[:2 << 20] + b"again" + changed[(2 << 20) + 5:]
    assert (host.dir / "big.bin").read_bytes() == expected
    assert (host.dir / "fresh.bin").read_bytes()[:3 << 20] == whole


def test_mapping(host, opened):
    fd = opened(host.dir / "map.bin", os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 2 * mmap.PAGESIZE)
    with mmap.mmap(fd, 2 * mmap.PAGESIZE) as pages:
        pages[:5] = b"first"
        upgrade(host)
        pages[mmap.PAGESIZE:mmap.PAGESIZE + 6] = b"second"
        pages.flush()
        assert pages[:5] == b"first"
    data = (host.dir / "map.bin").read_bytes()
    assert data[:5] == b"first" and data[mmap.PAGESIZE:mmap.PAGESIZE + 6] == b"second"


def rest_of(listing):
    return [entry.name for entry in listing]


@pytest.mark.parametrize("ignored", [False, True], ids=["tree", "ignored"])
def test_listing(host, ignored):
    (host.dir / ".shoalignore").write_text("many/\n" if ignored else "")
    d = host.dir / "many"
    d.mkdir()
    for name in MANY:
        (d / name).write_text(name)
    with os.scandir(d) as listing:
        first = [next(listing).name for _ in range(3)]
        upgrade(host)
        (d / "later").write_text("")
        rest = rest_of(listing)
    assert sorted(name for name in first + rest if name != "later") == MANY
    assert sorted(os.listdir(d)) == [*MANY, "later"]


def test_ignored_directory(host, opened):
    (host.dir / ".shoalignore").write_text("build/\n")
    d = host.dir / "build"
    (d / "sub").mkdir(parents=True)
    kept = opened(d / "sub/x.o", os.O_RDWR | os.O_CREAT)
    gone = opened(d / "y.o", os.O_RDWR | os.O_CREAT)
    os.write(kept, b"kept")
    os.write(gone, b"gone")
    os.unlink(d / "y.o")
    number = os.stat(d / "sub/x.o").st_ino

    upgrade(host)

    assert os.stat(d / "sub/x.o").st_ino == number == os.fstat(kept).st_ino
    os.write(kept, b" on")
    os.write(gone, b" too")
    assert os.pread(gone, 10, 0) == b"gone too" and os.fstat(gone).st_nlink == 0
    assert (d / "sub/x.o").read_bytes() == b"kept on"
    os.rename(d / "sub", d / "other")
    assert os.listdir(d) == ["other"] and (d / "other/x.o").read_bytes() == b"kept on"
    os.close(os.open(d / "new.o", os.O_CREAT | os.O_WRONLY))


HOLDER = """
import fcntl, os, sys
os.chdir(sys.argv[1])
fd = os.open("locked", os.O_RDWR)
print("there", flush=True)
fcntl.lockf(fd, fcntl.LOCK_EX, 10, 0)
print("locked", os.getcwd(), os.listdir("."), flush=True)
"""


def test_locks_and_working_directory(host, opened):
    d = host.dir / "c"
    d.mkdir()
    (d / "locked").write_text("x" * 100)
    one, two = opened(d / "locked", os.O_RDWR), opened(d / "locked", os.O_RDWR)
    fcntl.lockf(one, fcntl.LOCK_EX, 10, 0)
    fcntl.flock(one, fcntl.LOCK_EX)
    waiting = subprocess.Popen([sys.executable, "-c", HOLDER, d], stdout=subprocess.PIPE, text=True)
    try:
        assert waiting.stdout.readline() == "there\n"
        upgrade(host)
        with pytest.raises(BlockingIOError):
            fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert waiting.poll() is None
        fcntl.lockf(one, fcntl.LOCK_UN, 10, 0)
        assert waiting.stdout.readline() == f"locked {d} ['locked']\n"
        assert waiting.wait(10) == 0
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        waiting.kill()
        waiting.wait()


# ---- what is under way ----


def test_names_under_way(host):
    """A name that was removed a moment ago, one that is new, a draft, a value that is written."""
    d = host.dir / "c"
    d.mkdir()
    (d / "kept.json").write_text('{"v": 1}')
    (d / "aside.txt").write_text("text\n")
    (d / "bad.json").write_text('{"v": 1}')
    settled(host)
    identities = {name: xattr(d / name, "id") for name in ("kept.json", "aside.txt")}
    with pytest.raises(OSError):
        (d / "bad.json").write_text('{"v": ')
    value = open(host.dir / ".shoal/fields/c/kept/v", "w")
    value.write("5\n")
    value.flush()
    os.unlink(d / "kept.json")
    os.rename(d / "aside.txt", d / "aside.txt~")
    (d / "fresh.txt").write_text("new\n")
    number = os.stat(d / "fresh.txt").st_ino

    upgrade(host)

    assert sorted(os.listdir(d)) == ["aside.txt~", "bad.json", "fresh.txt"]
    (d / "kept.json").write_text('{"v": 2}')
    (d / "aside.txt").write_text("text\nmore\n")
    assert {name: xattr(d / name, "id") for name in identities} == identities
    assert (d / "bad.json").read_text() == '{"v": ' and "line 1" in xattr(d / "bad.json", "error")
    assert (host.dir / ".shoal/drafts/c/bad.json").read_text() == '{"v": '
    (d / "bad.json").write_text('{"v": 3}')
    wait_for(lambda: xattr(d / "fresh.txt", "kind") == "text")
    assert os.stat(d / "fresh.txt").st_ino == number
    value.close()
    assert (d / "aside.txt~").read_text() == "text\n"


def test_hard_links(host, opened):
    """Of a file that is new, of one that stays here, and of one that others have."""
    d = host.dir / "c"
    d.mkdir()
    (d / "old.txt").write_text("old\n")
    os.link(d / "old.txt", d / "old2.txt")
    settled(host)
    (d / "scrap.tmp").write_text("scrap")
    new = opened(d / "new.txt", os.O_RDWR | os.O_CREAT)
    for name in ("b.tmp", "c.tmp"):
        os.link(d / "scrap.tmp", d / name)
    for name in ("n2.txt", "n3.txt"):
        os.link(d / "new.txt", d / name)
    names = [["old.txt", "old2.txt"], ["scrap.tmp", "b.tmp", "c.tmp"],
             ["new.txt", "n2.txt", "n3.txt"]]
    before = {name: (os.stat(d / name).st_ino, os.stat(d / name).st_nlink)
              for group in names for name in group}

    upgrade(host)

    assert {name: (os.stat(d / name).st_ino, os.stat(d / name).st_nlink) for name in before} == before
    os.write(new, b"written")
    os.fsync(new)
    (d / "b.tmp").write_text("changed")
    os.unlink(d / "scrap.tmp")
    for group, text in zip(names, ("old\n", "changed", "written")):
        left = [name for name in group if name != "scrap.tmp"]
        assert {(d / name).read_text() for name in left} == {text}
        assert {os.stat(d / name).st_nlink for name in left} == {len(left)}


def test_a_save_knows_what_was_read(lab, opened):
    """Bases outlive it: of processes, and of what is open."""
    _, a, b = pair(lab)
    doc = a.dir / "doc.json"
    doc.write_text('{"x": 1, "y": 1, "z": 1}')
    equal(a, b)
    handle = opened(doc, os.O_RDWR)
    text = os.pread(handle, 1000, 0)
    assert json.loads(doc.read_text())["y"] == 1
    (b.dir / "doc.json").write_text('{"x": 1, "y": 2, "z": 1}')
    wait_for(lambda: json.loads(a.run("cat", doc).stdout)["y"] == 2)
    upgrade(a)
    # Whoever had it open goes on with what he had opened.
    assert os.pread(handle, 1000, 0) == text
    os.pwrite(handle, b'{"x": 3, "y": 1, "z": 1}', 0)
    os.fsync(handle)
    assert json.loads(a.run("cat", doc).stdout) == {"x": 3, "y": 2, "z": 1}
    equal(a, b)


def test_watches(lab, opened):
    """They are told of what arrives after it, and of what arrived before."""
    _, a, b = pair(lab)
    d = a.dir / "c"
    d.mkdir()
    (d / "x.txt").write_text("1\n")
    equal(a, b)
    watcher = Watcher(d)
    try:
        for n in range(10):
            (b.dir / "c/x.txt").write_text(f"{n} again\n")
            (b.dir / f"c/new{n}.txt").write_text("")
            upgrade(a)
            heard = []
            wait_for(lambda: heard.extend(brief(watcher.read(1))) or
                     {("CREATE", f"new{n}.txt"), ("MODIFY", "x.txt")} <= set(heard))
    finally:
        watcher.close()
    equal(a, b)


# ---- under load ----

WORK = """
import os, sys, time
d, n = sys.argv[1], 0
os.chdir(d)
log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
print("begun", flush=True)
while not os.path.exists("stop"):
    n += 1
    name = f"f{n % 50}"
    with open(name + ".tmp", "w") as file:
        file.write(f"{n}\\n")
    os.rename(name + ".tmp", name + ".txt")
    with open(name + ".txt") as file:
        assert file.read() == f"{n}\\n"
    with open("doc.json", "w") as file:
        file.write('{"n": %d}' % n)
    with open("doc.json") as file:
        assert file.read() == '{"n": %d}' % n
    assert name + ".txt" in os.listdir(".")
    os.stat("../.shoal/status.json")
    with open("../.shoal/status.json") as file:
        file.read()
    os.mkdir("sub")
    os.rmdir("sub")
    os.write(log, b"%d\\n" % n)
os.close(log)
assert open("log").read().split() == [str(k) for k in range(1, n + 1)]
print(n, flush=True)
"""


def test_under_load(lab):
    """Nothing that programs do fails or is lost, and nothing piles up."""
    _, a, b = pair(lab)
    works = []
    for n in range(3):
        (a.dir / f"w{n}").mkdir()
        works.append(subprocess.Popen([sys.executable, "-c", WORK, a.dir / f"w{n}"], text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.PIPE))
    for work in works:
        assert work.stdout.readline() == "begun\n"
    pid = a.daemon_pid()
    files = []
    for n in range(20):
        upgrade(a)
        (b.dir / "remote.json").write_text(json.dumps({"n": n}))
        files.append(len(os.listdir(f"/proc/{pid}/fd")))
    for n in range(3):
        (a.dir / f"w{n}/stop").touch()
    for work in works:
        done, said = work.communicate(timeout=60)
        assert work.returncode == 0, said
        assert int(done) > 20
    assert max(files[10:]) < max(files[:5]) + 20, files
    equal(a, b)
    a.shoal("verify")


# ---- when it comes to nothing ----


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_not_a_successor(host, opened, tmp_path):
    fd = opened(host.dir / "x.txt", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"here")
    # Removes itself when it has said that it can.
    vanishes = script(tmp_path / "vanishes", 'rm "$0"')
    for program, why in ((script(tmp_path / "false", "exit 1"), "cannot take over"),
                         (tmp_path / "none", "No such file"), (vanishes, "No such file")):
        failed = host.run(BUILD / "shoal", "upgrade", program, check=False)
        assert failed.returncode == 1 and why in failed.stderr, failed
        assert os.pread(fd, 10, 0) == b"here"
    os.write(fd, b" and there")
    os.fsync(fd)
    assert (host.dir / "x.txt").read_text() == "here and there"
    upgrade(host)
    assert os.pread(fd, 20, 0) == b"here and there"


def test_full_disk(lab, opened):
    """The next one could not open the store: this one goes on."""
    host = lab.host("anna")
    host.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=150m,mode=0700", "none", host.store],
                   check=True, timeout=20)
    host.up()
    fd = opened(host.dir / "x.txt", os.O_RDWR | os.O_CREAT)
    os.write(fd, b"here")
    filler = host.store / "spool/filler"
    filler.write_bytes(bytes(shutil.disk_usage(host.store).free - (10 << 20)))
    failed = host.run(BUILD / "shoal", "upgrade", check=False)
    assert failed.returncode == 1 and "full" in failed.stderr, failed
    assert os.pread(fd, 10, 0) == b"here"
    filler.unlink()
    upgrade(host)
    assert os.pread(fd, 10, 0) == b"here"


def test_it_goes_on_reaching_others(lab, tmp_path):
    """What came to nothing has cut the links: they are made again."""
    _, a, b = pair(lab)
    failed = a.run(BUILD / "shoal", "upgrade", script(tmp_path / "vanishes", 'rm "$0"'), check=False)
    assert failed.returncode == 1
    (b.dir / "x.txt").write_text("over there")
    equal(a, b)


def test_no_daemon(host):
    host.down()
    assert host.run(BUILD / "shoal", "upgrade", check=False).returncode == 4


def test_killed_in_between(host, tmp_path):
    """At any moment of it: that is a crash like all others."""
    (host.dir / "doc.json").write_text('{"n": 0}')
    # The program that it becomes is killed before it does anything.
    dies = script(tmp_path / "dies", 'test "$1" = --check-handover || kill -9 $$')
    delays = [None, *(random.Random(7).uniform(0, 0.15) for _ in range(8))]
    for n, delay in enumerate(delays, 1):
        (host.dir / "doc.json").write_text(json.dumps({"n": n}))
        pid = host.daemon_pid()
        if delay is None:
            assert host.run(BUILD / "shoal", "upgrade", dies, check=False).returncode == 1
        else:
            os.kill(pid, signal.SIGUSR2)
            time.sleep(delay)
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid))
        host.up()
        assert json.loads((host.dir / "doc.json").read_text()) == {"n": n}
    host.shoal("verify")


# ---- the ways to ask for it ----


def test_program_replaced(lab, tmp_path):
    """A package brings another program to the same place; a signal says so."""
    host = lab.host("anna")
    for name in ("shoal", "shoald"):
        shutil.copy(BUILD / name, tmp_path)
    host.run(tmp_path / "shoal", "up", host.dir)
    pid = host.daemon_pid()
    before = os.stat(f"/proc/{pid}/exe").st_ino
    shutil.copy(BUILD / "shoald", tmp_path / "new")
    os.rename(tmp_path / "new", tmp_path / "shoald")
    with open(host.dir / "x.txt", "w") as file:
        file.write("begun, ")
        file.flush()
        os.kill(pid, signal.SIGUSR2)
        wait_for(lambda: os.stat(f"/proc/{pid}/exe").st_ino != before)
        file.write("done")
    assert os.stat(f"/proc/{pid}/exe").st_ino == os.stat(tmp_path / "shoald").st_ino
    assert (host.dir / "x.txt").read_text() == "begun, done"
    version = host.shoal("--version").split()[-1]
    assert host.shoal("upgrade", "--json") == {"version": version, "before": version}
    assert os.path.samefile(f"/proc/{pid}/exe", BUILD / "shoald")


def test_clients_wait_for_it(host):
    """Nobody is told meanwhile that there is no daemon."""
    end, failed = threading.Event(), []

    def ask():
        while not end.is_set():
            done = host.run(BUILD / "shoal", "status", check=False)
            if done.returncode == 4:
                failed.append(done)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(10):
            upgrade(host)
    finally:
        end.set()
        thread.join()
    assert not failed


def test_unmounted_and_mounted(host):
    """What began under another program ends as ever."""
    host.shoal("umount", host.dir)
    host.up()
    upgrade(host)
    (host.dir / "x.txt").write_text("hello")
    assert stat.S_ISREG(os.stat(host.dir / "x.txt").st_mode)
    pid = host.daemon_pid()
    host.down()
    assert not alive(pid) and not os.path.ismount(host.dir)
    host.up()
    assert (host.dir / "x.txt").read_text() == "hello"
    subprocess.run(["fusermount3", "-u", host.dir], check=True)
    wait_for(lambda: host.daemon_pid() is None)


def test_reports_while_one_is_open(host):
    """The report counts what is open, and does not wait for itself."""
    path = host.dir / ".shoal/status.json"
    with open(path):
        for _ in range(3):
            begun = time.monotonic()
            assert json.loads(path.read_text())["mount"]["open_files"] >= 1
            assert time.monotonic() - begun < 1


def test_mount_with_a_listen_address(lab):
    """A mounted device that listens at a fixed port is no hub before, and none after."""
    host = lab.host("anna")
    host.shoal("init", "--device", host.name)
    host.dir.mkdir(exist_ok=True)
    host.popen(BUILD / "shoald", "--store", host.store, "--mount", host.dir, "--listen", "7580")
    wait_for(host.daemon_pid, what="the daemon")
    upgrade(host)
    assert "as a hub" not in host.log()
    host.down()
    hub = host.popen(BUILD / "shoald", "--store", host.store, "--no-mount", "--listen", "7580")
    wait_for(lambda: "as a hub" in host.log(), what="a hub that says so")
    wait_for(host.daemon_pid, what="the hub")
    os.kill(host.daemon_pid(), signal.SIGTERM)
    hub.wait(timeout=30)
