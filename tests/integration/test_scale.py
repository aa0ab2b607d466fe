# SPDX-License-Identifier: GPL-2.0-or-later
"""Many files in a directory: what is asked of the daemon, what it costs, and that listings stay right."""
import hashlib
import json
import multiprocessing
import os
import subprocess
import time
from pathlib import Path

import pytest

from fsmount import wait_until

FORK = multiprocessing.get_context("fork")
MANY = 10_000


def requests(m, work, still_open=0):
    """How many the kernel sent while work was done. Releases come a moment later."""
    before = m.stats()["requests"]
    work()
    wait_until(lambda: m.stats()["handles"] == still_open, what="every release")
    return m.stats()["requests"] - before


def fill(m, directory, count):
    """Made elsewhere: nothing is known of it here, also if the kernel was told of some of it."""
    m.ask("mkdir", directory)
    m.ask("idle")
    for number in range(count):
        m.remote_put(f"{directory}/n{number}.json", "{}\n")
    m.sync()
    m.ask("idle")
    forget(m, 10)


def forget(m, left):
    """Until no more than left inodes are known to the kernel."""
    m.kernel_forgets()
    wait_until(lambda: m.stats()["inodes"] <= left, 20, "forgetting")


def ls(directory):
    subprocess.run(["ls", "-l", directory], check=True, stdout=subprocess.DEVNULL)


def test_a_second_listing_asks_for_nothing(m):
    fill(m, "c", 1000)
    ls(m.dir / "c")
    assert requests(m, lambda: ls(m.dir / "c")) < 20
    m.remote_put("new.json", "{}\n")  # elsewhere
    m.sync()
    m.ask("idle")
    assert requests(m, lambda: ls(m.dir / "c")) < 20


@pytest.mark.timeout(300)
def test_a_very_large_directory(m):
    """Attributes come with the names when a program asks for them, and not when it does not."""
    count = 132_000
    # Here, but past the mount: these are too many to bring them from elsewhere. The kernel does not know the directory.
    m.ask("mkdir", "v")
    m.sync()
    m.ask("many", "v", count)
    m.ask("idle")
    forget(m, 10)
    assert requests(m, lambda: ls(m.dir / "v")) < count / 10
    assert m.stats()["inodes"] > count
    m.ask("here", "v/more.json", "{}\n")
    m.ask("idle")
    forget(m, 10)
    names = []
    assert requests(m, lambda: names.extend(os.listdir(m.dir / "v"))) < count / 50
    assert len(names) == len(set(names)) == count + 1
    assert m.stats()["inodes"] < 1000


def test_a_second_listing_of_what_is_ignored(m):
    (m.dir / ".shoalignore").write_text("out/\n")
    m.settle()
    out = m.dir / "out"
    out.mkdir()
    names = {f"n{number}" for number in range(500)}
    for name in names:
        (out / name).write_text("x")
    assert set(os.listdir(out)) == names
    assert requests(m, lambda: os.listdir(out)) < 10
    (out / "n7").rename(out / "m7")
    (out / "n8").unlink()
    assert set(os.listdir(out)) == names - {"n7", "n8"} | {"m7"}


def test_saving_again_and_again_asks_four_times(m, d):
    path = d / "a.json"
    m.new_document("c/a.json", {"n": -1})

    def save(number):
        fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
        os.write(fd, json.dumps({"n": number}).encode())
        os.close(fd)
    save(0)
    assert requests(m, lambda: [save(number) for number in range(1, 101)]) <= 410
    assert m.json("c/a.json") == {"n": 100}


def test_making_a_file_asks_seven_times(m, d):
    """The directory, the name, making it, a capability that it does not have, writing, closing twice."""
    names = [d / f"n{number}" for number in range(100)]

    def make():
        for name in names:
            fd = os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY)
            os.write(fd, b"some bytes")
            os.close(fd)
    assert requests(m, make) <= 710
    assert requests(m, lambda: [name.stat() for name in names]) <= 110
    assert requests(m, lambda: [name.stat() for name in names] * 3) < 10


def test_what_has_settled_is_known(m, d):
    """Made here, nodes by now, read and listed: looking at it again asks for nothing."""
    names = [d / f"n{number}.json" for number in range(100)]
    for name in names:
        name.write_text("{}\n")
    m.settle()
    m.ask("idle")
    for name in names:
        assert name.read_text() == "{}\n"
    ls(d)
    assert requests(m, lambda: [name.stat() for name in names] * 3) < 10
    ls(d)
    assert requests(m, lambda: ls(d)) < 10


def sleeps(pid):
    """How often a thread of the process has waited for something."""
    total = 0
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        for line in status.read_text().splitlines():
            if line.startswith("voluntary_ctxt_switches:"):
                total += int(line.split()[1])
    return total


def test_one_thread_answers_stat(m, d):
    with open(d / "a.txt", "wb", buffering=0) as f:
        f.write(b"x")  # as long as that is not saved the kernel asks each time
        before = sleeps(m.process.pid)
        assert requests(m, lambda: [os.fstat(f.fileno()) for _ in range(2000)], 1) >= 2000
        assert sleeps(m.process.pid) - before < 3000


def shown(path, cached="default"):
    """Size, blocks, mode, links, and times; never: as the daemon has them, whatever the kernel knows.
    One by one, so that the kernel does not ask for all because of one."""
    return [subprocess.run(["stat", f"--cached={cached}", "-c", what, path], check=True,
                           stdout=subprocess.PIPE, text=True).stdout
            for what in ("%s", "%b", "%f", "%h", "%.9Y", "%.9Z")]


def test_what_the_kernel_knows_of_a_new_file_stays_true(m, d):
    for name in ("a", "b"):
        m.new_document(f"c/{name}.json", {"n": 0, "m": 0})
        (d / f"scrap-{name}").write_text('{"n": 1, "m": 0}')
    (d / "text.md").write_text("some text\n")
    (d / "blob").write_bytes(bytes(range(256)) * 1000)
    (d / "link").symlink_to("blob")
    with open(d / "holes", "wb") as f:
        f.seek(3 << 20)
        f.write(b"end")
    files = [d / name for name in ("a.json", "b.json", "text.md", "blob", "link",
                                   "holes")]
    for path in [*files, d / "scrap-a", d / "scrap-b"]:
        shown(path)
    m.remote_set("c/a.json", m=1)
    m.sync()
    for name in ("a", "b"):
        (d / f"scrap-{name}").rename(d / f"{name}.json")  # without a moment in between
        assert shown(d / f"{name}.json") == shown(d / f"{name}.json", "never")
    m.settle()
    m.ask("idle")
    for path in files:
        assert shown(path) == shown(path, "never"), path


def test_a_new_file_of_a_name_that_is_there_by_now(m, d):
    m.new_document("c/other.json", {})
    (d / "a.json").write_text('{"here": 1}')
    shown(d / "a.json")
    m.remote_put("c/a.json", '{"there": 1}')
    m.sync()
    m.settle()
    m.ask("idle")
    assert m.json("c/a.json") == {"here": 1, "there": 1}
    assert shown(d / "a.json") == shown(d / "a.json", "never")


def make_directories(d, prefix, over, result):
    """As fast as it goes; tells how long one took at most."""
    longest = number = 0
    while not over.is_set():
        start = time.monotonic()
        (d / f"{prefix}{number}").mkdir()
        longest = max(longest, time.monotonic() - start)
        number += 1
    result.put(longest)


def large_file(path, pieces):
    with open(path, "wb") as f:
        for piece in pieces:
            f.write(piece)


def longest_wait(d, prefix, work):
    """Of others while work is done, as a share of the time that it takes."""
    over, result = FORK.Event(), FORK.Queue()
    others = FORK.Process(target=make_directories, args=(d, prefix, over, result))
    others.start()
    start = time.monotonic()
    work()
    seconds = time.monotonic() - start
    over.set()
    longest = result.get(timeout=60)
    others.join()
    return longest / seconds


def test_nobody_waits_for_a_large_file(m, d):
    others = m.dir / "others"  # in one directory the kernel lets only one rename or make at a time
    others.mkdir()
    old, new = ([os.urandom(1 << 20) for _ in range(128)] for _ in range(2))

    def write_and_settle():
        large_file(d / "new", old)
        m.settle()
    assert longest_wait(others, "a", write_and_settle) < 0.5
    large_file(d / ".new.Ab3xYz", new)
    before = hashlib.sha256((d / ".new.Ab3xYz").read_bytes()).digest()
    assert longest_wait(others, "b", lambda: (d / ".new.Ab3xYz").rename(d / "new")) < 0.5
    assert hashlib.sha256((d / "new").read_bytes()).digest() == before
    m.settle_and_sync()
    m.ask("idle")
    assert hashlib.sha256((d / "new").read_bytes()).digest() == before


def lister(directory, over):
    while not over.is_set():
        os.listdir(directory)
        with os.scandir(directory) as entries:
            next(entries, None)


def test_a_listing_shows_what_is_there(m):
    """Whoever else is listing meanwhile, whole or in part, and left pages in the kernel."""
    over, d = FORK.Event(), m.dir / "c"
    jobs = [FORK.Process(target=lister, args=(d, over)) for _ in range(2)]
    fill(m, "c", 300)
    names = {f"n{number}.json" for number in range(300)}
    for job in jobs:
        job.start()
    try:
        for number in range(60):
            m.remote_put(f"c/far{number}.json", "{}\n")
            (d / f"near{number}.json").write_text("{}\n")
            names |= {f"far{number}.json", f"near{number}.json"}
            if number >= 10:
                m.ask("rm", f"c/far{number - 10}.json")
                (d / f"near{number - 10}.json").unlink()
                names -= {f"far{number - 10}.json", f"near{number - 10}.json"}
            m.sync()
            m.settle()
            for _ in range(3):
                assert set(os.listdir(d)) == names, number
    finally:
        over.set()
        for job in jobs:
            job.join(30)
    assert [job.exitcode for job in jobs] == [0, 0]


def test_every_name_that_stays_is_listed_once(m):
    fill(m, "c", 2000)
    c = m.dir / "c"
    seen = []
    with os.scandir(c) as entries:
        for position, entry in enumerate(entries):
            seen.append(entry.name)
            if position % 200:
                continue
            # Names come and go before and behind, here and elsewhere; another one lists it all.
            for number in range(position // 2, position // 2 + 50):
                m.remote_put(f"c/m{number}.json", "{}\n")
                m.ask("rm", f"c/n{number}.json")
                (c / f"p{number}.json").write_text("{}\n")
            m.sync()
            m.settle()
            os.listdir(c)
    stay = {f"n{number}.json" for number in range(1100, 2000)}
    assert stay <= set(seen) and len(seen) == len(set(seen))


def test_names_have_their_order(m):
    """Two openings see the names in the same order."""
    fill(m, "c", 2000)
    fds = [os.open(m.dir / "c", os.O_RDONLY) for _ in range(2)]
    names = [os.listdir(fd) for fd in fds]
    for fd in fds:
        os.close(fd)
    assert names[0] == names[1] and len(set(names[0])) == 2000


def memory(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon:"))


def test_many_inodes(m):
    """At most 1 KiB each for what the kernel knows; given back when it forgets; and all of it goes."""
    fill(m, "c", MANY)
    known, before = m.stats()["inodes"], memory(m.process.pid)
    ls(m.dir / "c")
    assert m.stats()["inodes"] - known >= MANY
    assert memory(m.process.pid) - before < 1024 * MANY
    forget(m, known + 100)
    # What the replica keeps of 131072 nodes stays.
    wait_until(lambda: memory(m.process.pid) < before + 500 * MANY, 20, "giving back")
    subprocess.run(["rm", "-r", m.dir / "c"], check=True, timeout=25)
    assert m.stats()["tombstones"] == 0 and not (m.dir / "c").exists()


def test_opening_makes_nothing(m, d):
    """What is opened and not read, because the kernel has it, takes neither time nor memory."""
    count, size = 300, 100_000
    for number in range(count):
        (d / f"n{number}.json").write_text(json.dumps({"n": number, "text": "x" * size}))
    m.settle_and_sync()
    m.stop()
    m.start()
    subprocess.run(["ls", "-l", d], check=True, stdout=subprocess.DEVNULL)
    before = memory(m.process.pid)
    for _ in range(3):
        for number in range(count):
            os.close(os.open(d / f"n{number}.json", os.O_RDONLY))
    assert memory(m.process.pid) - before < count * size // 4
    assert m.json("c/n7.json") == {"n": 7, "text": "x" * size}
