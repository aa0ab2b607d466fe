# SPDX-License-Identifier: GPL-2.0-or-later
"""Two devices under everything at once: writers, renames, readers, watchers, a stream from elsewhere, and
upgrades. Nothing hangs, nothing is lost, nothing grows, and in the end both show the same.

    tests/soak [SECONDS]    for longer than the test suite has time for
"""
import json
import multiprocessing
import os
import random
import statistics
import time
from pathlib import Path

from inotify import Watcher
from lab import wait_for
from test_two_hosts import equal, pair

HANG = 20         # seconds that no single step of anybody may take
FILES = 40        # of each writer
GROWTH = 1.3, 48  # of memory, between an early and the late part: a factor, and MiB

fork = multiprocessing.get_context("fork")


class Worker:
    """A process that does step(n) until it is told to end; the number of steps done is its pulse."""

    def __init__(self, name, step, pause=0.0):
        self.name = name
        self.pulse = fork.Value("Q", 0)
        self.end, self.failed = fork.Event(), fork.Queue()
        self.process = fork.Process(target=self.run, args=(step, pause), daemon=True)
        self.last = 0, time.monotonic()
        self.process.start()

    def run(self, step, pause):
        try:
            while not self.end.is_set():
                step(self.pulse.value)
                self.pulse.value += 1
                time.sleep(pause)
        except Exception as error:  # pylint: disable=broad-except
            self.failed.put(f"{self.name}, step {self.pulse.value}: {error!r}")
            raise

    def check(self, slept):
        """slept: so did the one who asks, so the time since then says nothing."""
        assert self.failed.empty(), self.failed.get()
        pulse, now = self.pulse.value, time.monotonic()
        if pulse != self.last[0] or slept:
            self.last = pulse, now
        assert now - self.last[1] < HANG, f"{self.name} hangs in step {pulse}"

    def stop(self):
        self.end.set()
        self.process.join(HANG)
        assert not self.process.is_alive(), f"{self.name} does not end"
        assert self.failed.empty(), self.failed.get()
        assert self.process.exitcode == 0, self.name
        assert self.pulse.value > 0, self.name


def replace(path, text):
    scrap = path.with_name(path.name + ".tmp")
    scrap.write_text(text)
    os.rename(scrap, path)


def writer(d):
    """Saves in each of the usual ways, and finds what it has saved."""
    d.mkdir()
    log = open(d / "log", "a+b", buffering=0)

    def step(n):
        path = d / f"{n % FILES}.json"
        text = json.dumps({"n": n, "list": list(range(n % 30))})
        if n % 3 == 0:
            path.write_text(text)
        elif n % 3 == 1:
            replace(path, text)
        else:
            path.unlink(missing_ok=True)
            path.write_text(text)
        assert path.read_text() == text
        log.write(b"%d\n" % n)
        assert os.pread(log.fileno(), 100, max(0, os.fstat(log.fileno()).st_size - 9)).endswith(
            b"%d\n" % n)
        if n % 500 == 499:
            log.truncate(0)

    return step


def shared(path, key):
    """Counts in a document that the other device counts in as well."""
    def step(n):
        value = json.loads(path.read_text())
        value[key] = n
        path.write_text(json.dumps(value))

    return step


def renamer(d):
    """Moves a directory and what is in it round and round."""
    (d / "0").mkdir(parents=True)
    for n in range(10):
        (d / f"0/{n}.txt").write_text(f"{n}\n")

    def step(n):
        os.rename(d / str(n), d / str(n + 1))
        here = d / str(n + 1)
        os.rename(here / f"{n % 10}.txt", here / "moved.txt")
        os.rename(here / "moved.txt", here / f"{n % 10}.txt")
        assert sorted(os.listdir(here)) == [f"{k}.txt" for k in range(10)]

    return step


def reader(top):
    """Looks at everything; what is there changes while it looks."""
    def step(_):
        for here, directories, files in os.walk(top):
            for name in directories + files:
                try:
                    os.lstat(os.path.join(here, name))
                    if name in files:
                        with open(os.path.join(here, name), "rb") as file:
                            file.read()
                except FileNotFoundError:
                    pass
        (top / ".shoal/status.json").read_text()

    return step


def streamer(d):
    """What arrives: files that come, change and go; and a number in one that stays."""
    def step(n):
        (d / f"s{n % FILES}.txt").write_text(f"{n}\n" * 20)
        if n % 7 == 0:
            (d / f"s{(n + 20) % FILES}.txt").unlink(missing_ok=True)
        if n % 11 == 0 and (d / f"s{n % FILES}.txt").exists():
            os.rename(d / f"s{n % FILES}.txt", d / f"s{(n + 1) % FILES}.txt")
        replace(d / "number.json", json.dumps({"n": n}))

    return step


def follower(d, heard):
    """Reads the number whenever it is told to: it has the last one without asking by itself."""
    watcher = Watcher(d)

    def step(_):
        for event in watcher.read(0.2):
            if event.path.endswith("/number.json"):
                try:
                    heard.value = json.loads((d / "number.json").read_text())["n"]
                except FileNotFoundError:
                    pass

    return step


def upgrader(host, low, high):
    due = [time.monotonic()]

    def step(_):
        if time.monotonic() > due[0]:
            host.shoal("upgrade")
            due[0] = time.monotonic() + random.uniform(low, high)

    return step


def memory(pid):
    """What is its own, in MiB."""
    text = Path(f"/proc/{pid}/status").read_text()
    return int(text.partition("RssAnon:")[2].split()[0]) / 1024


def shown(host):
    """Everything, and the times of files: those of a directory say here as well what was saved by way of
    another name, which others do not hear of."""
    return {name: (what, what != "directory" and os.lstat(host.dir / name).st_mtime_ns)
            for name, what in host.tree().items()}


def check_growth(name, samples):
    """The middle against the end: in the beginning it fills what it may keep."""
    quarter = len(samples) // 4
    early = statistics.median(samples[quarter:2 * quarter])
    late = statistics.median(samples[-quarter:])
    assert late < early * GROWTH[0] + GROWTH[1], f"{name}: from {early:.0f} to {late:.0f} MiB"
    return f"{name} {early:.0f}-{late:.0f} MiB"


def test_soak(lab, pytestconfig):
    seconds = pytestconfig.getoption("--soak")
    _, a, b = pair(lab)
    for d in ("stream", "mine"):
        (a.dir / d).mkdir()
    (a.dir / "shared.json").write_text("{}")
    equal(a, b)
    heard = fork.Value("q", -1)
    workers = [Worker(name, step, pause) for name, step, pause in (
        ("writer 1", writer(a.dir / "mine/w1"), 0.002),
        ("writer 2", writer(a.dir / "mine/w2"), 0.002),
        ("renamer", renamer(a.dir / "mine/r"), 0.01),
        ("reader", reader(a.dir), 0.05),
        ("reader there", reader(b.dir), 0.1),
        ("shared", shared(a.dir / "shared.json", "a"), 0.02),
        ("shared there", shared(b.dir / "shared.json", "b"), 0.02),
        ("stream", streamer(b.dir / "stream"), 0.005),
        ("follower", follower(a.dir / "stream", heard), 0),
        ("other follower", follower(a.dir / "stream", fork.Value("q", -1)), 0),
        ("upgrader", upgrader(a, seconds / 8, seconds / 6), 0.2),
        ("upgrader there", upgrader(b, 3, 6), 0.2),
    )]
    ended = False
    try:
        samples = {a: [], b: []}
        now = time.monotonic()
        end = now + seconds
        while now < end:
            time.sleep(0.5)
            slept, now = time.monotonic() - now > HANG / 4, time.monotonic()
            for worker in workers:
                worker.check(slept)
            for host, found in samples.items():
                found.append(memory(int((host.store / "lock").read_text())))
        stream, last = next(w for w in workers if w.name == "stream"), []
        for worker in workers:
            if "follower" not in worker.name:
                worker.stop()
                last.append(f"{worker.name} {worker.pulse.value}")
        wait_for(lambda: heard.value == stream.pulse.value - 1,
                 what="the watcher's reading the last number")
        for worker in workers:
            if "follower" in worker.name:
                worker.stop()
        ended = True
    finally:
        for worker in workers:
            if not ended and worker.process.is_alive():
                worker.process.kill()
    for host in (a, b):
        host.shoal("wait", "--timeout", "60")
    wait_for(lambda: shown(a) == shown(b), timeout=60, what="the same on both")
    counted = {w.name: w.pulse.value - 1 for w in workers}
    assert json.loads((b.dir / "shared.json").read_text()) == {
        "a": counted["shared"], "b": counted["shared there"]}
    sizes = [check_growth(host.name, found) for host, found in samples.items()]
    for host in (a, b):
        host.shoal("verify")
    print("\n" + "\n".join(last + sizes))
