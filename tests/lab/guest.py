# SPDX-License-Identifier: GPL-2.0-or-later
"""In the guest: virtual radios, a system bus and what serves them on it, and peers that use them; then one case.

    guest.py CASE WORK        (run starts it; WORK holds hcibridge)
"""
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path

BUILD = Path(os.environ["SHOAL_BUILD"])
BTVIRT = "/tmp/bt-server-bredrle"
MEETING = "127.0.0.1:7699"  # where members join
START = time.monotonic()


def say(text):
    print(f"[{time.monotonic() - START:6.2f}] {text}", flush=True)


class Failed(Exception):
    pass


def until(what, condition, limit=60):
    """Waits for an event; how long it took."""
    begin = time.monotonic()
    while True:
        value = condition()
        if value:
            return time.monotonic() - begin
        if time.monotonic() > begin + limit:
            raise Failed(f"no {what} within {limit} s")
        time.sleep(0.2)


class Medium:
    """btvirt and controllers on it, hci0, hci1, ...; each can be pulled out and put back."""

    def __init__(self, work, count):
        # The kernel's instances of the ciphers that btvirt will ask for.
        for kind, name in (("skcipher", "ecb(aes)"), ("hash", "cmac(aes)")):
            with socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET) as s:
                s.bind((kind, name))
        self.work = work
        self.btvirt = subprocess.Popen(["btvirt", "-s"], stdout=subprocess.DEVNULL)
        until("btvirt", lambda: os.path.exists(BTVIRT), 30)
        time.sleep(0.3)
        self.bridges = {}
        for n in range(count):
            self.plug(n)

    def plug(self, n):
        self.bridges[n] = subprocess.Popen([self.work / "hcibridge", "vhci", f"unix:{BTVIRT}", "250"])
        # This file appears once the kernel has set the controller up.
        until(f"controller hci{n}", lambda: os.path.exists(f"/sys/kernel/debug/bluetooth/hci{n}/conn_info_min_age"), 30)

    def pull(self, n):
        bridge = self.bridges.pop(n)
        bridge.kill()
        bridge.wait()
        until(f"end of hci{n}", lambda: not os.path.exists(f"/sys/class/bluetooth/hci{n}"), 30)


class Services:
    """The system bus and bluetoothd."""

    def __init__(self):
        os.makedirs("/run/dbus", exist_ok=True)
        subprocess.run(["dbus-uuidgen", "--ensure"], check=True)
        subprocess.run(["dbus-daemon", "--system", "--fork"], check=True)
        self.bluetoothd = None
        self.start()

    def start(self):
        program = shutil.which("bluetoothd", path="/usr/libexec/bluetooth:/usr/sbin:/usr/lib/bluetooth")
        log = open("/run/bluetoothd.log", "ab")
        self.bluetoothd = subprocess.Popen([program, "-n"], stdout=log, stderr=log)

    def kill(self):
        self.bluetoothd.kill()
        self.bluetoothd.wait()


BLUETOOTH = 2


def rfkill(kind, on):
    """Blocks, or lets go, all radios of a kind. By the device: sys/ shows only those of the network namespace."""
    with open("/dev/rfkill", "wb", buffering=0) as device:
        device.write(struct.pack("=IBBBB", 0, kind, 3, on, 0))


def bluez(path, interface, prop):
    r = subprocess.run(["busctl", "--json=short", "get-property", "org.bluez", path, interface, prop],
                       capture_output=True, text=True)
    return json.loads(r.stdout)["data"] if r.returncode == 0 else None


def adapters(count):
    """Waits until bluetoothd has switched them on."""
    until("adapters", lambda: all(bluez(f"/org/bluez/hci{n}", "org.bluez.Adapter1", "Powered") for n in range(count)))


class Peer:
    """A device with a store, a mount and a radio of its own."""

    def __init__(self, name, adapter, port):
        self.within = []  # words before each command: where it runs
        self.space = []  # the same for ip
        self.name = name
        self.home = Path("/run/peers") / name
        self.home.mkdir(parents=True)
        self.store = self.home / "store"
        self.dir = self.home / "Shoal"
        self.environment = {
            "HOME": str(self.home), "LC_ALL": "C.UTF-8", "SHOAL_STORE": str(self.store),
            "PATH": f"{BUILD}:/usr/sbin:/usr/bin:/sbin:/bin",
            "XDG_RUNTIME_DIR": str(self.home),
        }
        self.adapter = adapter  # which one is its, if it uses any
        self.port = port

    def shoal(self, *words, check=True, timeout=60):
        r = subprocess.run([*self.within, BUILD / "shoal", *map(str, words)], env=self.environment, cwd=self.home, text=True,
                           stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
        if check and r.returncode:
            raise Failed(f"{self.name}: shoal {' '.join(map(str, words))}: {r.stdout}{r.stderr}")
        return json.loads(r.stdout) if "--json" in words and r.stdout else r.stdout

    def enter(self, space):
        """From now on it runs in a network namespace. That alone: mounts are to be seen here."""
        self.within = ["nsenter", f"--net=/run/netns/{space}"]
        self.space = ["-n", space]

    def make(self, *words):
        """A store and a new mesh."""
        self.shoal("init", "--device", self.name, *words)

    def configure(self, adapter=True, discovery=False, listen=None):
        self.shoal("config", "network.discovery", "yes" if discovery else "no")
        self.shoal("config", "network.listen", listen or f"127.0.0.1:{self.port}")
        self.shoal("config", "bluetooth.enabled", "yes" if adapter else "no")
        self.shoal("config", "bluetooth.adapter", self.adapter)
        self.shoal("config", "log.level", "debug")

    def up(self):
        self.shoal("up", self.dir, timeout=120)

    def down(self):
        self.shoal("down", self.dir, timeout=120)

    def link(self, other):
        """Over what this one is linked to the other: "bluetooth", "tcp" or None."""
        for peer in self.shoal("peers", "--json"):
            if peer.get("device") == other.name or peer.get("name") == other.name:
                return peer.get("transport")
        return None

    def why(self, other, reason):
        """Waits until the link to the other has that reason."""
        until(f"reason \"{reason}\" at {self.name}", lambda: any(
            peer["device"] == other.name and peer["reason"] == reason for peer in self.shoal("peers", "--json")))

    def write(self, path, value):
        file = self.dir / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(value) + "\n")

    def read(self, path):
        try:
            return json.loads((self.dir / path).read_text())
        except (OSError, ValueError):
            return None

    def log(self):
        try:
            return (self.store / "log").read_text(errors="replace")
        except OSError:
            return ""


class World:
    logs = ["/run/bluetoothd.log"]

    def __init__(self, work):
        self.work = work
        self.services = Services()
        self.medium = Medium(work, 2)
        adapters(2)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.peers = []
        say("two adapters")

    def peer(self, name, n):
        peer = Peer(name, f"hci{n}", 7601 + n)
        self.peers.append(peer)
        return peer

    def members(self, *names):
        """Members of a mesh. All joined the first over the loopback, where it is no more; none runs."""
        first, *others = [self.peer(name, n) for n, name in enumerate(names or ("anna", "ben"))]
        first.make()
        first.configure(adapter=False, listen=MEETING)
        first.up()
        for peer in others:
            peer.shoal("join", first.shoal("invite").strip(), "--device", peer.name, "--address", MEETING)
        first.down()
        return first, *others

    def start(self, *peers):
        """They run, and nobody goes on calling where the first was joined."""
        for peer in peers:
            peer.up()
        for peer in peers:
            if peer is not self.peers[0]:
                peer.shoal("disconnect", MEETING, check=False)

    def pair(self, **options):
        """The same, and both run."""
        a, b = self.members()
        for peer in (a, b):
            peer.configure(**options)
        self.start(a, b)
        say("two members, each on its adapter")
        return a, b


def main():
    case, work = sys.argv[1], Path(sys.argv[2])
    import bluetooth
    import chain
    import wifidirect
    world = None
    try:
        if case in bluetooth.CASES:
            world = World(work)
            bluetooth.CASES[case](world)
        elif case in chain.CASES:
            world = chain.Row(work)
            chain.CASES[case](world)
        else:
            world = wifidirect.Half() if "VMPAIR_SIDE" in os.environ else wifidirect.Air(wifidirect.RADIOS.get(case, 2))
            wifidirect.CASES[case](world)
        say("passed")
        return 0
    except Exception as error:  # whatever it is, the logs tell more
        say(f"FAILED: {error}")
        if not isinstance(error, Failed):
            traceback.print_exc()
    for peer in world.peers if world else ():
        print(f"--- log of {peer.name}\n" + "\n".join(peer.log().splitlines()[-60:]))
    for name in world.logs if world else ():
        with open(name, errors="replace") as log:
            print(f"--- {name}\n" + "\n".join(log.read().splitlines()[-15:]))
    return 1


if __name__ == "__main__":
    sys.exit(main())
