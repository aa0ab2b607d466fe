# SPDX-License-Identifier: GPL-2.0-or-later
"""`shoal txn`: all of it or nothing, on every device, whoever looks and whatever breaks."""
import json
import random
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from lab import BUILD, Failed, wait_for

FILES = ("one/a.json", "two/b.json", "one/deep/c.json")


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    return host


def lines(*steps):
    return "".join(json.dumps(step) + "\n" for step in steps)


def txn(host, *steps):
    """The versions afterwards, by path."""
    answer = host.shoal("txn", "--json", input=lines(*steps))
    return {change["path"]: change["version"] for change in answer["changes"]}


def refused(host, text, says):
    result = host.run(BUILD / "shoal", "txn", input=text, check=False)
    assert result.returncode == 1 and not result.stdout, result
    assert result.stderr.count("\n") == 1 and says in result.stderr, result.stderr


def read(path):
    with open(path) as file:
        return json.load(file)


def test_steps(anna):
    (anna.dir / "d").mkdir()
    (anna.dir / "d/a.json").write_text('{\n\t"n": 1,\n\t"tags": ["x"]\n}\n')
    (anna.dir / "d/old.txt").write_text("old\n")
    made = txn(anna,
               {"put": "d/new.json", "value": {"n": 1}, "if": None},
               {"patch": "/d/a.json", "ops": [{"op": "test", "path": "/n", "value": 1},
                                              {"op": "add", "path": "/tags/-", "value": "y"}]},
               {"merge": "d/a.json", "value": {"n": None, "m": 2}},
               {"delete": "d/old.txt"})
    assert (anna.dir / "d/a.json").read_text() == '{\n\t"tags": ["x", "y"],\n\t"m": 2\n}\n'
    assert (anna.dir / "d/new.json").read_text() == '{\n  "n": 1\n}\n'
    assert sorted(path.name for path in (anna.dir / "d").iterdir()) == ["a.json", "new.json"]
    assert made["d/old.txt"] is None
    newest = anna.shoal("log", "d/a.json", "--json")["versions"][0]
    assert newest["current"] and newest["version"] == made["d/a.json"]
    # What `log` prints is good for "if".
    short = anna.run(BUILD / "shoal", "log", "d/a.json").stdout.split()[0]
    result = anna.run(BUILD / "shoal", "txn", input=lines(
        {"merge": "d/a.json", "value": {"m": 3}, "if": short}))
    assert result.stdout == "Applied 1 change\n"
    refused(anna, lines({"merge": "d/a.json", "value": {"m": 4}, "if": short}), "read it again")
    assert read(anna.dir / "d/a.json")["m"] == 3


def test_what_is_refused_changes_nothing(anna):
    (anna.dir / "d").mkdir()
    (anna.dir / "d/a.json").write_text("{}\n")
    good = lines({"merge": "d/a.json", "value": {"n": 1}}, {"put": "d/b.json", "value": 1})
    for line, says in (
            ('{"put": "d/c.json"', "line 4, column 19: "),
            ('{"put": "d/c.json"}', 'line 4: "put" needs "value"'),
            ('{"patch": "d/a.json", "value": []}', 'line 4: "patch" needs "ops"'),
            ('{"put": "d/c.json", "value": 1, "delete": "d/a.json"}', "line 4: a line has one of"),
            ('{"put": "d/c.json", "value": 1, "ifs": 1}', "line 4: "),
            ('{"put": 1, "value": 1}', "line 4: "),
            ('[]', "line 4: a line is an object"),
            ('{"put": "none/c.json", "value": 1}', 'line 4: there is no directory "none"'),
            ('{"put": "d/c.txt", "value": 1}', "line 4: "),
            ('{"delete": "d/none"}', 'line 4: there is no "d/none"'),
            ('{"patch": "d/a.json", "ops": [{"op": "test", "path": "/n", "value": 2}]}',
             "line 4: operation 1: the test failed"),
            ('{"put": "d/c.json", "value": 1, "if": "0123"}', "line 4: "),
            ('{"put": "d/a.json", "value": 1, "if": null}', "line 4: ")):
        refused(anna, good + "\n" + line + "\n", says)
    refused(anna, lines({"delete": "d/a.json"}) * 1001, "1000 lines")
    refused(anna, lines({"put": "d/c.json", "value": "x" * 3_200_000}), "3 MiB")
    assert (anna.dir / "d/a.json").read_text() == "{}\n"
    assert [path.name for path in (anna.dir / "d").iterdir()] == ["a.json"]
    # The limit is for what a person writes, not for what is quoted on the way.
    assert len(txn(anna, {"put": "d/c.json", "value": ['"\\' * 500_000]})) == 1


class Observer(threading.Thread):
    """Reads the files of a mount one after the other, all the time. The numbers in them only grow, so
    what is read later is not smaller than what was read before: else half of a batch shows."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host, self.over, self.looks, self.half = host, False, 0, []
        self.random = random.Random(7)
        self.start()

    def run(self):
        while not self.over:
            files, seen = list(FILES), []
            self.random.shuffle(files)
            try:
                for name in files:
                    seen.append(read(self.host.dir / name)["n"])
            except (OSError, ValueError) as error:
                # Not there (yet), or its daemon was killed; a document that is cut off is neither.
                if isinstance(error, ValueError):
                    self.half.append((files, seen, repr(error)))
                time.sleep(0.005)
                continue
            self.looks += 1
            if seen != sorted(seen):
                self.half.append((files, seen))

    def end(self):
        self.over = True
        self.join()
        assert not self.half, f"{self.host}: {self.half[:3]}"
        assert self.looks > 50


class Watch(threading.Thread):
    """Reads the files whenever `shoal watch` tells of one."""

    def __init__(self, host):
        super().__init__(daemon=True)
        self.host, self.half, self.told = host, [], 0
        self.process = host.popen(BUILD / "shoal", "watch", stdout=subprocess.PIPE, text=True)
        self.start()

    def run(self):
        for line in self.process.stdout:
            if json.loads(line).get("path") not in FILES:
                continue
            self.told += 1
            try:
                seen = [read(self.host.dir / name)["n"] for name in FILES]
                if seen != sorted(seen):
                    self.half.append(seen)
            except FileNotFoundError:
                pass
            except ValueError as error:
                self.half.append(repr(error))

    def end(self):
        self.process.terminate()
        self.process.wait()
        self.join()
        assert self.told and not self.half, (self.told, self.half[:3])


def write(host, n):
    """The number in all of the files, and of a length of its own."""
    txn(host, *({"merge": name, "value": {"n": n, "text": "x" * (n * 37 % 4000)}} for name in FILES))


def pair(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    anna.up()
    ben.join(anna)
    return lan, anna, ben


def arrived(host, n):
    return all(read(host.dir / name)["n"] == n for name in FILES)


def test_nobody_sees_half_of_it(lab):
    """Two mounts, somebody who reads all the time on both, and a watch."""
    lan, anna, ben = pair(lab)
    (anna.dir / "one/deep").mkdir(parents=True)
    (anna.dir / "two").mkdir()
    observers = [Observer(anna), Observer(ben)]
    # They come into being together, too.
    txn(anna, *({"put": name, "value": {"n": 0}} for name in FILES))
    wait_for(lambda: arrived(ben, 0), what="the first batch")
    watch = Watch(ben)
    for n in range(1, 151):
        write(anna, n)
    wait_for(lambda: arrived(ben, 150), what="the last batch")
    # And go together.
    txn(anna, *({"delete": name} for name in FILES))
    wait_for(lambda: not any((ben.dir / name).exists() for name in FILES), what="the deletion")
    watch.end()
    for observer in observers:
        observer.end()
    assert ben.shoal("verify", "--json")["errors"] == 0


def test_kill_and_partition_in_between(lab):
    """kill -9 of either side and pulled cables, at random moments."""
    lan, anna, ben = pair(lab)
    (anna.dir / "one/deep").mkdir(parents=True)
    (anna.dir / "two").mkdir()
    txn(anna, *({"put": name, "value": {"n": 0}} for name in FILES))
    observers = [Observer(anna), Observer(ben)]
    chance = random.Random(11)
    n = 0
    for _ in range(24):
        for _ in range(chance.randrange(1, 12)):
            n += 1
            write(anna, n)
        time.sleep(chance.random() * 0.05)
        what = chance.randrange(4)
        if what == 0:
            lan.disconnect(ben)
            for _ in range(5):
                n += 1
                write(anna, n)
            lan.connect(ben)
        elif what < 3:
            victim = (anna, ben)[what - 1]
            batch = anna.popen(BUILD / "shoal", "txn", stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
            n += 1
            with suppress(BrokenPipeError, subprocess.TimeoutExpired):
                batch.communicate(lines(*({"merge": name, "value": {"n": n}} for name in FILES)),
                                  timeout=None if victim is ben else 0.001 * chance.randrange(1, 20))
            victim.kill9()
            batch.wait()
            victim.up()
    n += 1
    write(anna, n)
    wait_for(lambda: arrived(ben, n), timeout=60, what="the last batch")
    for observer in observers:
        observer.end()
    for host in (anna, ben):
        assert host.shoal("verify", "--json")["errors"] == 0
