# SPDX-License-Identifier: GPL-2.0-or-later
"""Every way of saving (programs.py) between two daemons, with a change of another field that
arrives when the program has read the document and begins to write: what `shoal watch --json` tells
of it on both devices."""
import json
import os
import subprocess
import threading
import time
from itertools import dropwhile

import pytest

from lab import BUILD, Lab, wait_for
from programs import PROGRAMS, START, Moment


class Watch:
    """`shoal watch --json` on a host."""

    def __init__(self, host):
        self.lines = []
        self.process = host.popen(BUILD / "shoal", "watch", "--json", stdout=subprocess.PIPE,
                                  text=True)
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(json.loads(line))

    def below(self, directory):
        """Changes in the directory, with paths from there."""
        return [dict(line, path=line["path"][len(directory) + 1:]) for line in self.lines
                if line["path"].startswith(directory + "/")]

    def saw(self, path):
        return any(line["path"] == path for line in self.lines)

    def begun(self, path):
        """There is no other sign of it than that it tells of a change."""
        path.write_text(str(time.monotonic_ns()))
        return self.saw(path.name)


@pytest.fixture(scope="module")
def pair():
    """Two hosts, watched, for all: each case has a directory of its own."""
    lab = Lab()
    try:
        lan = lab.network()
        anna, ben = lab.host("anna", lan), lab.host("ben", lan)
        anna.up()
        ben.join(anna)
        for host in (anna, ben):
            host.watch = Watch(host)
            wait_for(lambda: host.watch.begun(host.dir / f"{host.name}.json"))
        yield anna, ben
        # What was left on one device only has had its time to go astray.
        for program in PROGRAMS:
            if (anna.dir / program.name).exists():
                assert sorted(os.listdir(ben.dir / program.name)) == ["d.json", "end.json"]
    finally:
        lab.close()


def version(path):
    return os.getxattr(path, "user.shoal.version")


def set_field(path, **fields):
    """As a person with an editor would."""
    document = json.loads(path.read_bytes())
    document.update(fields)
    path.write_text(json.dumps(document, indent=2) + "\n")


@pytest.mark.parametrize("program", [pytest.param(p, id=p.name) for p in PROGRAMS])
def test_one_delta(pair, request, tmp_path, program):
    anna, ben = pair
    name = request.node.callspec.id
    path = f"{name}/d.json"
    here, there = anna.dir / path, ben.dir / path
    here.parent.mkdir()
    here.write_text(json.dumps(START, indent=2) + "\n")
    wait_for(lambda: version(there) == version(here), what="the document there")
    identity = os.getxattr(here, "user.shoal.id")

    def in_step():
        return there.read_bytes() == here.read_bytes() and version(there) == version(here)

    def change():
        set_field(there, count=7)
        wait_for(in_step, what="the change here")

    with Moment("read", here, change) as moment:
        program.run(here.parent, tmp_path, moment)
    want = dict(START, title=program.title, count=7)
    wait_for(lambda: in_step() and json.loads(there.read_bytes()) == want, what="both edits")
    assert json.loads(here.read_bytes()) == want
    assert os.getxattr(here, "user.shoal.id") == os.getxattr(there, "user.shoal.id") == identity

    # What comes behind this was told before it.
    (here.parent / "end.json").write_text("{}")
    wait_for(lambda: anna.watch.saw(f"{name}/end.json") and ben.watch.saw(f"{name}/end.json"))
    for watch, remote in ((anna.watch, False), (ben.watch, True)):
        told = [line for line in watch.below(name) if line["path"] not in program.passing]
        assert {line["path"] for line in told} == {"d.json", "end.json"}, told
        # From the first save on: before, it came, found its directory and got its times.
        told = list(dropwhile(lambda line: line["kind"] != "changed",
                              (line for line in told if line["path"] == "d.json")))
        assert {line["kind"] for line in told} <= {"changed", "attributes"}, told
        assert program.attributes or {line["kind"] for line in told} == {"changed"}, told
        changed = [line for line in told if line["kind"] == "changed"]
        assert [line["pointers"] for line in changed if line["remote"] == remote] == \
            [["/title"]], told
        assert [line["pointers"] for line in changed if line["remote"] != remote] == \
            [["/count"]], told
