# SPDX-License-Identifier: GPL-2.0-or-later
"""Large files: no limit on their size, a change costs what it touches, holes stay holes, and no
daemon holds more than pieces of them in memory."""
import errno
import hashlib
import os
import subprocess
import time

import pytest

from lab import next_second, wait_for
from test_two_hosts import meet, pair

MIB = 1 << 20
GIB = 1 << 30
# RocksDB's tables in memory, its caches, and what a daemon is anyway.
MEMORY_MOST = 160 * MIB
DAEMON_IDLE_MOST = 60 * MIB


def memory(host):
    """The most that the daemon ever had in memory, in bytes."""
    with open(f"/proc/{host.daemon_pid()}/status") as status:
        for line in status:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def disk_use(path):
    words = subprocess.run(["du", "-s", "-B1", path], check=True, capture_output=True, timeout=30)
    return int(words.stdout.split()[0])


def dd(target, *words):
    subprocess.run(["dd", "if=/dev/urandom", f"of={target}", *words], check=True,
                   stderr=subprocess.DEVNULL, timeout=60)


def regions(path):
    """[(start, end, digest)] of the data between holes."""
    found, at = [], 0
    fd = os.open(path, os.O_RDONLY)
    try:
        while True:
            try:
                start = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                return found
            at = os.lseek(fd, start, os.SEEK_HOLE)
            digest = hashlib.sha256()
            for offset in range(start, at, MIB):
                digest.update(os.pread(fd, min(MIB, at - offset), offset))
            found.append((start, at, digest.hexdigest()))
    finally:
        os.close(fd)


def same_data(path, other):
    """Same size, and the same bytes wherever one of them has any."""
    return os.stat(path).st_size == os.stat(other).st_size and regions(path) == regions(other)


def in_step(*hosts):
    """All of them hold the same. Nothing is read for it: these files are large."""
    for host in hosts:
        host.shoal("wait", "--timeout", "60", timeout=90)


@pytest.fixture
def one(lab):
    host = lab.host("anna", lab.network())
    host.up()
    return host


def stored_size(host):
    """Of the store of a daemon that has begun anew: nothing is in a log and in a table at a time then."""
    host.down()
    host.up()
    return disk_use(host.store)


def test_random_writes_cost_what_they_touch(one, tmp_path):
    shadow, path = tmp_path / "shadow", one.dir / "disk.img"
    dd(shadow, "bs=1M", "count=80")
    subprocess.run(["cp", shadow, path], check=True, timeout=60)
    wait_for(lambda: one.shoal("status", "--json")["files"] == 1)
    assert memory(one) < MEMORY_MOST
    chunks, before = one.shoal("verify", "--json")["chunks"], stored_size(one)
    assert before > 80 * MIB
    with open(shadow, "r+b") as out:
        for number in range(20):
            piece, place = os.urandom(4096), (number * 7919 + 11) % (80 * 256)
            out.seek(place * 4096)
            out.write(piece)
            start = time.monotonic()
            subprocess.run(["dd", f"of={path}", "bs=4096", "count=1", f"seek={place}",
                            "conv=notrunc"], input=piece, check=True, stderr=subprocess.DEVNULL,
                           timeout=20)
            assert time.monotonic() - start < 5
    # A write makes a chunk or two new, of 74 KiB on average, a node of their list, and its root.
    assert one.shoal("verify", "--json")["chunks"] - chunks < 20 * 6
    subprocess.run(["cmp", shadow, path], check=True, timeout=60)
    assert memory(one) < MEMORY_MOST
    assert stored_size(one) - before < 20 * MIB // 2
    subprocess.run(["cmp", shadow, path], check=True, timeout=60)
    assert one.shoal("verify", "--json")["errors"] == 0


def test_what_is_written_is_stored_before_the_close(one, tmp_path):
    shadow, path = tmp_path / "shadow", one.dir / "film"
    dd(path, "bs=1M", "count=1")
    wait_for(lambda: one.shoal("status", "--json")["files"] == 1)
    dd(shadow, "bs=1M", "count=24")
    before = disk_use(one.store)
    with open(path, "wb", buffering=0) as out:
        for piece in (shadow.read_bytes()[at:at + MIB] for at in range(0, 24 * MIB, MIB)):
            out.write(piece)
        # The file that is being written has no name, and is not seen by du.
        wait_for(lambda: disk_use(one.store) - before > 20 * MIB, what="chunks in the store")
    subprocess.run(["cmp", shadow, path], check=True, timeout=60)
    # Who goes back is believed.
    with open(shadow, "r+b", buffering=0) as model, open(path, "wb", buffering=0) as out:
        data = model.read()
        out.write(data)
        for file in (model, out):
            file.seek(5)
            file.write(b"changed")
            file.seek(0, os.SEEK_END)
            file.write(data[:6 * MIB])
    one.down()
    one.up()
    subprocess.run(["cmp", shadow, path], check=True, timeout=60)
    assert one.shoal("verify", "--json")["errors"] == 0


def test_truncate_costs_nothing(one):
    path = one.dir / "huge.img"
    start, before = time.monotonic(), disk_use(one.store)
    subprocess.run(["truncate", "-s", "8T", path], check=True, timeout=20)
    wait_for(lambda: one.shoal("status", "--json")["files"] == 1)
    status = path.stat()
    assert status.st_size == 8 << 40 and status.st_blocks == 0
    dd(path, "bs=4096", "count=1", f"seek={GIB}", "conv=notrunc")
    subprocess.run(["truncate", "-s", "9T", path], check=True, timeout=20)
    assert path.stat().st_size == 9 << 40
    assert [(a, b) for a, b, _ in regions(path)] == [(4096 * GIB, 4096 * GIB + 65536)]
    subprocess.run(["truncate", "-s", "100", path], check=True, timeout=20)
    assert path.read_bytes() == bytes(100)
    assert time.monotonic() - start < 20 and disk_use(one.store) - before < 5 * MIB
    assert memory(one) < DAEMON_IDLE_MOST


@pytest.mark.parametrize("sparse", ["auto", "always", "never"])
def test_sparse_copies(one, tmp_path, sparse):
    source, path = tmp_path / "source", one.dir / "copy"
    with open(source, "wb") as out:
        out.truncate(96 * MIB)
        for place in (0, 5 * MIB + 333, 64 * MIB):
            out.seek(place)
            out.write(os.urandom(700_000))
    subprocess.run(["cp", f"--sparse={sparse}", source, path], check=True, timeout=60)
    wait_for(lambda: path.stat().st_blocks * 512 < 4 * MIB, what="holes in place of zeros")
    subprocess.run(["cmp", source, path], check=True, timeout=60)
    back = tmp_path / "back"
    subprocess.run(["cp", path, back], check=True, timeout=60)
    subprocess.run(["cmp", source, back], check=True, timeout=60)
    assert disk_use(back) < 4 * MIB
    assert disk_use(one.store) < 100 * MIB
    second = one.dir / "second"
    subprocess.run(["cp", path, second], check=True, timeout=60)
    wait_for(lambda: second.stat().st_blocks * 512 < 4 * MIB)
    subprocess.run(["cmp", path, second], check=True, timeout=60)


def test_an_earlier_version_comes_back(one):
    path = one.dir / "disk.img"
    with open(path, "wb") as out:
        out.truncate(GIB)
        out.seek(GIB // 2)
        out.write(os.urandom(2 * MIB))
    wait_for(lambda: one.shoal("status", "--json")["files"] == 1)
    first, = one.shoal("log", "disk.img", "--json")["versions"]
    before = regions(path)
    next_second()
    dd(path, "bs=1M", "count=3", "seek=200", "conv=notrunc")
    os.truncate(path, 900 * MIB)
    assert regions(path) != before
    one.shoal("restore", f"disk.img@{first['version']}")
    wait_for(lambda: path.stat().st_size == GIB)
    wait_for(lambda: regions(path) == before)
    assert memory(one) < MEMORY_MOST


def test_a_large_file_over_a_document(one):
    (one.dir / "d.json").write_text('{"a": 1}')
    wait_for(lambda: one.shoal("status", "--json")["files"] == 1)
    with open(one.dir / "image.tmp", "wb") as out:
        out.truncate(4 * GIB)
        out.seek(GIB)
        out.write(os.urandom(MIB))
    with pytest.raises(OSError) as failed:
        os.rename(one.dir / "image.tmp", one.dir / "d.json")
    assert failed.value.errno == errno.EFBIG
    assert (one.dir / "d.json").read_text() == '{"a": 1}'
    data, = regions(one.dir / "image.tmp")
    assert data[0] <= GIB and data[1] >= GIB + MIB
    assert disk_use(one.store) < 100 * MIB
    assert memory(one) < DAEMON_IDLE_MOST


def test_a_sparse_file_travels(lab):
    _, a, b = pair(lab)
    here, there = a.dir / "disk.img", b.dir / "disk.img"
    with open(here, "wb") as out:
        out.truncate(4 * GIB)
        for number in range(40):
            out.seek(number * 107 * MIB % (4 * GIB))
            out.write(os.urandom(MIB))
    in_step(a, b)
    wait_for(lambda: there.stat().st_size == 4 * GIB)
    wait_for(lambda: same_data(here, there))
    assert there.stat().st_blocks * 512 < 48 * MIB
    for host in (a, b):
        assert disk_use(host.store) < 150 * MIB
    # A change there comes here, and both send little for it.
    before = disk_use(a.store)
    for number in range(5):
        dd(there, "bs=4096", "count=2", f"seek={number * 200_003 + 7}", "conv=notrunc")
    os.truncate(there, 5 * GIB)
    wait_for(lambda: here.stat().st_size == 5 * GIB)
    in_step(a, b)
    wait_for(lambda: same_data(here, there))
    assert disk_use(a.store) - before < 5 * MIB
    for host in (a, b):
        assert memory(host) < MEMORY_MOST, host.name
        assert host.shoal("verify", "--json")["errors"] == 0


def test_a_dense_file_travels(lab):
    _, a, b = pair(lab)
    here, there = a.dir / "film", b.dir / "film"
    dd(here, "bs=1M", "count=70")
    wait_for(lambda: there.stat().st_size == 70 * MIB, timeout=60)
    subprocess.run(["cmp", here, there], check=True, timeout=60)
    for host in (a, b):
        assert memory(host) < MEMORY_MOST, host.name


def test_the_one_that_lost_is_kept(lab):
    lan, a, b = pair(lab)
    (a.dir / "disk.img").touch()
    os.truncate(a.dir / "disk.img", GIB)
    wait_for(lambda: (b.dir / "disk.img").stat().st_size == GIB)
    in_step(a, b)
    lan.split([a], [b])
    for host, seek in ((a, 1000), (b, 200_000)):
        dd(host.dir / "disk.img", "bs=4096", "count=1", f"seek={seek}", "conv=notrunc")
    written = {(start, end) for host in (a, b) for start, end, _ in regions(host.dir / "disk.img")}
    assert len(written) == 2
    lan.heal()
    meet(a, b)
    in_step(a, b)
    for host in (a, b):
        wait_for(lambda: host.shoal("status", "--json")["conflicts"] == 1)
        folder = host.dir / ".shoal" / "conflicts" / "disk.img"
        lost, = (folder / name for name in os.listdir(folder))
        assert lost.stat().st_size == GIB and lost.stat().st_blocks * 512 == 65536
        shown, kept = regions(host.dir / "disk.img"), regions(lost)
        assert {(start, end) for start, end, _ in shown + kept} == written
        assert disk_use(host.store) < 60 * MIB
