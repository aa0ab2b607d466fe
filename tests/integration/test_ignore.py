# SPDX-License-Identifier: GPL-2.0-or-later
"""What .shoalignore names stays on the device that made it."""
import errno
import json
import mmap
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fsmount import Mount, wait_until
from lab import BUILD, wait_for
from test_mount import RENAME_EXCHANGE, renameat2
from test_two_hosts import equal, pair


@pytest.fixture
def mount():
    m = Mount()
    yield m
    m.close()


def rules(mount, text, path=".shoalignore"):
    """Rules that the other device has as well."""
    mount.path(path).write_text(text)
    mount.settle_and_sync()
    assert mount.remote_bytes(path).decode() == text


def state(path):
    return os.getxattr(path, "user.shoal.state", follow_symlinks=False).decode()


def others(mount):
    mount.settle_and_sync()
    return [p for p in mount.remote_paths() if not p.endswith("/")]


def tree(top):
    """Everything below: type, mode, and content or target."""
    found = {}
    for here, dirs, files in os.walk(top):
        for name in dirs + files:
            path = os.path.join(here, name)
            status = os.lstat(path)
            what = (os.readlink(path) if os.path.islink(path) else
                    None if os.path.isdir(path) else open(path, "rb").read())
            found[os.path.relpath(path, top)] = (status.st_mode, what)
    return found


def test_ignored_files_and_directories_stay(mount):
    rules(mount, "*.log\n!keep.log\nbuild/\n/only-here\n")
    for name in ["a.log", "keep.log", "a.txt", "only-here"]:
        mount.path(name).write_text(name)
    (mount.dir / "sub").mkdir()
    (mount.dir / "sub/only-here").write_text("not there")
    (mount.dir / "sub/b.log").write_text("b")
    for top in ["build", "sub/build"]:
        (mount.dir / top / "deep/er").mkdir(parents=True)
        (mount.dir / top / "deep/er/x.json").write_text("{}")
        (mount.dir / top / "keep.log").write_text("not even this")
        os.symlink("keep.log", mount.dir / top / "link")
    os.symlink("a.txt", mount.dir / "link.log")
    assert others(mount) == [".shoalignore", "a.txt", "keep.log", "sub", "sub/only-here"]
    assert sorted(os.listdir(mount.dir)) == [
        ".shoalignore", "a.log", "a.txt", "build", "keep.log", "link.log", "only-here", "sub"]
    assert sorted(os.listdir(mount.dir / "sub/build")) == ["deep", "keep.log", "link"]
    for path in ["a.log", "build", "build/deep", "build/deep/er/x.json"]:
        assert state(mount.path(path)) == "local"
    assert state(mount.path("a.txt")) != "local"
    before = tree(mount.dir)
    mount.stop()
    mount.start()
    assert tree(mount.dir) == before
    assert state(mount.path("build/deep/er/x.json")) == "local"
    mount.kill()
    mount.start()
    assert tree(mount.dir) == before
    assert others(mount) == [".shoalignore", "a.txt", "keep.log", "sub", "sub/only-here"]


def test_rules_from_elsewhere_count_at_once(mount):
    mount.path("before.log").write_text("tracked")
    (mount.dir / "was").mkdir()
    assert others(mount) == ["before.log", "was"]
    mount.remote_put(".shoalignore", "*.log\nwas/\n")
    mount.sync()
    mount.path("after.log").write_text("mine")
    (mount.dir / "was/new").write_text("below what is ignored now")
    # What is shared already goes on being shared, as with git.
    mount.path("before.log").write_text("tracked, changed")
    assert others(mount) == [".shoalignore", "before.log", "was"]
    assert mount.remote_bytes("before.log") == b"tracked, changed"
    mount.remote_put("before.log", "from there")
    mount.sync()
    mount.settle()
    assert mount.path("before.log").read_text() == "from there"
    # A program that saves by renaming, or by removing first, does not make it another file.
    subprocess.run(["sed", "-i", "s/there/here/", mount.path("before.log")], check=True)
    mount.path("before.log").unlink()
    mount.path("before.log").write_text("again")
    assert others(mount) == [".shoalignore", "before.log", "was"]
    assert mount.remote_bytes("before.log") == b"again"


def test_files_follow_when_no_rule_names_them_any_more(mount):
    rules(mount, "*.log\n*.bin\n")
    mount.path("a.log").write_text("first")
    mount.path("b.bin").write_bytes(bytes(300_000))
    mount.path("c.log").symlink_to("a.log")
    assert others(mount) == [".shoalignore"]
    mount.stop()
    mount.start()
    mount.remote_put(".shoalignore", "*.bin\n")
    wait_until(lambda: others(mount) == [".shoalignore", "a.log", "c.log"])
    assert mount.remote_bytes("a.log") == b"first"
    assert mount.path("c.log").read_text() == "first"
    mount.remote_put("a.log", "second")
    mount.sync()
    mount.settle()
    assert mount.path("a.log").read_text() == "second"
    mount.path(".shoalignore").unlink()
    wait_until(lambda: others(mount) == ["a.log", "b.bin", "c.log"])
    assert mount.remote_bytes("b.bin") == bytes(300_000)


def test_a_directory_that_is_removed_gives_nothing_away(mount):
    """Its rules go first, and what they ignored is nobody's business even then."""
    mount.path("p").mkdir()
    rules(mount, "*.log\n", "p/.shoalignore")
    mount.path("p/a.log").write_text("secret")
    mount.ask("rm", "p/.shoalignore")
    mount.sync()
    # One after the other the keeper has come for what follows, and for the rules.
    mount.path("later").write_text("x")
    wait_until(lambda: (mount.sync(), "later" in mount.remote_paths())[1])
    assert state(mount.path("p/a.log")) == "local"
    mount.ask("rm", "p")
    mount.sync()
    for _ in range(3):
        assert others(mount) == ["later"]


def test_new_rules_hold_as_soon_as_they_are_written(mount):
    p = mount.path
    for k in range(20):
        p(".shoalignore").write_text("".join(f"/{n}.x\n" for n in range(k + 1)))
        p(f"{k}.x").write_text("mine")
        p(f"{k}.y").mkdir()
    for k in range(20, 40):
        p("rules").write_text("".join(f"/{n}.x\n" for n in range(k + 1)))
        os.rename(p("rules"), p(".shoalignore"))
        p(f"{k}.x").mkdir()
        p(f"{k}.x/f").write_text("mine")
    (mount.dir / "sub").mkdir()
    (mount.dir / "sub/.shoalignore").write_text("mine\n")
    (mount.dir / "sub/mine").write_text("mine")
    (mount.dir / "mine").write_text("everybody's")
    paths = others(mount)
    assert [path for path in paths if not path.endswith(".y")] == [
        ".shoalignore", "mine", "sub", "sub/.shoalignore"]


def test_saving_an_ignored_file(mount):
    rules(mount, "*.cfg\n")
    path = mount.path("a.cfg")
    path.write_text("one\n")
    subprocess.run(["sed", "-i", "s/one/two/", path], check=True)
    with open(path, "a") as f:
        f.write("three\n")
    subprocess.run(["sh", "-c", 'sort -r "$1" >"$1.new" && mv "$1.new" "$1"', "sh", path],
                   check=True)
    subprocess.run(["vim", "-u", "NONE", "-N", "-es", "-c", "normal ofour", "-c", "wq", path],
                   check=True, stdin=subprocess.DEVNULL)
    os.chmod(path, 0o640)
    os.utime(path, (1, 1_500_000_000))
    os.setxattr(path, "user.mine", b"x")
    big = mount.path("big.cfg")
    big.write_bytes(b"x" * 200_000)
    with open(big, "r+b") as f:
        f.seek(100_000)
        f.write(b"y")
    mount.path("empty.cfg").touch()
    assert others(mount) == [".shoalignore"]
    mount.kill()
    mount.start()
    assert path.read_text() == "two\nthree\nfour\n"
    status = path.stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o640, 1_500_000_000)
    assert os.getxattr(path, "user.mine") == b"x"
    assert big.stat().st_size == 200_000
    assert big.read_bytes() == b"x" * 100_000 + b"y" + b"x" * 99_999
    assert mount.path("empty.cfg").read_bytes() == b""
    assert others(mount) == [".shoalignore"]


def test_renaming_across_the_rules(mount):
    rules(mount, "*.log\nbuild/\n")
    p = mount.path
    # Here before, everybody's under its new name.
    p("a.log").write_text("was mine")
    os.rename(p("a.log"), p("a.txt"))
    # Everybody's before, and after: a rename takes nothing away from anybody.
    p("b.txt").write_text("shared")
    mount.settle_and_sync()
    os.rename(p("b.txt"), p("b.log"))
    # One that has not been shared yet.
    p("c.txt").write_text("fresh")
    os.rename(p("c.txt"), p("c.log"))
    # Over a document.
    mount.new_document("d.json", {"a": 1})
    p("d.log").write_text('{"a": 2}')
    os.rename(p("d.log"), p("d.json"))
    # With each other: the one that was mine is everybody's, and the other way round.
    p("g.log").write_text("was g.log")
    p("g.txt").write_text("was g.txt")
    renameat2(p("g.log"), p("g.txt"), RENAME_EXCHANGE)
    # Among themselves.
    p("e.log").write_text("e")
    p("f.log").write_text("f")
    os.rename(p("e.log"), p("f.log"))
    assert others(mount) == [".shoalignore", "a.txt", "b.log", "d.json", "g.txt"]
    assert mount.remote_bytes("g.txt") == b"was g.log"
    assert p("g.log").read_text() == "was g.txt"
    assert mount.remote_bytes("a.txt") == b"was mine"
    assert mount.remote_bytes("b.log") == b"shared"
    assert mount.remote_json("d.json") == {"a": 2}
    assert p("f.log").read_text() == "e" and not p("e.log").exists()
    mount.kill()
    mount.start()
    assert p("c.log").read_text() == "fresh"
    assert p("f.log").read_text() == "e" and not p("e.log").exists()
    assert others(mount) == [".shoalignore", "a.txt", "b.log", "d.json", "g.txt"]


def test_an_ignored_directory_is_like_a_file_system_of_its_own(mount):
    rules(mount, "build/\nold/\n")
    p = mount.path
    (p("build/sub")).mkdir(parents=True)
    p("build/sub/x").write_text("x")
    p("y").write_text("y")
    (p("dir")).mkdir()
    p("dir/z").write_text("z")
    mount.settle_and_sync()

    def refused(number, call, *args):
        with pytest.raises(OSError) as caught:
            call(*args)
        assert caught.value.errno == number

    refused(errno.EXDEV, os.rename, p("build"), p("shared"))
    refused(errno.EXDEV, renameat2, p("build"), p("dir"), RENAME_EXCHANGE)
    refused(errno.EXDEV, os.rename, p("dir"), p("build/dir"))
    refused(errno.EXDEV, os.rename, p("y"), p("build/y"))
    refused(errno.EXDEV, os.rename, p("build/sub"), p("sub"))
    refused(errno.EXDEV, os.link, p("build/sub/x"), p("x~"))
    refused(errno.EPERM, os.link, p("build/sub/x"), p("build/x"))
    refused(errno.ENOTEMPTY, os.rmdir, p("build"))
    refused(errno.EISDIR, os.unlink, p("build"))
    refused(errno.EEXIST, os.mkdir, p("build"))
    p("old").mkdir()
    refused(errno.ENOTEMPTY, os.rename, p("old"), p("build"))
    os.rename(p("build"), p("old"))
    os.rename(p("old"), p("dir/old"))
    os.rename(p("dir/old"), p("build"))
    assert others(mount) == [".shoalignore", "dir", "dir/z", "y"]
    # mv(1) knows what to do.
    subprocess.run(["mv", p("build"), p("shared")], check=True)
    subprocess.run(["mv", p("dir"), p("build")], check=True)
    assert others(mount) == [".shoalignore", "build", "build/z", "shared", "shared/sub",
                             "shared/sub/x", "y"]
    p("new/build").mkdir(parents=True)
    p("new/build/t").write_text("t")
    refused(errno.ENOTEMPTY, os.rmdir, p("new"))
    mount.kill()
    mount.start()
    assert p("new/build/t").read_text() == "t"
    subprocess.run(["mv", p("y"), p("new/build")], check=True)
    assert others(mount) == [".shoalignore", "build", "build/z", "new", "shared", "shared/sub",
                             "shared/sub/x"]
    subprocess.run(["rm", "-r", p("new"), p("shared"), p("build")], check=True)
    assert others(mount) == [".shoalignore"]
    assert [n for n in os.listdir(mount.top / "store/spool") if n.startswith("tree-")] == []


def test_files_in_an_ignored_directory_are_files(mount):
    rules(mount, "t/\n")
    top = mount.path("t")
    top.mkdir()
    a = top / "a"
    fd = os.open(a, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
    os.write(fd, b"0123456789")
    # Removed while it is open, its name taken by another one.
    a.unlink()
    a.write_text("other")
    assert os.fstat(fd).st_size == 10
    os.fchmod(fd, 0o600)
    os.ftruncate(fd, 5)
    assert os.pread(fd, 20, 0) == b"01234" and stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
    # Replaced while it is open.
    other = os.open(a, os.O_RDONLY)
    (top / "b").write_text("b")
    os.rename(top / "b", a)
    assert os.read(other, 20) == b"other" and a.read_text() == "b"
    assert os.fstat(other).st_size == 5
    os.close(fd)
    os.close(other)
    # Shared mappings, holes, appending, links, pipes, times.
    with open(top / "m", "w+b") as f:
        f.truncate(1 << 20)
        with mmap.mmap(f.fileno(), 1 << 20) as m:
            m[4096:4100] = b"here"
            m.flush()
        assert os.lseek(f.fileno(), 0, os.SEEK_DATA) == 4096
        os.fsync(f.fileno())
    with open(top / "m", "ab") as one, open(top / "m", "ab") as two:
        one.write(b"1")
        one.flush()
        two.write(b"2")
    assert (top / "m").read_bytes()[-2:] == b"12" and (top / "m").stat().st_size == (1 << 20) + 2
    os.symlink("nowhere", top / "l")
    os.utime(top / "l", (5, 6), follow_symlinks=False)
    assert os.lstat(top / "l").st_mtime == 6 and os.readlink(top / "l") == "nowhere"
    os.mkfifo(top / "p", 0o622)
    assert stat.S_ISFIFO((top / "p").stat().st_mode)
    os.mkdir(top / "d", 0o2755)
    os.chmod(top / "d", 0o1777)
    assert stat.S_IMODE((top / "d").stat().st_mode) == 0o1777
    with pytest.raises(OSError) as caught:
        os.setxattr(a, "user.shoal.state", b"x")
    assert caught.value.errno == errno.EPERM
    # A directory that is removed while somebody stands in it.
    (top / "gone").mkdir()
    here = os.open(top / "gone", os.O_RDONLY | os.O_DIRECTORY)
    (top / "gone").rmdir()
    assert os.listdir(here) == []
    with pytest.raises(FileNotFoundError):
        os.open("x", os.O_WRONLY | os.O_CREAT, dir_fd=here)
    os.close(here)
    # Inode numbers are those of the listing.
    with os.scandir(top) as found:
        for entry in found:
            assert entry.inode() == os.lstat(entry.path).st_ino
    # Moved as a whole, open files and all.
    (top / "d/e").mkdir()
    with open(top / "d/e/f", "w") as f:
        os.rename(top / "d", top / "d2")
        f.write("late")
        f.flush()
        assert (top / "d2/e/f").read_text() == "late"
        (top / "d2/e/g").write_text("g")
        os.rename(top / "d2/e", top / "e")
    assert sorted(os.listdir(top / "e")) == ["f", "g"] and os.listdir(top / "d2") == []
    assert others(mount) == [".shoalignore"]


def git(top, *command):
    return subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", top, *command], check=True,
        capture_output=True, text=True, timeout=120).stdout


def test_real_programs_in_ignored_directories(mount):
    rules(mount, ".git/\nvenv/\ncopy/\n")
    top = mount.path("project")
    top.mkdir()
    git(top, "init", "-q", "-b", "main")
    for k in range(40):
        (top / f"f{k}.txt").write_text(f"line {k}\n" * k)
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "one")
    (top / "f3.txt").write_text("changed\n")
    git(top, "commit", "-qam", "two")
    git(top, "gc", "-q")
    git(top, "checkout", "-q", "-b", "side", "HEAD~1")
    assert (top / "f3.txt").read_text() == "line 3\n" * 3
    git(top, "checkout", "-q", "main")
    subprocess.run(["git", "clone", "-q", top, mount.path("copy")], check=True, timeout=120)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", mount.path("venv")], check=True,
                   timeout=120)
    said = subprocess.run([mount.path("venv/bin/python"), "-c", "import sys; print(sys.prefix)"],
                          check=True, capture_output=True, text=True).stdout
    assert said.strip() == str(mount.path("venv"))
    before = tree(mount.dir)
    mount.kill()
    mount.start()
    assert tree(mount.dir) == before
    for where in [top, mount.path("copy")]:
        assert git(where, "fsck", "--strict").strip() == ""
        assert git(where, "status", "--porcelain") == ""
    want = [".shoalignore", "project"] + [f"project/f{k}.txt" for k in range(40)]
    assert others(mount) == sorted(want)


def test_fifty_thousand_files(mount):
    rules(mount, "node_modules/\n*.o\n")
    top = mount.path("node_modules")
    start = time.monotonic()
    for d in range(500):
        here = top / f"p{d % 25}" / f"q{d}"
        here.mkdir(parents=True)
        for k in range(100):
            fd = os.open(here / f"{k}.js", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
            os.write(fd, b"x" * (d + k))
            os.close(fd)
    print(f"made: {time.monotonic() - start:.1f} s")
    for k in range(3000):
        mount.path(f"{k}.o").write_bytes(b"o" * k)
    mount.kill()
    start = time.monotonic()
    mount.start()
    print(f"mounted: {time.monotonic() - start:.2f} s")
    start = time.monotonic()
    found = {os.path.relpath(os.path.join(here, f), top): os.lstat(os.path.join(here, f)).st_size
             for here, _, files in os.walk(top) for f in files}
    print(f"listed: {time.monotonic() - start:.1f} s")
    assert found == {f"p{d % 25}/q{d}/{k}.js": d + k for d in range(500) for k in range(100)}
    for k in [0, 1, 2999]:
        assert mount.path(f"{k}.o").read_bytes() == b"o" * k
    os.rename(top / "p0", top / "renamed")
    assert (top / "renamed/q25/7.js").read_bytes() == b"x" * 32
    assert others(mount) == [".shoalignore"]
    subprocess.run(["rm", "-r", top / "renamed"], check=True)
    assert sorted(os.listdir(top)) == sorted(f"p{d}" for d in range(1, 25))
    assert len(os.listdir(mount.dir)) == 3002


def test_rules_of_a_directory_that_moves(mount):
    rules(mount, "/a/*.x\n")
    mount.path("a").mkdir()
    mount.path("b").mkdir()
    mount.path("b/.shoalignore").write_text("*.y\n")
    mount.path("a/1.x").write_text("mine")
    mount.path("b/1.y").write_text("mine")
    mount.path("b/1.x").write_text("shared")
    assert others(mount) == [".shoalignore", "a", "b", "b/.shoalignore", "b/1.x"]
    os.rename(mount.path("b/.shoalignore"), mount.path("a/.shoalignore"))
    mount.path("b/2.y").write_text("shared")
    mount.path("a/2.y").write_text("mine")
    wait_until(lambda: (mount.settle(), state(mount.path("b/1.y")) != "local")[1])
    assert others(mount) == [".shoalignore", "a", "a/.shoalignore", "b", "b/1.x", "b/1.y", "b/2.y"]


def test_two_devices(lab):
    _, a, b = pair(lab)
    watch = b.popen(BUILD / "shoal", "watch", stdout=subprocess.PIPE, text=True)
    (b.dir / "web").mkdir()
    (b.dir / "web/.shoalignore").write_text("node_modules/\n.git/\n*.log\n")
    equal(a, b)
    web = a.dir / "web"
    (web / "a.log").write_text("a")
    shutil.copytree(Path(os.__file__).parent / "asyncio", web / "node_modules/lib", symlinks=True)
    git(web, "init", "-q")
    (web / "index.html").write_text("hello")
    git(web, "add", "index.html", ".shoalignore")
    git(web, "commit", "-qm", "one")
    (b.dir / "web/b.log").write_text("b")
    wait_for(lambda: (b.dir / "web/index.html").read_text() == "hello")
    a.shoal("wait")
    b.shoal("wait")
    assert sorted(os.listdir(b.dir / "web")) == [".shoalignore", "b.log", "index.html"]
    assert sorted(os.listdir(web)) == [
        ".git", ".shoalignore", "a.log", "index.html", "node_modules"]
    before = tree(web)
    # However this device stops, and the rule leaves on the other one.
    a.shoal("down")
    a.up()
    assert tree(web) == before
    a.kill9()
    a.up()
    assert tree(web) == before
    git(web, "fsck", "--strict")
    (b.dir / "web/.shoalignore").write_text("node_modules/\n.git/\n")
    wait_for(lambda: (a.dir / "web/b.log").read_text() == "b")
    wait_for(lambda: (b.dir / "web/a.log").read_text() == "a")
    # Removed elsewhere it goes out of sight, and comes back as it was.
    before = tree(web)
    shutil.rmtree(b.dir / "web")
    wait_for(lambda: not web.exists())
    a.shoal("restore", web)
    wait_for(lambda: tree(web) == before, what="the directory as it was")
    wait_for(lambda: (b.dir / "web/index.html").read_text() == "hello")
    (b.dir / "last").write_text("last")
    for line in watch.stdout:
        path = json.loads(line)["path"]
        assert "node_modules" not in path and ".git" not in path
        if path == "last":
            break
    a.shoal("down")
    b.shoal("down")


def test_an_ignored_name_hides_a_shared_one(mount):
    rules(mount, "build/\n*.log\n")
    p = mount.path
    p("build").mkdir()
    p("build/x").write_text("mine")
    p("a.log").write_text("mine")
    mount.ask("mkdir", "build")
    mount.remote_put("build/x", "theirs")
    mount.remote_put("a.log", "theirs")
    mount.sync()
    mount.settle()
    assert p("build/x").read_text() == p("a.log").read_text() == "mine"
    assert sorted(os.listdir(mount.dir)) == [".shoalignore", "a.log", "build"]
    shutil.rmtree(p("build"))
    p("a.log").unlink()
    assert p("build/x").read_text() == p("a.log").read_text() == "theirs"
    assert others(mount) == [".shoalignore", "a.log", "build", "build/x"]


def test_what_was_ignored_in_a_removed_directory_is_there_again(mount):
    rules(mount, "*.log\nbuild/\n")
    mount.path("p/build").mkdir(parents=True)
    mount.path("p/build/x").write_text("x")
    mount.path("p/a.log").write_text("a")
    assert others(mount) == [".shoalignore", "p"]
    mount.ask("rm", "p")
    mount.sync()
    mount.settle()
    assert not mount.path("p").exists()
    mount.stop()
    mount.start()
    mount.path("p").mkdir()
    assert sorted(os.listdir(mount.path("p"))) == ["a.log", "build"]
    assert mount.path("p/build/x").read_text() == "x" and mount.path("p/a.log").read_text() == "a"
    assert others(mount) == [".shoalignore", "p"]
