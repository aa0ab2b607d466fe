# SPDX-License-Identifier: GPL-2.0-or-later
"""`shoal watch --where`: changes of files that match an expression, and of those that did."""
import json
import os
import select
import socket
import subprocess

import pytest

from lab import BUILD

END = 60


class Watch:
    def __init__(self, host, where, *paths):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(str(host.store / "control.sock"))
        self.socket.settimeout(END)
        self.file = self.socket.makefile("rwb")
        self.file.write(json.dumps({"method": "watch", "params": {"where": where, "paths": paths}, "id": 1}).encode() + b"\n")
        self.file.flush()
        assert self.next() == {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()
        self.socket.close()

    def next(self):
        answer = json.loads(self.file.readline())
        assert answer["more"], answer
        return answer["result"]

    def told(self):
        line = self.next()
        return line["kind"], line["path"], line.get("match")


def line_of(process):
    return process.stdout.readline() if select.select([process.stdout], [], [], 0.1)[0] else None


def txn(host, *lines):
    host.shoal("txn", input="".join(json.dumps(line) + "\n" for line in lines))


def put(path, **value):
    return {"put": path, "value": value}


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    (host.dir / "cars/old").mkdir(parents=True)
    (host.dir / "vans").mkdir()
    txn(host, put("cars/1.json", doors=5), put("cars/2.json", doors=2), put("cars/old/3.json", doors=5), put("vans/1.json", doors=5))
    return host


def test_documents(anna):
    with Watch(anna, "doors > 3") as watch:
        txn(anna, put("cars/1.json", doors=4), put("cars/2.json", doors=3), put("cars/2.json", doors=4))
        assert {watch.told(), watch.told()} == {("changed", "cars/1.json", "stay"), ("changed", "cars/2.json", "enter")}
        txn(anna, put("cars/1.json", doors=2))
        line = watch.next()
        assert (line["kind"], line["path"], line["match"], line["pointers"]) == ("changed", "cars/1.json", "leave", ["/doors"])
        # It is told no more, and a new one only if it matches.
        txn(anna, put("cars/1.json", doors=1), put("cars/4.json", doors=1), put("cars/5.json", doors=9))
        assert watch.told() == ("created", "cars/5.json", "enter")
        txn(anna, {"delete": "cars/4.json"}, {"delete": "cars/5.json"})
        assert watch.told() == ("removed", "cars/5.json", "leave")
        # What matched from the beginning, in a program's hands.
        (anna.dir / "vans/1.json").write_text('{"doors": null}')
        assert watch.told() == ("changed", "vans/1.json", "leave")
        (anna.dir / "cars/notes.txt").write_text("doors")
        os.rename(anna.dir / "cars/old/3.json", anna.dir / "cars/3.json")
        assert watch.told() == ("moved", "cars/3.json", "stay")
        # In another collection it is another file.
        os.rename(anna.dir / "cars/3.json", anna.dir / "vans/3.json")
        assert {watch.told(), watch.told()} == {("removed", "cars/3.json", "leave"), ("created", "vans/3.json", "enter")}


def test_paths(anna):
    with Watch(anna, "doors > 3", "cars/old", "nowhere") as watch:
        txn(anna, put("cars/1.json", doors=6), put("vans/2.json", doors=2), put("cars/old/3.json", doors=6))
        assert watch.told() == ("changed", "cars/old/3.json", "stay")
        os.rename(anna.dir / "cars/old/3.json", anna.dir / "cars/3.json")
        assert watch.told() == ("moved", "cars/3.json", "leave")
        os.rename(anna.dir / "cars/1.json", anna.dir / "cars/old/1.json")
        assert watch.told() == ("moved", "cars/old/1.json", "enter")
        (anna.dir / "nowhere").mkdir()
        txn(anna, put("nowhere/1.json", doors=7))
        assert watch.told() == ("created", "nowhere/1.json", "enter")


def test_names(anna):
    """An expression of the path is one of all files, and what a directory takes along is known afterwards."""
    with Watch(anna, "_path LIKE 'cars/new/%'") as watch:
        (anna.dir / "cars/text.txt").write_text("x")
        os.rename(anna.dir / "cars/old", anna.dir / "cars/new")
        assert watch.told() == ("moved", "cars/new", None)
        txn(anna, put("cars/new/3.json", doors=1))
        assert watch.told() == ("changed", "cars/new/3.json", "stay")
        os.rename(anna.dir / "cars/text.txt", anna.dir / "cars/new/text.txt")
        assert watch.told() == ("moved", "cars/new/text.txt", "enter")
        os.rename(anna.dir / "cars/new", anna.dir / "cars/old")
        assert watch.told() == ("moved", "cars/old", None)
        txn(anna, put("cars/old/3.json", doors=2))
        os.rename(anna.dir / "cars/old", anna.dir / "cars/new")
        assert watch.told() == ("moved", "cars/new", None)


def test_overflow(anna):
    """A client that sleeps loses lines, is told so, and then what it is told is right."""
    with Watch(anna, "n % 2 = 1") as watch:
        watch.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        place = "/".join(["cars", *(letter * 240 for letter in "abc")])
        (anna.dir / place).mkdir(parents=True)
        for first in range(0, 20000, 1000):
            txn(anna, *(put(f"{place}/{i}.json", n=1) for i in range(first, first + 1000)))
        told, kinds = 0, set()
        while "overflow" not in kinds:
            kinds.add(watch.next()["kind"])
            told += 1
        assert kinds == {"created", "overflow"} and told < 20000
        # This one may not have been told; that it matches is known all the same.
        last = f"{place}/19999.json"
        txn(anna, put(last, n=2))
        while (line := watch.next())["path"] != last:
            pass
        assert (line["kind"], line["match"]) == ("changed", "leave")


def test_words(anna):
    def run(*words):
        return anna.run(BUILD / "shoal", "watch", *words, check=False)
    result = run("--where", "doors > 3 AN 4")
    assert result.returncode == 1 and "--where, character 11: " in result.stderr, result
    assert "--where" in run("--where", "random() > 1").stderr
    watch = anna.popen(BUILD / "shoal", "watch", "--where", "doors > 3", "cars", stdout=subprocess.PIPE, text=True)
    try:
        # When it has begun is not seen from outside: until it tells something.
        number = 5
        while not (line := line_of(watch)):
            number += 1
            txn(anna, put("cars/1.json", doors=number))
        assert json.loads(line)["match"] == "stay"
    finally:
        watch.kill()
        watch.wait()
