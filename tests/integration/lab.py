# SPDX-License-Identifier: GPL-2.0-or-later
"""Hosts and networks for tests, made of network namespaces.

A Network is a bridge in a namespace of its own; a Host is a namespace with a veth pair to each
network it is on, with its own home, store and host name. They share the file system, the process
table and the mounts of the machine, so a test looks at a host's directory directly and reaches its
processes by pid. Nothing here ends a process that the test did not start.

    def test_something(lab):
        lan = lab.network()
        a, b = lab.host("anna", lan), lab.host("ben", lan)
        a.up()
        ...
        lan.split([a], [b])
        lan.heal()
"""
import contextlib
import errno
import hashlib
import itertools
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SHOAL_BUILD", SOURCE / "build"))
sys.path.insert(0, str(SOURCE / "tools/python"))

import shoal  # noqa: E402

COMMAND_TIMEOUT = 60  # seconds; no command that a test runs may hang
WAIT_TIMEOUT = 30


class Failed(AssertionError):
    """A command of the test failed, or a condition did not come true in time."""


def wait_for(condition, timeout=WAIT_TIMEOUT, what=None, every=0.01):
    """Polls until condition() is true and returns its value; fails after timeout seconds.

    OSError and AssertionError count as not yet; the failure shows the last one."""
    end_time = time.monotonic() + timeout
    while True:
        try:
            value = condition()
            if value:
                return value
            last = f"its value was {value!r}"
        except (OSError, AssertionError) as error:
            last = repr(error)
        if time.monotonic() > end_time:
            name = what or getattr(condition, "__name__", "the condition")
            raise Failed(f"not within {timeout} s: {name}; {last}")
        time.sleep(every)
        every = min(every * 1.5, 0.2)


def next_second():
    """Waits for it: of a file's versions one that its author replaces within the same second is not
    kept."""
    now = int(time.time())
    wait_for(lambda: int(time.time()) > now)


def tree(directory):
    """{relative path: sha256, "-> target" or "directory"} of everything a listing shows."""
    found = {}

    def refuse(error):
        raise error

    for here, directories, files in os.walk(directory, onerror=refuse):
        for name in directories + files:
            path = os.path.join(here, name)
            key = os.path.relpath(path, directory)
            if os.path.islink(path):
                found[key] = "-> " + os.readlink(path)
            elif os.path.isdir(path):
                found[key] = "directory"
            else:
                with open(path, "rb") as file:
                    found[key] = hashlib.sha256(file.read()).hexdigest()
    return found


def tree_hash(directory, times=False):
    """One sha256 over names, contents and perhaps times: equal exactly when the trees are."""
    total = hashlib.sha256()
    for name, content in sorted(tree(directory).items()):
        time = os.lstat(Path(directory) / name).st_mtime_ns if times else 0
        total.update(os.fsencode(f"{name}\0{content}\0{time}\0"))
    return total.hexdigest()


def _ip(*arguments):
    result = subprocess.run(["ip", *arguments], capture_output=True, text=True, timeout=20)
    if result.returncode:
        raise Failed(f"ip {' '.join(arguments)}: {result.stderr.strip()}")
    return result.stdout


def _ips(namespace, *commands):
    """The same for several in one namespace, by one process."""
    result = subprocess.run(["ip", "-n", namespace, "-batch", "-"], input="\n".join(commands) + "\n",
                            capture_output=True, text=True, timeout=20)
    if result.returncode:
        raise Failed(f"ip: {'; '.join(commands)}: {result.stderr.strip()}")


def alive(pid):
    """The process exists and is not a zombie."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def end(pid, timeout=5):
    """Ends one process: politely, then not; returns when it is gone."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        with contextlib.suppress(Failed):
            wait_for(lambda: not alive(pid), timeout=timeout)
            return
    raise Failed(f"process {pid} survived SIGKILL")


def mounts_below(directory):
    """Mount points at or below a directory, the innermost first."""
    found = []
    prefix = str(directory)
    with open("/proc/self/mountinfo") as file:
        for line in file:
            point = re.sub(r"\\([0-7]{3})", lambda m: chr(int(m[1], 8)), line.split()[4])
            if point == prefix or point.startswith(prefix + "/"):
                found.append(point)
    return sorted(found, key=len, reverse=True)


class Network:
    """An Ethernet that can be split; every host on it has 10.N.0.H/24 and fd00:N::H/64."""

    def __init__(self, lab, number):
        self.number = number
        self.namespace = f"{lab.prefix}-n{number}"
        self.ports = {}  # host -> the switch's end of its cable
        self.bridges = 0
        _ip("netns", "add", self.namespace)
        lab.undo.callback(_ip, "netns", "del", self.namespace)
        self._bridge()

    def _bridge(self):
        # No spanning tree and no forward delay: a port works at once. No snooping either: nobody
        # here asks for group memberships, so it would drop multicast after a while.
        _ip("-n", self.namespace, "link", "add", f"br{self.bridges}", "up", "type", "bridge",
            "stp_state", "0", "forward_delay", "0", "mcast_snooping", "0")
        self.bridges += 1

    def plug(self, host):
        interface = f"eth{len(host.networks)}"
        port = f"p{len(self.ports)}"
        last = len(self.ports) + 1
        _ips(self.namespace, f"link add {port} type veth peer name {interface} netns {host.namespace}",
             f"link set {port} master br0 up")
        self.ports[host] = port
        host.networks[self] = interface
        host.addresses[self] = f"10.{self.number}.0.{last}"
        host.addresses6[self] = f"fd00:{self.number}::{last}"
        _ips(host.namespace, f"address add {host.addresses[self]}/24 broadcast + dev {interface}",
             f"address add {host.addresses6[self]}/64 dev {interface} nodad",
             f"link set {interface} up")
        # The kernel says a moment later that it is running; until then its addresses do not count.
        wait_for(lambda: " state UP " in _ip("-n", host.namespace, "link", "show", interface),
                 what=f"{interface} of {host.name}")

    def disconnect(self, host):
        """Pulls the cable out of the switch: the host sees its carrier go."""
        _ip("-n", self.namespace, "link", "set", self.ports[host], "down")

    def connect(self, host):
        """Puts it back."""
        _ip("-n", self.namespace, "link", "set", self.ports[host], "up")

    def split(self, *groups):
        """Hosts of different groups hear nothing of each other, but keep their carrier."""
        for number, group in enumerate(groups):
            if number >= self.bridges:
                self._bridge()
            for host in group:
                _ip("-n", self.namespace, "link", "set", self.ports[host], "master", f"br{number}")

    def heal(self):
        self.split(list(self.ports))


class Host:
    """A machine: networks, a home, a store, the daemon and other processes."""

    def __init__(self, lab, name):
        self.name = name
        self.namespace = f"{lab.prefix}-{name}"
        self.networks = {}  # Network -> name of the interface
        self.addresses = {}
        self.addresses6 = {}
        self.home = lab.directory / name
        self.store = self.home / "store"
        self.dir = self.home / "Shoal"
        self.runtime = self.home / "run"
        self.children = []
        self.environment = {
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "PATH": f"{BUILD}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "SHOAL_STORE": str(self.store),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_DATA_HOME": str(self.home / ".local/share"),
            "XDG_RUNTIME_DIR": str(self.runtime),
            # The machine's own bus, with its Avahi, is not in this host's network.
            "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={self.runtime}/bus",
        }
        for variable in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"):
            if variable in os.environ:
                self.environment[variable] = os.environ[variable]
        for path in (self.home, self.runtime):
            path.mkdir(mode=0o700)
        # A name of its own, in a namespace that is there for every command.
        self.uts = lab.directory / f"{name}.uts"
        self.uts.touch()
        subprocess.run(["unshare", f"--uts={self.uts}", "hostname", name], check=True, timeout=20)
        lab.undo.callback(subprocess.run, ["umount", self.uts], check=True, timeout=20)
        _ip("netns", "add", self.namespace)
        lab.undo.callback(_ip, "netns", "del", self.namespace)
        lab.undo.callback(self.close)
        _ip("-n", self.namespace, "link", "set", "lo", "up")
        # IPv6 addresses are usable at once: no other host can have them.
        self.run("sh", "-c", "for f in /proc/sys/net/ipv6/conf/*/accept_dad; do echo 0 >$f; done")

    def __repr__(self):
        return f"<host {self.name}>"

    def command(self, *words):
        """The command line that runs words on this host, in the same process."""
        # Not "ip netns exec": that makes a mount namespace, whose mounts nobody else sees.
        return ["nsenter", f"--net=/run/netns/{self.namespace}", f"--uts={self.uts}", *map(str, words)]

    def popen(self, *words, env=None, **options):
        """Starts a command on this host; ended with the test. Its pid is the command's."""
        options.setdefault("cwd", self.home)
        process = subprocess.Popen(self.command(*words), env={**self.environment, **(env or {})},
                                   **options)
        self.children.append(process)
        return process

    def run(self, *words, check=True, timeout=COMMAND_TIMEOUT, input=None, env=None, **options):
        """Runs a command on this host, returns its CompletedProcess with text output. Fails when
        it exits with another status than 0, unless check is False."""
        options.setdefault("cwd", self.home)
        options.setdefault("text", True)
        if input is None:
            options.setdefault("stdin", subprocess.DEVNULL)
        else:
            options["input"] = input
        text = " ".join(map(str, words))
        try:
            result = subprocess.run(self.command(*words), capture_output=True, timeout=timeout,
                                    env={**self.environment, **(env or {})}, **options)
        except subprocess.TimeoutExpired as error:
            raise Failed(f"{self.name}: {text}: not done after {timeout} s; "
                         f"stdout {error.stdout!r}, stderr {error.stderr!r}") from None
        if check and result.returncode:
            raise Failed(f"{self.name}: {text}: exit status {result.returncode}; "
                         f"stdout {result.stdout!r}, stderr {result.stderr!r}")
        return result

    # --- Shoal ------------------------------------------------------------------------------

    def shoal(self, *words, **options):
        """shoal WORDS; with --json among them the parsed value, else what it printed."""
        output = self.run(BUILD / "shoal", *words, **options).stdout
        return json.loads(output) if "--json" in words else output

    def up(self, *words, **options):
        """shoal up on this host's directory; its store is made if there is none."""
        return self.shoal("up", *words, self.dir, **options)

    def down(self, **options):
        return self.shoal("down", self.dir, **options)

    def join(self, inviter, *words, **options):
        """Makes this host a member of the inviter's mesh, and brings it up."""
        self.shoal("join", inviter.shoal("invite").strip(), *words, **options)
        self.up()

    def connect(self, **options):
        """A shoal.Store of this host's store; to be closed. Sockets of the file system know no network."""
        return shoal.Store(self.store, **options)

    def daemon_pid(self):
        """The process that serves this store's control socket, or None."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
            control.settimeout(5)
            try:
                control.connect(str(self.store / "control.sock"))
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
                    return None
                raise
            credentials = control.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED,
                                             struct.calcsize("3i"))
        return struct.unpack("3i", credentials)[0]

    def kill9(self):
        """The daemon dies at once, with nothing flushed."""
        pid = self.daemon_pid()
        if pid is None:
            raise Failed(f"{self.name}: there is no daemon to kill")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not alive(pid), what=f"the end of daemon {pid}")

    def log(self):
        """What the daemon logged."""
        with contextlib.suppress(OSError):
            return (self.store / "log").read_text(errors="replace")
        return ""

    def tree(self):
        return tree(self.dir)

    def tree_hash(self):
        return tree_hash(self.dir, times=True)

    # --- Avahi ------------------------------------------------------------------------------

    def start_bus(self):
        """A system bus of this host's own."""
        bus = self.runtime / "bus"
        config = self.runtime / "bus.conf"
        config.write_text(
            '<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"\n'
            ' "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">\n'
            f"<busconfig><type>system</type><listen>unix:path={bus}</listen>"
            '<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>'
            '<allow send_type="method_call"/><allow send_type="signal"/>'
            '<allow send_requested_reply="true" send_type="method_return"/>'
            '<allow send_requested_reply="true" send_type="error"/>'
            '<allow receive_type="method_call"/><allow receive_type="method_return"/>'
            '<allow receive_type="error"/><allow receive_type="signal"/>'
            "</policy></busconfig>\n")
        self.bus = self.popen("dbus-daemon", "--nofork", f"--config-file={config}")
        wait_for(bus.exists, what="the message bus")

    def stop_bus(self):
        self.bus.kill()
        self.bus.wait()
        (self.runtime / "bus").unlink()

    def start_avahi(self):
        """An Avahi daemon of this host's own, on its networks only, and a bus."""
        self.start_bus()
        avahi = self.runtime / "avahi.conf"
        avahi.write_text(f"[server]\nhost-name={self.name}\nuse-ipv4=yes\nuse-ipv6=yes\n"
                         "[wide-area]\nenable-wide-area=no\n")
        # Its pid file and socket have fixed places, hence a mount namespace.
        script = ("mkdir -p /run/avahi-daemon && mount -t tmpfs none /run/avahi-daemon && "
                  'exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f "$0"')
        with open(self.runtime / "avahi.log", "wb") as log:
            process = self.popen("unshare", "--mount", "sh", "-c", script, avahi,
                                 stdout=log, stderr=log)

        def answers():
            if process.poll() is not None:
                raise RuntimeError((self.runtime / "avahi.log").read_text())
            return self.run(
                "dbus-send", "--system", "--print-reply", "--dest=org.freedesktop.Avahi",
                "/", "org.freedesktop.Avahi.Server.GetState", check=False).returncode == 0
        wait_for(answers, what="Avahi")

    # --- the end ----------------------------------------------------------------------------

    def processes(self):
        """Processes that were started on this host's store, whoever their parent is now."""
        mark = os.fsencode(f"SHOAL_STORE={self.store}")
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                with contextlib.suppress(OSError), open(f"/proc/{entry}/environ", "rb") as file:
                    if mark in file.read().split(b"\0") and alive(int(entry)):
                        yield int(entry)

    def close(self):
        # Mounts first: nothing that waits for one may hang the rest.
        for point in mounts_below(self.home):
            subprocess.run(["umount", "-l", point], timeout=20, capture_output=True)
        for pid in list(self.processes()):
            end(pid)
        for child in self.children:
            # Avahi's title takes the place of its environment, so it was not among those.
            if child.poll() is None:
                end(child.pid)
            child.wait(timeout=10)
            for stream in (child.stdin, child.stdout, child.stderr):
                if stream:
                    stream.close()


class Lab:
    """All hosts and networks of one test."""

    numbers = itertools.count(1)

    def __init__(self):
        self.prefix = f"shoal-{os.getpid()}-{next(self.numbers)}"
        self.undo = contextlib.ExitStack()
        # A short path: control sockets have to fit into 107 bytes.
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.prefix}-"))
        self.undo.callback(self._remove)
        self.hosts = []
        self.networks = []

    def network(self):
        network = Network(self, len(self.networks) + 1)
        self.networks.append(network)
        return network

    def host(self, name, *networks):
        host = Host(self, name)
        self.hosts.append(host)
        for network in networks:
            network.plug(host)
        return host

    def _remove(self):
        left = mounts_below(self.directory)
        if left:
            raise Failed(f"still mounted: {left}")
        shutil.rmtree(self.directory)

    def close(self):
        """Ends, unmounts and removes everything, also when one of it fails."""
        self.undo.close()


def remove_leftovers(pid=None):
    """What test runs left that were killed (pid: only that one): their namespaces with the
    processes in them, their directories with the mounts below."""
    def of_dead_run(name):
        match = re.match(r"shoal-(\d+)-\d+-", name)
        return match and not os.path.exists(f"/proc/{match[1]}") and pid in (None, int(match[1]))

    for line in _ip("netns", "list").splitlines():
        name = line.split()[0] if line else ""
        if of_dead_run(name):
            for process in _ip("netns", "pids", name).split():
                end(int(process))
            with contextlib.suppress(Failed):
                _ip("netns", "del", name)
    for directory in Path(tempfile.gettempdir()).glob("shoal-*"):
        if of_dead_run(directory.name):
            for point in mounts_below(directory):
                subprocess.run(["umount", "-l", point], timeout=20, capture_output=True)
            if not mounts_below(directory):
                shutil.rmtree(directory, ignore_errors=True)
