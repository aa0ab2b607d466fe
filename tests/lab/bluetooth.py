# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of Bluetooth LE: two daemons in one guest, an adapter each, no network between them unless a case says so."""
import json
import os
import shutil
import subprocess
import time

from guest import BLUETOOTH, Failed, rfkill, say, until

FOUND = 90  # seconds to find each other and connect
SYNC = 90


def linked(a, b, transport="bluetooth", limit=FOUND):
    took = until(f"link of {a.name} and {b.name} over {transport}",
                 lambda: a.link(b) == transport and b.link(a) == transport, limit)
    say(f"linked over {transport} after {took:.1f} s")


def sync(world):
    """A hundred documents, half of them from each side."""
    a, b = world.pair()
    linked(a, b)
    # One of the two makes the directory: whether both may is not what this is about.
    a.write("c/first.json", {})
    until("the directory", lambda: b.read("c/first.json") == {}, SYNC)
    begin = time.monotonic()
    for i in range(50):
        a.write(f"c/a{i}.json", {"from": "anna", "number": i})
        b.write(f"c/b{i}.json", {"from": "ben", "number": i})

    def there(peer):
        return all(peer.read(f"c/a{i}.json") == {"from": "anna", "number": i} and
                   peer.read(f"c/b{i}.json") == {"from": "ben", "number": i} for i in range(50))

    until("100 documents at both", lambda: there(a) and there(b), SYNC)
    say(f"100 documents at both after {time.monotonic() - begin:.1f} s")
    if a.link(b) != "bluetooth":
        raise Failed("they came another way")
    told, heard = at_rest(a, b)
    a.write("c/a0.json", {"from": "anna", "number": 1000})
    took = until("a change", lambda: b.read("c/a0.json") == {"from": "anna", "number": 1000}, SYNC)
    out, back = at_rest(a, b)
    say(f"one field changed: {out - told} bytes there and {back - heard} back above L2CAP, {took:.1f} s")


def traffic(a, b):
    """Bytes that went from a to b, and that came, TLS included."""
    for peer in a.shoal("peers", "--json"):
        if peer["device"] == b.name:
            return peer["bytes_out"], peer["bytes_in"]
    raise Failed(f"{a.name} has no link to {b.name}")


def at_rest(a, b):
    """The same, once nothing has passed for three readings, so that no acknowledgement is outstanding."""
    seen = []

    def silent():
        seen.append(traffic(a, b))
        return len(seen) > 3 and len(set(seen[-3:])) == 1

    until("silence", silent, 60)
    return seen[-1]


def conflict(world):
    """Both change one document, apart, and it is merged when they meet."""
    a, b = world.pair()
    linked(a, b)
    a.write("c/plan.json", {"title": "plan", "colour": "red", "size": 1})
    until("the document", lambda: b.read("c/plan.json"), SYNC)
    b.down()
    until("end of the link", lambda: a.link(b) is None, 60)
    a.write("c/plan.json", {"title": "plan of anna", "colour": "red", "size": 1})
    b.shoal("config", "bluetooth.enabled", "no")
    b.up()
    b.write("c/plan.json", {"title": "plan", "colour": "blue", "size": 2})
    b.down()
    b.shoal("config", "bluetooth.enabled", "yes")
    b.up()
    want = {"title": "plan of anna", "colour": "blue", "size": 2}
    until("the merged document at both", lambda: a.read("c/plan.json") == want and b.read("c/plan.json") == want,
          FOUND + SYNC)
    linked(a, b)


def network(world):
    """A network comes: it takes over. It goes: Bluetooth does."""
    run = lambda *words: subprocess.run(["ip", *words], check=True)
    run("link", "add", "lan0", "type", "dummy")
    run("address", "add", "10.99.0.1/24", "dev", "lan0")
    a, b = world.pair(discovery=True, listen="0")
    linked(a, b)
    run("link", "set", "lan0", "up", "multicast", "on")
    linked(a, b, "tcp")
    a.write("c/lan.json", {"over": "lan"})
    until("a document over the network", lambda: b.read("c/lan.json"), SYNC)
    a.why(b, "the network is faster than Bluetooth")
    b.why(a, "the network is faster than Bluetooth")
    # A cable that is pulled: an address that stays would be reached through the loopback, both being one kernel.
    run("link", "del", "lan0")
    linked(a, b, "bluetooth")
    a.write("c/air.json", {"over": "air"})
    until("a document over the air", lambda: b.read("c/air.json"), SYNC)


def stranger(world):
    """A device of another mesh that knows this one's secret hears it, calls, and is refused by its certificate."""
    a, x = world.peer("anna", 0), world.peer("xaver", 1)
    a.make()
    x.make()
    shutil.copyfile(a.store / "identity/mesh.secret", x.store / "identity/mesh.secret")
    for peer in (a, x):
        peer.configure()
        peer.up()
    a.write("c/secret.json", {"for": "members"})
    until("refusal", lambda: "another mesh" in a.log() or "not of this mesh" in a.log(), FOUND)
    until("refusal at the other", lambda: "another mesh" in x.log() or "not of this mesh" in x.log(), FOUND)
    end = time.monotonic() + 5
    while time.monotonic() < end:
        if a.link(x) or x.link(a) or x.read("c/secret.json"):
            raise Failed("the stranger got in")


def transfer(a, b):
    """Some of what a writes is at b, and some is not."""
    for i in range(60):
        a.write(f"c/{i}.json", {"number": i, "text": os.urandom(20000).hex()})
    until("the first documents", lambda: arrived(b) >= 3, SYNC)
    if arrived(b) == 60:
        raise Failed("the transfer is over before anything could happen to it")


def arrived(b):
    return sum((b.read(f"c/{i}.json") or {}).get("number") == i for i in range(60))


def connected(n):
    """Whether bluetoothd knows of a device that adapter n is connected to."""
    answer = subprocess.run(["busctl", "--json=short", "call", "org.bluez", "/", "org.freedesktop.DBus.ObjectManager",
                             "GetManagedObjects"], check=True, capture_output=True, text=True).stdout
    return any(path.startswith(f"/org/bluez/hci{n}/dev_") and what.get("org.bluez.Device1", {}).get("Connected", {}).get("data")
               for path, what in json.loads(answer)["data"][0].items())


def pulled(world):
    """An adapter is pulled out in the middle of a transfer, and put back."""
    a, b = world.pair()
    linked(a, b)
    transfer(a, b)
    world.medium.pull(1)
    # The other's controller is never told: btvirt knows no time after which a silent peer is given up. Until the session has given
    # it up, and the kernel its connection, which ignores a new one meanwhile, the two cannot meet again.
    until("end of the link at both", lambda: b.link(a) is None and a.link(b) is None, 90)
    until("end of the connection", lambda: not connected(0), 60)
    say(f"pulled when {arrived(b)} of 60 were there")
    world.medium.plug(1)
    linked(a, b, limit=2 * FOUND)
    until("the rest", lambda: arrived(b) == 60, 2 * SYNC)


def restarted(world):
    """bluetoothd dies in the middle of a transfer, and is started again."""
    a, b = world.pair()
    linked(a, b)
    transfer(a, b)
    world.services.kill()
    until("word of it", lambda: "no adapter any more" in a.log() and "no adapter any more" in b.log(), 30)
    world.services.start()
    linked(a, b, limit=2 * FOUND)
    until("the rest", lambda: arrived(b) == 60, 2 * SYNC)


def blocked(world):
    """Flight mode, on and off."""
    a, b = world.pair()
    linked(a, b)
    for peer in (a, b):
        peer.why(a if peer is b else b, "only Bluetooth reaches it")
    rfkill(BLUETOOTH, True)
    until("end of the link", lambda: a.link(b) is None and b.link(a) is None, 60)
    until("word of it", lambda: all("Bluetooth is blocked" in peer.log() for peer in (a, b)), 10)
    said = a.shoal("doctor", check=False)
    if "rfkill unblock bluetooth" not in said:
        raise Failed(f"doctor says {said}")
    a.write("c/meanwhile.json", {"n": 1})
    rfkill(BLUETOOTH, False)
    linked(a, b)
    until("the document", lambda: b.read("c/meanwhile.json") == {"n": 1}, SYNC)


def token(world):
    """A new device joins by a token, with nothing but Bluetooth between the two."""
    a, b = world.peer("anna", 0), world.peer("ben", 1)
    a.make()
    a.configure(listen="0")
    a.up()
    a.write("c/first.json", {"n": 1})
    until("the adapter", lambda: "is used" in a.log(), 60)
    text = a.shoal("invite").strip()
    b.shoal("join", text, "--device", b.name, "--timeout", "90s", timeout=120)
    say("joined")
    b.configure()
    b.up()
    linked(a, b)
    until("the first document", lambda: b.read("c/first.json") == {"n": 1}, SYNC)


CASES = {"sync": sync, "conflict": conflict, "network": network, "stranger": stranger, "pulled": pulled, "token": token,
         "restarted": restarted, "blocked": blocked}
