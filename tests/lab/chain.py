# SPDX-License-Identifier: GPL-2.0-or-later
"""Four devices in a row, and one way from each to the next: anna - cable - ben - Bluetooth - carla - Wi-Fi Direct - dora.

Ben and carla share the initial network namespace, for there alone are Bluetooth sockets. They know no address of each other's
and ben discovers nobody by network, so Bluetooth is the only way between them; what they are linked by is looked at."""
import hashlib
import os
import subprocess
import time

from guest import Failed, Medium, Services, adapters, say, until
from wifidirect import Air, consent, digest, supplicant

FOUND = 180
SYNC = 240
SIZE = 256 << 10
DELAY, LOSS = "200ms", "10%"
CABLE = {"anna": "10.98.0.1", "ben": "10.98.0.2"}
ROW = {"anna": {"ben": "tcp"}, "ben": {"anna": "tcp", "carla": "bluetooth"},
       "carla": {"ben": "bluetooth", "dora": "wifi-direct"}, "dora": {"carla": "wifi-direct"}}


def run(*words):
    subprocess.run(words, check=True)


class Row(Air):
    """Two adapters and a radio here, another radio in a namespace of its own, and a bad cable to one more."""

    def __init__(self, work):
        self.peers = []
        run("ip", "link", "set", "lo", "up")
        self.services = Services()
        self.logs = ["/run/bluetoothd.log", supplicant(0, "unix:path=/run/dbus/system_bus_socket")]
        self.radio(1)
        self.medium = Medium(work, 2)
        adapters(2)
        run("ip", "netns", "add", "cable")
        run("ip", "link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", "cable")
        for space, interface, address in (("cable", "cable1", CABLE["anna"]), ("", "cable0", CABLE["ben"])):
            here = ["-n", space] if space else []
            run("ip", *here, "link", "set", "lo", "up")
            run("ip", *here, "address", "add", f"{address}/24", "dev", interface)
            run("ip", *here, "link", "set", interface, "up")
            # Each end delays and drops what it sends.
            run("tc", *here, "qdisc", "add", "dev", interface, "root", "netem", "delay", DELAY, "loss", LOSS)
        say("two adapters, two radios, a cable")

    def row(self):
        a, b, c, d = self.members("anna", "ben", "carla", "dora")
        a.enter("cable")
        self.place(d, 1)
        b.adapter, c.adapter = "hci0", "hci1"
        a.configure(adapter=False, listen="0")
        b.configure(listen=f"{CABLE['ben']}:7601")
        c.configure(discovery=True, listen="0")
        d.configure(adapter=False, discovery=True, listen="0")
        # The whole case passes in one group.
        consent(c, idle=600, interface="wlan0")
        consent(d, idle=600)
        self.start(a, b, c, d)
        a.shoal("connect", f"{CABLE['ben']}:7601")
        say("four members, all run")
        return a, b, c, d


def links(peer):
    return {other["device"]: other["transport"] for other in peer.shoal("peers", "--json")}


def chain(world):
    """What each writes is at all the others, the ends three links apart, and what both ends change is merged."""
    row = world.row()
    a, b, c, d = row
    took = until("links of the row", lambda: all(links(peer) == ROW[peer.name] for peer in row), FOUND)
    say(f"linked in a row after {took:.1f} s")
    a.write("c/first.json", {"title": "plan", "colour": "red"})
    until("the first document at the other end", lambda: d.read("c/first.json"), SYNC)
    begin = time.monotonic()
    for peer in row:
        for i in range(10):
            peer.write(f"c/{peer.name}{i}.json", {"from": peer.name, "number": i})

    def there(peer):
        return all(peer.read(f"c/{other.name}{i}.json") == {"from": other.name, "number": i} for other in row for i in range(10))

    until("all documents at all four", lambda: all(map(there, row)), SYNC)
    say(f"40 documents at all four after {time.monotonic() - begin:.1f} s")
    a.write("c/first.json", {"title": "plan of anna", "colour": "red"})
    d.write("c/first.json", {"title": "plan", "colour": "blue"})
    want = {"title": "plan of anna", "colour": "blue"}
    took = until("the merged document at all four", lambda: all(peer.read("c/first.json") == want for peer in row), SYNC)
    say(f"changes at both ends are one after {took:.1f} s")
    content = os.urandom(SIZE)
    (d.dir / "photo.bin").write_bytes(content)
    took = until("the file at the other end", lambda: digest(a.dir / "photo.bin") == hashlib.sha256(content).hexdigest(), SYNC)
    say(f"256 KiB from end to end after {took:.1f} s")
    for peer in row:
        if links(peer) != ROW[peer.name]:
            raise Failed(f"{peer.name} has links other than those of the row: {links(peer)}")


CASES = {"chain": chain}
