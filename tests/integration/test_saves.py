# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs save a document while a change of another field arrives between their reading and
their writing. Both edits survive, it stays one document, and no litter reaches the other device."""
import json
import os
import shutil
import subprocess
import textwrap
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


# ---- programs that hold the text while time passes: the script decides when ----


def test_python_json_dump(m, doc):
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    with open(doc, "w") as f:
        json.dump(document, f, indent=2)
    check(m)


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


def test_python_truncating_first_through_one_handle(m, doc):
    with open(doc, "r+") as f:
        document = json.load(f)
        remote(m)
        document["title"] = EDITED
        f.seek(0)
        f.truncate()
        json.dump(document, f, indent=2)
    check(m)


def test_temp_file_and_rename(m, doc):
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    temp = doc.with_name("d.json.new")
    temp.write_text(json.dumps(document))
    os.replace(temp, doc)
    check(m)


def test_temp_file_in_python_tempfile(m, doc):
    run("python3", "-c", textwrap.dedent("""
        import json, os, sys, tempfile, time
        path = sys.argv[1]
        document = json.load(open(path))
        open("/tmp/" + sys.argv[2], "w").close()
        document["title"] = sys.argv[3]
        fd, temp = tempfile.mkstemp(dir=os.path.dirname(path))
        os.write(fd, json.dumps(document).encode())
        os.fsync(fd)
        os.close(fd)
        os.rename(temp, path)
    """), str(doc), m.top.name + "/read", EDITED)
    remote(m)
    check(m)


def test_rename_while_the_temp_file_is_still_open(m, doc):
    """GLib's order: fsync, rename, close."""
    document = json.loads(doc.read_text())
    remote(m)
    document["title"] = EDITED
    temp = doc.with_name(".goutputstream-AB12CD")
    with open(temp, "x") as f:
        json.dump(document, f)
        f.flush()
        os.rename(temp, doc)
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


def test_unlink_and_create(m, doc):
    """tar, install, mv across devices."""
    text = doc.read_text()
    remote(m)
    doc.unlink()
    with open(doc, "x") as f:
        f.write(edited(text))
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


def test_an_unmodified_save_changes_nothing(m, doc):
    text = doc.read_text()
    remote(m)
    doc.write_text(text)
    check(m, title="draft")


def test_append_to_a_document_is_an_edit_in_place(m, doc):
    size = doc.stat().st_size
    with open(doc, "r+") as f:
        text = f.read()
        at = text.index('"draft"')
        f.seek(at)
        f.write('"other"')
    assert doc.stat().st_size == size
    check(m, title="other", count=1)


def test_mmap(m, doc):
    import mmap
    with open(doc, "r+b") as f, mmap.mmap(f.fileno(), 0) as view:
        at = view.find(b'"draft"')
        remote(m)
        view[at:at + 7] = b'"other"'
    check(m, title="other")


# ---- programs run as they are; the change arrives before they write, at a place they wait at ----


def test_sed_i(m, doc):
    # sed runs a shell command for each line with the e flag: the change arrives while it works.
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["sed", "-i", "-e", f"1e cat {gate}", "-e", f"s/draft/{EDITED}/", str(doc)])
    with open(gate, "w") as f:  # opens when sed's cat does: sed has read by then
        remote(m)
        f.write("")
    assert p.wait(30) == 0
    check(m)


def test_jq_and_mv(m, doc):
    """Three processes; the temp file is opened before jq reads."""
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(
        ["bash", "-c", f"jq '.title=\"{EDITED}\"' d.json > t && cat {gate} && mv t d.json"],
        cwd=doc.parent)
    with open(gate, "w") as f:
        remote(m)
        f.write("")
    assert p.wait(30) == 0
    check(m)


def test_jq_and_mv_of_a_json_name(m, doc):
    run(f"jq '.title=\"{EDITED}\"' d.json > new.json && mv new.json d.json", shell=True,
        cwd=doc.parent)
    remote(m)
    check(m)


def test_sponge(m, doc):
    need("jq", "sponge")
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["bash", "-c", f"(jq '.title=\"{EDITED}\"' d.json; cat {gate}) | "
                          "sponge d.json"], cwd=doc.parent)
    with open(gate, "w") as f:
        remote(m)
        f.write("")
    assert p.wait(30) == 0
    check(m)


def test_shell_redirection(m, doc):
    """echo "$(...)" > file: the shell flushes before it writes."""
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["bash", "-c", f"x=$(jq '.title=\"{EDITED}\"' d.json); cat {gate}; "
                          "echo \"$x\" > d.json"], cwd=doc.parent)
    with open(gate, "w") as f:
        remote(m)
        f.write("")
    assert p.wait(30) == 0
    check(m)


def test_tee(m, doc):
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["bash", "-c", f"x=$(cat d.json); cat {gate}; "
                          f"echo \"${{x/draft/{EDITED}}}\" | tee d.json > /dev/null"],
                         cwd=doc.parent)
    with open(gate, "w") as f:
        remote(m)
        f.write("")
    assert p.wait(30) == 0
    check(m)


def vim(m, doc, *settings, edit=True):
    need("vim", "expect")
    ready, go = m.top / "ready", m.top / "go"
    substitute = f'send ":%s/draft/{EDITED}/\\r"' if edit else ""
    script = textwrap.dedent(f"""
        set timeout 20
        log_user 0
        spawn vim -N -u NONE -i NONE {' '.join(f'-c "set {s}"' for s in settings)} {doc}
        {substitute}
        send ":call writefile(\\[\\], '{ready}')\\r"
        while {{![file exists {go}]}} {{ after 10 }}
        send ":w!\\r"
        expect {{
            "y/n" {{ send "y\\r"; exp_continue }}
            "oad File" {{ send "o\\r"; exp_continue }}
            "written" {{ }}
        }}
        send ":q!\\r"
        expect eof
    """)
    p = subprocess.Popen(["expect", "-c", script], env={**os.environ, "TERM": "xterm"})
    wait_until(ready.exists, 20, "vim has read and edited")
    remote(m)
    go.touch()
    assert p.wait(60) == 0
    check(m, title=EDITED if edit else "draft")


def test_vim_renaming_aside(m, doc):
    vim(m, doc, "backupcopy=no", "swapfile", "writebackup")


def test_vim_keeping_a_backup(m, doc):
    vim(m, doc, "backupcopy=no", "backup")


def test_vim_copying_the_backup(m, doc):
    vim(m, doc, "backupcopy=yes", "writebackup")


def test_vim_unmodified_with_a_copied_backup(m, doc):
    """vim reads the file once more to make the backup; that is not what its user edited."""
    vim(m, doc, "backupcopy=yes", "backup", edit=False)


def emacs(m, doc, *forms):
    need("emacs")
    gate = m.top / "gate"
    os.mkfifo(gate)
    p = subprocess.Popen(["emacs", "-Q", "--batch", *[x for f in forms for x in ("--eval", f)],
                          "--eval", f'(find-file "{doc}")',
                          "--eval", f'(while (search-forward "draft" nil t) (replace-match "{EDITED}"))',
                          "--eval", f'(call-process "cat" "{gate}")',
                          "--eval", "(set-visited-file-modtime)",
                          "--eval", "(save-buffer)"])
    with open(gate, "w") as f:
        remote(m)
        f.write("")
    assert p.wait(60) == 0
    check(m)


def test_emacs(m, doc):
    emacs(m, doc)


def test_emacs_copying_the_backup(m, doc):
    emacs(m, doc, "(setq backup-by-copying t)")


def test_emacs_without_backup(m, doc):
    emacs(m, doc, "(setq make-backup-files nil)")


def test_emacs_writing_carefully(m, doc):
    emacs(m, doc, "(setq file-precious-flag t)")


def nano(m, doc, *options):
    need("nano", "expect")
    gate = m.top / "ready"
    script = textwrap.dedent(f"""
        set timeout 20
        log_user 0
        spawn nano --ignorercfiles {' '.join(options)} {doc}
        expect "draft"
        exec touch {gate}
        while {{![file exists {gate}.go]}} {{ after 10 }}
        send "\\x1c"
        expect "Search"
        send "draft\\r"
        expect "Replace with"
        send "{EDITED}\\r"
        expect "instance"
        send "y"
        expect "eplaced"
        send "\\x0f"
        expect {{
            "File Name" {{ send "\\r"; exp_continue }}
            "was modified" {{ send "y"; exp_continue }}
            "has changed" {{ send "y"; exp_continue }}
            "changed on disk" {{ send "y"; exp_continue }}
            "Wrote" {{ }}
        }}
        send "\\x18"
        expect {{
            "odified buffer" {{ send "n"; exp_continue }}
            eof {{ }}
        }}
    """)
    p = subprocess.Popen(["expect", "-c", script], env={**os.environ, "TERM": "xterm"})
    wait_until(gate.exists, 20, "nano shows the file")
    remote(m)
    gate.with_suffix(".go").touch()
    assert p.wait(60) == 0
    check(m)


def test_nano(m, doc):
    nano(m, doc)


def test_nano_with_backup(m, doc):
    nano(m, doc, "-B")


def test_ed(m, doc):
    need("ed")
    p = subprocess.Popen(["ed", "-s", str(doc)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         text=True)
    p.stdin.write("1p\n")
    p.stdin.flush()
    assert p.stdout.readline().strip() == "{"
    remote(m)
    p.communicate(f"g/draft/s/draft/{EDITED}/\nw\nq\n", timeout=30)
    assert p.returncode == 0
    check(m)


def test_perl_i(m, doc):
    run("perl", "-i", "-pe", f"s/draft/{EDITED}/", str(doc))
    remote(m)
    check(m)


def test_patch(m, doc):
    need("patch")
    difference = m.top / "diff"
    old, new = m.top / "old", m.top / "new"
    old.write_bytes(doc.read_bytes())
    new.write_text(edited(doc.read_text()))
    with open(difference, "w") as f:
        subprocess.run(["diff", "-u", old, new], stdout=f, check=False)
    run("patch", "-s", str(doc), str(difference))
    remote(m)
    check(m)


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


def test_cp_back(m, doc):
    outside = m.top / "copy.json"
    run("cp", str(doc), str(outside))
    outside.write_text(edited(outside.read_text()))
    remote(m)
    run("cp", str(outside), str(doc))
    check(m)


def test_mv_back_across_devices(m, doc):
    outside = m.top / "copy.json"
    run("cp", str(doc), str(outside))
    outside.write_text(edited(outside.read_text()))
    remote(m)
    run("mv", str(outside), str(doc))
    check(m)


def test_install_back(m, doc):
    outside = m.top / "copy.json"
    run("cp", str(doc), str(outside))
    outside.write_text(edited(outside.read_text()))
    remote(m)
    run("install", "-m", "644", str(outside), str(doc))
    check(m)


def test_tar_back(m, doc):
    tree = m.top / "tree"
    (tree / "c").mkdir(parents=True)
    run("cp", str(doc), str(tree / "c/d.json"))
    (tree / "c/d.json").write_text(edited(doc.read_text()))
    run("tar", "-C", str(tree), "-cf", str(m.top / "t.tar"), "c/d.json")
    remote(m)
    run("tar", "-C", str(m.dir), "-xf", str(m.top / "t.tar"))
    check(m)


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
