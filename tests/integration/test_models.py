# SPDX-License-Identifier: GPL-2.0-or-later
"""Random operations on a mount against models of what a file, and a tree, is then: tests/helpers/filemodel.c,
tests/helpers/treemodel.c. Each run prints its seed, with which the helper does it all again."""
import os
import random
import subprocess

import pytest

from fsmount import BUILD, Mount

MODELS = BUILD / "tests/helpers"
NAMES = {"blob": "f.bin", "text": "f.txt", "json": "f.json"}


@pytest.fixture
def m():
    mount = Mount("allow_other,dev,suid")
    (mount.dir / "c").mkdir()
    yield mount
    mount.close()


def start(program, *args):
    return subprocess.Popen([MODELS / program, *map(str, args)], stdout=subprocess.PIPE, text=True)


def finish(*processes):
    for p in processes:
        out, _ = p.communicate(timeout=200)
        assert p.returncode == 0, out


def seed_of(seed):
    return random.SystemRandom().randrange(1 << 40) if seed == "new" else seed


@pytest.mark.parametrize("seed", [1, 2, "new"])
@pytest.mark.parametrize("kind", NAMES)
def test_a_file(m, kind, seed):
    p = m.dir / "c" / NAMES[kind]
    finish(start("filemodel", "--seed", seed_of(seed), "--ops", 500, "--kind", kind, p))
    want = (m.dir / "c" / (p.name + ".model")).read_bytes()
    m.settle()
    assert p.read_bytes() == want
    m.stop()
    m.start()
    assert p.read_bytes() == want
    m.settle_and_sync()
    assert m.remote_bytes(f"c/{p.name}") == want


@pytest.mark.parametrize("seed", [1, "new"])
def test_trees(m, seed):
    """Three at once, in directories of their own."""
    seed = seed_of(seed)
    tops = [m.dir / f"t{k}" for k in range(3)]
    for t in tops:
        t.mkdir()
    finish(*(start("treemodel", "--seed", seed + k, "--ops", 1000, t) for k, t in enumerate(tops)))
    m.settle()
    for state in ("settled", "mounted again"):
        if state == "mounted again":
            m.stop()
            m.start()
        finish(*(start("treemodel", "--seed", seed + k, "--ops", 1000, "--check", t)
                 for k, t in enumerate(tops)))


def test_a_descriptor_that_saves_again_and_again(m):
    """What it wrote is what its writer knows, although it has not read it."""
    p = m.dir / "c" / "x.json"
    p.write_text('{"a": 1, "b": 1}\n')
    m.settle()
    fd = os.open(p, os.O_RDWR)
    os.pread(fd, 100, 0)
    for text in ('{"a": 2, "b": 1}\n', '{"a": 1, "b": 2}\n', '{"a": 1, "b": 1}\n'):
        os.pwrite(fd, text.encode(), 0)
        os.fsync(fd)
        assert p.read_text() == text
    os.close(fd)
    assert p.read_text() == text


def test_what_one_descriptor_adds_another_keeps(m):
    """Who changes some bytes has the others of what the file is, not of what he has read."""
    p = m.dir / "c" / "x.txt"
    p.write_text("one\ntwo\nthree\n")
    m.settle()
    fd = os.open(p, os.O_RDWR)
    os.pread(fd, 100, 0)
    with open(p, "a") as f:
        f.write("four\n")
    os.pwrite(fd, b"TWO", 4)
    os.close(fd)
    assert p.read_text() == "one\nTWO\nthree\nfour\n"


def test_readers_see_what_is_written_after_a_rename(m):
    p, q = m.dir / "c" / "x.bin", m.dir / "c" / "y.bin"
    p.write_bytes(bytes(200000))
    m.settle()
    reader = os.open(p, os.O_RDONLY)
    os.rename(p, q)
    os.chmod(q, 0o600)
    with open(q, "r+b") as f:
        f.write(b"new")
    assert os.pread(reader, 3, 0) == b"new" == q.read_bytes()[:3]
    os.close(reader)


def test_attributes_go_aside_with_their_file(m):
    p = m.dir / "c" / "x.txt"
    p.write_text("x\n")
    os.setxattr(p, "user.k", b"v")
    m.settle()
    os.rename(p, m.dir / "c" / "x.txt~")
    assert os.getxattr(m.dir / "c" / "x.txt~", "user.k") == b"v"
    os.rename(m.dir / "c" / "x.txt~", p)
    m.settle()
    assert os.getxattr(p, "user.k") == b"v"


def test_a_settled_file_renamed_over_another_keeps_what_it_is(m):
    p, new = m.dir / "c" / "x.txt", m.dir / "c" / "new.txt"
    p.write_text("old\n")
    new.write_text("new\n")
    m.settle()
    os.chmod(new, 0o640)
    os.chown(new, 65534, 65533)
    os.utime(new, ns=(5 * 10**9, 7 * 10**9))
    os.setxattr(new, "user.k", b"v")
    os.rename(new, p)
    m.settle()
    s = p.stat()
    assert (s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_mtime_ns) == (0o640, 65534, 65533, 7 * 10**9)
    assert p.read_text() == "new\n" and os.getxattr(p, "user.k") == b"v"


def test_saves_beside_a_backup(m):
    """What is saved within two seconds of making a backup is known to who saved it."""
    p = m.dir / "c" / "x.txt"
    p.write_text("one\n")
    m.settle()
    text = p.read_text()
    for line in ("two\n", "three\n"):
        (m.dir / "c" / "x.txt~").write_text(text)
        text += line
        p.write_text(text)
        assert p.read_text() == text
        text = text.replace("one", "ONE" + line.strip())
        p.write_text(text)
        assert p.read_text() == text
