# SPDX-License-Identifier: GPL-2.0-or-later
"""What a device keeps: subscribe, unsubscribe, couriers."""
import json
import os

import pytest

from lab import wait_for
from test_mesh import connected, join, read, settle, write


def state(host, collection):
    """Its entry in `shoal subscriptions`."""
    for entry in host.shoal("subscriptions", "--json")["collections"]:
        if entry["collection"] == collection:
            return entry
    return None


def becomes(host, collection, *states):
    wait_for(lambda: state(host, collection)["state"] in states, timeout=60,
             what=f"{collection} {states} at {host}")


def fill(directory, count=20):
    directory.mkdir()
    for number in range(count):
        write(directory / f"{number}.json", {"n": number})


def test_a_collection_leaves_and_comes_back(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    fill(anna.dir / "photos")
    fill(anna.dir / "notes", 3)
    settle(anna, ben)
    assert state(ben, "photos") == {"collection": "photos", "state": "subscribed"}
    write(ben.dir / "photos/own.json", {"by": "ben"})
    with open(ben.dir / "photos/0.json") as still_open:
        ben.shoal("unsubscribe", "photos")
        # Nobody sees it any more, at once, and nothing can be written there.
        assert os.listdir(ben.dir / "photos") == []
        assert not os.path.exists(ben.dir / "photos/1.json")
        with pytest.raises(OSError, match="Read-only"):
            write(ben.dir / "photos/new.json", {})
        with pytest.raises(OSError, match="Read-only"):
            os.rmdir(ben.dir / "photos")
        assert json.load(still_open) == {"n": 0}
    # Anna subscribes: so Ben, next to her, carries it. With no room for that it leaves.
    becomes(ben, "photos", "carried")
    ben.shoal("config", "courier.quota", "0")
    becomes(ben, "photos", "none")
    assert len(os.listdir(anna.dir / "photos")) == 21
    assert read(anna.dir / "photos/own.json") == {"by": "ben"}
    assert len(os.listdir(ben.dir / "notes")) == 3
    assert ben.shoal("verify", "--json")["errors"] == 0
    write(anna.dir / "photos/0.json", {"n": "later"})
    ben.shoal("subscribe", "photos")
    settle(anna, ben)
    assert read(ben.dir / "photos/0.json") == {"n": "later"}
    write(ben.dir / "photos/own.json", {"by": "ben again"})
    settle(anna, ben)
    assert read(anna.dir / "photos/own.json") == {"by": "ben again"}


def test_the_only_copy_stays_until_somebody_has_it(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    anna.shoal("config", "courier.quota", "0")
    lan.disconnect(anna)
    fill(anna.dir / "photos", 5)
    anna.shoal("unsubscribe", "photos")
    entry = state(anna, "photos")
    assert entry["state"] == "leaving" and entry["files"] == 5 and not entry["elsewhere"]
    listed = anna.run("shoal", "subscriptions").stdout
    assert "until another device that subscribes has all of it" in listed
    anna.kill9()
    anna.up()
    assert state(anna, "photos")["state"] == "leaving"
    lan.connect(anna)
    wait_for(lambda: (ben.dir / "photos/4.json").exists(), timeout=60, what="ben has it")
    becomes(anna, "photos", "none")
    assert len(os.listdir(ben.dir / "photos")) == 5


def test_force(lab):
    anna = lab.host("anna", lab.network())
    anna.up()
    fill(anna.dir / "photos", 5)
    anna.shoal("unsubscribe", "--force", "photos")
    becomes(anna, "photos", "none")
    anna.shoal("subscribe", "photos")
    assert os.listdir(anna.dir / "photos") == []
    write(anna.dir / "photos/new.json", {"n": 1})
    assert read(anna.dir / "photos/new.json") == {"n": 1}


def test_new_collections(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    fill(anna.dir / "old", 3)
    settle(anna, ben)
    ben.shoal("config", "courier.quota", "0")
    ben.shoal("unsubscribe", "--new")
    fill(anna.dir / "fresh", 3)
    wait_for(lambda: (ben.dir / "fresh").exists(), timeout=60, what="its directory at ben")
    write(anna.dir / "old/0.json", {"n": "later"})
    wait_for(lambda: read(ben.dir / "old/0.json") == {"n": "later"}, timeout=60, what="ben is in step")
    assert os.listdir(ben.dir / "fresh") == [] and state(ben, "fresh")["state"] == "none"
    ben.shoal("subscribe", "fresh")
    settle(anna, ben)
    ben.shoal("subscribe", "--new")
    fill(anna.dir / "fresher", 3)
    settle(anna, ben)


def test_what_cannot_be_meant(lab):
    anna = lab.host("anna", lab.network())
    anna.up()
    (anna.dir / "c/d").mkdir(parents=True)
    for arguments, text in ((["."], "every device keeps it"), (["nowhere"], "nowhere"),
                            (["c/d"], "is no collection"), ([], "either a collection or --new"),
                            (["--new", "c"], "either a collection or --new")):
        for command in ("subscribe", "unsubscribe"):
            refused = anna.run("shoal", command, *arguments, check=False)
            assert refused.returncode in (1, 2) and text in refused.stderr, (command, arguments)
            assert len(refused.stderr.strip().splitlines()) == 1


def test_a_courier_between_two_networks(lab):
    """Ben goes from Anna to Carl; he subscribes to nothing of theirs."""
    west, east = lab.network(), lab.network()
    anna, ben, carl = lab.host("anna", west), lab.host("ben", west), lab.host("carl", west)
    join(anna, ben, carl)
    (anna.dir / "cargo").mkdir()
    settle(anna, ben, carl)
    ben.shoal("unsubscribe", "cargo")
    becomes(ben, "cargo", "carried")
    west.disconnect(carl)
    wait_for(lambda: not connected(carl), timeout=60, what="carl is away")
    for number in range(20):
        write(anna.dir / f"cargo/{number}.json", {"n": number})
    blob = os.urandom(300000)
    (anna.dir / "cargo/photo.jpg").write_bytes(blob)
    wait_for(lambda: state(ben, "cargo")["files"] == 21, timeout=60, what="ben has it with him")
    assert os.listdir(ben.dir / "cargo") == []
    anna.down()
    west.disconnect(ben)
    east.plug(ben)
    east.plug(carl)
    wait_for(lambda: len(os.listdir(carl.dir / "cargo")) == 21, timeout=60, what="carl gets it")
    wait_for(lambda: (carl.dir / "cargo/photo.jpg").read_bytes() == blob, timeout=30, what="the photo")
    assert read(carl.dir / "cargo/7.json") == {"n": 7}


def test_a_txn_across_what_one_does_not_keep(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    for name in ("kept", "not"):
        (anna.dir / name).mkdir()
    settle(anna, ben)
    ben.shoal("config", "courier.quota", "0")
    ben.shoal("unsubscribe", "not")
    becomes(ben, "not", "none")
    steps = [{"put": f"{name}/{number}.json", "value": {"n": number}}
             for name in ("kept", "not") for number in range(3)]
    anna.shoal("txn", input="\n".join(map(json.dumps, steps)))
    wait_for(lambda: sorted(os.listdir(ben.dir / "kept")) == ["0.json", "1.json", "2.json"],
             timeout=60, what="what ben keeps of it")
    ben.shoal("subscribe", "not")
    settle(anna, ben)
    assert len(os.listdir(ben.dir / "not")) == 3
