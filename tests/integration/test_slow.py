# SPDX-License-Identifier: GPL-2.0-or-later
"""Slow links: through a shaper in user space, between two networks that know nothing of each other."""
import base64
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lab import wait_for

SHAPER = Path(__file__).with_name("shaper.py")
PORT = 7581
RATE = 150_000   # bits a second
DELAY = 0.2      # seconds one way
BACKLOG = 1400   # documents
SOON = 2.5       # seconds, for what is changed now


class Far:
    """anna and ben, and the way between them."""

    def __init__(self, lab, *also):
        self.lab = lab
        self.west, self.east = lab.network(), lab.network()
        self.a, self.b = lab.host("anna", self.west, *also), lab.host("ben", self.east, *also)
        self.relay = lab.host("relay", self.west, self.east)
        self.shaper = None

    def shape(self, rate=RATE, delay=DELAY, loss=0.0):
        self.shaper = self.relay.popen(
            sys.executable, SHAPER, PORT, self.a.addresses[self.west], 7580, rate, delay, loss,
            stdout=subprocess.PIPE, text=True)
        assert self.shaper.stdout.readline() == "ready\n"

    @property
    def address(self):
        return f"{self.relay.addresses[self.east]}:{PORT}"

    def fill(self, count):
        """So many documents at anna."""
        directory = self.a.home / "backlog"
        directory.mkdir()
        for i in range(count):
            # What packing finds little in.
            noise = {f"f{k}": base64.b85encode(os.urandom(24)).decode() for k in range(10)}
            (directory / f"{i}.json").write_text(json.dumps({"now": "old", "number": i, **noise}, indent=2))
        self.a.run("cp", "-r", directory, self.a.dir / "backlog", timeout=120)

    def meet(self):
        self.b.shoal("join", "-", "--address", self.address, "--timeout", "60",
                     input=self.a.shoal("invite"))
        self.b.shoal("config", "network.discovery", "no")
        self.b.up()
        self.b.shoal("connect", self.address, check=False)
        wait_for(lambda: self.peer(self.a), timeout=30, what="a link")

    @staticmethod
    def peer(host):
        peers = host.shoal("peers", "--json")
        return peers[0] if peers else None


@pytest.fixture
def far(lab):
    far = Far(lab)
    far.a.up()
    return far


def edit(path, value):
    """One field, as programs do it."""
    text = json.loads(path.read_text())
    text["now"] = value
    path.write_text(json.dumps(text, indent=2))
    return time.monotonic()


def shows(path, value):
    try:
        return value in path.read_text()
    except OSError:
        return False


def seen(path, value, since):
    wait_for(lambda: shows(path, value), timeout=30, what=f"{value} in {path}")
    return time.monotonic() - since


def test_what_is_changed_now_comes_first(far):
    far.fill(BACKLOG)
    far.shape()
    far.meet()
    a, b = far.a.dir / "backlog", far.b.dir / "backlog"
    wait_for(lambda: far.peer(far.a)["slow"], timeout=30, what="a link that counts as slow")
    wait_for(lambda: b.is_dir() and len(os.listdir(b)) > 50, timeout=60, what="some of the backlog")
    assert RATE / 10 < far.peer(far.a)["rate_out"] < RATE * 1.5
    assert "slow" in far.a.shoal("peers")

    took = []
    there = set(os.listdir(b))
    late = next(i for i in range(BACKLOG) if f"{i}.json" not in there)
    early = int(next(iter(there)).split(".")[0])
    for round_ in range(3):
        for i in (early, late):
            value = f"at-anna-{round_}-{i}"
            took.append(seen(b / f"{i}.json", value, edit(a / f"{i}.json", value)))
        value = f"at-ben-{round_}"
        took.append(seen(a / f"{early}.json", value, edit(b / f"{early}.json", value)))
    other = far.a.dir / "notes"
    other.mkdir()
    since = time.monotonic()
    (other / "new.json").write_text('{"now": "new"}\n')
    took.append(seen(far.b.dir / "notes" / "new.json", "new", since))
    assert len(os.listdir(b)) < BACKLOG, "the backlog was through before it was asked"
    print("seen after", [round(t, 2) for t in took], "at", far.peer(far.a)["rate_out"], "bit/s")
    assert max(took) <= SOON, took
    wait_for(lambda: len(os.listdir(b)) == BACKLOG and far.peer(far.a)["in_step"] and far.peer(far.b)["in_step"],
             timeout=200, what="all of the backlog")
    assert all((b / f"{i}.json").read_bytes() == (a / f"{i}.json").read_bytes() for i in range(0, BACKLOG, 37))


def away(far, name, size):
    """A file of anna's whose contents stay there; what is in it."""
    data = os.urandom(size)
    (far.a.dir / name).write_bytes(data)
    wait_for(lambda: (far.b.dir / name).exists(), timeout=30, what=name)
    assert os.getxattr(far.b.dir / name, "user.shoal.state") == b"evicted"
    return data


def test_contents_come_when_they_are_asked_for(far):
    far.fill(600)
    far.shape()
    far.meet()
    wait_for(lambda: far.peer(far.b)["slow"], timeout=60, what="a link that counts as slow")
    data = away(far, "photo.bin", 400_000)
    wait_for(lambda: far.peer(far.a)["in_step"] and far.peer(far.b)["in_step"], timeout=60)
    before = far.peer(far.b)["sync_bytes_in"]
    assert os.stat(far.b.dir / "photo.bin").st_size == len(data)
    # What is written after it is here, and it is not.
    (far.a.dir / "after.json").write_text("{}\n")
    wait_for(lambda: (far.b.dir / "after.json").exists(), timeout=30)
    assert far.peer(far.b)["sync_bytes_in"] - before < 5000, "they come all the same"
    assert far.b.run("cat", far.b.dir / "photo.bin", text=False, timeout=150).stdout == data
    small = away(far, "small.bin", 60_000)
    far.b.shoal("fetch", far.b.dir / "small.bin", timeout=60)
    assert os.getxattr(far.b.dir / "small.bin", "user.shoal.state") != b"evicted"
    assert (far.b.dir / "small.bin").read_bytes() == small

    # Another way, which is not slow.
    data = away(far, "more.bin", 60_000)
    far.shaper.kill()
    far.shaper.wait()
    far.relay = far.lab.host("other", far.west, far.east)
    far.shape(rate=50_000_000, delay=0.001)
    far.b.shoal("connect", far.address)
    wait_for(lambda: os.getxattr(far.b.dir / "more.bin", "user.shoal.state") != b"evicted", timeout=90,
             what="contents over a link that is not slow any more")
    assert (far.b.dir / "more.bin").read_bytes() == data


def test_two_ways(lab):
    """Another way beside the slow one, which is not: it takes over by itself, and contents come. To TCP the round trip of
    this shaper is short, so that is for how fast it was found to be alone."""
    near = lab.network()
    far = Far(lab, near)
    near.disconnect(far.b)
    far.a.up()
    far.fill(300)
    far.shape()
    far.meet()
    wait_for(lambda: far.peer(far.b)["slow"], timeout=60, what="a link that counts as slow")
    data = away(far, "photo.bin", 1 << 20)
    slow = far.address.split(":")[0]
    assert slow in far.peer(far.b)["address"]
    near.connect(far.b)
    far.b.shoal("connect", f"{far.a.addresses[near]}:7580", check=False)
    wait_for(lambda: slow not in far.peer(far.b)["address"], timeout=60, what="the other way")
    wait_for(lambda: os.getxattr(far.b.dir / "photo.bin", "user.shoal.state") != b"evicted", timeout=60,
             what="contents over the link that is not slow")
    assert (far.b.dir / "photo.bin").read_bytes() == data
    assert not far.peer(far.b)["slow"]
    # The slow one is there for when the other one fails, and does not come back before.
    wait_for(lambda: slow in (far.peer(far.b).get("standby") or ""), timeout=90, what="the slow way as the second one")
    (far.a.dir / "last.bin").write_bytes(data[:100_000])
    wait_for(lambda: (far.b.dir / "last.bin").exists() and
             os.getxattr(far.b.dir / "last.bin", "user.shoal.state") != b"evicted", timeout=30)
    assert slow not in far.peer(far.b)["address"]


def test_losses(far):
    """A way that loses one packet in twenty."""
    far.fill(300)
    far.shape(loss=0.05)
    far.meet()
    a, b = far.a.dir / "backlog", far.b.dir / "backlog"
    wait_for(lambda: b.is_dir() and len(os.listdir(b)) > 20, timeout=60, what="some of the backlog")
    took = [seen(b / "7.json", f"change-{i}.", edit(a / "7.json", f"change-{i}.")) for i in range(3)]
    # The first one comes before it is known that the link is slow, which takes longer where some is lost.
    assert sorted(took)[1] <= SOON and max(took) <= 4 * SOON, took
    wait_for(lambda: len(os.listdir(b)) == 300 and far.peer(far.a)["in_step"], timeout=150, what="all of it")
