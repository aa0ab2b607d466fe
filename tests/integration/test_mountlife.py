# SPDX-License-Identifier: GPL-2.0-or-later
"""Mounting as people do: mount(8), fstab, root and ordinary users, systemd, and after a crash.

Everything happens in a mount namespace of its own, with a /sbin that has the helper in it and devices
that everybody may open, as a machine with Shoal installed has them."""
import contextlib
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from lab import BUILD, SOURCE, alive, end, wait_for

ROOT, NOBODY = 0, 65534
DEVICES = {"fuse": (10, 229), "null": (1, 3)}
PROGRAMS = ("shoal", "shoald", "mount.fuse.shoal")


class Machine:
    def __init__(self):
        self.top = Path(tempfile.mkdtemp(prefix="mountlife-", dir="/tmp"))
        self.top.chmod(0o755)
        (self.top / "sbin").mkdir()
        for name in PROGRAMS:
            shutil.copy(BUILD / name, self.top / "sbin")
        for name, number in DEVICES.items():
            os.mknod(self.top / name, stat.S_IFCHR, os.makedev(*number))
            (self.top / name).chmod(0o666)
        self.holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c",
             'mount --bind "$0/sbin" /usr/sbin && mount --bind "$0/fuse" /dev/fuse && '
             'mount --bind "$0/null" /dev/null && echo ready && exec sleep 600', self.top],
            stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.homes = [self.home(user) for user in (ROOT, NOBODY)]

    def home(self, user):
        """A user's home: its store and its mount point are in it."""
        home = self.top / f"home{user}"
        if not home.exists():
            home.mkdir()
            os.chown(home, user, user)
        return home

    def popen(self, user, *words, **options):
        home = self.top / f"home{user}"
        return subprocess.Popen(
            ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt", "setpriv", f"--reuid={user}",
             f"--regid={user}", "--clear-groups", "env", "--chdir", home, *map(str, words)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "LC_ALL": "C.UTF-8",
                 "PATH": f"{self.top}/sbin:/usr/bin:/bin"}, **options)

    def run(self, user, *words, status=0):
        process = self.popen(user, *words)
        output, said = process.communicate(timeout=60)
        assert process.returncode == status, f"{words}: {process.returncode}\n{output}{said}"
        return output if status == 0 else said

    def sh(self, user, script, status=0):
        return self.run(user, "sh", "-c", script, status=status)

    def daemon(self, home, store=".local/share/shoal"):
        return int((home / store / "lock").read_text())

    def close(self):
        for home in self.homes:
            for lock in [home / "store/lock", home / ".local/share/shoal/lock"]:
                text = lock.read_text().strip() if lock.exists() else ""
                if text and alive(int(text)):
                    end(int(text), timeout=30)
        end(self.holder.pid)
        self.holder.wait()
        shutil.rmtree(self.top, ignore_errors=True)


@pytest.fixture
def machine():
    m = Machine()
    yield m
    m.close()


def test_fstab(machine):
    home = machine.home(ROOT)
    machine.run(ROOT, "shoal", "init", "--store", home / "store")
    (home / "m").mkdir()
    fstab = home / "fstab"
    fstab.write_text(f"{home}/store {home}/m fuse.shoal "
                     "rw,nofail,_netdev,noatime,allow_other,x-systemd.automount,x-gvfs-show 0 0\n")
    machine.run(ROOT, "mount", "-a", "-T", fstab, "-t", "fuse.shoal")
    machine.run(ROOT, "mount", "-a", "-T", fstab, "-t", "fuse.shoal")  # it is there already
    shown = machine.run(ROOT, "findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", home / "m").split()
    assert shown[:2] == ["fuse.shoal", f"{home}/store"]
    assert {"rw", "noatime", "allow_other", "nosuid", "nodev"} - set(shown[2].split(",")) == set()
    machine.sh(ROOT, "echo hello >m/x.txt")
    assert machine.sh(NOBODY, f"cat {home}/m/x.txt") == "hello\n"
    assert "unmount it" in machine.run(ROOT, "mount", "-o", "remount,ro", home / "m", status=32)
    # The daemon dies: said at once, and a mount heals it.
    os.kill(machine.daemon(home, "store"), signal.SIGKILL)
    wait_for(lambda: "not connected" in machine.sh(ROOT, "cat m/x.txt", status=1))
    machine.run(ROOT, "mount", "-T", fstab, home / "m")
    assert machine.sh(ROOT, "cat m/x.txt") == "hello\n"
    pid = machine.daemon(home, "store")
    machine.run(ROOT, "umount", home / "m")
    wait_for(lambda: not alive(pid))
    # Read-only, by the types of mount(8).
    machine.run(ROOT, "mount", "-t", "fuse.shoal", "-o", "ro", home / "store", home / "m")
    assert machine.sh(ROOT, "cat m/x.txt") == "hello\n"
    assert "Read-only" in machine.sh(ROOT, "echo no >m/y.txt", status=2)
    assert "Read-only" in machine.sh(ROOT, "mkdir m/y", status=1)
    machine.run(ROOT, "umount", home / "m")


def test_ordinary_user(machine):
    home = machine.home(NOBODY)
    mount = home / "Shoal"

    def shoal(*words, status=0):
        return machine.run(NOBODY, "shoal", *words, status=status)

    shoal("up", mount)
    machine.sh(NOBODY, "cd Shoal && echo 'build/' >.shoalignore && mkdir -m 700 build a && "
                       "echo one >a/x.txt && echo two >build/y && chmod 400 build/y")
    assert machine.sh(NOBODY, "stat -c %u:%g:%a Shoal/a/x.txt Shoal/build Shoal/build/y") == (
        "65534:65534:644\n65534:65534:700\n65534:65534:400\n")
    # Not even root enters without allow_other.
    assert "Permission denied" in machine.sh(ROOT, f"ls {mount}", status=2)
    shoal("upgrade")
    assert machine.sh(NOBODY, "cat Shoal/a/x.txt Shoal/build/y") == "one\ntwo\n"
    for how in ("up", "umount"):
        pid = machine.daemon(home)
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid))
        # What is asked while its threads are still ending is told of the end in other words.
        wait_for(lambda: "not connected" in machine.sh(NOBODY, "ls Shoal", status=2))
        if how == "umount":
            shoal("umount", mount)
        shoal("up", mount)
        assert machine.sh(NOBODY, "cat Shoal/a/x.txt Shoal/build/y") == "one\ntwo\n"
    with standing_in(machine, mount / "build"):
        assert "is busy" in shoal("umount", mount, status=1)
    pid = machine.daemon(home)
    machine.run(NOBODY, "fusermount3", "-u", mount)
    wait_for(lambda: not alive(pid))
    assert "user_allow_other" in shoal("mount", mount, "-o", "allow_other", status=1)
    shoal("mount", mount, "-o", "ro")
    assert machine.sh(NOBODY, "cat Shoal/a/x.txt Shoal/build/y") == "one\ntwo\n"
    assert "Read-only" in machine.sh(NOBODY, "echo no >Shoal/build/z", status=2)
    shoal("down", mount)


@contextlib.contextmanager
def standing_in(machine, directory):
    process = machine.popen(NOBODY, "sh", "-c", f"cd {directory} && echo there && exec sleep 60")
    try:
        assert process.stdout.readline() == "there\n"
        yield
    finally:
        process.kill()
        process.wait()


def test_no_right_to_dev_fuse(machine):
    home = machine.home(NOBODY)
    (machine.top / "fuse").chmod(0o600)
    said = machine.run(NOBODY, "shoal", "up", home / "Shoal", status=1)
    assert "/dev/fuse" in said and "chmod" in said


@pytest.mark.parametrize("name, options", [("shoal", ["--user"]), ("shoal-hub", [])])
def test_systemd_unit(tmp_path, name, options):
    """As it is installed, but for where the programs are and the pages, which are not."""
    unit = tmp_path / f"{name}.service"
    text = (SOURCE / f"tools/{name}.service.in").read_text()
    for directory in ("@bindir@", "@sbindir@"):
        text = text.replace(directory, str(BUILD))
    unit.write_text(text)
    done = subprocess.run(["systemd-analyze", *options, "--man=no", "verify", unit],
                          capture_output=True, text=True, timeout=60,
                          env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)})
    assert done.returncode == 0 and not done.stderr, done.stderr
