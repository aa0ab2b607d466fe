# SPDX-License-Identifier: GPL-2.0-or-later
"""A Shoal store for programs: documents that stay in step with other devices.

    import shoal

    with shoal.Store() as store:
        file = store.get("cars/7.json")
        car = file.json()
        car["doors"] = 5
        store.put("cars/7.json", car, if_version=file.version)

The store's daemon, shoald(8), is asked over its control socket (shoal-control(7)); no other package is
needed. A program that works with the files of the mount needs none of this. What is here beyond them:
batches that are done whole (Store.txn), changes that depend on a version (if_version), tens of thousands
of changes in a second (Store.bulk), questions in SQL (Store.query), what other devices do (Store.watch), and whether they
have it (Store.wait).

Paths are str, counted from the root of the collections, without a slash in front, whatever the current
directory: "cars/7.json". A version is a str of 32 hexadecimal digits, the same on every device that has the
same content; four or more of its first digits do where one is asked for. Times are seconds (float), sizes are
bytes.

Values of documents are what json.dumps takes: dict with str keys, list, str, int, float, bool, None; NaN and
infinities are none (ValueError). JSON text goes as it is in a Raw, so that numbers keep all their digits, and
File.json(parse_float=decimal.Decimal) reads them so.

What fails raises an Error, which is an OSError with the errno of shoal-control(7), and says as str what, why
and what to do. Some kinds have classes of their own, which are also what Python has for them, so
FileNotFoundError can be caught. A connection is used by one thread at a time; each thread may open its own.
"""
import base64
import collections
import errno as _errno
import json
import os
import re
import select
import socket
import time

__all__ = ["Bulk", "Cancelled", "Disconnected", "Error", "File", "IsDirectory", "NoDaemon", "NotAllowed", "NotFound",
           "Raw", "Rows", "Stale", "Store", "TimedOut", "Txn", "Watch", "ANY"]

STEPS_MAX = 1000                # steps of a transaction
REQUEST_MAX = 8 * 1024 * 1024   # bytes of a request's line
ANSWER_MAX = 64 * 1024 * 1024
READ_STEP = 256 * 1024


# --- errors ------------------------------------------------------------------------------------


class Error(OSError):
    """What failed: errno (a number), and as str one sentence that says what, why and what to do.

    step: of a transaction, the index (from 0) of the step at fault; else None."""

    step = None

    def __str__(self):
        return self.strerror or ""


class NotFound(Error, FileNotFoundError):
    """ENOENT: there is no such file, directory, version or store."""


class IsDirectory(Error, IsADirectoryError):
    """EISDIR: a directory where a file was meant."""


class NotAllowed(Error, PermissionError):
    """EACCES, EPERM: the store is another user's."""


class NoDaemon(Error, ProcessLookupError):
    """ESRCH: no daemon serves the store."""


class Disconnected(Error, ConnectionResetError):
    """ECONNRESET: the daemon went away; open a new Store. What was under way is done or not, each
    transaction whole."""


class TimedOut(Error, TimeoutError):
    """ETIMEDOUT: no answer in time. A change may be done yet."""


class Stale(Error):
    """ESTALE: the file is at another version than if_version, or there, or gone. Read it again."""


class Cancelled(Error):
    """ECANCELED: a test of a patch failed."""


_CLASSES = {
    _errno.ENOENT: NotFound, _errno.EISDIR: IsDirectory, _errno.EACCES: NotAllowed, _errno.EPERM: NotAllowed,
    _errno.ESRCH: NoDaemon, _errno.ECONNRESET: Disconnected, _errno.ETIMEDOUT: TimedOut, _errno.ESTALE: Stale,
    _errno.ECANCELED: Cancelled,
}


def _error(code, message):
    return _CLASSES.get(code, Error)(code, message)


# --- values ------------------------------------------------------------------------------------


class _Any:
    def __repr__(self):
        return "shoal.ANY"


ANY = _Any()  # if_version: whichever version the file has, and whether it is there or not


class Raw(str):
    """A JSON text that goes to the store as it is: Raw('{"price": 1.10}'). The daemon checks it (EINVAL)."""

    __slots__ = ()


class File:
    """A file as Store.get read it.

    data: bytes, as the mount serves them. version: str. form: "json" (a document), "text" (merges as text),
    "blob" (any other), "none" (empty)."""

    __slots__ = ("path", "data", "version", "form")

    def __init__(self, path, data, version, form):
        self.path, self.data, self.version, self.form = path, data, version, form

    def __repr__(self):
        return f"<shoal.File {self.path!r}, {self.form}, {len(self.data)} bytes, version {self.version[:8]}>"

    def text(self):
        """The content as str; UnicodeDecodeError where it is not UTF-8."""
        return self.data.decode()

    def json(self, **options):
        """The document's value; options as json.loads takes them. ValueError: the file is not JSON."""
        return json.loads(self.data, **options)


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=True).encode


def _text(value):
    """A value as JSON on one line."""
    # Line breaks of JSON are blanks, for inside of texts there are none.
    return value.replace("\n", " ").replace("\r", " ") if isinstance(value, Raw) else _encode(value)


def _step(operation, path, member, value, if_version):
    """A line of a transaction (shoal-control(7), txn)."""
    line = f'{{"{operation}":{_encode(_path(path))}'
    if member:
        line += f',"{member}":{_text(value)}'
    if if_version is not ANY:
        if if_version is not None and not isinstance(if_version, str):
            raise TypeError("if_version is a version (str), None (the file must not be there) or shoal.ANY")
        line += f',"if":{_encode(if_version)}'
    return line + "}\n"


def _path(path):
    path = os.fspath(path)
    if not isinstance(path, str):
        raise TypeError("a path is a str")
    return path


# --- where the store is ------------------------------------------------------------------------


def _mount_of(path):
    """The store of the shoal mount that path is in, or None. The file system itself is not asked: it may hang."""
    path = os.path.normpath(os.path.join(os.getcwd(), path))
    above, name = os.path.split(path)
    path = os.path.join(os.path.realpath(above), name)
    found = None
    with open("/proc/self/mountinfo", "rb") as mounts:
        for line in mounts:
            before, _, after = line.partition(b" - ")
            kind, source = after.split(b" ", 2)[:2]
            if kind != b"fuse.shoal":
                continue
            place = _unescape(before.split(b" ")[4]).rstrip("/")
            # What was mounted last lies on top.
            if path == place or path.startswith(place + "/"):
                found = _unescape(source)
    return found


def _unescape(field):
    return os.fsdecode(re.sub(rb"\\([0-3][0-7][0-7])", lambda m: bytes([int(m[1], 8)]), field))


def find(where=None):
    """The directory (str) of a store. where: the store's directory or any place inside of its mount; None: as
    shoal(1) finds it: $SHOAL_STORE, the mount that the current directory is in, the user's own store. It need not
    be there. NotFound: HOME is not set."""
    if where is not None:
        where = os.fsdecode(where)
        return os.path.abspath(_mount_of(where) or where)
    if os.environ.get("SHOAL_STORE"):
        return os.path.abspath(os.environ["SHOAL_STORE"])
    mounted = _mount_of(".")
    if mounted:
        return mounted
    for variable, below in (("XDG_DATA_HOME", "shoal"), ("HOME", ".local/share/shoal")):
        directory = os.environ.get(variable, "")
        if directory.startswith("/"):
            return os.path.join(directory, below)
    raise _error(_errno.ENOENT, "cannot tell where the store is, because HOME is not set: name its directory")


def _connect(store):
    try:
        directory = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        raise _error(_errno.ENOENT, f"there is no store at {store}; `shoal up` makes one") from None
    except OSError as error:
        raise _error(error.errno, f"cannot open the store {store}: {error.strerror}") from None
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        # By a short name: addresses of sockets have 107 bytes.
        connection.connect(f"/proc/self/fd/{directory}/control.sock")
        connection.setblocking(False)
        return connection
    except OSError as error:
        connection.close()
        if error.errno in (_errno.ENOENT, _errno.ECONNREFUSED):
            raise _error(_errno.ESRCH, f"no daemon serves the store {store}; `shoal up` starts one") from None
        raise _error(error.errno, f"cannot reach the daemon of {store}: {error.strerror}") from None
    finally:
        os.close(directory)


# --- the connection ----------------------------------------------------------------------------


class _Request:
    """What was asked, and the answers that nobody has taken yet."""

    __slots__ = ("answers", "last", "wanted")

    def __init__(self):
        self.answers = collections.deque()  # results; an Error is the last one
        self.last = False
        self.wanted = True


_DEFAULT = object()


class Store:
    """A connection to the daemon of a store. For `with`; else close() it.

    where: the store's directory, or any place inside of its mount; None: as shoal(1) finds it (see find).
    timeout: how long each answer is waited for, in seconds; None: forever.
    NoDaemon, NotFound (no store), NotAllowed."""

    def __init__(self, where=None, *, timeout=60.0):
        self.path = find(where)  # the store's directory
        self.timeout = timeout
        self._socket = None
        self._socket = _connect(self.path)
        self._requests = {}
        self._number = 0
        self._out = bytearray()
        self._in = bytearray()
        self._seen = 0  # bytes of _in that have no line break
        self._broken = None

    def close(self):
        """Ends what was asked for and not answered. Takes back nothing that was done."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __repr__(self):
        return f"<shoal.Store {self.path!r}{'' if self._socket else ', closed'}>"

    def fileno(self):
        """The connection's descriptor, to be polled for reading."""
        if self._socket is None:
            raise ValueError("the store is closed")
        return self._socket.fileno()

    # --- requests ---

    def call(self, method, params=None, *, timeout=_DEFAULT):
        """Asks for a method of shoal-control(7), returns the last result (a dict).

        params: a dict. timeout: for each answer, in seconds; None: forever; left out: that of the connection."""
        result = {}
        for result in self.stream(method, params, timeout=timeout):
            pass
        return result

    def stream(self, method, params=None, *, timeout=_DEFAULT):
        """The same for methods that report as they go: an iterator over all results. What is asked for is sent
        at once."""
        return self._results(self._send(method, params), timeout)

    def _results(self, request, timeout=_DEFAULT):
        try:
            while True:
                if not request.answers:
                    if request.last:
                        return
                    self._pump(lambda: request.answers, timeout)
                answer = request.answers.popleft()
                if isinstance(answer, Error):
                    raise answer
                yield answer
        finally:
            request.wanted = False
            request.answers.clear()

    def _send(self, method, params=None):
        line = _encode({"method": method, "params": params or {}, "id": self._number + 1}).encode() + b"\n"
        if len(line) > REQUEST_MAX:
            raise _error(_errno.E2BIG, f"a request of {len(line)} bytes is too long: {REQUEST_MAX} at most")
        self.fileno()
        if self._broken:
            raise _error(self._broken.errno, str(self._broken))
        self._number += 1
        request = self._requests[self._number] = _Request()
        self._out += line
        self._write()
        return request

    def _pump(self, until, timeout=_DEFAULT):
        """Sends and receives, neither side holding up the other, until that is so. TimedOut: nothing came."""
        patience = self.timeout if timeout is _DEFAULT else timeout
        end = None if patience is None else time.monotonic() + patience
        while not until():
            if self._broken:
                raise _error(self._broken.errno, str(self._broken))
            waits = select.poll()
            waits.register(self.fileno(), select.POLLIN | (select.POLLOUT if self._out else 0))
            left = None if end is None else max(0.0, end - time.monotonic())
            ready = waits.poll(None if left is None else left * 1000)
            if not ready and left is not None and time.monotonic() >= end:
                raise _error(_errno.ETIMEDOUT, f"the daemon did not answer within {patience:g} s; "
                                               "`shoal status` shows how it is")
            if ready and ready[0][1] & select.POLLOUT:
                self._write()
            if ready and ready[0][1] & ~select.POLLOUT:
                self._read()

    def _write(self):
        try:
            while self._out:
                with memoryview(self._out) as out:
                    sent = self._socket.send(out[:READ_STEP], socket.MSG_NOSIGNAL)
                del self._out[:sent]
        except BlockingIOError:
            pass
        except OSError:
            # It may have said why before it went: that is read first.
            self._out.clear()

    def _read(self):
        try:
            data = self._socket.recv(READ_STEP)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        except OSError as error:
            self._break(error.errno, f"the connection to the daemon broke: {error.strerror}")
            return
        if not data:
            self._break(_errno.ECONNRESET, "the daemon went away before it answered; its log says why")
            return
        self._in += data
        end = self._in.rfind(b"\n", self._seen) + 1
        if end:
            lines = bytes(self._in[:end]).split(b"\n")
            del self._in[:end]
            for line in lines[:-1]:
                self._take(line)
        self._seen = len(self._in)
        if self._seen > ANSWER_MAX:
            self._break(_errno.EPROTO, "the daemon answers with too much at once")

    def _take(self, line):
        try:
            answer = json.loads(line)
            number, more = answer.get("id"), answer.get("more", False)
            if "error" in answer:
                error = answer["error"]
                result = _error(int(error["code"]), str(error["message"]))
            else:
                result = answer["result"]
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._break(_errno.EPROTO, "the daemon answers with what is no answer; is it of another version?")
            return
        if number is None and isinstance(result, Error):
            self._break(result.errno, str(result))  # one that it could not read
            return
        request = self._requests.get(number) if isinstance(number, int) else None
        if request is None:
            return
        if not more:
            request.last = True
            del self._requests[number]
        if request.wanted:
            request.answers.append(result)

    def _break(self, code, message):
        self._broken = _error(code, message)
        for request in self._requests.values():
            request.last = True
            if request.wanted:
                request.answers.append(_error(code, message))
        self._requests.clear()

    # --- files ---

    def get(self, path, *, version=None, max_size=None):
        """Reads a file of any kind: a File.

        version: four or more digits of one that is kept (`shoal log` lists them); None: the newest.
        max_size: bytes; a larger file is not read (EFBIG).
        NotFound, IsDirectory; EHOSTDOWN: its contents are not here, and no device that has them is."""
        params = {"path": _path(path)}
        if version is not None:
            params["version"] = version
        data, first = bytearray(), None
        for result in self.stream("cat", params):
            if first is None:
                first = result
                if max_size is not None and first["size"] > max_size:
                    raise _error(_errno.EFBIG, f'"{path}" has {first["size"]} bytes, more than {max_size}')
            data += base64.b64decode(result["data"])
        return File(params["path"], bytes(data), first["version"], first["form"])

    def put(self, path, value, *, if_version=ANY):
        """Makes the document be that value, or makes the document. Returns its version then.

        path: its name ends in .json, and its directory is there. if_version: a version, which the file must have,
        or None: it must not be there; else Stale, and nothing is done. What is changed merges, field by field, with
        what other devices change meanwhile.
        NotFound (the directory), Stale, EINVAL (the name, or a Raw that is no JSON), EROFS, ENOSPC, EFBIG."""
        return self._single("put", path, "value", value, if_version)

    def merge(self, path, value, *, if_version=ANY):
        """Changes a document by a JSON Merge Patch (RFC 7396): {"doors": 5, "colour": None} sets one member and
        takes another away. Returns its version then. As put; NotFound: there is no such document."""
        return self._single("merge", path, "value", value, if_version)

    def patch(self, path, operations, *, if_version=ANY):
        """Changes a document by a JSON Patch (RFC 6902), a list of dicts with "op", "path" and so on. Returns
        its version then. As merge; Cancelled: a test failed."""
        return self._single("patch", path, "ops", operations, if_version)

    def delete(self, path, *, if_version=ANY):
        """Deletes a file of any kind. NotFound, IsDirectory, Stale, EROFS."""
        self._single("delete", path, None, None, if_version)

    def _single(self, operation, path, member, value, if_version):
        line = _step(operation, path, member, value, if_version)
        try:
            return self.call("txn", {"lines": line})["changes"][0]["version"]
        except Error as error:
            raise _error(error.errno, re.sub(r"\Aline 1(, column \d+)?: ", "", str(error))) from None

    def mkdir(self, path):
        """Makes a directory, with those above it that are missing; all of them may be there.
        ENOTDIR: one of the names is something else; EROFS, ENOSPC."""
        self.call("mkdir", {"path": _path(path)})

    def txn(self, *, apart=False, sync=False):
        """Several changes, all or none: a Txn.

            with store.txn() as txn:
                txn.merge("accounts/ann.json", {"balance": 70}, if_version=ann.version)
                txn.merge("accounts/ben.json", {"balance": 30}, if_version=ben.version)

        apart: other devices need not take it in as one, which costs less. sync: it is on the disk when it is
        answered; else it is within a second, and only the end of the power may take the last second."""
        return Txn(self, apart, sync)

    def bulk(self, *, window=4, steps=STEPS_MAX, sync=False):
        """Many changes, for what is brought in by the thousand: a Bulk.

            with store.bulk() as bulk:
                for row in rows:
                    bulk.put(f"rows/{row['id']}.json", row)

        They go out in batches of so many steps (1..1000), of which window are under way at a time. Each batch is
        done whole or not at all; other devices take it in piece by piece. sync: all of it is on the disk at the
        end."""
        return Bulk(self, window, steps, sync)

    def sync(self):
        """Returns when all that was changed before is on the disk."""
        self.call("sync", {})

    # --- questions ---

    def query(self, sql, params=None, *, raw=False):
        """Asks in the SQL of shoal-query(7): Rows, an iterator over tuples, one for each row.

            for name, n in store.query("SELECT body ->> 'maker', count(*) FROM cars WHERE body ->> 'doors' >= :n "
                                       "GROUP BY 1", {"n": 4}):
                ...

        params: a dict with what :name in the query is: str, int, float, bool or None. Values are None, int, float,
        str, and bytes; in columns that are JSON (body, body -> ...) they are what json.loads makes of them, or with
        raw the texts. Each query has a connection of its own, so it may be left at any row.
        EINVAL: the query, with the place; EPERM: it would change something; TimedOut, ENOMEM: it is over a limit of
        shoal.conf(5); EFBIG: a row of more than 6 MiB; EBUSY: eight run already."""
        return Rows(self.path, sql, params or {}, raw)

    # --- other devices ---

    def watch(self, *paths):
        """What changes in or below the paths (none: everywhere), by whichever program or device: a Watch, an
        iterator over dicts as shoal-control(7) describes them: path, kind ("created", "changed", "attributes",
        "moved", "removed"), version, device, remote, time, pointers...

        It has begun when this returns, on a connection of its own. What changed before is not told: read it now.
        The same goes for a change of kind "overflow", and for a new watch after Disconnected."""
        return Watch(self.path, paths, self.timeout)

    def wait(self, *paths, peers=1, device=None, timeout=None):
        """Waits until other devices hold durably what this store holds, now, in or below the paths (none:
        everywhere): so many peers, or that device (its name or id). Returns the list of their names.

        timeout: seconds; None: forever. TimedOut; ENODEV: there is no such device; EINVAL: it is this one."""
        params = {"paths": [_path(path) for path in paths]}
        if device is not None:
            params["device"] = device
        else:
            params["peers"] = peers
        if timeout is not None:
            params["timeout_us"] = max(1, int(timeout * 1e6))
        return self.call("wait", params, timeout=None)["held_by"]


# --- several changes ---------------------------------------------------------------------------


class _Steps:
    """What Txn and Bulk have in common."""

    def put(self, path, value, *, if_version=ANY):
        """As Store.put."""
        self._add(_step("put", path, "value", value, if_version))

    def merge(self, path, value, *, if_version=ANY):
        """As Store.merge."""
        self._add(_step("merge", path, "value", value, if_version))

    def patch(self, path, operations, *, if_version=ANY):
        """As Store.patch."""
        self._add(_step("patch", path, "ops", operations, if_version))

    def delete(self, path, *, if_version=ANY):
        """As Store.delete."""
        self._add(_step("delete", path, None, None, if_version))


def _with_step(error, before=0):
    """The error, with the step that its message names by "line N"."""
    line = re.match(r"line (\d+)(?:, column \d+)?: ", str(error))
    if not line:
        return error
    step = before + int(line[1]) - 1
    named = _error(error.errno, f"step {step + 1}: {str(error)[line.end():]}")
    named.step = step
    return named


class Txn(_Steps):
    """Changes that are done all or none, up to 1000; each goes on from what those before it made.

    As a context manager it is run at the end, unless there was an exception; or run() it. Then versions has, for each
    step, the version (str) that its file has after all of them, None if it is gone. A failure has the index of the
    step at fault in Error.step, and nothing was done."""

    def __init__(self, store, apart=False, sync=False):
        self.versions = None
        self._store = store
        self._options = {"apart": apart, "sync": sync}
        self._lines = []

    def __len__(self):
        return len(self._lines)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None and self.versions is None:
            self.run()

    def _add(self, line):
        if self.versions is not None:
            raise ValueError("the transaction is done: make a new one")
        if len(self._lines) == STEPS_MAX:
            raise _error(_errno.E2BIG, f"a transaction has {STEPS_MAX} steps, not more; Store.bulk takes any number")
        self._lines.append(line)

    def run(self):
        """Does all of it or nothing; returns versions."""
        if not self._lines:
            self.versions = []
            return self.versions
        try:
            answer = self._store.call("txn", {"lines": "".join(self._lines), **self._options})
        except Error as error:
            raise _with_step(error) from None
        self.versions = [change["version"] for change in answer["changes"]]
        return self.versions


class Bulk(_Steps):
    """Any number of changes, sent in batches. For `with`; flush() waits until all of them are done.

    count: how many are done. A batch that fails raises its Error at one of the next changes or at the end, with
    the index of the step at fault, counted from the first one, in Error.step; of its batch nothing is done, of the
    window of batches after it some may be."""

    BATCH_BYTES = 1024 * 1024

    def __init__(self, store, window=4, steps=STEPS_MAX, sync=False):
        if not 1 <= window <= 32 or not 1 <= steps <= STEPS_MAX:
            raise ValueError(f"window is 1 to 32, steps is 1 to {STEPS_MAX}")
        self.count = 0
        self._store = store
        self._window, self._steps, self._sync = window, steps, sync
        self._lines, self._bytes = [], 0
        self._begun = 0                        # steps in batches that were sent
        self._under_way = collections.deque()  # of (request, steps before it, steps in it)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.flush()

    def _add(self, line):
        if self._lines and self._bytes + len(line) > self.BATCH_BYTES:
            self._go()
        self._lines.append(line)
        self._bytes += len(line)
        if len(self._lines) == self._steps:
            self._go()

    def _go(self):
        if len(self._under_way) == self._window:
            self._finish_one()
        request = self._store._send("txn", {"lines": "".join(self._lines), "apart": True})
        self._under_way.append((request, self._begun, len(self._lines)))
        self._begun += len(self._lines)
        self._lines, self._bytes = [], 0

    def _finish_one(self):
        request, before, steps = self._under_way.popleft()
        try:
            for _ in self._store._results(request):
                pass
        except Error as error:
            raise _with_step(error, before) from None
        self.count += steps

    def flush(self):
        """Sends what is left, waits until all of it is done (with sync: on the disk)."""
        if self._lines:
            self._go()
        while self._under_way:
            self._finish_one()
        if self._sync:
            self._store.sync()


# --- questions ---------------------------------------------------------------------------------


class Rows:
    """The answer to Store.query: an iterator over tuples, as they come. columns: list of the names (str). dicts()
    goes over dicts instead. It ends with the last row, with `with`, or by close(), which ends the query as well."""

    def __init__(self, where, sql, params, raw=False):
        self._store = Store(where, timeout=None)  # the daemon has a limit of its own
        try:
            values = {name: self._parameter(value) for name, value in params.items()}
            self._results = self._store.stream("query", {"sql": sql, "params": values})
            columns = next(self._results)["columns"]
        except BaseException:
            self._store.close()
            raise
        self.columns = [column["name"] for column in columns]
        self._json = [column["json"] and not raw for column in columns]
        self._rows = self._go()
        self._closed = False

    @staticmethod
    def _parameter(value):
        if value is not None and not isinstance(value, (str, int, float)):
            raise TypeError("a parameter is str, int, float, bool or None")
        return _encode(value)

    def _value(self, value, as_json):
        if isinstance(value, dict):
            return base64.b64decode(value["base64"])
        return json.loads(value) if as_json and isinstance(value, str) else value

    def _go(self):
        try:
            for result in self._results:
                for row in result.get("rows", ()):
                    yield tuple(map(self._value, row, self._json))
        finally:
            self._store.close()

    def __iter__(self):
        return self

    def __next__(self):
        if self._closed:
            raise ValueError("the query is closed")
        return next(self._rows)

    def dicts(self):
        """The rest of the rows as dicts, by the names of the columns; of several of one name the last one counts."""
        for row in self:
            yield dict(zip(self.columns, row))

    def close(self):
        """Ends it."""
        self._closed = True
        self._store.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


# --- what happens elsewhere --------------------------------------------------------------------


class Watch:
    """Changes as they happen: an iterator without an end, see Store.watch. For `with`; else close() it.
    Disconnected: the daemon went away."""

    def __init__(self, where, paths, timeout):
        self._store = Store(where, timeout=timeout)
        try:
            self._request = self._store._send("watch", {"paths": [_path(path) for path in paths]})
            self.next(timeout)  # an empty object: it has begun
        except BaseException:
            self._store.close()
            raise

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, timeout=None):
        """The next change, a dict; waits for it so many seconds (None: forever). TimedOut: there was none."""
        request = self._request
        if not request.answers:
            if request.last:
                raise StopIteration
            self._store._pump(lambda: request.answers, timeout)
        answer = request.answers.popleft()
        if isinstance(answer, Error):
            raise answer
        return answer

    def fileno(self):
        """To be polled for reading; then take changes by next(0) until TimedOut."""
        return self._store.fileno()

    def close(self):
        """Ends it."""
        self._store.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
