# SPDX-License-Identifier: GPL-2.0-or-later
"""Many files in a directory: what is asked of the daemon, what it costs, and that listings stay right."""
import json
import multiprocessing
import os
import subprocess

from fsmount import wait_until

FORK = multiprocessing.get_context("fork")
MANY = 10_000


def requests(m, work):
    """How many the kernel sent while work was done. Releases come a moment later."""
    before = m.stats()["requests"]
    work()
    wait_until(lambda: m.stats()["handles"] == 0, what="every release")
    return m.stats()["requests"] - before


def fill(m, directory, count):
    """Made elsewhere, where the kernel has never been: nothing is known of it here."""
    m.ask("mkdir", directory)
    for number in range(count):
        m.remote_put(f"{directory}/n{number}.json", "{}\n")
    m.sync()
    m.ask("idle")


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
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("2\n")
    wait_until(lambda: m.stats()["inodes"] < known + 100, 20, "forgetting")
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
