# SPDX-License-Identifier: GPL-2.0-or-later
"""Contents that only a device farther away has come through those between, which keep nothing of them."""
import concurrent.futures
import errno
import hashlib
import os
import random
import signal
import subprocess
import time

import pytest

from lab import wait_for
from test_evict import MIB, bytes_in_store, data, drop_pages, fails, state
from test_mesh import connected


def chain(lab, *names):
    """Hosts of which each is connected to the next one only, and the networks between. The first one has invited the
    others; contents come only when they are read."""
    office = lab.network()
    hosts = [lab.host(name, office) for name in names]
    first, *others = hosts
    first.up()
    for host in others:
        host.shoal("join", "-", input=first.shoal("invite"))
    for host in hosts:
        office.disconnect(host)
    between = []
    for a, b in zip(hosts, hosts[1:]):
        network = lab.network()
        network.plug(a)
        network.plug(b)
        between.append(network)
    for host in others:
        host.up()
    for host in hosts:
        host.shoal("config", "blob.eager_max", "100000")
    linked(hosts)
    return hosts, between


def linked(hosts):
    for i, host in enumerate(hosts):
        names = {near.name for near in hosts[max(i - 1, 0):i + 2]} - {host.name}
        wait_for(lambda: connected(host) == names, timeout=60, what=f"{host.name} connected to {names}")


def write(hosts, name, content):
    """The first one has it, and all others know of it."""
    (hosts[0].dir / name).write_bytes(content)
    for host in hosts[1:]:
        wait_for((host.dir / name).exists, timeout=60, what=f"{name} at {host.name}")
        wait_for(lambda: state(host.dir / name) == "evicted", what=f"{name} not being at {host.name}")


def digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sound(hosts):
    for host in hosts:
        assert host.shoal("verify", "--json")["errors"] == 0


def test_through_two_others(lab):
    hosts, _ = chain(lab, "anna", "ben", "cora", "dora")
    anna, ben, cora, dora = hosts
    (anna.dir / "films").mkdir()
    film, book = data(1, 20 * MIB), data(2, 12 * MIB)
    write(hosts, "films/film.bin", film)
    write(hosts, "films/book.bin", book)
    # One of those between shows the names, the other one only carries them.
    ben.shoal("unsubscribe", "films")
    linked(hosts)
    before = [bytes_in_store(host) for host in (ben, cora)]
    with open(dora.dir / "films/book.bin", "rb") as file:
        file.seek(7 * MIB + 5)
        assert file.read(1000) == book[7 * MIB + 5:7 * MIB + 1005]
    assert state(dora.dir / "films/book.bin") == "evicted"
    assert digest(dora.dir / "films/film.bin") == hashlib.sha256(film).hexdigest()
    wait_for(lambda: state(dora.dir / "films/film.bin") == "synced")
    # The nearer one reads it where it is now.
    assert dora.shoal("fetch", dora.dir / "films/book.bin") == "1 file fetched, 0 here already\n"
    assert digest(dora.dir / "films/book.bin") == hashlib.sha256(book).hexdigest()
    for host, bytes_before in zip((ben, cora), before):
        assert bytes_in_store(host) < bytes_before + MIB, host
        assert host.shoal("status", "--json")["contents"]["fetching"] == 0
    assert state(cora.dir / "films/film.bin") == "evicted"
    drop_pages(dora.dir / "films/film.bin")
    anna.down()
    assert digest(dora.dir / "films/film.bin") == hashlib.sha256(film).hexdigest()
    sound((ben, cora, dora))


def test_the_far_end_goes_and_comes_back(lab):
    hosts, between = chain(lab, "anna", "ben", "cora", "dora")
    anna, ben, _, dora = hosts
    content = data(3, 2 * MIB)
    write(hosts, "x.bin", content)
    anna.down()
    wait_for(lambda: connected(ben) == {"cora"}, timeout=60, what="ben without anna")
    fails(errno.EHOSTDOWN, (dora.dir / "x.bin").read_bytes)
    failed = dora.run("shoal", "fetch", dora.dir / "x.bin", check=False)
    assert failed.returncode == 1 and "no device that is connected has them" in failed.stderr, failed
    anna.up()
    linked(hosts)
    assert (dora.dir / "x.bin").read_bytes() == content
    write(hosts, "y.bin", content[1:])
    between[0].disconnect(anna)
    wait_for(lambda: connected(ben) == {"cora"}, timeout=60, what="ben without anna")
    fails(errno.EHOSTDOWN, (dora.dir / "y.bin").read_bytes)
    between[0].connect(anna)
    linked(hosts)
    assert (dora.dir / "y.bin").read_bytes() == content[1:]
    sound(hosts)


def test_the_cable_in_the_middle(lab):
    """It is pulled while a file comes over it."""
    hosts, between = chain(lab, "anna", "ben", "cora", "dora")
    *_, cora, dora = hosts
    content = data(4, 60 * MIB)
    write(hosts, "x.bin", content)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        reader = pool.submit((dora.dir / "x.bin").read_bytes)
        wait_for(lambda: bytes_in_store(dora) > 2 * MIB, what="something to come")
        assert not reader.done()
        between[1].disconnect(cora)
        begin = time.monotonic()
        with pytest.raises(OSError) as caught:
            reader.result(timeout=75)
        assert caught.value.errno == errno.EHOSTDOWN
        assert time.monotonic() - begin < 70
    fails(errno.EHOSTDOWN, (dora.dir / "x.bin").read_bytes)
    between[1].connect(cora)
    linked(hosts)
    assert digest(dora.dir / "x.bin") == hashlib.sha256(content).hexdigest()
    sound(hosts)


def test_one_that_says_nothing(lab):
    """Who waits for it can be interrupted, and gets what it waits for when the other one goes on."""
    hosts, _ = chain(lab, "anna", "ben", "cora", "dora")
    _, ben, _, dora = hosts
    content = data(5, MIB)
    write(hosts, "x.bin", content)
    pid = ben.daemon_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        reader = dora.popen("cat", dora.dir / "x.bin", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for(lambda: dora.shoal("status", "--json")["contents"]["fetching"] == 1)
        reader.send_signal(signal.SIGINT)
        assert reader.wait(timeout=10) == -signal.SIGINT
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            other = pool.submit((dora.dir / "x.bin").read_bytes)
            wait_for(lambda: dora.shoal("status", "--json")["contents"]["fetching"] == 1)
            # The mount serves everybody else.
            (dora.dir / "n.json").write_text('{"n": 1}\n')
            assert (dora.dir / "n.json").read_text() == '{"n": 1}\n'
            assert not other.done()
            os.kill(pid, signal.SIGCONT)
            assert other.result(timeout=30) == content
    finally:
        os.kill(pid, signal.SIGCONT)
    sound(hosts)


def test_all_along_the_way_read(lab):
    """At once, and from different places."""
    hosts, _ = chain(lab, "anna", "ben", "cora", "dora")
    files = {f"{n}.bin": data(10 + n, 3 * MIB) for n in range(4)}
    for name, content in files.items():
        write(hosts, name, content)
    jobs = [(host, name) for host in hosts[1:] for name in files]
    random.Random(6).shuffle(jobs)
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        read = list(pool.map(lambda job: (job[0].dir / job[1]).read_bytes(), jobs))
    for (host, name), content in zip(jobs, read):
        assert content == files[name], (host, name)
    sound(hosts)
