#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the mount costs programs: each figure is the time on it divided by that on ext4 (or whatever
the temporary directory is on) in the same run; beside it what bindfs makes of the same directory.

Needs root (it empties the kernel's caches), /dev/fuse and git; bindfs is left out where there is none."""
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "integration"))
os.environ.setdefault("SHOAL_BUILD", os.getcwd())

from lab import BUILD, Lab, wait_for  # noqa: E402

FILES = BUILD / "tests/bench/files"
SMALL = 2_000      # documents that are worked on one by one
SAVES = 100        # of those, for what waits for the disk
BLOB = 128         # MiB
LARGE = 100_000    # documents in one directory
TREE = 5_000       # files of a git repository
STEADY = 4         # rounds in which no best falls by more than ...
FALL = 0.02        # ... this part of it: further ones would say the same
SECONDS = 4        # for the rounds of one figure


def figure(name, value, unit, reference=""):
    print(f"{name}\t{value:.6g}\t{unit}\t{reference}", flush=True)


def drop_caches(what=3):
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text(str(what))


def timed(*words, **options):
    start = time.perf_counter()
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL, timeout=200, **options)
    return time.perf_counter() - start


def files(work, directory, count, passes=1):
    result = subprocess.run([FILES, work, directory, str(count), str(passes)], check=True,
                            stdout=subprocess.PIPE, text=True, timeout=200)
    return float(result.stdout)


class Places:
    """The same directory on ext4, through bindfs, and on the mount of a daemon."""

    def __init__(self, lab):
        self.host = lab.host("anna")
        self.host.up()
        # As deep below the root, so that each path has as many names.
        top = {kind: lab.directory / "other" / kind for kind in ("ext4", "below", "bindfs")}
        for path in top.values():
            path.mkdir(parents=True)
        self.dirs = {"ext4": top["ext4"] / "bench", "mount": self.host.dir / "bench"}
        # Where what is made is there for each of them.
        self.below = {**self.dirs, "bindfs": top["below"] / "bench"}
        if shutil.which("bindfs"):
            self.dirs["bindfs"] = top["bindfs"] / "bench"
            subprocess.run(["bindfs", top["below"], top["bindfs"]], check=True, timeout=20)
            lab.undo.callback(subprocess.run, ["umount", "-l", top["bindfs"]], timeout=20)
        for path in self.dirs.values():
            path.mkdir()

    def settle(self):
        """Until new files are nodes."""
        wait_for(lambda: self.host.shoal("status", "--json")["mount"]["local_files"] == 0,
                 timeout=120, what="new files becoming nodes")

    def compare(self, name, limit, measure, least=2, peer=True, makes=False):
        """measure(directory) is called for each in turn, least times and then until the bests are
        steady or SECONDS are over: what ext4 takes hangs on what its journal and the disk are doing.
        The best of the rounds counts. bindfs, which nothing is held against, is in the first ones
        only. makes: files, which are to be nodes before the next round."""
        dirs = {k: d for k, d in self.dirs.items() if peer or k != "bindfs"}
        best = dict.fromkeys(dirs, float("inf"))
        rounds = steady = 0
        end = time.monotonic() + SECONDS
        while rounds < least or (steady < STEADY and time.monotonic() < end):
            steady += 1
            for kind, directory in dirs.items():
                if kind == "bindfs" and rounds >= least:
                    continue
                seconds = measure(directory)
                if seconds < best[kind] * (1 - FALL):
                    steady = 0
                best[kind] = min(best[kind], seconds)
                if makes and kind == "mount":
                    self.settle()
            rounds += 1
        there = f"{1e3 * best['mount']:.3g} ms, {rounds} rounds"
        if "bindfs" in best:
            there += f"; bindfs {best['bindfs'] / best['ext4']:.2f}"
        figure(f"mount, {name} ({there})", best["mount"] / best["ext4"], "x ext4", f"<={limit}")


def small_files(places):
    """SMALL documents, one after the other."""
    fresh = iter(range(1000))

    def create(directory):
        made = directory / f"new{next(fresh)}"
        made.mkdir()
        seconds = files("create", made, SMALL)
        if directory != places.dirs["mount"]:
            shutil.rmtree(made)
        return seconds

    def cold(directory):
        drop_caches()
        return files("read", directory, SMALL)

    for directory in places.dirs.values():
        files("create", directory, SMALL)
    places.settle()
    for directory in places.dirs.values():
        files("read", directory, SMALL)
        timed("ls", "-l", directory)
    places.compare("stat, warm", 1.2, lambda d: files("stat", d, SMALL, 20))
    places.compare("ls -l, warm", 1.5, lambda d: timed("ls", "-l", d))
    places.compare("open, read, close, warm", 6, lambda d: files("read", d, SMALL, 3))
    places.compare("create", 5, create, makes=True)
    places.compare("overwrite", 2, lambda d: files("overwrite", d, SMALL), makes=True)
    places.compare("atomic save with fsync", 2, lambda d: files("save", d, SAVES), makes=True)
    places.compare("small read, cold", 1.5, cold)


def one_blob(places):
    for directory in places.dirs.values():
        files("blob", directory, BLOB)
    places.settle()

    def cold(directory):
        drop_caches()
        return files("whole", directory, BLOB)

    places.compare(f"{BLOB} MiB written", 2, lambda d: files("blob", d, BLOB), makes=True)
    places.compare(f"{BLOB} MiB read, cold", 2, cold)
    for directory in places.dirs.values():
        files("whole", directory, BLOB)
    places.compare(f"{BLOB} MiB read, warm", 1.2, lambda d: files("whole", d, BLOB, 3))
    places.compare("4 KiB anywhere, warm", 1.2, lambda d: files("random", d, BLOB))
    for directory in places.dirs.values():
        (directory / "blob").unlink()


def memory(pid):
    """Bytes of the process that are no file's."""
    with open(f"/proc/{pid}/status") as status:
        for line in status:
            if line.startswith("RssAnon:"):
                return int(line.split()[1]) * 1024
    raise RuntimeError("no RssAnon")


def steady_memory(pid, seconds=2):
    """The same, when it has not changed for so long: what the daemon has no more use for it gives
    back a second later."""
    last, since = memory(pid), time.monotonic()

    def steady():
        nonlocal last, since
        now = memory(pid)
        if now != last:
            last, since = now, time.monotonic()
        return time.monotonic() - since >= seconds

    wait_for(steady, timeout=20, what="steady memory")
    return last


def large_directory(places):
    """What walks LARGE documents in one directory."""
    for kind in places.dirs:
        directory = places.below[kind] / "large"
        directory.mkdir()
        files("create", directory, LARGE)
    places.settle()
    pid = places.host.daemon_pid()

    def shell(script):
        return lambda d: timed("sh", "-c", script, "sh", d / "large")

    drop_caches(2)
    before = steady_memory(pid)
    shell("ls -l $1")(places.dirs["mount"])
    known = memory(pid)
    drop_caches(2)
    wait_for(lambda: memory(pid) < known, timeout=20, what="memory given back")
    figure(f"mount, memory for each of {LARGE} inodes", (known - before) / LARGE, "B", "<=1024")
    figure("mount, of that what the replica keeps of nodes (131072 at most)",
           (memory(pid) - before) / LARGE, "B", "<=500")
    shell("ls -l $1; cat $1/*0.json; find $1 -type f -print0 | xargs -0 cat")(places.dirs["mount"])
    # The last two run for seconds, so that one round says enough.
    for name, least, script in (
            ("ls -l", 2, "ls -l $1"), ("find", 2, "find $1 -name '*7.json'"),
            ("grep -r", 1, "grep -r nowhere $1; true"),
            ("jq", 1, "find $1 -name '*.json' -print0 | xargs -0 jq .value")):
        places.compare(f"{LARGE} documents, {name}, warm", 2, shell(script), least, name == "grep -r")


def repository(places, lab):
    """git, on a repository of TREE files."""
    source = lab.directory / "source"
    source.mkdir()
    subprocess.run(["git", "init", "-q", source], check=True)
    lines = ["commit refs/heads/main", "committer A <a@localhost> 1700000000 +0000", "data 1", "x"]
    for number in range(TREE):
        text = "".join(f"line {line} of file {number}\n" for line in range(20))
        lines += [f"M 100644 inline d{number // 100}/f{number}.c", f"data {len(text)}", text]
    subprocess.run(["git", "-C", source, "fast-import", "--quiet"], check=True, timeout=60,
                   input="\n".join(lines) + "\n", text=True)
    subprocess.run(["git", "-C", source, "symbolic-ref", "HEAD", "refs/heads/main"], check=True)
    number = iter(range(1000))

    def clone(directory):
        return timed("git", "clone", "-q", "--no-local", source, directory / f"clone{next(number)}")

    places.compare(f"git clone of {TREE} files", 3, clone, makes=True)
    for kind in ("ext4", "mount"):
        last = sorted(places.dirs[kind].glob("clone*"), key=lambda p: int(p.name[5:]))[-1]
        last.rename(places.dirs[kind] / "repository")

    def status(directory):
        return timed("git", "-C", directory / "repository", "status", "--short")

    for kind in ("ext4", "mount"):
        status(places.dirs[kind])
    places.compare(f"git status of {TREE} files", 3, status, peer=False)


def main():
    lab = Lab()
    try:
        places = Places(lab)
        small_files(places)
        one_blob(places)
        large_directory(places)
        repository(places, lab)
    finally:
        lab.close()


if __name__ == "__main__":
    main()
