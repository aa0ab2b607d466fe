# SPDX-License-Identifier: GPL-2.0-or-later
"""A mounted replica and another device beside it, by way of tests/helpers/fsmount."""
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("SHOAL_BUILD", SOURCE / "build"))
PROGRAM = Path(os.environ.get("SHOAL_FSMOUNT", BUILD / "tests/helpers/fsmount"))


class Failed(Exception):
    def __init__(self, number, text):
        super().__init__(f"[{number}] {text}")
        self.errno = number


def wait_until(condition, timeout=10, what="condition"):
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true in {timeout} s")
        time.sleep(0.01)


def as_user(number):
    return ["setpriv", "--reuid", str(number), "--regid", str(number), "--clear-groups"]


class Mount:
    def __init__(self, options="", user=None):
        self.top = Path(tempfile.mkdtemp(prefix="fusefs-", dir="/tmp"))
        self.dir = self.top / "mnt"
        self.dir.mkdir()
        self.options = options
        self.process = None
        self.command = [PROGRAM]
        if user is not None:
            # Who need not be able to reach what was built, nor the device: it has its own.
            shutil.copy(PROGRAM, self.top / "fsmount")
            os.mknod(self.top / "fuse", 0o600 | stat.S_IFCHR, os.stat("/dev/fuse").st_rdev)
            os.chmod(self.top / "fuse", 0o666)
            self.command = ["unshare", "-m", "sh", "-c", 'mount --bind "$0" /dev/fuse; exec "$@"',
                            self.top / "fuse"] + as_user(user) + [self.top / "fsmount"]
            for path in (self.top, self.dir):
                os.chown(path, user, user)
        self.start()

    def start(self, options=None):
        self.log = open(self.top / "log", "ab")
        self.process = subprocess.Popen(
            self.command + [self.top / "store", self.dir,
                            self.options if options is None else options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)
        self._answer()

    def _answer(self):
        line = self.process.stdout.readline().decode()
        if not line:
            raise Failed(0, f"fsmount died: {self.process.wait()}: "
                            f"{(self.top / 'log').read_text()[-2000:]}")
        words = line.split()
        if words[0] == "error":
            raise Failed(int(words[1]), " ".join(words[2:]))
        return words[1:]

    def ask(self, command, *values):
        words = [command] + [(v if isinstance(v, bytes) else str(v).encode()).hex()
                             for v in values]
        self.process.stdin.write(" ".join(words).encode() + b"\n")
        self.process.stdin.flush()
        try:
            return self._answer()
        except Failed as failure:
            raise Failed(failure.errno, f"{command} {values}: {failure}") from None

    # the other device
    def remote_bytes(self, path):
        words = self.ask("cat", path)
        return bytes.fromhex(words[0]) if words else b""

    def remote_json(self, path):
        return json.loads(self.remote_bytes(path))

    def remote_put(self, path, content):
        self.ask("put", path, content)

    def remote_set(self, path, **fields):
        """Changes fields there, and brings it here, as a sync in this moment would."""
        self.sync()
        document = self.remote_json(path)
        document.update(fields)
        self.remote_put(path, json.dumps(document, indent=2) + "\n")
        self.sync()

    def remote_paths(self):
        return sorted(bytes.fromhex(w).decode() for w in self.ask("ls"))

    def sync(self):
        self.ask("sync")

    def settle(self):
        """New files have become nodes, deletions are carried out, the kernel knows all news."""
        self.ask("settle")

    def kernel_forgets(self):
        """Names of this mount that nobody has open are given back; /proc/sys/vm/drop_caches is everybody's."""
        subprocess.run(["mount", "-i", "-o", "remount", self.dir], check=True)

    def settle_and_sync(self):
        self.settle()
        self.sync()
        self.settle()

    def stats(self):
        return {k: int(v) for k, v in (w.split("=") for w in self.ask("stats"))}

    def changes(self):
        """What changed here and there since this was asked last; the first time nothing."""
        return json.loads(bytes.fromhex(self.ask("changes")[0]))

    def drafts(self):
        return [bytes.fromhex(w.split(":")[0]).decode() for w in self.ask("drafts")]

    # this one
    def path(self, path):
        return self.dir / path

    def json(self, path):
        return json.loads(self.path(path).read_bytes())

    def new_document(self, path, document):
        """A document that both devices hold."""
        p = self.path(path)
        p.parent.mkdir(parents=True, exist_ok=True)
        p.write_text(json.dumps(document, indent=2) + "\n")
        self.settle_and_sync()
        assert self.remote_json(path) == document

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        return self.process.returncode

    def close(self):
        try:
            self.stop()
        finally:
            if any(line.split()[1] == str(self.dir) for line in open("/proc/self/mounts")):
                subprocess.run(["umount", "-l", self.dir], check=False)
            self.log.close()
            shutil.rmtree(self.top, ignore_errors=True)
