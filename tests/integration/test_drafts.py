# SPDX-License-Identifier: GPL-2.0-or-later
"""Bytes that are no JSON, saved over a document in every way there is, under each mount option: who is
told, what everybody sees at the path, what the other device sees, and what the next good save is
taken against."""
import ctypes
import errno
import json
import mmap
import os
import subprocess

import pytest

from fsmount import Mount

START = {"title": "draft", "owner": {"name": "ann"}, "count": 1}
BAD = b'{"title": "edited",\n "owner" {"name": "ann"},\n "count": 1}\n'
WHY = b"line 2, column 10: expected ':'"
FIXED = dict(START, title="edited")
RENAME_EXCHANGE = 2


@pytest.fixture(scope="module", params=["", "strict", "lenient"])
def m(request):
    mount = Mount(request.param)
    mount.changes()
    yield mount
    mount.close()


@pytest.fixture
def d(m, request):
    """A directory for each test."""
    path = m.path(f"d{abs(hash(request.node.name))}")
    path.mkdir()
    return path


@pytest.fixture
def own():
    """A mount for those that end it."""
    mount = Mount()
    yield mount
    mount.close()


def dump(document):
    return (json.dumps(document, indent=2) + "\n").encode()


class Refused:
    """Which calls failed, by their names. Any other failure than EINVAL is one of the test."""

    def __init__(self):
        self.calls = []

    def __call__(self, name, call, *arguments):
        try:
            return call(*arguments)
        except OSError as error:
            assert error.errno == errno.EINVAL, error
            self.calls.append(name)


def renameat2(a, b, flags):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.renameat2(-100, bytes(a), -100, bytes(b), flags) < 0:
        raise OSError(ctypes.get_errno(), f"renameat2 {a} {b}")


def write(path, data, refused=None, flags=os.O_WRONLY | os.O_CREAT | os.O_TRUNC):
    """In one write and a close."""
    fd = os.open(path, flags, 0o644)
    os.write(fd, data)
    if refused:
        refused("close", os.close, fd)
    else:
        os.close(fd)


# ---- ways to write `data` over (or as) the document p; which calls are refused ----


def by_flush(p, data, refused):
    write(p, data, refused)


def by_flush_of_a_duplicate(p, data, refused):
    """As a shell does."""
    fd = os.open(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    other = os.dup(fd)
    os.write(other, data)
    refused("close", os.close, fd)
    refused("close", os.close, other)


def by_fsync(p, data, refused):
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 0)
    os.write(fd, data)
    refused("fsync", os.fsync, fd)
    refused("close", os.close, fd)


def by_fdatasync(p, data, refused):
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, 0)
    os.pwrite(fd, data, 0)
    refused("fsync", os.fdatasync, fd)
    refused("close", os.close, fd)


def by_rename(p, data, refused):
    temp = p.with_name(f".{p.name}.Ab3dEf")
    write(temp, data)
    refused("rename", os.rename, temp, p)
    if temp.exists():
        assert temp.read_bytes() == data
        temp.unlink()


def by_rename_of_an_open_file(p, data, refused):
    temp = p.with_name(".goutputstream-AB12CD")
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, data)
    refused("rename", os.rename, temp, p)
    os.close(fd)
    if temp.exists():
        temp.unlink()


def by_rename_of_a_name(p, data, refused):
    other = p.with_name("t")
    write(other, data)
    refused("rename", os.rename, other, p)
    if other.exists():
        other.unlink()


def by_exchange(p, data, refused):
    temp = p.with_name("tmpAb12Cd")
    write(temp, data)
    if not p.exists():
        write(p, b"{}")
    refused("rename", renameat2, temp, p, RENAME_EXCHANGE)
    temp.unlink()


def by_copy_file_range(p, data, refused):
    source = p.with_name("source.tmp")
    write(source, data)
    a, b = os.open(source, os.O_RDONLY), os.open(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    assert os.copy_file_range(a, b, 1 << 20) == len(data)
    refused("close", os.close, b)
    os.close(a)
    source.unlink()


def by_mapping(p, data, refused):
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, len(data))
    view = mmap.mmap(fd, len(data))
    view[:] = data
    refused("msync", view.flush)
    view.close()
    refused("close", os.close, fd)


def by_mapping_without_sync(p, data, refused):
    fd = os.open(p, os.O_RDWR | os.O_CREAT)
    os.ftruncate(fd, len(data))
    view = mmap.mmap(fd, len(data))
    view[:] = data
    view.close()
    refused("close", os.close, fd)


def by_creating_anew(p, data, refused):
    if p.exists():
        p.unlink()
    fd = os.open(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    os.write(fd, data)
    refused("close", os.close, fd)


def by_backup_name(p, data, refused):
    backup = p.with_name(p.name + "~")
    if p.exists():
        os.rename(p, backup)
    write(p, data, refused)
    if backup.exists():
        backup.unlink()


WAYS = {
    by_flush: ["close"],
    by_flush_of_a_duplicate: ["close", "close"],
    by_fsync: ["fsync", "close"],
    by_fdatasync: ["fsync", "close"],
    by_rename: ["rename"],
    by_rename_of_an_open_file: ["rename"],
    by_rename_of_a_name: ["rename"],
    by_exchange: ["rename"],
    by_copy_file_range: ["close"],
    by_mapping: ["msync", "close"],
    by_mapping_without_sync: ["close"],
    by_creating_anew: ["close"],
    by_backup_name: ["close"],
}


def xattr(p, name):
    return os.getxattr(p, "user.shoal." + name)


def no_xattr(p, name):
    with pytest.raises(OSError) as caught:
        xattr(p, name)
    assert caught.value.errno == errno.ENODATA


def told_there(m, d):
    """What the other device was told about files in the directory."""
    return [c for c in m.changes()[1] if c["path"].startswith(d.name + "/") and c["remote"]]


def is_draft(m, p, data, why=WHY):
    assert p.read_bytes() == data and p.stat().st_size == len(data)
    assert xattr(p, "state") == b"draft"
    assert why in xattr(p, "error")
    path = str(p.relative_to(m.dir))
    assert path in m.drafts()
    assert (m.dir / ".shoal/drafts" / path).read_bytes() == data


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_over_a_document(m, d, way):
    path = f"{d.name}/a.json"
    p = d / "a.json"
    m.new_document(path, START)
    before = {name: xattr(p, name) for name in ("id", "version", "author", "kind")}
    m.changes()
    refused = Refused()
    way(p, BAD, refused)
    assert refused.calls == ([] if m.options == "lenient" else WAYS[way])
    is_draft(m, p, BAD)
    assert {name: xattr(p, name) for name in before} == before
    m.settle_and_sync()
    assert m.remote_bytes(path) == dump(START) and told_there(m, d) == []
    assert os.listdir(d) == ["a.json"]
    # A change arrives; what was read before it is saved, and is JSON now.
    m.remote_set(path, count=7)
    is_draft(m, p, BAD)
    assert m.remote_json(path) == dict(START, count=7)
    refused = Refused()
    m.changes()
    way(p, dump(FIXED), refused)
    assert refused.calls == []
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == dict(FIXED, count=7)
    assert xattr(p, "id") == before["id"] and path not in m.drafts()
    no_xattr(p, "error")
    assert [c["pointers"] for c in told_there(m, d) if c["content"]] == [["/title"]]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_new_file(m, d, way):
    """Kept and synced as a text until a save parses, so that anything can be copied; with strict
    refused as well."""
    path, p = f"{d.name}/n.json", d / "n.json"
    refused = Refused()
    way(p, BAD, refused)
    if m.options == "strict":
        assert refused.calls == WAYS[way]
        m.ask("idle")  # what a rename that failed left behind is news
        is_draft(m, p, BAD)
        m.settle_and_sync()
        assert path not in m.remote_paths() or way == by_exchange  # over a document that is new
        is_draft(m, p, BAD)
    elif way == by_exchange:
        assert refused.calls == ([] if m.options == "lenient" else ["rename"])
        is_draft(m, p, BAD)
    else:
        assert refused.calls == []
        m.settle_and_sync()
        assert xattr(p, "kind") == b"text" and m.remote_bytes(path) == BAD
        assert path not in m.drafts()
    assert p.read_bytes() == BAD
    refused = Refused()
    way(p, dump(FIXED), refused)
    assert refused.calls == []
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == FIXED
    assert xattr(p, "kind") == b"document" and path not in m.drafts()


@pytest.mark.parametrize("content, why", [
    (b"", b"line 1, column 1: the document is empty: expected a JSON value, such as {}"),
    (b'{"a": 1', b"line 1, column 8: expected ',' or '}' after a member, found the end of the "
     b"document (the '{' at line 1, column 1 is not closed)"),
    (b'{\n  "a": 1,\n}\n', b"line 3, column 1: expected "),
    (b"{'a': 1}", b"line 1, column 2: expected "),
    (b'{"a": 1, "a": 2}', b"line 1, column 10: "),
    (b'{"a": "\xff"}', b"line 1, column 8: "),
    (b'{"a": 01}', b"line 1, column "),
    (b'{"a": NaN}', b"line 1, column 7: expected a value after ':', found 'NaN' (JSON has no "
     b"such number)"),
    (b"\xef\xbb\xbf{}", b"line 1, column 1: expected a JSON value, found a byte order mark"),
    (b'{"a": "x\ny"}', b"line 1, column 9: expected '\"' to close the string"),
])
def test_the_reason(m, d, content, why):
    p = d / "a.json"
    m.new_document(f"{d.name}/a.json", START)
    by_flush(p, content, Refused())
    is_draft(m, p, content, why)


def test_one_draft_after_another(m, d):
    """All of them have the base of the first."""
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    for k, data in enumerate((BAD, b"{", b"", BAD)):
        by_flush(p, data, Refused())
        m.remote_set(path, count=k)
        is_draft(m, p, data, b"line ")
    m.new_document(f"{d.name}/b.json", START)
    by_rename(d / "b.json", BAD, Refused())
    assert {x for x in m.drafts() if x.startswith(d.name)} == {path, f"{d.name}/b.json"}
    write(p, dump(FIXED))
    is_draft(m, d / "b.json", BAD)
    m.settle_and_sync()
    assert m.remote_json(path) == dict(FIXED, count=3)
    assert m.remote_json(f"{d.name}/b.json") == START


def test_a_draft_is_mended_in_place(m, d):
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    whole = dump(FIXED)
    by_flush(p, whole[:-2], Refused())
    m.remote_set(path, count=7)
    with open(p, "ab") as file:
        file.write(whole[-2:])
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == dict(FIXED, count=7)
    assert path not in m.drafts()


def test_the_document_as_it_was_ends_the_draft(m, d):
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    by_flush(p, BAD, Refused())
    m.remote_set(path, count=7)
    m.changes()
    write(p, dump(START))
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == dict(START, count=7)
    assert path not in m.drafts() and told_there(m, d) == []


def test_a_draft_is_deleted(m, d):
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    by_flush(p, BAD, Refused())
    p.unlink()
    assert path not in m.drafts()
    m.settle_and_sync()
    assert m.remote_paths().count(path) == 0 and os.listdir(d) == []
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == FIXED


def test_a_draft_is_deleted_and_made_again(m, d):
    """Within the time of grace: it is a save."""
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    identity = xattr(p, "id")
    by_flush(p, BAD, Refused())
    m.remote_set(path, count=7)
    p.unlink()
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert xattr(p, "id") == identity and path not in m.drafts()
    assert m.json(path) == m.remote_json(path) == dict(FIXED, count=7)


@pytest.mark.parametrize("to", ["{}/b.json", "{}/deep/b.json", "{}-other/b.json"])
def test_a_draft_is_renamed(m, d, to):
    """The document moves, the draft goes with it, and so does its base."""
    path = to.format(d.name)
    p, q = d / "a.json", m.path(path)
    m.new_document(f"{d.name}/a.json", START)
    by_flush(p, BAD, Refused())
    q.parent.mkdir(exist_ok=True)
    os.rename(p, q)
    is_draft(m, q, BAD)
    m.settle_and_sync()
    is_draft(m, q, BAD)
    assert m.remote_json(path) == START and f"{d.name}/a.json" not in m.remote_paths()
    m.remote_set(path, count=7)
    write(q, dump(FIXED))
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == dict(FIXED, count=7)
    assert not [x for x in m.drafts() if x.startswith(d.name)]


def test_the_directory_of_a_draft_is_renamed(m, d):
    (d / "one").mkdir()
    m.new_document(f"{d.name}/one/a.json", START)
    by_flush(d / "one/a.json", BAD, Refused())
    os.rename(d / "one", d / "two")
    m.settle_and_sync()
    is_draft(m, d / "two/a.json", BAD)
    assert m.remote_json(f"{d.name}/two/a.json") == START


def test_a_draft_is_renamed_aside(m, d):
    """What an editor does that saves once more."""
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    identity = xattr(p, "id")
    by_flush(p, BAD, Refused())
    m.remote_set(path, count=7)
    by_backup_name(p, dump(FIXED), Refused())
    m.settle_and_sync()
    assert xattr(p, "id") == identity and path not in m.drafts()
    assert m.json(path) == m.remote_json(path) == dict(FIXED, count=7)


def test_the_document_of_a_draft_is_renamed_elsewhere(m, d):
    m.new_document(f"{d.name}/a.json", START)
    by_flush(d / "a.json", BAD, Refused())
    m.ask("mv", f"{d.name}/a.json", f"{d.name}/b.json")
    m.sync()
    m.ask("idle")
    is_draft(m, d / "b.json", BAD)
    assert not (d / "a.json").exists()


def test_the_document_of_a_draft_is_deleted_elsewhere(m, d):
    """The text is not lost; a good save brings the document back."""
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    by_flush(p, BAD, Refused())
    m.ask("rm", path)
    m.sync()
    m.ask("idle")
    is_draft(m, p, BAD)
    m.settle_and_sync()
    is_draft(m, p, BAD)
    assert path not in m.remote_paths()
    os.rename(p, d / "b.json")
    m.settle_and_sync()
    is_draft(m, d / "b.json", BAD)
    os.rename(d / "b.json", p)
    m.settle_and_sync()
    assert [x for x in m.remote_paths() if x.startswith(d.name)] == [d.name]
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == FIXED and path not in m.drafts()


def test_the_document_of_a_draft_is_purged_elsewhere(m, d):
    """Nothing is kept of the document, but the text is."""
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    by_flush(p, BAD, Refused())
    m.ask("purge", path)
    m.sync()
    m.ask("idle")
    is_draft(m, p, BAD)
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert m.json(path) == m.remote_json(path) == FIXED and path not in m.drafts()


@pytest.mark.parametrize("name, before, news, last", [
    ("a.txt", b"one\n", b"one\ntwo\n", b"one\ntwo\nthree\n"),
    ("a.bin", b"one\0", b"one two\0", b"one two three\0"),
    ("a.json", dump(START), dump(dict(START, more=1)), dump(dict(START, more=2))),
])
def test_a_file_is_purged_elsewhere_while_it_is_written(m, d, name, before, news, last):
    """What was saved meanwhile has become another file of that name; what is saved then goes there."""
    path, p = f"{d.name}/{name}", d / name
    write(p, before)
    m.settle_and_sync()
    m.ask("purge", path)
    write(p, news)
    m.settle()
    fd = os.open(p, os.O_RDWR)
    os.pwrite(fd, last, 0)
    m.sync()
    m.ask("idle")
    os.close(fd)
    m.settle_and_sync()
    assert p.read_bytes() == m.remote_bytes(path) == last
    assert path not in m.drafts() and sorted(x.name for x in d.iterdir()) == [name]


def test_times_and_modes_of_a_draft(m, d):
    path, p = f"{d.name}/a.json", d / "a.json"
    m.new_document(path, START)
    by_flush(p, BAD, Refused())
    os.chmod(p, 0o600)
    os.utime(p, ns=(1, 1_600_000_000_123_456_789))
    is_draft(m, p, BAD)
    assert p.stat().st_mtime_ns == 1_600_000_000_123_456_789 and p.stat().st_mode & 0o777 == 0o600


def test_the_directory_of_a_draft_is_deleted_elsewhere(m, d):
    """It is in the directory above that is left: the mount's, after all others."""
    top = d.name
    m.new_document(f"{top}/deep/{top}.json", START)
    by_flush(d / f"deep/{top}.json", BAD, Refused())
    m.new_document(f"{top}/deep/other/{top}.json", START)
    by_flush(d / f"deep/other/{top}.json", BAD + b"]", Refused())
    for path in (f"deep/{top}.json", f"deep/other/{top}.json", "deep/other", "deep"):
        m.ask("rm", f"{top}/{path}")
    m.sync()
    m.settle()
    found = [m.path(f"{top}.json"), m.path(f"draft-2-{top}.json")]
    for path, data in zip(sorted(found, key=lambda path: path.stat().st_size), (BAD, BAD + b"]")):
        is_draft(m, path, data)
    m.settle_and_sync()
    assert [x for x in m.remote_paths() if top in x] == [top]


# ---- after a crash ----


@pytest.mark.parametrize("size", [100, 1 << 20])
def test_after_a_crash(own, size):
    """The bytes, the reason and the base; long drafts are kept beside the store."""
    m = own
    start = dict(START, long="x" * size)
    m.new_document("c/a.json", start)
    p = m.path("c/a.json")
    bad = dump(dict(start, title="edited")).replace(b'"owner":', b'"owner"')
    by_flush(p, bad, Refused())
    reason = xattr(p, "error")
    m.remote_set("c/a.json", count=7)
    for _ in range(2):
        m.kill()
        m.start()
        is_draft(m, p, bad, reason)
    assert xattr(p, "error") == reason
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == dict(start, count=7)
    subprocess.run(["sed", "-i", 's/"owner"/"owner":/', p], check=True, timeout=60)
    m.settle_and_sync()
    want = dict(start, title="edited", count=7)
    assert m.json("c/a.json") == m.remote_json("c/a.json") == want
    m.kill()
    m.start()
    assert m.json("c/a.json") == want and m.drafts() == []


def test_a_refused_new_file_after_a_crash(own):
    m = own
    m.stop()
    m.start("strict")
    m.path("c").mkdir()
    p = m.path("c/n.json")
    by_flush(p, BAD, Refused())
    m.kill()
    m.start("strict")
    m.settle_and_sync()
    is_draft(m, p, BAD)
    assert m.remote_paths() == ["c"]
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert m.remote_json("c/n.json") == FIXED and m.drafts() == []


def test_the_document_of_a_draft_is_deleted_while_nothing_is_mounted(own):
    m = own
    m.new_document("c/a.json", START)
    p = m.path("c/a.json")
    by_flush(p, BAD, Refused())
    m.ask("rm", "c/a.json")
    m.sync()
    for _ in range(2):
        m.kill()
        m.start()
        is_draft(m, p, BAD)
        m.settle_and_sync()
        assert m.remote_paths() == ["c"]
    write(p, dump(FIXED))
    m.settle_and_sync()
    assert m.remote_json("c/a.json") == FIXED and m.drafts() == []


# ---- strict: other names ----


def test_a_refused_file_is_renamed(own):
    """A draft by any other name: under one for texts it is a text, under one for scraps a scrap."""
    m = own
    m.stop()
    m.start("strict")
    d = m.path("c")
    d.mkdir()
    by_flush(d / "n.json", BAD, Refused())
    os.rename(d / "n.json", d / "o.json")
    is_draft(m, d / "o.json", BAD)
    os.rename(d / "o.json", d / "o.json~")
    assert m.drafts() == [] and xattr(d / "o.json~", "state") == b"local"
    by_flush(d / "p.json", BAD, Refused())
    os.rename(d / "p.json", d / "p.txt")
    m.settle_and_sync()
    assert m.drafts() == [] and m.remote_paths() == ["c", "c/p.txt"]
    with pytest.raises(OSError) as caught:
        os.rename(d / "p.txt", d / "q.json")
    assert caught.value.errno == errno.EINVAL
    m.ask("idle")
    is_draft(m, d / "q.json", BAD)
    m.settle_and_sync()
    assert m.remote_paths() == ["c", "c/p.txt"]


def test_exchange_of_two_new_files(own):
    """Which of them leaves this device is a matter of their names."""
    m = own
    d = m.path("c")
    d.mkdir()
    write(d / "n.txt", b"first\n")
    write(d / "tmpAb12Cd", b"second\n")
    renameat2(d / "n.txt", d / "tmpAb12Cd", RENAME_EXCHANGE)
    m.settle_and_sync()
    assert (d / "tmpAb12Cd").read_bytes() == b"first\n"
    assert m.remote_paths() == ["c", "c/n.txt"] and m.remote_bytes("c/n.txt") == b"second\n"
