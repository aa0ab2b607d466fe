# SPDX-License-Identifier: GPL-2.0-or-later
"""What Syncthing makes of the same documents: two instances that know each other's address and talk
to nobody else, with the settings it comes with otherwise, and told of changes as early as it can be."""
import contextlib
import copy
import http.client
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
import xml.etree.ElementTree as xml

import records
from wire import Failed, Watch, end, ethernet_bytes, two_hosts, wait_for

PORT = 22000
FOLDER = "docs"
PATIENCE = 30   # seconds for the first sync; if it takes longer what came until then counts
SAVES = 5
DELAY = "1"     # seconds until changes are looked at, and until what failed is tried again; 0 is more
OPTIONS = {
    "globalAnnounceEnabled": "false", "localAnnounceEnabled": "false", "relaysEnabled": "false",
    "natEnabled": "false", "urAccepted": "-1", "crashReportingEnabled": "false",
    "autoUpgradeIntervalH": "0", "startBrowser": "false", "reconnectionIntervalS": "5",
}


class UnixConnection(http.client.HTTPConnection):
    """Its interface is a socket in the file system: addresses of the host are not reached from here."""

    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Instance:
    def __init__(self, host, address):
        self.host, self.address = host, address
        self.home, self.folder = host.home / "syncthing", host.home / FOLDER
        self.folder.mkdir()
        self.run("generate", "--no-default-folder", "--skip-port-probing")
        self.id = self.run("serve", "--device-id").strip()
        self.key = xml.parse(self.home / "config.xml").findtext("gui/apikey")

    def run(self, command, *words):
        return self.host.run("syncthing", command, f"--home={self.home}", *words).stdout

    def configure(self, peer):
        tree = xml.parse(self.home / "config.xml")
        root = tree.getroot()
        options = root.find("options")
        for name, value in OPTIONS.items():
            options.find(name).text = value
        options.find("listenAddress").text = f"tcp://{self.address}:{PORT}"
        root.find("gui/address").text = str(self.home / "gui")
        # What it would take for a new device and a new folder.
        device, folder = (copy.deepcopy(root.find(f"defaults/{kind}"))
                          for kind in ("device", "folder"))
        device.attrib.update(id=peer.id, name=peer.host.name)
        device.find("address").text = f"tcp://{peer.address}:{PORT}"
        folder.attrib.update(id=FOLDER, path=str(self.folder), fsWatcherDelayS=DELAY)
        folder.find("pullerPauseS").text = DELAY
        xml.SubElement(folder, "device", id=peer.id)
        root.extend((device, folder))
        tree.write(self.home / "config.xml")

    def start(self):
        self.process = self.host.popen(
            "syncthing", "serve", f"--home={self.home}", "--no-browser", "--no-restart",
            "--no-upgrade", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            env={"STNODEFAULTFOLDER": "1", "STNOUPGRADE": "1"})

    def ask(self, path, method="GET"):
        connection = UnixConnection(self.home / "gui")
        try:
            connection.request(method, f"/rest/{path}", headers={"X-API-Key": self.key})
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise Failed(f"syncthing: {path}: {answer.status} {body[:200]!r}")
            return json.loads(body) if body.strip() else None
        except http.client.HTTPException as error:
            raise Failed(f"syncthing: {path}: {error!r}") from None
        finally:
            connection.close()

    def status(self):
        return self.ask(f"db/status?folder={FOLDER}")

    def idle(self, count):
        """It has that many files, knows of no others, and is at rest."""
        now = self.status()
        return (now["state"] == "idle" and now["needTotalItems"] == 0
                and now["localFiles"] == now["globalFiles"] == count)


def start_first(anna, ben, count):
    for instance, peer in ((anna, ben), (ben, anna)):
        instance.configure(peer)
    anna.start()
    wait_for(lambda: anna.idle(count), timeout=60, what="Syncthing's first scan")


def first_sync(ben, count):
    """Files a second; a device that was started has all of them, or PATIENCE is over."""
    start = time.perf_counter()
    ben.start()
    try:
        wait_for(lambda: ben.idle(count), timeout=PATIENCE)
        return count / (time.perf_counter() - start)
    except Failed:
        return ben.status()["localFiles"] / (time.perf_counter() - start)


def bring_rest(anna, ben, count):
    """What has not come ben is given by hand, as it is on anna."""
    end(ben.process.pid)
    for name in set(os.listdir(anna.folder)) - set(os.listdir(ben.folder)):
        shutil.copy2(anna.folder / name, ben.folder / name)
    ben.start()
    wait_for(lambda: ben.idle(count) and anna.idle(count), timeout=40, what="Syncthing in step")


def same(anna, ben, numbers):
    """They have the same records."""
    return all((anna.folder / name).read_bytes() == (ben.folder / name).read_bytes()
               for name in map(records.name_of, numbers))


def one_percent(anna, ben, count, changed):
    numbers = range(0, count, count // changed)
    before = ethernet_bytes(anna.host)
    for number in numbers:
        records.edit(anna.folder / records.name_of(number), "status", records.RETURNED)
    wait_for(lambda: same(anna, ben, numbers), timeout=40, what="Syncthing's changes")
    return (ethernet_bytes(anna.host) - before) / changed


def latencies(anna, ben):
    name = records.name_of(7)
    path, there = anna.folder / name, Watch(ben.folder / name)
    for change in range(SAVES):
        text = records.edited(path, "status", f"change {change}")
        start = time.perf_counter()
        path.write_text(text)
        yield 1000 * (there.until(f"change {change}\"", timeout=15) - start)


def edits_apart(anna, ben, count):
    """Two people edit the same documents while their devices do not talk; seconds from when they do
    until they are alike."""
    anna.ask(f"system/pause?device={ben.id}", "POST")
    wait_for(lambda: not any(peer["connected"] for peer in
                             ben.ask("system/connections")["connections"].values()))
    for instance in (anna, ben):
        for number in range(count):
            records.edit(instance.folder / records.name_of(number),
                         *records.APART[instance.host.name])
        instance.ask(f"db/scan?folder={FOLDER}", "POST")
    start = time.perf_counter()
    anna.ask(f"system/resume?device={ben.id}", "POST")

    def alike():
        states = {(now["globalFiles"], now["needTotalItems"], now["state"])
                  for now in (anna.status(), ben.status())}
        return len(states) == 1 and same(anna, ben, range(count))

    wait_for(alike, timeout=60, what="Syncthing's devices alike")
    return time.perf_counter() - start


@contextlib.contextmanager
def pair(count):
    """Two instances; the first one knows that many documents, the other one is to be started."""
    with two_hosts() as (lan, *hosts):
        anna, ben = (Instance(host, host.addresses[lan]) for host in hosts)
        records.create(anna.folder, count)
        start_first(anna, ben, count)
        yield anna, ben


def measure(count, changed, edited):
    """The figures by name; None where there is no Syncthing. The edits made apart are in a folder of
    their own, which has no other documents: in that of all it may take minutes."""
    if not shutil.which("syncthing"):
        return None
    with pair(count) as (anna, ben):
        found = {"first": first_sync(ben, count)}
        if not ben.idle(count):
            bring_rest(anna, ben, count)
        found["connected"] = one_percent(anna, ben, count, changed)
        found["latency"] = statistics.median(latencies(anna, ben))
    with pair(edited) as (anna, ben):
        ben.start()
        wait_for(lambda: ben.idle(edited) and anna.idle(edited), timeout=40,
                 what="Syncthing in step")
        try:
            found["alike"] = edits_apart(anna, ben, edited)
        except Failed as error:
            print(f"edits made apart are left out: {error}", file=sys.stderr)
            return found
        directories = (anna.folder, ben.folder)
        found["lost"] = records.edits_lost(directories, edited)
        found["strays"] = records.strays(directories, edited)
    return found
