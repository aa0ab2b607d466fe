# SPDX-License-Identifier: GPL-2.0-or-later
"""A small reader of inotify(7)."""
import collections
import ctypes
import os
import select
import struct
import time

MASKS = {
    "ACCESS": 0x1, "MODIFY": 0x2, "ATTRIB": 0x4, "CLOSE_WRITE": 0x8, "CLOSE_NOWRITE": 0x10,
    "OPEN": 0x20, "MOVED_FROM": 0x40, "MOVED_TO": 0x80, "CREATE": 0x100, "DELETE": 0x200,
    "DELETE_SELF": 0x400, "MOVE_SELF": 0x800, "UNMOUNT": 0x2000, "Q_OVERFLOW": 0x4000,
    "IGNORED": 0x8000, "ISDIR": 0x40000000,
}
CHANGES = ("MODIFY", "ATTRIB", "CLOSE_WRITE", "MOVED_FROM", "MOVED_TO", "CREATE", "DELETE",
           "DELETE_SELF", "MOVE_SELF")

Event = collections.namedtuple("Event", "what path cookie at")


class Watcher:
    """Watches paths; what it reads are events with the path watched and the name behind it."""

    def __init__(self, *paths, events=CHANGES):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.fd = self.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        assert self.fd >= 0
        self.mask = sum(MASKS[e] for e in events)
        self.paths = {}
        self.seen = []
        for path in paths:
            self.add(path)

    def add(self, path):
        wd = self.libc.inotify_add_watch(self.fd, os.fsencode(path), self.mask)
        if wd < 0:
            raise OSError(ctypes.get_errno(), f"inotify_add_watch {path}")
        self.paths[wd] = str(path)

    def read(self, wait=0.0):
        """The events that are there, after waiting for the first one."""
        if not select.select([self.fd], [], [], wait)[0]:
            return []
        try:
            data = os.read(self.fd, 1 << 20)
        except BlockingIOError:
            return []
        now, found, at = time.monotonic(), [], 0
        while at < len(data):
            wd, mask, cookie, length = struct.unpack_from("iIII", data, at)
            name = data[at + 16:at + 16 + length].rstrip(b"\0").decode()
            at += 16 + length
            what = frozenset(k for k, v in MASKS.items() if mask & v)
            assert "Q_OVERFLOW" not in what, "the reader was too slow"
            path = self.paths.get(wd, "?")
            found.append(Event(what, f"{path}/{name}" if name else path, cookie, now))
        self.seen += found
        return found

    def until(self, *wanted, timeout=10):
        """Reads until each of (kind, path) has been seen; all events since the last call."""
        missing, found, end = {(k, str(p)) for k, p in wanted}, [], time.monotonic() + timeout
        while missing:
            left = end - time.monotonic()
            assert left > 0, f"no {missing} in {timeout} s, but {brief(found)}"
            new = self.read(left)
            found += new
            missing -= {(k, e.path) for e in new for k in e.what}
        return found

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1


def brief(events):
    """(kinds, last name) of each."""
    return [("|".join(sorted(e.what)), e.path.rsplit("/", 1)[-1]) for e in events]
