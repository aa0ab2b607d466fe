# SPDX-License-Identifier: GPL-2.0-or-later
"""Several devices with real daemons, real mounts and real cables that are pulled."""
import json
import os
import random
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from lab import Failed, wait_for


def join(inviter, *others):
    """Makes the other hosts members of the inviter's mesh, everybody mounted."""
    inviter.up()
    for host in others:
        host.shoal("join", "-", input=inviter.shoal("invite"))
        host.up()


def write(path, value):
    """Saves as an ordinary program does: truncate, write, close."""
    with open(path, "w") as file:
        json.dump(value, file)


def read(path):
    with open(path) as file:
        return json.load(file)


def edit(path, **fields):
    """Reads, changes fields, writes the whole file."""
    value = read(path)
    value.update(fields)
    write(path, value)


def connected(host):
    """Names of the devices that it has a link to."""
    return {peer["device"] for peer in host.shoal("peers", "--json")}


def same(*hosts):
    """The trees are equal, byte for byte."""
    first, *rest = [host.tree() for host in hosts]
    for host, other in zip(hosts[1:], rest):
        assert other.keys() == first.keys(), (
            f"{host}: only there {sorted(other.keys() - first.keys())[:5]}, "
            f"missing {sorted(first.keys() - other.keys())[:5]}")
        differing = [name for name in first if first[name] != other[name]]
        assert not differing, f"{host}: {len(differing)} differ, e.g. {differing[:5]}"
    return True


def settle(*hosts, timeout=60):
    wait_for(lambda: same(*hosts), timeout=timeout, what="equal trees")


def test_discovery_and_join_without_addresses(lab):
    """A token and one network are enough; nobody types an address."""
    lan = lab.network()
    anna, ben, carl = (lab.host(name, lan) for name in ("anna", "ben", "carl"))
    join(anna, ben, carl)
    (anna.dir / "c").mkdir()
    write(anna.dir / "c/x.json", {"n": 1})
    settle(anna, ben, carl)
    for host in (anna, ben, carl):
        wait_for(lambda: len(connected(host)) == 2, what=f"{host} sees both others")
    # Ben and Carl reach each other directly: Anna is not needed.
    lan.disconnect(anna)
    write(ben.dir / "c/y.json", {"m": 2})
    settle(ben, carl)
    lan.connect(anna)
    settle(anna, ben, carl)


def test_a_token_admits_one_device_once(lab):
    lan = lab.network()
    anna, ben, carl = (lab.host(name, lan) for name in ("anna", "ben", "carl"))
    anna.up()
    token = anna.shoal("invite")
    ben.shoal("join", "-", input=token)
    refused = carl.run("shoal", "join", "-", "--timeout", "20", input=token, check=False)
    assert refused.returncode == 1
    assert "used" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    secret = token.strip()
    for host in (anna, ben, carl):
        assert secret not in host.log()


def test_thousand_documents_edited_apart(lab):
    """Both change every document while apart: different fields, and one field both."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    count = 1000
    (anna.dir / "cars").mkdir()
    for number in range(count):
        write(anna.dir / f"cars/{number}.json",
              {"number": number, "left": 0, "right": 0, "both": 0, "text": "x" * 50})
    settle(anna, ben)

    for host in (anna, ben):
        lan.disconnect(host)
    wait_for(lambda: not connected(anna), timeout=60, what="anna alone")
    for number in range(count):
        edit(anna.dir / f"cars/{number}.json", left=number + 1, both="anna")
        edit(ben.dir / f"cars/{number}.json", right=-number - 1, both="ben")
    for host in (anna, ben):
        lan.connect(host)
    settle(anna, ben, timeout=120)

    assert sorted(os.listdir(anna.dir / "cars")) == sorted(f"{n}.json" for n in range(count))
    assert sorted(os.listdir(anna.dir)) == ["cars"]
    for number in range(count):
        value = read(anna.dir / f"cars/{number}.json")
        assert value["left"] == number + 1 and value["right"] == -number - 1, value
        assert value["both"] in ("anna", "ben") and value["number"] == number
    # The value that lost is not gone: it is a conflict until somebody saves over it.
    path = ben.dir / "cars/7.json"
    assert os.getxattr(path, "user.shoal.state") == b"conflict"
    edit(path, both="agreed")
    settle(anna, ben)
    wait_for(lambda: os.getxattr(anna.dir / "cars/7.json", "user.shoal.state") == b"synced",
             what="the conflict resolved at anna")
    assert read(anna.dir / "cars/7.json")["both"] == "agreed"


def test_three_in_a_chain(lab):
    """A and C never see each other; B passes on."""
    west, east = lab.network(), lab.network()
    a, b, c = lab.host("a", west), lab.host("b", west, east), lab.host("c", east)
    a.up()
    b.shoal("join", "-", input=a.shoal("invite"))
    b.up()
    # Only an admin with the mesh's key can invite; C meets A once, then moves away for good.
    west.plug(c)
    c.shoal("join", "-", input=a.shoal("invite"))
    west.disconnect(c)
    c.up()

    (a.dir / "notes").mkdir()
    for number in range(50):
        write(a.dir / f"notes/{number}.json", {"a": number, "c": None})
    settle(a, b, c)
    # An edit of the one that goes would bring it back.
    for number in range(1, 50):
        edit(c.dir / f"notes/{number}.json", c=number)
    write(c.dir / "notes/from-c.json", {"hello": "a"})
    os.unlink(a.dir / "notes/0.json")
    settle(a, b, c)
    wait_for(lambda: not (c.dir / "notes/0.json").exists(), what="the deletion at c")
    settle(a, b, c)
    assert read(a.dir / "notes/7.json") == {"a": 7, "c": 7}
    assert read(a.dir / "notes/from-c.json") == {"hello": "a"}
    assert connected(c) == {"b"}


def test_partition_and_heal_during_writes(lab):
    """The cable goes and comes while both write; nothing is lost, nothing is left behind."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "log").mkdir()
    settle(anna, ben)
    stop = threading.Event()
    written = {"anna": 0, "ben": 0}
    errors = []

    def writer(host, name):
        rnd = random.Random(name)
        try:
            while not stop.is_set() and written[name] < 3000:
                number = written[name]
                write(host.dir / f"log/{name}-{number % 200}.json",
                      {"by": name, "n": number, "pad": rnd.randbytes(20).hex()})
                written[name] += 1
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=writer, args=pair)
               for pair in ((anna, "anna"), (ben, "ben"))]
    for thread in threads:
        thread.start()
    for _ in range(5):
        floor = dict(written)
        wait_for(lambda: all(written[n] > floor[n] + 20 or not t.is_alive()
                             for n, t in zip(("anna", "ben"), threads)), what="writes go on")
        lan.split([anna], [ben])
        floor = dict(written)
        wait_for(lambda: all(written[n] > floor[n] + 20 or not t.is_alive()
                             for n, t in zip(("anna", "ben"), threads)), what="writes go on")
        lan.heal()
    stop.set()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors
    settle(anna, ben, timeout=90)
    for name in ("anna", "ben"):
        for number in range(max(0, written[name] - 200), written[name]):
            assert read(ben.dir / f"log/{name}-{number % 200}.json")["n"] == number
    assert len(os.listdir(ben.dir / "log")) == sum(min(200, n) for n in written.values())


@pytest.mark.timeout(420)
def test_kill_either_side_during_sync(lab):
    """kill -9 at a random moment, 20 times: what a save returned from survives and arrives."""
    rnd = random.Random(20)
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "d").mkdir()
    settle(anna, ben)
    expected = {}
    for cycle in range(20):
        victim = rnd.choice((anna, ben))
        source = rnd.choice((anna, ben))
        for number in range(60):
            name = f"d/{cycle}-{number}.json"
            write(source.dir / name, {"cycle": cycle, "number": number, "text": "y" * 400})
            expected[name] = {"cycle": cycle, "number": number, "text": "y" * 400}
            if number % 10 == 9:
                # What was closed is in the log, but only a sync makes it durable.
                fd = os.open(source.dir / name, os.O_RDONLY)
                os.fsync(fd)
                os.close(fd)
        threshold = rnd.randrange(60)
        other = ben if source is anna else anna
        with suppress(Failed):
            wait_for(lambda: sum(n.startswith(f"{cycle}-") for n in os.listdir(other.dir / "d"))
                     >= threshold, timeout=5)
        victim.kill9()
        with pytest.raises(OSError):
            os.listdir(victim.dir)
        victim.up()
    settle(anna, ben, timeout=90)
    for name, value in expected.items():
        assert read(anna.dir / name) == value
    assert len(os.listdir(anna.dir / "d")) == len(expected)
    for host in (anna, ben):
        report = host.shoal("verify", "--json")
        assert report["errors"] == 0, report


def test_a_new_file_that_is_saved_all_the_time_arrives(lab):
    """A new file is held back for a moment, in case it is renamed; but not for ever."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    path = anna.dir / "busy.json"
    end = time.monotonic() + 20
    count = 0
    while not (ben.dir / "busy.json").exists():
        assert time.monotonic() < end, f"not there after {count} saves"
        write(path, {"count": count})
        count += 1
        time.sleep(0.05)
    settle(anna, ben)


def test_wait_says_when_it_arrived(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "w").mkdir()
    write(anna.dir / "w/x.json", {"n": 1})
    anna.shoal("wait", "--timeout", "20")
    ben.kill9()
    write(anna.dir / "w/y.json", {"n": 2})
    late = anna.run("shoal", "wait", anna.dir / "w/y.json", "--timeout", "1", check=False)
    assert late.returncode == 3
    # What `wait` promised survived the kill.
    ben.up()
    assert read(ben.dir / "w/x.json") == {"n": 1}
    anna.shoal("wait", anna.dir / "w/y.json", "--device", "ben", "--timeout", "30")


SAVE_FOR_EVER = """
import itertools, sys
for n in itertools.count(1):
    # In one write and without truncation: a reader sees a whole document at any time.
    with open(sys.argv[1], "r+") as file:
        file.write('{"n": %9d}' % n)
"""

FAR_AWAY = """
import asyncio, sys
async def carry(reader, writer):
    loop = asyncio.get_running_loop()
    while data := await reader.read(65536):
        loop.call_later(0.1, writer.write, data)
    loop.call_later(0.1, writer.close)
async def accept(reader, writer):
    there = await asyncio.open_connection(sys.argv[1], 7580)
    await asyncio.gather(carry(reader, there[1]), carry(there[0], writer))
async def main():
    async with await asyncio.start_server(accept, "0.0.0.0", 7580) as server:
        print("ready", flush=True)
        await server.serve_forever()
asyncio.run(main())
"""


def test_wait_ends_though_writing_never_does(lab):
    """What was there when asked is waited for, not what came later. News of what the other one
    holds take 0.2 s, so it never holds the newest."""
    left, right = lab.network(), lab.network()
    anna, ben = lab.host("anna", left), lab.host("ben", right)
    router = lab.host("router", left, right)
    proxy = router.popen("python3", "-c", FAR_AWAY, anna.addresses[left], stdout=subprocess.PIPE)
    anna.up()
    assert proxy.stdout.readline() == b"ready\n"
    ben.shoal("join", "-", "--address", router.addresses[right], input=anna.shoal("invite"))
    ben.up()
    (anna.dir / "w").mkdir()
    (anna.dir / "v").mkdir()
    busy, quiet = anna.dir / "w/busy.json", anna.dir / "v/quiet.json"
    write(quiet, {"n": 0})
    written = [busy, anna.dir / "w/other.json", anna.dir / "v/third.json"]
    for path in written:
        write(path, {"n": 0})
    settle(anna, ben)
    writers = [anna.popen("python3", "-c", SAVE_FOR_EVER, path) for path in written]
    wait_for(lambda: read(busy)["n"] > 10, what="writing has begun")
    for words in [[], [busy], [anna.dir / "w"], ["--device", "ben"], [quiet, busy]] * 2:
        asked = read(busy)["n"]
        write(quiet, {"n": asked})
        anna.shoal("wait", *words, "--timeout", "20")
        assert read(ben.dir / "w/busy.json")["n"] >= asked
        if quiet in words or busy not in words and anna.dir / "w" not in words:
            assert read(ben.dir / "v/quiet.json")["n"] == asked
        assert read(busy)["n"] > asked
    for number in range(3):
        # Nobody holds a file whose directories he has not: it is not there, then.
        (anna.dir / f"new{number}/deep").mkdir(parents=True)
        write(anna.dir / f"new{number}/deep/x.json", {"n": number})
        anna.shoal("wait", f"new{number}/deep/x.json", "--timeout", "20")
        assert read(ben.dir / f"new{number}/deep/x.json") == {"n": number}
    for writer in writers:
        assert writer.poll() is None
        writer.kill()
        writer.wait()
    settle(anna, ben)


def test_watch_names_the_fields_that_others_changed(lab):
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    join(anna, ben)
    (anna.dir / "cars").mkdir()
    path = anna.dir / "cars/7.json"
    path.write_text('{"model": "Panda", "doors": 5, "owner": {"name": "Ana", "since": 2019}}\n')
    settle(anna, ben)
    lines = []
    watch = ben.popen("shoal", "watch", "cars", stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: lines.extend(watch.stdout), daemon=True)
    reader.start()

    def seen():
        return [json.loads(line) for line in list(lines) if json.loads(line)["remote"]]

    def first():  # a watch has begun once it tells of something
        (anna.dir / "cars/other.json").write_text(json.dumps({"n": time.monotonic()}))
        return seen()

    wait_for(first, what="the watch has begun")
    for script, pointers in (("s/: 5/: 3/", ["/doors"]), ("s/2019/2020/", ["/owner/since"]),
                             ('s/, "owner".*}/}/', ["/owner"])):
        anna.run("sed", "-i", script, path)
        settle(anna, ben)
        change, = wait_for(lambda: [c for c in seen() if c["path"] == "cars/7.json"
                                    and c["pointers"] == pointers])
        assert change["kind"] == "changed" and change["device"] == "anna"
    told = [c["pointers"] for c in seen() if c["path"] == "cars/7.json"]
    assert [p for p in told if p] == [["/doors"], ["/owner/since"], ["/owner"]]
    watch.terminate()
    reader.join(timeout=10)


def test_fixed_address_without_discovery(lab):
    """Two networks joined by a router that passes no multicast: an address does it."""
    left, right = lab.network(), lab.network()
    anna, ben = lab.host("anna", left), lab.host("ben", right)
    router = lab.host("router", left, right)
    router.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
    anna.run("ip", "route", "add", "default", "via", router.addresses[left])
    ben.run("ip", "route", "add", "default", "via", router.addresses[right])
    anna.up()
    ben.shoal("join", "-", input=anna.shoal("invite"))
    ben.up()
    ben.shoal("connect", anna.addresses[left])
    (ben.dir / "f").mkdir()
    write(ben.dir / "f/x.json", {"n": 1})
    settle(anna, ben)
    # The address is remembered.
    ben.down()
    ben.up()
    write(ben.dir / "f/y.json", {"n": 2})
    settle(anna, ben)
