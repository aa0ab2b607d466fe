# SPDX-License-Identifier: GPL-2.0-or-later
"""Real programs save a text while another device changes other lines of it: both edits survive."""
import os
import shutil
import subprocess

import pytest

from fsmount import wait_until

POEM = "".join(f"line {n} of the poem\n" for n in range(1, 21))
HERE = POEM.replace("line 3 ", "line three ")
THERE = POEM.replace("line 12 ", "line twelve ").replace("line 20 of the poem\n", "")
BOTH = HERE.replace("line 12 ", "line twelve ").replace("line 20 of the poem\n", "")


@pytest.fixture(params=["notes.txt", "notes.md"])
def text(m, request):
    (m.dir / "c").mkdir()
    path = m.dir / "c" / request.param
    path.write_text(POEM)
    m.settle_and_sync()
    assert os.getxattr(path, "user.shoal.kind") == b"text"
    return path


def need(*tools):
    missing = [t for t in tools if not shutil.which(t)]
    if missing:
        pytest.fail("not installed: " + ", ".join(missing))


def run(*command, **options):
    return subprocess.run(command, check=True, timeout=60, capture_output=True, text=True, **options)


def remote(m, text, content=THERE):
    m.remote_put(f"c/{text.name}", content)


def check(m, text, want=BOTH):
    m.settle_and_sync()
    assert text.read_text() == want
    assert m.remote_bytes(f"c/{text.name}").decode() == want
    assert m.remote_paths() == ["c", f"c/{text.name}"], "litter, or a file lost"
    assert m.drafts() == []


def test_python(m, text):
    content = text.read_text()
    remote(m, text)
    text.write_text(content.replace("line 3 ", "line three "))
    check(m, text)


def test_a_temp_file_and_rename(m, text):
    content = text.read_text()
    remote(m, text)
    temp = text.with_name(text.name + ".new")
    temp.write_text(content.replace("line 3 ", "line three "))
    os.replace(temp, text)
    check(m, text)


def test_sed_i(m, text):
    remote(m, text)
    run("sed", "-i", "s/line 3 /line three /", str(text))
    check(m, text)


def test_append(m, text):
    remote(m, text)
    with open(text, "a") as f:
        f.write("an end\n")
    check(m, text, THERE + "an end\n")


def test_two_saves_without_reading_in_between(m, text):
    content = text.read_text()
    remote(m, text)
    first = content.replace("line 3 ", "line three ")
    text.write_text(first)
    text.write_text(first.replace("line 5 ", "line five "))
    check(m, text, BOTH.replace("line 5 ", "line five "))


@pytest.mark.parametrize("options", [[], ["-c", "set backupcopy=yes"],
                                     ["-c", "set nobackup nowritebackup"]])
def test_vim(m, text, options):
    """Reads, waits for the other device's change, saves twice."""
    need("vim")
    ready, go = m.top / "ready", m.top / "go"
    script = m.top / "script.vim"
    script.write_text(f"""
        call writefile([], '{ready}')
        while !filereadable('{go}')
            sleep 10m
        endwhile
        %s/line 3 /line three /
        write!
        %s/line 5 /line five /
        write!
        quit!
    """)
    vim = subprocess.Popen(["vim", "-u", "NONE", "-N", "-es", *options, "-S", str(script), str(text)],
                           stdin=subprocess.DEVNULL)
    wait_until(ready.exists, 20, "vim has read")
    remote(m, text)
    go.touch()
    assert vim.wait(timeout=30) == 0
    check(m, text, BOTH.replace("line 5 ", "line five "))


def test_both_devices_run_one_formatter(m, text):
    content = text.read_text()
    formatted = content.replace(" of the ", " of  the ")
    remote(m, text, formatted)
    text.write_text(formatted)
    check(m, text, formatted)


def test_rsync_inplace_and_cp(m, text):
    copy = m.top / "copy.txt"
    shutil.copy(text, copy)
    copy.write_text(copy.read_text().replace("line 3 ", "line three "))
    run("cp", str(copy), str(text))
    remote(m, text, HERE.replace("line 12 ", "line twelve ").replace("line 20 of the poem\n", ""))
    check(m, text)


def test_what_is_no_text_is_kept_to_the_byte(m, text):
    binary = b"\xff\xfe\x00binary" * 100
    text.write_bytes(binary)
    m.settle_and_sync()
    assert text.read_bytes() == binary and m.remote_bytes(f"c/{text.name}") == binary
    assert os.getxattr(text, "user.shoal.kind") == b"blob"
    text.write_text(POEM)
    check(m, text, POEM)
