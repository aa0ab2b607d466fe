# SPDX-License-Identifier: GPL-2.0-or-later
"""What readers see while a file changes here and elsewhere: one version for each opening, never an old
one after a save was closed."""
import errno
import json
import mmap
import multiprocessing
import os
import random
import signal
import subprocess
import threading
import time

import pytest

from fsmount import wait_until

FORK = multiprocessing.get_context("fork")


class Jobs:
    """Processes that must all end well."""

    def __init__(self):
        self.over, self.wrong, self.running = FORK.Event(), FORK.SimpleQueue(), []

    def start(self, target, *args):
        job = FORK.Process(target=target, args=(*args, self))
        self.running.append(job)
        job.start()
        return job

    def end(self):
        self.over.set()
        for job in self.running:
            job.join(60)
        assert [job.exitcode for job in self.running] == [0] * len(self.running)
        assert self.wrong.empty(), self.wrong.get()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for job in self.running:
            job.kill()
            job.join()


def test_no_read_is_half_old_and_half_new(m, d):
    m.new_document("c/a.json", {"t": "a" * 6000})
    fd = os.open(d / "a.json", os.O_RDONLY)
    first = os.pread(fd, 4096, 0)
    m.remote_put("c/a.json", json.dumps({"t": "b" * 9000}))
    m.sync()
    m.ask("stats")
    rest = os.pread(fd, 1 << 20, 4096)
    assert set((first + rest).decode()) & {"a", "b"} in ({"a"}, {"b"})
    os.close(fd)
    m.settle()
    assert m.json("c/a.json") == {"t": "b" * 9000}


def seen_by_first(m, path):
    """What an opening reads, and its size, while nobody answers the kernel any more; None: it had to ask."""
    fd = os.open(path, os.O_RDONLY)
    asked = threading.Event()

    def go_on():
        asked.set()
        os.kill(m.process.pid, signal.SIGCONT)

    help_ = threading.Timer(5, go_on)
    os.kill(m.process.pid, signal.SIGSTOP)
    try:
        help_.start()
        data = os.pread(fd, 1 << 20, 0)
        size = os.fstat(fd).st_size
    finally:
        help_.cancel()
        os.kill(m.process.pid, signal.SIGCONT)
        os.close(fd)
    return None if asked.is_set() else (data, size)


@pytest.mark.parametrize("length", [10, 4096, 30000])
@pytest.mark.parametrize("how", ["came", "saved"])
def test_small_documents_come_with_their_opening(m, d, how, length):
    text = json.dumps({"t": "a" * length}).encode()
    m.new_document("c/a.json", {"t": "old" * 1000})
    m.settle_and_sync()
    if how == "came":
        m.remote_put("c/b.json", text)
        m.sync()
        path = d / "b.json"
    else:
        path = d / "a.json"
        assert b"old" in path.read_bytes()
        path.write_bytes(text)
    m.settle()
    assert seen_by_first(m, path) == (text, len(text))
    # And what comes after that is seen as well.
    m.remote_put(f"c/{path.name}", b'{"t": "new"}')
    m.sync()
    m.settle()
    assert path.read_bytes() == b'{"t": "new"}'


def read_whole(path, jobs):
    """Opens, reads and closes; every text is of one letter, which the document names."""
    while not jobs.over.is_set():
        data = path.read_bytes()
        try:
            document = json.loads(data)
            whole = set(document["text"]) == {document["letter"]}
        except ValueError:
            whole = False
        if not whole:
            jobs.wrong.put((len(data), data[:60], data[-60:]))


def test_every_opening_reads_one_version(m, d):
    """The kernel takes the answers to opens and stats in any order, and asks for pages when it likes."""
    m.new_document("c/a.json", {"letter": "a", "text": "a"})
    rng = random.Random(1)
    with Jobs() as jobs:
        for _ in range(8):
            jobs.start(read_whole, d / "a.json")
        for n in range(600):
            letter = "abcdefghij"[n % 10]
            m.remote_put("c/a.json", json.dumps({"letter": letter,
                                                 "text": letter * rng.randrange(1, 9000)}))
            m.sync()
        jobs.end()
    m.settle()
    assert (d / "a.json").read_bytes() == m.remote_bytes("c/a.json")


def replace_here(m, path):
    """As sed -i does."""
    beside = path.with_name("sedAbCdEf")
    beside.write_text(NEW)
    beside.rename(path)


def replace_there(m, path):
    m.remote_put("c/a.json", NEW)
    m.sync()


def remove(m, path):
    path.unlink()
    m.settle_and_sync()


def change_mode(m, path):
    path.chmod(0o600)


OLD = json.dumps({"n": 1, "text": "a" * 9000}) + "\n"
NEW = json.dumps({"n": 2, "text": "b" * 9000}) + "\n"


@pytest.mark.parametrize("replace", [replace_here, replace_there, remove, change_mode])
@pytest.mark.parametrize("how", ["read", "mmap"])
def test_what_was_opened_is_what_is_read(m, d, replace, how):
    """Nobody had a look at it before another version took its place."""
    (d / "a.json").write_text(OLD)
    m.settle_and_sync()
    m.stop()
    m.start()
    start = time.monotonic()
    fd = os.open(d / "a.json", os.O_RDONLY)
    try:
        replace(m, d / "a.json")
        size = os.fstat(fd).st_size
        got = mmap.mmap(fd, size, prot=mmap.PROT_READ)[:] if how == "mmap" else os.read(fd, 1 << 20)
        # Who does nothing for five seconds is shown what is new.
        late = time.monotonic() - start > 4
        assert got == OLD.encode() or (late and got == NEW.encode()), (got[:60], len(got))
    finally:
        os.close(fd)
    if replace in (replace_here, replace_there):
        m.settle()
        assert (d / "a.json").read_text() == NEW


def test_a_save_on_what_was_opened_only(m, d):
    """Its writer has read it in the kernel's pages, and what came meanwhile stays."""
    m.new_document("c/a.json", {"n": 1, "m": 1})
    m.stop()
    m.start()
    assert m.json("c/a.json") == {"n": 1, "m": 1}
    m.sync()
    m.kernel_forgets()
    with open(d / "a.json", "r+") as file:
        m.remote_set("c/a.json", m=2)
        file.truncate(0)
        file.write('{\n  "n": 5,\n  "m": 1\n}\n')
    assert m.json("c/a.json") == {"n": 5, "m": 2}


def test_an_open_file_follows_what_only_grows(m, d):
    """As a log is followed; anything else waits until nobody can be in the middle of it."""
    text = "one\n" * 300
    (d / "log.txt").write_text(text)
    m.settle_and_sync()
    with open(d / "log.txt") as file, open(d / "log.txt", "rb") as other:
        assert file.read() == text
        for n in range(20):
            text += f"line {n}\n" * (n * 40 + 1)
            m.remote_put("c/log.txt", text)
            m.sync()
            more = wait_until(file.read)
            while not text.endswith(more):
                more += wait_until(file.read)
            assert text.endswith(more) and "\0" not in more
        assert (d / "log.txt").stat().st_size == len(text)
        assert other.read(4) == b"one\n"
        m.remote_put("c/log.txt", "two\n" * 200)
        m.sync()
        m.ask("stats")
        assert other.read() == text.encode()[4:]
        m.settle()
        other.seek(0)
        assert other.read() == b"two\n" * 200


def test_who_bypasses_the_pages_follows_too(m, d):
    """Opened while somebody has an older version open."""
    (d / "log.txt").write_text("one\n")
    m.settle_and_sync()
    with open(d / "log.txt") as old:
        assert old.read() == "one\n"
        m.remote_put("c/log.txt", "two\n")
        m.sync()
        fd = os.open(d / "log.txt", os.O_RDONLY)
        try:
            assert os.read(fd, 4) == b"two\n"
            m.remote_put("c/log.txt", "two\nthree\n")
            m.sync()
            assert os.pread(fd, 4, 0) == b"two\n"
            assert os.read(fd, 100) == b"three\n"
            m.remote_put("c/log.txt", "four\n" * 9)
            m.sync()
            assert os.pread(fd, 100, 0) == b"two\nthree\n"
        finally:
            os.close(fd)
        assert (d / "log.txt").read_text() == "four\n" * 9


def test_tail(m, d):
    (d / "log.txt").write_text("one\n")
    m.settle_and_sync()
    with subprocess.Popen(["tail", "-f", "-s", "0.1", d / "log.txt"], stdout=subprocess.PIPE,
                          text=True) as tail:
        try:
            assert tail.stdout.readline() == "one\n"
            for n in range(5):
                m.remote_put("c/log.txt", m.remote_bytes("c/log.txt") + b"line %d\n" % n)
                m.sync()
                assert tail.stdout.readline() == f"line {n}\n"
        finally:
            tail.kill()


def text_of(who, n):
    return f"{who}{n} " * (n * 37 % 500)


def whole(piece, who):
    return piece["text"] == text_of(who, piece["n"])


def read_all(path, how):
    if how == 0:
        return path.read_bytes()
    fd = os.open(path, os.O_RDONLY)
    try:
        if how == 1:
            try:
                with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as pages:
                    return pages[:]
            except OSError as error:
                # Somebody has an older version open, and this file no pages.
                if error.errno != errno.ENODEV:
                    raise
        data = b""
        while piece := os.read(fd, 700):
            data += piece
        return data
    finally:
        os.close(fd)


def check(path, how, closed, jobs):
    """Whoever opens it sees all that was closed before, of each author the whole, and no step back."""
    last = [0] * len(closed)
    while not jobs.over.is_set():
        before = closed[:]
        data = read_all(path, how)
        try:
            document = json.loads(data)
            now = [document[f"w{who}"]["n"] for who in range(len(closed))]
            fine = all(whole(document[f"w{who}"], who) for who in range(len(closed)))
        except ValueError:
            fine, now = False, []
        if not fine or any(map(int.__lt__, now, before)) or any(map(int.__lt__, now, last)):
            jobs.wrong.put((how, before, last, now, len(data), data[:80], data[-80:]))
            return
        last = now


def save(path, who, closed, jobs):
    """Changes its own part of the document, and nothing else."""
    for n in range(1, 101):
        document = json.loads(path.read_bytes())
        document[f"w{who}"] = {"n": n, "text": text_of(who, n)}
        temp = path.with_name(f".{path.name}.{who}aaaaa")
        temp.write_text(json.dumps(document))
        os.replace(temp, path)
        closed[who] = n


def test_readers_writers_and_a_stream_from_elsewhere(m, d):
    authors = 5  # four here, one there
    m.new_document("c/a.json", {f"w{who}": {"n": 0, "text": ""} for who in range(authors)})
    closed = FORK.Array("q", authors)
    with Jobs() as jobs:
        for k in range(8):
            jobs.start(check, d / "a.json", k % 3, closed)
        writers = [jobs.start(save, d / "a.json", who, closed) for who in range(authors - 1)]
        n = 0
        while n < 100 or any(job.is_alive() for job in writers):
            n += 1
            m.remote_set("c/a.json", w4={"n": n, "text": text_of(4, n)})
            closed[authors - 1] = n
        jobs.end()
    m.settle_and_sync()
    document = m.json("c/a.json")
    assert [document[f"w{who}"]["n"] for who in range(authors)] == [100] * 4 + [n]
    assert (d / "a.json").read_bytes() == m.remote_bytes("c/a.json")
    assert m.remote_paths() == ["c", "c/a.json"]
