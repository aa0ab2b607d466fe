# SPDX-License-Identifier: GPL-2.0-or-later
"""Contents that are elsewhere: evicting, fetching, reading through the mount, and who is not served."""
import concurrent.futures
import contextlib
import errno
import os
import random
import signal
import subprocess
import tempfile
import time

import pytest

from lab import BUILD, alive, mounts_below, next_second, wait_for
from test_two_hosts import equal, meet, pair

MIB = 1 << 20


def data(seed, size):
    return random.Random(seed).randbytes(size)


def state(path):
    return os.getxattr(path, "user.shoal.state").decode()


def drop_pages(path):
    """What the kernel has kept of it is no proof that it can be had."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(fd)


def refused(host, *words, says):
    result = host.run(BUILD / "shoal", *words, check=False)
    assert result.returncode == 1, result
    assert says in result.stderr, result.stderr
    assert result.stderr.count("\n") == 1, result.stderr


def bytes_in_store(host):
    return host.shoal("status", "--json")["disk"]["store_bytes"]


def sweeps(host):
    return host.shoal("status", "--json")["contents"]["sweeps"]


def evict(host, *names):
    """They go, and are deleted."""
    before = sweeps(host)
    host.shoal("evict", *(host.dir / name for name in names))
    wait_for(lambda: sweeps(host) > before, what="the sweep")
    for name in names:
        drop_pages(host.dir / name)


def swept(host, before, least):
    """The room is given back to the disk."""
    wait_for(lambda: bytes_in_store(host) < before - least, what="room on the disk", timeout=60)


def alone(lan, host):
    lan.disconnect(host)
    wait_for(lambda: not host.shoal("peers", "--json"), what="being alone", timeout=60)


def fails(code, call, within=5):
    begin = time.monotonic()
    with pytest.raises(OSError) as caught:
        call()
    assert caught.value.errno == code, caught.value
    assert time.monotonic() - begin < within


def test_evict_and_read_back(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    big, small = data(1, 12 * MIB), data(2, 40000)
    (a.dir / "c" / "big.bin").write_bytes(big)
    (a.dir / "c" / "small.bin").write_bytes(small)
    (a.dir / "c" / "doc.json").write_text('{"n": 1}\n')
    equal(a, b)
    before = bytes_in_store(a)
    (b.dir / "c" / "big.bin").read_bytes()
    answer = a.shoal("evict", "--json", a.dir / "c")
    assert (answer["evicted"], answer["refused"]) == (2, 0) and answer["bytes"] == 12 * MIB + 40000
    assert a.shoal("evict", a.dir / "c").startswith("there is nothing to evict")
    assert state(a.dir / "c" / "big.bin") == "evicted"
    assert os.stat(a.dir / "c" / "big.bin").st_size == 12 * MIB
    assert (a.dir / "c" / "doc.json").read_text() == '{"n": 1}\n'
    swept(a, before, 10 * MIB)
    # Nothing is deleted elsewhere, and the last one may not go.
    assert (b.dir / "c" / "big.bin").read_bytes() == big
    refused(b, "evict", b.dir / "c" / "big.bin", says="c/big.bin stays: no device that is connected holds it")
    refused(b, "evict", b.dir / "c", says="2 files stay")
    assert a.shoal("status", "--json")["contents"]["absent"] == 2
    # A restart keeps it.
    a.down()
    a.up()
    assert state(a.dir / "c" / "big.bin") == "evicted"
    meet(a, b)
    with open(a.dir / "c" / "big.bin", "rb") as file:
        file.seek(6 * MIB)
        assert file.read(1000) == big[6 * MIB:6 * MIB + 1000]
    assert (a.dir / "c" / "big.bin").read_bytes() == big
    wait_for(lambda: state(a.dir / "c" / "big.bin") == "synced")
    assert a.shoal("fetch", a.dir / "c") == "1 file fetched, 1 here already\n"
    wait_for(lambda: state(a.dir / "c" / "small.bin") == "synced")
    alone(lan, a)
    assert (a.dir / "c" / "small.bin").read_bytes() == small
    assert a.shoal("verify", "--json")["errors"] == 0
    refused(a, "evict", a.dir / "nothing", says='there is no "nothing"')


def test_alone(lab):
    lan, a, b = pair(lab)
    content = data(3, MIB)
    for name in ("x.bin", "y.bin", "z.bin", "stays.bin"):
        (a.dir / name).write_bytes(content + name.encode())
    equal(a, b)
    evict(a, "x.bin", "y.bin", "z.bin")
    time_of = os.stat(a.dir / "x.bin").st_mtime_ns
    alone(lan, a)
    fails(errno.EHOSTDOWN, (a.dir / "x.bin").read_bytes)
    fails(errno.EHOSTDOWN, lambda: open(a.dir / "x.bin", "ab"))
    fails(errno.EHOSTDOWN, lambda: os.truncate(a.dir / "x.bin", 5))
    refused(a, "fetch", a.dir / "x.bin", says="no device that is connected has them")
    refused(a, "evict", a.dir / "stays.bin", says="stays")
    assert (a.dir / "stays.bin").read_bytes() == content + b"stays.bin"
    # Names and what is not the contents can be worked with.
    assert os.stat(a.dir / "x.bin").st_mtime_ns == time_of
    os.chmod(a.dir / "y.bin", 0o600)
    os.rename(a.dir / "y.bin", a.dir / "renamed.bin")
    os.unlink(a.dir / "z.bin")
    # In another collection it would be another file, of whose contents nobody knows yet: mv(1) copies.
    (a.dir / "d").mkdir()
    fails(errno.EXDEV, lambda: os.rename(a.dir / "renamed.bin", a.dir / "d" / "y.bin"))
    move = a.run("mv", a.dir / "renamed.bin", a.dir / "d" / "y.bin", check=False)
    assert move.returncode == 1 and os.strerror(errno.EHOSTDOWN) in move.stderr, move
    assert state(a.dir / "renamed.bin") == "evicted"
    # Written over as a whole, it is here.
    (a.dir / "x.bin").write_bytes(b"new\0")
    assert (a.dir / "x.bin").read_bytes() == b"new\0"
    assert state(a.dir / "x.bin") in ("synced", "pending")
    assert a.shoal("verify", "--json")["errors"] == 0
    lan.connect(a)
    meet(a, b)
    a.shoal("wait", "--timeout", "30")
    assert (b.dir / "x.bin").read_bytes() == b"new\0"
    a.run("mv", a.dir / "renamed.bin", a.dir / "d" / "y.bin")
    assert (a.dir / "d" / "y.bin").read_bytes() == content + b"y.bin"
    assert not (a.dir / "renamed.bin").exists() and not (b.dir / "z.bin").exists()


def test_appending_fetches_first(lab):
    _, a, b = pair(lab)
    content = data(4, 3 * MIB)
    for name in ("x.bin", "y.bin", "z.bin"):
        (a.dir / name).write_bytes(content)
    equal(a, b)
    evict(a, "x.bin", "y.bin", "z.bin")
    with open(a.dir / "x.bin", "ab") as file:
        file.write(b"more")
    with open(a.dir / "y.bin", "r+b") as file:
        file.seek(MIB)
        file.write(b"middle")
    os.truncate(a.dir / "z.bin", MIB)
    wait_for(lambda: (b.dir / "x.bin").read_bytes() == content + b"more")
    wait_for(lambda: (b.dir / "y.bin").read_bytes() == content[:MIB] + b"middle" + content[MIB + 6:])
    wait_for(lambda: (b.dir / "z.bin").read_bytes() == content[:MIB])


def test_large_files_come_when_they_are_read(lab):
    lan, a, b = pair(lab)
    b.shoal("config", "blob.eager_max", "100000")
    big, small = data(5, 5 * MIB), data(6, 50000)
    (a.dir / "big.bin").write_bytes(big)
    (a.dir / "small.bin").write_bytes(small)
    wait_for((b.dir / "small.bin").exists)
    wait_for((b.dir / "big.bin").exists)
    assert state(b.dir / "big.bin") == "evicted" and os.stat(b.dir / "big.bin").st_size == 5 * MIB
    # The record is there, the contents are not: nobody claims that.
    result = a.run(BUILD / "shoal", "wait", "--timeout", "2", check=False)
    assert result.returncode == 3, result
    a.shoal("wait", a.dir / "small.bin", "--timeout", "20")
    refused(a, "evict", a.dir / "big.bin", says="stays")
    assert (b.dir / "big.bin").read_bytes() == big
    a.shoal("wait", "--timeout", "20")
    a.shoal("evict", a.dir / "big.bin")
    refused(b, "evict", b.dir / "big.bin", says="stays")
    assert (b.dir / "big.bin").read_bytes() == big
    b.shoal("config", "blob.eager_max", "0")
    (a.dir / "next.bin").write_bytes(big[1:])
    wait_for((b.dir / "next.bin").exists)
    assert state(b.dir / "next.bin") in ("synced", "pending")


def test_grep_does_not_fetch_the_world(lab):
    lan, a, b = pair(lab)
    (a.dir / "c").mkdir()
    count = 40
    for i in range(count):
        (a.dir / "c" / f"{i}.bin").write_bytes(data(i, 30000) + b"needle")
    equal(a, b)
    evict(a, *(f"c/{i}.bin" for i in range(count)))
    result = a.run("grep", "-r", "-c", "--text", "needle", "c", cwd=a.dir, check=False)
    assert result.returncode == 2 and result.stderr.count("Host is down") == count - 16, result
    wait_for(lambda: a.shoal("status", "--json")["contents"]["absent"] == count - 16)
    # Who is told a name gets it, and so does whoever asks for all.
    for i in range(count):
        a.run("cat", f"c/{i}.bin", cwd=a.dir, text=False)
    assert a.shoal("status", "--json")["contents"]["absent"] == 0
    evict(a, *(f"c/{i}.bin" for i in range(count)))
    a.shoal("config", "blob.scan_max", "0")
    a.run("grep", "-r", "-q", "--text", "nothing of the kind", "c", cwd=a.dir, check=False)
    assert a.shoal("status", "--json")["contents"]["absent"] == 0


def test_readers_wait_and_others_work(lab):
    lan, a, b = pair(lab)
    content = data(7, 2 * MIB)
    for i in range(20):
        (a.dir / f"{i}.bin").write_bytes(content + bytes([i]))
    (a.dir / "here.bin").write_bytes(content)
    equal(a, b)
    evict(a, *(f"{i}.bin" for i in range(20)))
    pid = b.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with contextlib.ExitStack() as files:
            out = [files.enter_context(tempfile.TemporaryFile()) for _ in range(20)]
            readers = [a.popen("cat", a.dir / f"{i}.bin", stdout=out[i]) for i in range(20)]
            wait_for(lambda: a.shoal("status", "--json")["contents"]["fetching"] == 20)
            # All wait; the mount serves everybody else.
            begin = time.monotonic()
            for i in range(50):
                (a.dir / f"{i}.json").write_text(f'{{"n": {i}}}\n')
                assert (a.dir / f"{i}.json").read_text() == f'{{"n": {i}}}\n'
            drop_pages(a.dir / "here.bin")
            assert (a.dir / "here.bin").read_bytes() == content
            assert len(os.listdir(a.dir)) == 71
            assert time.monotonic() - begin < 5
            assert not any(reader.poll() is not None for reader in readers)
            # One that is interrupted waits no longer.
            other = a.popen("cat", a.dir / "0.bin", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            wait_for(lambda: "cat" in open(f"/proc/{other.pid}/comm").read())
            other.send_signal(signal.SIGINT)
            assert other.wait(timeout=10) == -signal.SIGINT
            os.kill(pid, signal.SIGCONT)
            for i, reader in enumerate(readers):
                assert reader.wait(timeout=30) == 0
                out[i].seek(0)
                assert out[i].read() == content + bytes([i])
    finally:
        os.kill(pid, signal.SIGCONT)


def test_holder_dies_while_it_is_read(lab):
    lan, a, b = pair(lab)
    content = data(8, 30 * MIB)
    (a.dir / "big.bin").write_bytes(content)
    equal(a, b)
    evict(a, "big.bin")
    pid = b.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            reader = pool.submit((a.dir / "big.bin").read_bytes)
            wait_for(lambda: a.shoal("status", "--json")["contents"]["fetching"] == 1)
            os.kill(pid, signal.SIGKILL)
            with pytest.raises(OSError) as caught:
                reader.result(timeout=20)
            assert caught.value.errno == errno.EHOSTDOWN
    finally:
        if alive(pid):
            os.kill(pid, signal.SIGCONT)
    wait_for(lambda: not alive(pid))
    assert state(a.dir / "big.bin") == "evicted"
    b.up()
    meet(a, b)
    assert (a.dir / "big.bin").read_bytes() == content
    assert a.shoal("verify", "--json")["errors"] == 0


def test_unmounting_with_readers(lab):
    _, a, b = pair(lab)
    (a.dir / "x.bin").write_bytes(data(9, MIB))
    equal(a, b)
    evict(a, "x.bin")
    pid = b.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        reader = a.popen("cat", a.dir / "x.bin", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(lambda: a.shoal("status", "--json")["contents"]["fetching"] == 1)
        mine = a.daemon_pid()
        os.kill(mine, signal.SIGTERM)
        wait_for(lambda: not alive(mine), timeout=20)
        assert reader.wait(timeout=10) != 0
    finally:
        os.kill(pid, signal.SIGCONT)


def test_two_evict_at_once(lab):
    """Whoever goes first: somebody holds it afterwards."""
    _, a, b = pair(lab)
    for i in range(20):
        (a.dir / f"{i}.bin").write_bytes(data(i, 100000))
    equal(a, b)
    both = [host.popen(BUILD / "shoal", "evict", *(host.dir / f"{i}.bin" for i in range(20)),
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for host in (a, b)]
    for process in both:
        assert process.wait(timeout=60) in (0, 1)
    for i in range(20):
        assert "evicted" not in (state(a.dir / f"{i}.bin"), state(b.dir / f"{i}.bin")) or \
            state(a.dir / f"{i}.bin") != state(b.dir / f"{i}.bin")
        assert (a.dir / f"{i}.bin").read_bytes() == data(i, 100000)


def test_a_third_device_waits_for_who_has_it(lab):
    lan, a, b = pair(lab)
    content = data(10, MIB)
    (a.dir / "x.bin").write_bytes(content)
    equal(a, b)
    c = lab.host("cora", lan)
    c.shoal("join", "-", input=a.shoal("invite"))
    evict(b, "x.bin")
    alone(lan, a)
    c.up()
    meet(b, c)
    wait_for((c.dir / "x.bin").exists)
    assert state(c.dir / "x.bin") == "evicted"
    # It may come through Ben, until he has noticed that Anna has gone.
    fails(errno.EHOSTDOWN, (c.dir / "x.bin").read_bytes, within=25)
    wait_for(lambda: [peer["device"] for peer in b.shoal("peers", "--json")] == ["cora"], what="ben without anna")
    fails(errno.EHOSTDOWN, (c.dir / "x.bin").read_bytes)
    lan.connect(a)
    # It comes by itself.
    wait_for(lambda: state(c.dir / "x.bin") != "evicted", timeout=60)
    alone(lan, c)
    assert (c.dir / "x.bin").read_bytes() == content


def test_room_on_the_disk(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.store.mkdir(mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m,mode=0700", "none", a.store], check=True)
    try:
        a.up()
        b.shoal("join", "-", input=a.shoal("invite"))
        b.up()
        meet(a, b)
        content = {}
        for i in range(10):
            content[i] = data(i, 10 * MIB)
            (a.dir / f"{i}.bin").write_bytes(content[i])
        a.shoal("wait", "--timeout", "60")
        # Read since: it stays longest. What nobody else has stays whatever comes.
        next_second()
        a.run("cat", a.dir / "0.bin", text=False)
        own = data(99, 10 * MIB)
        v = os.statvfs(a.store)
        free = v.f_bavail * v.f_frsize
        a.shoal("config", "disk.min_free", str(free + 30 * MIB))

        def room():
            now = os.statvfs(a.store)
            return now.f_bavail * now.f_frsize >= free + 30 * MIB
        wait_for(room, timeout=90, what="room on the disk")
        status = a.shoal("status", "--json")["contents"]
        assert 3 <= status["evicted_for_room"] <= 8
        assert status["evicted_for_room"] == status["absent"]
        # The first ones were those that nobody read for longest.
        gone = [i for i in range(10) if state(a.dir / f"{i}.bin") == "evicted"]
        assert gone == list(range(1, 1 + len(gone)))
        alone(lan, a)
        (a.dir / "own.bin").write_bytes(own)
        a.shoal("config", "disk.min_free", str(390 * MIB))
        lan.connect(a)
        wait_for(lambda: (b.dir / "own.bin").exists(), timeout=60)
        wait_for(lambda: (b.dir / "own.bin").read_bytes() == own, timeout=60)
        for i in range(10):
            assert (b.dir / f"{i}.bin").read_bytes() == content[i]
        assert a.shoal("verify", "--json")["errors"] == 0
        a.down()
    finally:
        for point in mounts_below(a.dir):
            subprocess.run(["umount", "-l", point], check=False)
        pid = a.daemon_pid() if (a.store / "control.sock").exists() else None
        if pid:
            os.kill(pid, signal.SIGTERM)
            wait_for(lambda: not alive(pid))
        subprocess.run(["umount", "-l", a.store], check=True)
