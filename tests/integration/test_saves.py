# SPDX-License-Identifier: GPL-2.0-or-later
"""Saves of a document with a change of another field from elsewhere, beyond those of
test_matrix.py: several threads, handles and saves, and what a program sees afterwards. Both edits
survive, it stays one document, and no litter reaches the other device."""
import json
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from fsmount import wait_until

START = {"title": "draft", "count": 1, "tags": ["a", "b"], "owner": {"name": "ann", "age": 30}}
EDITED = "edited here"


@pytest.fixture
def doc(m):
    m.new_document("c/d.json", START)
    return m.path("c/d.json")


def need(*tools):
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        pytest.fail("not installed: " + ", ".join(missing))


def run(*command, cwd=None, shell=False, **options):
    return subprocess.run(command[0] if shell else command, cwd=cwd, shell=shell, check=True,
                          timeout=60, capture_output=True, text=True,
                          executable="/bin/bash" if shell else None, **options)


def check(m, path="c/d.json", title=EDITED, count=7, others=()):
    """Here and there: the local edit of the title, the remote one of the count."""
    m.settle_and_sync()
    want = dict(START, title=title, count=count)
    here = m.json(path)
    assert here == want
    assert m.remote_json(path) == want
    assert m.remote_bytes(path) == m.path(path).read_bytes()
    assert m.remote_paths() == sorted(["c", path, *others]), "litter, or a document lost"
    assert m.drafts() == []


def remote(m, count=7, path="c/d.json"):
    m.remote_set(path, count=count)


def edited(text):
    document = json.loads(text)
    document["title"] = EDITED
    return json.dumps(document, indent=2) + "\n"


def test_threads_are_one_reader(m, doc):
    """mount.fuse.shoal(8), "Saving": of a process what any of its threads opened last counts, except
    for what is read and written through one descriptor."""
    def in_thread(work):
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(work).result()
    own = open(doc, "r+")
    held = json.loads(own.read())
    older = in_thread(doc.read_text)
    remote(m)
    assert json.loads(in_thread(doc.read_text))["count"] == 7
    in_thread(lambda: doc.write_text(edited(older)))
    check(m, count=1)
    remote(m)
    held["owner"]["age"] = 31
    with own:
        own.seek(0)
        own.write(json.dumps(held, indent=2) + "\n")
        own.truncate()
    m.settle_and_sync()
    assert m.json("c/d.json") == dict(START, title=EDITED, count=7,
                                      owner={"name": "ann", "age": 31})


def test_python_read_and_write_through_one_handle(m, doc):
    with open(doc, "r+") as f:
        document = json.load(f)
        remote(m)
        m.settle()  # long enough for the open file to be told
        document["title"] = EDITED
        f.seek(0)
        json.dump(document, f, indent=2)
        f.truncate()
    check(m)


def test_temp_file_and_rename(m, doc):
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    temp = doc.with_name("d.json.new")
    temp.write_text(json.dumps(document))
    os.replace(temp, doc)
    check(m)


def test_rename_exchange(m, doc):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    temp = doc.with_name("tmpAb12Cd")
    with open(temp, "x") as f:
        json.dump(document, f)
    assert libc.renameat2(-100, bytes(temp), -100, bytes(doc), 2) == 0, ctypes.get_errno()
    assert json.loads(temp.read_text())["title"] == "draft", "the old version under the temp name"
    temp.unlink()
    check(m)


def test_two_saves_without_reading_in_between(m, doc):
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = "first"
    doc.write_text(json.dumps(document))
    m.remote_set("c/d.json", count=8)
    document["title"] = "draft"   # back to what it was: a change all the same
    doc.write_text(json.dumps(document))
    check(m, title="draft", count=8)


def test_append_to_a_document_is_an_edit_in_place(m, doc):
    size = doc.stat().st_size
    with open(doc, "r+") as f:
        text = f.read()
        at = text.index('"draft"')
        f.seek(at)
        f.write('"other"')
    assert doc.stat().st_size == size
    check(m, title="other", count=1)


@pytest.mark.parametrize("options", [[], ["--inplace"]])
def test_rsync(m, options):
    """The change arrives while rsync is at work, which has looked at its old file by then."""
    need("rsync")
    start = dict(START, filling=["x" * 60] * 3000)
    m.new_document("c/d.json", start)
    outside = m.top / "copy.json"
    outside.write_text(json.dumps(dict(start, title=EDITED), indent=2) + "\n")
    p = subprocess.Popen(["rsync", "-a", "--bwlimit=40", *options, outside, m.path("c/d.json")])
    wait_until(lambda: m.stats()["handles"] > 0, 20, "rsync writes")
    remote(m)
    assert p.poll() is None, "rsync was too fast for this test"
    assert p.wait(60) == 0
    m.settle_and_sync()
    want = dict(start, title=EDITED, count=7)
    assert m.json("c/d.json") == want
    assert m.remote_json("c/d.json") == want
    assert m.remote_paths() == ["c", "c/d.json"]


def test_git_checkout_of_a_document(m):
    need("git")
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a",
           "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b"}
    m.new_document("c/d.json", START)
    repo = m.path("c")

    def git(*words):
        return run("git", "-c", "safe.directory=*", *words, cwd=repo, env=env).stdout
    git("init", "-q", "-b", "main")
    git("add", "d.json")
    git("commit", "-qm", "one")
    (repo / "d.json").write_text(edited((repo / "d.json").read_text()))
    assert "d.json" in git("status", "--short")
    git("commit", "-qam", "two")
    git("checkout", "-q", "HEAD~1")
    assert m.json("c/d.json") == START
    git("checkout", "-q", "main")
    m.settle_and_sync()
    assert m.json("c/d.json")["title"] == EDITED
    assert m.remote_json("c/d.json") == m.json("c/d.json")
    assert git("status", "--short") == ""
    run("git", "-c", "safe.directory=*", "fsck", "--strict", cwd=repo, env=env)


# ---- what a program sees afterwards ----


def test_the_file_shows_the_merged_result_at_once(m, doc):
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    doc.write_text(json.dumps(document, indent=2))
    # No settling: the very next open.
    assert json.loads(doc.read_text()) == dict(START, title=EDITED, count=7)


def test_bash_truncation_publishes_no_empty_document(m, doc):
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["bash", "-c", f"{{ cat {gate}; }} > {doc}"])
    with open(gate, "w") as f:
        m.settle_and_sync()
        assert m.remote_json("c/d.json") == START, "an empty state was published"
        f.write(json.dumps(dict(START, title=EDITED)))
    assert p.wait(30) == 0
    remote(m)
    check(m)


def test_one_file_written_by_several_children(m, doc):
    run("{ printf '{\"title\": '; cat title; printf ', \"count\": 1, \"tags\": [\"a\", \"b\"], "
        "\"owner\": {\"name\": \"ann\", \"age\": 30}}'; } > c/d.json".replace(
            "cat title", f"/bin/echo '\"{EDITED}\"'").replace("c/d.json", str(doc)), shell=True)
    remote(m)
    check(m)


def test_what_is_written_goes_along_when_the_file_is_renamed_aside(m, d):
    """A truncate without a close is saved a while later: the backup has it all the same."""
    p = d / "a.txt"
    p.write_text("one\ntwo\n")
    m.settle_and_sync()
    os.truncate(p, 0)
    os.rename(p, d / "a.txt~")
    assert (d / "a.txt~").read_bytes() == b""
    os.rename(d / "a.txt~", p)
    m.settle_and_sync()
    assert p.read_bytes() == m.remote_bytes("c/a.txt") == b""


def test_who_puts_an_old_file_in_the_place_of_another_knows_it(m, d):
    """One that was renamed aside has no writer; the next save of who renamed it back is of what is there."""
    (d / "a.txt").write_text("a\n" * 40)
    (d / "b.txt").write_text("b\n" * 900)
    m.settle_and_sync()
    assert (d / "a.txt").read_text() == "a\n" * 40
    os.rename(d / "b.txt", d / "h.tmp")
    (d / "a.txt").unlink()
    os.rename(d / "h.tmp", d / "a.txt")
    assert (d / "a.txt").stat().st_size == 1800
    with open(d / "a.txt", "w") as f:
        f.write("c\n")
    m.settle_and_sync()
    assert (d / "a.txt").read_text() == "c\n"
    assert m.remote_bytes("c/a.txt") == b"c\n"
