# SPDX-License-Identifier: GPL-2.0-or-later
"""inotify(7) on the mount: programs that watch hear of what other devices changed."""
import json
import os
import random
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from fsmount import BUILD, Failed, Mount, as_user, wait_until
from inotify import CHANGES, Watcher, brief
from lab import alive, wait_for
from test_two_hosts import pair

NOBODY = 65534


@pytest.fixture
def d(m):
    m.path("c").mkdir()
    m.settle_and_sync()
    return m.path("c")


@pytest.fixture
def watch():
    made = []

    def new(*paths, events=CHANGES):
        made.append(Watcher(*paths, events=events))
        return made[-1]

    yield new
    for watcher in made:
        watcher.close()


def arrive(m):
    """What the other device did is here, and told."""
    m.sync()
    m.ask("idle")


def told(m, watcher):
    arrive(m)
    return brief(watcher.read(5))


def helper_of(process):
    """The process that calls the mount on behalf of the daemon."""
    found = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(process.pid)],
                           capture_output=True, text=True).stdout.split()
    assert found[1::2] == ["shoal-events"], found
    return int(found[0])


# ---- each kind ----


def test_content(m, d, watch):
    m.remote_put("c/a.json", '{"v": 1}')
    m.remote_put("c/t.bin", b"\0\1")
    arrive(m)
    on_dir, on_file = watch(d), watch(d / "a.json")
    m.remote_put("c/a.json", '{"v": 2}')
    kinds = [("MODIFY", "a.json"), ("CLOSE_WRITE", "a.json")]
    # And no attributes: a save here would not say so, either.
    assert told(m, on_dir) == kinds
    assert brief(on_file.read(1)) == kinds
    m.remote_put("c/t.bin", b"\0\1\2")
    assert told(m, on_dir) == [("MODIFY", "t.bin"), ("CLOSE_WRITE", "t.bin")]
    assert on_file.read() == []


def test_attributes(m, d, watch):
    m.remote_put("c/a.json", "{}")
    m.ask("mkdir", "c/s")
    arrive(m)
    w = watch(d)
    m.ask("chmod", "600", "c/a.json")
    assert told(m, w) == [("ATTRIB", "a.json")]
    assert (d / "a.json").stat().st_mode & 0o777 == 0o600
    m.ask("chmod", "700", "c/s")
    assert told(m, w) == [("ATTRIB|ISDIR", "s")]
    m.ask("chmod", "750", "c")
    assert told(m, w) == [("ATTRIB|ISDIR", "c")]


def test_what_comes(m, d, watch):
    w = watch(d)
    m.remote_put("c/a.json", '{"v": 1}')
    assert told(m, w) == [("CREATE", "a.json"), ("MODIFY", "a.json"), ("CLOSE_WRITE", "a.json")]
    assert m.json("c/a.json") == {"v": 1}
    m.remote_put("c/empty.txt", "")
    assert told(m, w) == [("CREATE", "empty.txt"), ("CLOSE_WRITE", "empty.txt")]
    m.ask("mkdir", "c/s")
    assert told(m, w) == [("CREATE|ISDIR", "s")]
    m.ask("ln", "a.json", "c/l")
    assert told(m, w) == [("CREATE", "l")]
    assert os.readlink(d / "l") == "a.json"
    assert sorted(os.listdir(d)) == ["a.json", "empty.txt", "l", "s"]


def test_what_goes(m, d, watch):
    m.remote_put("c/a.json", "{}")
    m.remote_put("c/unseen.json", "{}")
    m.ask("mkdir", "c/s")
    arrive(m)
    w = watch(d, d / "a.json", d / "s")
    m.ask("rm", "c/a.json")
    assert set(told(m, w)) >= {("DELETE", "a.json"), ("DELETE_SELF", "a.json")}
    m.ask("rm", "c/unseen.json")
    assert told(m, w) == [("DELETE", "unseen.json")]
    m.ask("rm", "c/s")
    assert set(told(m, w)) >= {("DELETE|ISDIR", "s"), ("DELETE_SELF", "s")}
    assert os.listdir(d) == [] and not (d / "a.json").exists()


def test_what_moves(m, d, watch):
    m.remote_put("c/a.json", '{"v": 1}')
    m.remote_put("c/unseen.json", '{"v": 2}')
    m.ask("mkdir", "c/s")
    m.ask("mkdir", "c/t")
    arrive(m)
    w = watch(d, d / "s", d / "a.json", d / "t")

    def moved(a, b):
        m.ask("mv", f"c/{a}", f"c/{b}")
        arrive(m)
        events = w.read(5)
        one, two = [[e for e in events if kind in e.what] for kind in ("MOVED_FROM", "MOVED_TO")]
        assert [e.path for e in one + two] == [str(d / a), str(d / b)], brief(events)
        assert one[0].cookie == two[0].cookie != 0
        assert not (d / a).exists() and (d / b).exists()
        return [k for e in events for k in e.what]

    assert "MOVE_SELF" in moved("a.json", "b.json")
    assert "MOVE_SELF" in moved("b.json", "s/b.json")
    moved("unseen.json", "seen.json")
    assert m.json("c/s/b.json") == {"v": 1} and m.json("c/seen.json") == {"v": 2}
    here = os.open(d / "t", os.O_RDONLY)
    assert "MOVE_SELF" in moved("t", "s/t")
    assert os.readlink(f"/proc/self/fd/{here}") == str(d / "s" / "t")
    os.close(here)


def test_a_batch_has_an_order(m, d, watch):
    """Names are freed before they are taken, and directories go after what was in them."""
    m.ask("mkdir", "c/s")
    for name in ("c/a.json", "c/b.json", "c/s/x.json", "c/s/y.json"):
        m.remote_put(name, json.dumps({"was": name}))
    arrive(m)
    w = watch(d, d / "s")
    for a, b in (("a", "t"), ("b", "a"), ("t", "b")):
        m.ask("mv", f"c/{a}.json", f"c/{b}.json")
    arrive(m)
    m.ask("rm", "c/s/x.json")
    m.ask("rm", "c/s/y.json")
    m.ask("rm", "c/s")
    arrive(m)
    events = w.until(("DELETE", d / "s"))
    last = {e.path: e.what for e in events}
    for name, was in (("a", "b"), ("b", "a")):
        assert last[str(d / f"{name}.json")] & {"MOVED_TO", "CREATE", "CLOSE_WRITE"}, brief(events)
        assert m.json(f"c/{name}.json") == {"was": f"c/{was}.json"}
    went = [e.path for e in events if "DELETE" in e.what]
    assert went[-1] == str(d / "s") and len(went) == 3, brief(events)


def test_directories_that_go_while_it_is_told_what_was_in_them(m, d, watch):
    """What went first is told though its directory is gone by then: also when that can be seen already,
    and observers have not been told."""
    names = [f"s{n}" for n in range(20)]
    for name in names:
        m.ask("mkdir", f"c/{name}")
        m.remote_put(f"c/{name}/x.json", "{}")
    arrive(m)
    w = watch(*(d / name for name in names))
    m.ask("linger", 20000)
    for name in names:
        m.ask("gone", f"c/{name}/x.json")
        m.ask("gone", f"c/{name}")
    m.ask("idle")
    went = {e.path for e in w.read(5) if "DELETE" in e.what}
    assert went == {str(d / name / "x.json") for name in names}


def test_a_name_that_two_devices_removed_goes_once(m, d, watch):
    m.new_document("c/a.json", {"v": 1})
    w = watch(d)
    (d / "a.json").unlink()
    m.ask("rm", "c/a.json")
    assert told(m, w) == [("DELETE", "a.json")]
    m.settle_and_sync()
    assert w.read(0.2) == []


# ---- when ----


@pytest.mark.parametrize("kind", ["MODIFY", "CLOSE_WRITE"])
def test_what_is_read_at_an_event_is_new(m, d, watch, kind):
    """No event before its content, whether somebody has the file open or not, and one after the last
    change: who reads at each event goes forward only, and ends with what is newest."""
    m.remote_put("c/a.json", '{"v": 0}')
    arrive(m)
    path, read, last = d / "a.json", [], 150
    w = watch(d, events=[kind])

    def look():
        while not read or read[-1] < last:
            assert w.read(10), f"no event after {read[-1:]}"
            read.append(json.loads(path.read_text())["v"])

    looker = threading.Thread(target=look)
    looker.start()
    held = []
    for n in range(1, last + 1):
        if n % 10 == 5:
            held.append(open(path))
            held[-1].read()
        m.remote_put("c/a.json", json.dumps({"v": n, "more": "x" * (n % 7) * 50}))
        m.sync()
        if n % 10 == 9:
            held.pop().close()
    looker.join(30)
    assert read[-1] == last and read == sorted(read) and len(set(read)) > 20, read


def test_open_files_are_told_when_they_have_gone_over(m, d, watch):
    m.remote_put("c/log.txt", "one\n")
    arrive(m)
    path = d / "log.txt"
    w = watch(path, events=("MODIFY",))
    with open(path) as f:
        assert f.read() == "one\n"
        m.remote_put("c/log.txt", "one\ntwo\n")
        m.sync()
        w.until(("MODIFY", path))
        assert f.read() == "two\n", "what is only longer is there at once"
        arrive(m)
        w.read()
        m.remote_put("c/log.txt", "ONE\n")
        m.sync()
        w.until(("MODIFY", path))
        assert path.read_text() == "ONE\n", "for whoever opens it"
        w.until(("MODIFY", path), timeout=20)
        f.seek(0)
        assert f.read() == "ONE\n", "and for who has it open when nobody has read for a while"


# ---- programs ----


def lines_of(process):
    got = []
    threading.Thread(target=lambda: got.extend(process.stdout), daemon=True).start()
    return got


def started(process):
    for line in process.stderr:
        if "established" in line:
            return


def test_inotifywait(m, d):
    wait = subprocess.Popen(["inotifywait", "-m", "-r", "--format", "%e %f", d],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        started(wait)
        got = lines_of(wait)
        m.remote_put("c/a.json", "{}")
        m.sync()
        wait_until(lambda: "CLOSE_WRITE,CLOSE a.json\n" in got, what="the file")
        m.ask("mkdir", "c/s")
        m.sync()
        wait_until(lambda: "CREATE,ISDIR s\n" in got, what="the directory")
        m.ask("mv", "c/a.json", "c/b.json")
        m.sync()
        wait_until(lambda: "MOVED_TO b.json\n" in got, what="the move")
    finally:
        wait.terminate()
        wait.wait()


def test_entr(m, d, tmp_path):
    """Runs its command again when the file that it was given has changed. While the command runs, and
    for a moment after, it does not listen: then it takes another change."""
    m.remote_put("c/a.json", '{"v": 0}')
    arrive(m)
    out = tmp_path / "out"
    entr = subprocess.Popen(["entr", "-n", "sh", "-c", f"cat '{d}/a.json' >> '{out}'"],
                            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    number = 0

    def runs_for_a_change():
        nonlocal number
        number += 1
        m.remote_put("c/a.json", json.dumps({"v": number}))
        m.sync()
        end = time.monotonic() + 0.5
        while time.monotonic() < end and f'"v": {number}}}' not in out.read_text():
            time.sleep(0.01)
        return f'"v": {number}}}' in out.read_text()

    try:
        entr.stdin.write(f"{d}/a.json\n")
        entr.stdin.close()
        wait_until(lambda: out.exists() and '"v": 0' in out.read_text(), what="the first run")
        for _ in range(3):
            wait_until(runs_for_a_change, what="another run")
    finally:
        entr.terminate()
        entr.wait()


@pytest.mark.parametrize("how", ["-f", "-F"])
def test_tail(m, d, how):
    text = "line 0\n"
    m.remote_put("c/log.txt", text)
    arrive(m)
    tail = subprocess.Popen(["tail", how, d / "log.txt"], stdout=subprocess.PIPE, text=True)
    try:
        got = lines_of(tail)
        wait_until(lambda: got, what="the beginning")
        for n in range(1, 6):
            text += f"line {n}\n"
            m.remote_put("c/log.txt", text)
            m.sync()
            wait_until(lambda: f"line {n}\n" in got, what=f"line {n}")
        assert "".join(got) == text
    finally:
        tail.terminate()
        tail.wait()


# ---- nothing else comes of it ----


def test_nothing_is_taken_for_a_local_change(m, d, watch):
    w = watch(d)
    m.new_document("c/mine.json", {"v": 1})
    before = m.stats()
    for n in range(20):
        m.remote_put(f"c/{n}.json", json.dumps({"v": n}))
    arrive(m)
    for n in range(20):
        m.remote_put(f"c/{n}.json", json.dumps({"v": n + 1}))
        m.ask("chmod", "600", f"c/{n}.json")
    arrive(m)
    for n in range(0, 20, 2):
        m.ask("mv", f"c/{n}.json", f"c/{n}-moved.json")
        m.ask("rm", f"c/{n + 1}.json")
    arrive(m)
    paths = m.remote_paths()
    w.until(("MOVED_TO", d / "18-moved.json"), ("DELETE", d / "19.json"))
    m.settle_and_sync()
    after = m.stats()
    for count in ("saves", "local", "tombstones", "drafts", "dirty"):
        assert after[count] == before[count], count
    assert after["calls"] >= before["calls"] + 60
    wait_until(lambda: m.stats()["handles"] == 0, what="no open files")
    assert m.remote_paths() == paths
    assert sorted(os.listdir(d)) == sorted(p[2:] for p in paths if p.startswith("c/"))
    for n in range(0, 20, 2):
        assert (d / f"{n}-moved.json").stat().st_mode & 0o777 == 0o600


def test_reading_by_events_is_no_base(m, d, watch):
    """A save counts from what its writer read, whatever was told since."""
    m.remote_put("c/a.json", '{"x": 0, "y": 0}')
    arrive(m)
    watch(d)
    read = m.json("c/a.json")
    m.remote_set("c/a.json", x=1)
    arrive(m)
    read["y"] = 1
    (d / "a.json").write_text(json.dumps(read))
    assert m.json("c/a.json") == {"x": 1, "y": 1}


def test_without_watchers_nothing_is_asked(m):
    """Of a mount that nobody has looked into, and of directories that the kernel does not know."""
    m.ask("mkdir", "c")
    m.ask("mkdir", "c/s")
    for n in range(50):
        m.remote_put(f"c/s/{n}.json", "{}")
    arrive(m)
    for n in range(50):
        m.remote_put(f"c/s/{n}.json", json.dumps({"v": n}))
        m.remote_put(f"{n}.json", "{}")
    arrive(m)
    for n in range(50):
        m.ask("mv", f"c/s/{n}.json", f"c/s/m{n}.json")
    arrive(m)
    assert m.stats()["calls"] == 1, "the one that it is recognised by"
    assert m.json("c/s/m7.json") == {"v": 7}
    m.remote_put("c/s/m7.json", json.dumps({"v": 8}))
    arrive(m)
    assert m.stats()["calls"] > 1, "somebody may watch there now"


# ---- whose mount ----


def test_a_users_own_mount(watch):
    m = Mount(user=NOBODY)
    wait = None
    try:
        m.ask("mkdir", "c")
        m.remote_put("c/fixed.json", "{}")
        m.ask("chmod", "444", "c/fixed.json")
        arrive(m)
        wait = subprocess.Popen(["nsenter", "-m", "-t", str(m.process.pid)] + as_user(NOBODY) +
                                ["inotifywait", "-m", "--format", "%e %f", m.path("c")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started(wait)
        got = lines_of(wait)
        m.remote_put("c/a.json", '{"v": 1}')
        arrive(m)
        m.remote_put("c/a.json", '{"v": 2}')
        m.remote_put("c/fixed.json", '{"v": 2}')
        arrive(m)
        m.ask("mv", "c/a.json", "c/b.json")
        arrive(m)
        for line in ("CREATE a.json", "MODIFY a.json", "CLOSE_WRITE,CLOSE a.json",
                     "MODIFY fixed.json", "MOVED_FROM a.json", "MOVED_TO b.json"):
            wait_until(lambda: line + "\n" in got, what=line)
        assert "CLOSE_WRITE,CLOSE fixed.json\n" not in got, "nobody may write it"
        wait.terminate()
        wait.wait()
        m.ask("unmount")
    finally:
        if wait:
            wait.kill()
        m.close()


def test_a_mount_to_be_read_only(watch):
    """Tells nothing, and shows what is new."""
    m = Mount("ro")
    try:
        m.ask("mkdir", "c")
        m.sync()
        watch(m.path("c"))
        for n in range(10):
            m.remote_put("c/a.json", json.dumps({"v": n}))
            arrive(m)
            assert m.json("c/a.json") == {"v": n}
    finally:
        m.close()


# ---- much at once, and the end ----


def mixed(m, rnd, dirs, files, serial, size):
    """Up to so many changes there, each of another path; what is to be told of them."""
    touched, wanted = set(), []
    for _ in range(rnd.randint(1, size)):
        kind = rnd.choice(["put", "put", "new", "new", "mv", "rm"])
        have = sorted(files - touched)
        serial[0] += 1
        fresh = f"{rnd.choice(dirs)}/f{serial[0]}.json"
        old = rnd.choice(have) if have else None
        content = json.dumps({"v": serial[0]})
        if kind == "new" or not have:
            m.remote_put(fresh, content)
            files.add(fresh)
            wanted += [[("CREATE", fresh), ("CLOSE_WRITE", fresh)]]
        elif kind == "put":
            m.remote_put(old, content)
            wanted += [[("MODIFY", old), ("CLOSE_WRITE", old)]]
        elif kind == "mv":
            m.ask("mv", old, fresh)
            files.add(fresh)
            files.discard(old)
            wanted += [[("MOVED_FROM", old), ("MOVED_TO", fresh)]]
        else:
            m.ask("rm", old)
            files.discard(old)
            wanted += [[("DELETE", old)]]
        touched |= {fresh, old}
    return wanted


class Reading:
    """A watcher that is read all the time, by a thread of its own."""

    def __init__(self, watcher):
        self.watcher = watcher
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self):
        while not self.over.is_set():
            self.watcher.read(0.05)

    def times(self):
        """When each (kind, path) was told."""
        count = -1
        while count < len(self.watcher.seen):  # until nothing has come for a while
            count = len(self.watcher.seen)
            time.sleep(0.2)
        first = {}
        for event in list(self.watcher.seen):
            for kind in event.what:
                first.setdefault((kind, event.path), []).append(event.at)
        return first

    def stop(self):
        self.over.set()
        self.thread.join()


@pytest.fixture
def reading(watch):
    made = []

    def new(*paths):
        made.append(Reading(watch(*paths)))
        return made[-1]

    yield new
    for one in made:
        one.stop()


def ninety_ninth(m, rnd, dirs, files, serial, reading, count):
    """So many changes, all of which have to be told. How late, counted from when both devices hold
    them, is the one that comes later than 99 of 100."""
    all_wanted, late = [], []
    while sum(len(wanted) for _, _, wanted in all_wanted) < count:
        wanted = mixed(m, rnd, dirs, files, serial, 12)
        begin = time.monotonic()
        m.sync()
        all_wanted.append((begin, time.monotonic(), wanted))
        m.ask("idle")
    seen = reading.times()
    for begin, here, wanted in all_wanted:
        for events in wanted:
            at = []
            for kind, path in events:
                times = [t for t in seen.get((kind, str(m.dir / path)), []) if t >= begin]
                assert times, f"{kind} {path} was not told"
                at.append(times[0])
            late.append(max(0, max(at) - here))
    late.sort()
    print(f"{len(late)} changes, all told; p50 {late[len(late) // 2] * 1000:.1f} ms, "
          f"p99 {late[len(late) * 99 // 100] * 1000:.1f} ms, last {late[-1] * 1000:.1f} ms")
    return late[len(late) * 99 // 100]


def test_ten_thousand_changes(m, d, reading):
    """All of them are told; 99 of 100 within 50 ms. Others who need the machine make that longer,
    never shorter: so the best of some turns counts."""
    rnd = random.Random(4)
    dirs = [f"c/d{k}" for k in range(4)]
    for name in dirs:
        m.path(name).mkdir()
    m.settle_and_sync()
    r = reading(*[m.path(name) for name in dirs])
    files, serial = set(), [0]
    late = [ninety_ninth(m, rnd, dirs, files, serial, r, 1000) for _ in range(10)]
    assert min(late) <= 0.05
    assert sorted(p for p in m.remote_paths() if p.endswith(".json")) == sorted(files)
    for name in dirs:
        assert sorted(os.listdir(m.path(name))) == \
            sorted(p.rsplit("/", 1)[1] for p in files if p.startswith(name + "/"))


def test_unmounting_does_not_wait_for_what_is_due(m, d, watch):
    watch(d).close()
    for n in range(1000):
        m.remote_put(f"c/{n}.json", "{}")
    m.sync()
    begin = time.monotonic()
    m.ask("unmount")
    assert time.monotonic() - begin < 5
    wait_until(lambda: not os.path.ismount(m.dir), what="the mount to be gone")


def test_an_unmount_that_fails_goes_on_telling(m, d, watch):
    m.remote_put("c/a.json", "{}")
    arrive(m)
    with open(d / "a.json"):
        with pytest.raises(Failed):
            m.ask("unmount")
        w = watch(d)
        m.remote_put("c/b.json", "{}")
        assert ("CREATE", "b.json") in told(m, w)
    m.ask("unmount")


@pytest.mark.parametrize("after", [0, 0.003, 0.01, 0.03, 0.1])
def test_death_in_the_midst_of_it(m, d, watch, after):
    """The daemon and its helper are gone at once, and so is the mount; nobody hangs in it."""
    helper = helper_of(m.process)
    watch(d)
    for n in range(300):
        m.remote_put(f"c/{n}.json", "{}")
    m.process.stdin.write(b"sync\n")
    m.process.stdin.flush()
    if after:
        wait_until(lambda: (d / "0.json").exists() or (d / "299.json").exists())
        time.sleep(after)
    m.process.send_signal(signal.SIGKILL)
    m.process.wait(10)
    wait_until(lambda: not alive(helper), what="the end of the helper")
    with pytest.raises(OSError):
        os.listdir(d)


def test_the_death_of_the_helper_harms_nothing(m, d, watch):
    w = watch(d)
    os.kill(helper_of(m.process), signal.SIGKILL)
    m.remote_put("c/a.json", '{"v": 1}')
    arrive(m)
    assert m.json("c/a.json") == {"v": 1} and os.listdir(d) == ["a.json"]
    w.read()
    (d / "b.json").write_text("{}")
    w.until(("CLOSE_WRITE", d / "b.json"))
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/a.json", "c/b.json"]


def test_readers_writers_and_watchers_at_once(m, d, reading):
    """Ten seconds of everything; then both devices hold the same, and the mount goes."""
    dirs = [f"c/d{k}" for k in range(3)]
    for name in dirs:
        m.path(name).mkdir()
    m.settle_and_sync()
    over, failures = time.monotonic() + 10, []
    readings = [reading(d, *[m.path(name) for name in dirs]) for _ in range(2)]

    def act(rnd, do):
        while time.monotonic() < over:
            folder = m.path(rnd.choice(dirs))
            try:
                do(rnd, folder)
            except FileNotFoundError:
                pass
            except Exception as failure:  # whatever it is, it is to be seen
                failures.append(failure)
                return

    def read(rnd, folder):
        for entry in os.scandir(folder):
            entry.stat()
            if entry.name.endswith(".tmp"):
                continue  # half written
            with open(entry.path) as f:
                json.loads(f.read())

    def write(rnd, folder):
        name = folder / f"mine{rnd.randint(0, 9)}.json"
        what = rnd.randint(0, 5)
        if what == 0:
            name.unlink()
        elif what == 1:
            name.rename(folder / f"mine{rnd.randint(10, 19)}.json")
        else:
            scrap = folder / f"mine{threading.get_ident()}.tmp"
            scrap.write_text(json.dumps({"by": "me", "n": rnd.random()}))
            scrap.rename(name)

    threads = [threading.Thread(target=act, args=(random.Random(k), read if k % 2 else write))
               for k in range(4)]
    for thread in threads:
        thread.start()
    rnd, files, serial = random.Random(9), set(), [0]
    while time.monotonic() < over:
        files &= set(m.remote_paths())
        mixed(m, rnd, dirs, files, serial, 20)
        m.sync()
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "it hangs"
    assert not failures
    m.settle_and_sync()
    for r in readings:
        assert r.times()
        r.stop()
        r.watcher.close()
    remote = {p for p in m.remote_paths() if not p.startswith("lost+found")}
    here = {os.path.relpath(os.path.join(top, name), m.dir)
            for top, folders, names in os.walk(m.dir) for name in folders + names}
    assert {p for p in here if not p.endswith(".tmp") and not p.startswith("lost+found")} == remote
    m.ask("unmount")


# ---- with daemons ----


def test_between_two_hosts(lab, watch):
    lan, a, b = pair(lab)
    (b.dir / "cars").mkdir()
    wait_for(lambda: (a.dir / "cars").is_dir())
    feed = b.popen(BUILD / "shoal", "watch", "cars", stdout=subprocess.PIPE, text=True)
    got = lines_of(feed)
    # There is no other sign of it than that it tells of a change.
    probe = b.dir / "cars" / "probe.json"
    wait_for(lambda: (probe.write_text(f'{{"n": {time.monotonic_ns()}}}'), got)[1], what="the feed")
    w = watch(b.dir / "cars")
    path = b.dir / "cars" / "7.json"
    (a.dir / "cars" / "7.json").write_text('{"doors": 3}\n')
    w.until(("CREATE", path), ("CLOSE_WRITE", path))
    assert json.loads(path.read_text()) == {"doors": 3}
    wait_for(lambda: any("7.json" in line for line in got), what="news of the file")
    (a.dir / "cars" / "7.json").write_text('{"doors": 5}\n')
    w.until(("MODIFY", path), ("CLOSE_WRITE", path))
    assert json.loads(path.read_text()) == {"doors": 5}
    os.utime(a.dir / "cars" / "7.json", (1, 1))
    w.until(("ATTRIB", path))
    # A save and a time that arrive as one are both told.
    for host in (a, b):
        lan.disconnect(host)
    wait_for(lambda: not b.shoal("peers", "--json"))
    (a.dir / "cars" / "7.json").write_text('{"doors": 2}\n')
    os.utime(a.dir / "cars" / "7.json", (2, 2))
    for host in (a, b):
        lan.connect(host)
    w.until(("ATTRIB", path), ("MODIFY", path))
    assert path.stat().st_mtime == 2
    (a.dir / "cars" / "7.json").rename(a.dir / "cars" / "8.json")
    w.until(("MOVED_FROM", path), ("MOVED_TO", b.dir / "cars" / "8.json"))
    (a.dir / "cars" / "8.json").unlink()
    w.until(("DELETE", b.dir / "cars" / "8.json"))
    for host in (a, b):
        host.shoal("wait", "--timeout", "30")
    wait_for(lambda: any('"removed"' in line for line in got), what="news of the end")
    feed.terminate()
    assert all(json.loads(line)["remote"] for line in got if "probe" not in line), got
    begin = time.monotonic()
    b.down()
    assert time.monotonic() - begin < 5
