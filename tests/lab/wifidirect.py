# SPDX-License-Identifier: GPL-2.0-or-later
"""Cases of Wi-Fi Direct. Two daemons in one guest, each with a radio, a network namespace, a system bus and a
wpa_supplicant of its own, and no other way between them; or one in each of two guests, with Bluetooth as well."""
import hashlib
import json
import os
import re
import subprocess
import time
from pathlib import Path

from guest import Failed, Services, World, bluez, say, until

FOUND = 120  # seconds to find each other, form a group and connect
SYNC = 120
SIZE = 20 << 20
IDLE = 10


def supplicant(n, bus, within=()):
    """wpa_supplicant with wlanN, on a bus."""
    config, log = f"/run/wpa{n}.conf", f"/run/wpa{n}.log"
    with open(config, "w") as f:
        f.write(f"device_name=laptop{n}\ndevice_type=1-0050F204-1\n")
    subprocess.Popen([*within, "wpa_supplicant", "-u", "-Dnl80211", f"-iwlan{n}", f"-c{config}", f"-f{log}"],
                     env=dict(os.environ, DBUS_SYSTEM_BUS_ADDRESS=bus))
    until(f"wpa_supplicant of wlan{n}", lambda: "/Interfaces/0" in subprocess.run(
        ["busctl", f"--address={bus}", "get-property", "fi.w1.wpa_supplicant1", "/fi/w1/wpa_supplicant1",
         "fi.w1.wpa_supplicant1", "Interfaces"], capture_output=True, text=True).stdout, 60)
    return log


def consent(peer, **settings):
    peer.shoal("config", "wifidirect.enabled", "yes")
    for key, value in {"idle": IDLE, **settings}.items():
        peer.shoal("config", f"wifidirect.{key}", str(value))


class Air(World):
    """Radios that hear each other."""

    def __init__(self, count):
        self.peers = []
        self.logs = []
        subprocess.run(["dbus-uuidgen", "--ensure"], check=True)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        for n in range(count):
            self.radio(n)
        say(f"{count} radios")

    def radio(self, n):
        space, bus = f"peer{n}", f"unix:path=/run/bus{n}/socket"
        os.makedirs(f"/run/bus{n}")
        subprocess.run(["ip", "netns", "add", space], check=True)
        subprocess.run(["ip", "-n", space, "link", "set", "lo", "up"], check=True)
        subprocess.run(["iw", "phy", f"phy{n}", "set", "netns", "name", space], check=True)
        subprocess.run(["dbus-daemon", "--system", "--fork", "--nopidfile", f"--address={bus}"], check=True)
        self.logs.append(supplicant(n, bus, ["ip", "netns", "exec", space]))

    def place(self, peer, n):
        """Where radio n is."""
        peer.enter(f"peer{n}")
        peer.environment["DBUS_SYSTEM_BUS_ADDRESS"] = f"unix:path=/run/bus{n}/socket"

    def devices(self, *names):
        """Members, each on its radio; none runs."""
        peers = self.members(*names)
        for n, peer in enumerate(peers):
            self.place(peer, n)
            peer.configure(adapter=False, discovery=True, listen="0")
            consent(peer)
        return peers

    def pair(self):
        a, b = self.devices()
        self.start(a, b)
        say("two members, each on its radio")
        return a, b


class Half(World):
    """This guest's half of two: an adapter and a radio, which hear the other's."""

    def __init__(self):
        self.side = os.environ["VMPAIR_SIDE"]
        self.common = Path(os.environ["VMPAIR_DIR"])
        self.services = Services()
        self.logs = ["/run/bluetoothd.log", supplicant(0, "unix:path=/run/dbus/system_bus_socket")]
        until("adapter", lambda: bluez("/org/bluez/hci0", "org.bluez.Adapter1", "Powered"))
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.peers = []
        say("an adapter and a radio")

    def tell(self, name, text=""):
        (self.common / f"{name}.new").write_text(text)
        (self.common / f"{name}.new").rename(self.common / name)

    def hear(self, name, limit=SYNC):
        until(name, (self.common / name).exists, limit)
        return (self.common / name).read_text()


def groups(peer):
    """Its network interfaces of groups, and what they received."""
    text = subprocess.run(["ip", *peer.space, "-j", "-s", "link", "show"], capture_output=True, text=True,
                          check=True).stdout
    return {link["ifname"]: link["stats64"]["rx"]["bytes"] for link in json.loads(text)
            if link.get("ifname", "").startswith("p2p-")}


def linked(a, b):
    took = until(f"link of {a.name} and {b.name} by Wi-Fi Direct",
                 lambda: a.link(b) == "wifi-direct" and b.link(a) == "wifi-direct", FOUND)
    say(f"linked by Wi-Fi Direct after {took:.1f} s")


def ended(a, b):
    took = until("end of the group", lambda: not (groups(a) or groups(b) or a.link(b) or b.link(a)), IDLE + 60)
    say(f"the group ended after {took:.1f} s")


def digest(file):
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None


def direct(world):
    """A group is formed, a large file comes by it, it ends when idle, and the next change forms another."""
    a, b = world.pair()
    says = a.shoal("doctor", check=False)
    if "groups can be formed by Wi-Fi Direct" not in says:
        raise Failed(f"doctor says {says}")
    linked(a, b)
    reasons = {peer["reason"] for x in (a, b) for peer in x.shoal("peers", "--json")}
    say(f"for these reasons: {reasons}")
    if not reasons or reasons - {"nothing else reached it, and something had changed here", "the other device asked for it"}:
        raise Failed("which are others than expected")
    content = os.urandom(SIZE)
    begin = time.monotonic()
    (a.dir / "big.bin").write_bytes(content)
    until("the large file", lambda: digest(b.dir / "big.bin") == hashlib.sha256(content).hexdigest(), SYNC)
    say(f"20 MiB after {time.monotonic() - begin:.1f} s")
    received = groups(b)
    if sum(received.values()) < SIZE:
        raise Failed(f"it came another way: {received}")
    ended(a, b)
    for peer in (a, b):
        if not re.search("nothing passes any more|the group has ended", peer.log()):
            raise Failed(f"{peer.name} does not say why the group ended")
    # Another interface on b's radio: the kernel says so.
    before = b.log().count("radios changed")
    subprocess.run(["ip", "netns", "exec", "peer1", "iw", "phy", "phy1", "interface", "add", "more", "type", "station"], check=True)
    until("the new interface being noticed", lambda: b.log().count("radios changed") > before, 10)
    a.write("c/later.json", {"n": 1})
    linked(a, b)
    until("a document in the next group", lambda: b.read("c/later.json") == {"n": 1}, SYNC)
    ended(a, b)
    for peer in (a, b):
        for line in peer.log().splitlines():
            if "Wi-Fi Direct" in line:
                print(f"{peer.name}: {line}")


def linked_over(peer, name, transport, limit=FOUND):
    took = until(f"link to {name} over {transport}", lambda: any(
        p["device"] == name and p["transport"] == transport for p in peer.shoal("peers", "--json")), limit)
    say(f"linked over {transport} after {took:.1f} s")


def escalate(world):
    """Joined and linked by Bluetooth; a large file that is read brings a group about, and then it is Bluetooth again."""
    own, other = ("anna", "ben") if world.side == "a" else ("ben", "anna")
    peer = world.peer(own, 0)
    if world.side == "a":
        peer.make()
    else:
        peer.shoal("join", world.hear("token"), "--device", own, "--timeout", "120s", timeout=150)
        say("joined by Bluetooth")
    peer.configure(discovery=True, listen="0")
    consent(peer, after=5)
    peer.up()
    if world.side == "a":
        until("the adapter", lambda: "is used" in peer.log(), 60)
        world.tell("token", peer.shoal("invite").strip())
    linked_over(peer, other, "bluetooth")
    if world.side == "a":
        content = os.urandom(SIZE)
        (peer.dir / "big.bin").write_bytes(content)
        world.tell("digest", hashlib.sha256(content).hexdigest())
        world.hear("read", 2 * SYNC)
    else:
        want = world.hear("digest")
        until("the large file's name", (peer.dir / "big.bin").exists, SYNC)
        begin = time.monotonic()
        with open(peer.dir / "big.bin", "rb") as file:
            got = hashlib.sha256(file.read()).hexdigest()
        say(f"20 MiB after {time.monotonic() - begin:.1f} s")
        received = sum(groups(peer).values())
        if got != want or received < SIZE // 4:
            raise Failed(f"read {got} of {want}, {received} bytes of it over the group")
        linked_over(peer, other, "wifi-direct")
        reason, = [p["reason"] for p in peer.shoal("peers", "--json") if p["device"] == other]
        say(f"because {reason}")
        if not re.fullmatch("([0-9]+ MiB of contents were|contents were waited for,) too much for Bluetooth|"
                            "the other device asked for it", reason):
            raise Failed("which is another reason than expected")
        # A radio under load pauses for longer than a cable does; Bluetooth is no better for that.
        moves = peer.log().count(f"connected to {other} over")
        if moves > 3:
            raise Failed(f"the link moved to and fro, {moves} times")
        world.tell("read")
    linked_over(peer, other, "bluetooth")
    world.tell(f"back.{own}")
    world.hear(f"back.{other}")
    if world.side == "a":
        peer.write("c/later.json", {"n": 1})
    until("a document by Bluetooth", lambda: peer.read("c/later.json") == {"n": 1}, SYNC)
    world.tell(f"done.{own}")
    world.hear(f"done.{other}")


def several(world):
    """A third device finds the group of two others and joins it."""
    row = a, b, c = world.devices("anna", "ben", "carla")
    for peer in row:
        consent(peer, idle=600)
    world.start(a, b)
    linked(a, b)
    before = groups(a), groups(b)
    world.start(c)
    linked(a, c)
    linked(b, c)
    c.write("c/third.json", {"n": 3})
    until("its document at the two", lambda: all(peer.read("c/third.json") == {"n": 3} for peer in (a, b)), SYNC)
    if not all(len(groups(peer)) == 1 for peer in row) or (set(groups(a)), set(groups(b))) != tuple(map(set, before)):
        raise Failed(f"that is another group: {[groups(peer) for peer in row]}, before {before}")
    joined = [peer.name for peer in row if "joining it" in peer.log()]
    if joined != ["carla"] or sum("another member joins" in peer.log() for peer in (a, b)) != 1:
        raise Failed(f"who joined whom: {joined}")


CASES = {"direct": direct, "escalate": escalate, "several": several}
RADIOS = {"several": 3}
