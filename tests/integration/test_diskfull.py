# SPDX-License-Identifier: GPL-2.0-or-later
"""A disk that fills up: said early, nothing lost, and what is there stays usable."""
import errno
import json
import os
import subprocess

import pytest

from lab import BUILD


@pytest.fixture
def small(lab):
    """A host whose store lies on a disk of 200 MB."""
    host = lab.host("anna", lab.network())
    host.store.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m,mode=0700", "none", host.store],
                   check=True, timeout=20)
    return host


def fill(directory, megabytes):
    """Writes files of a megabyte until one fails; returns the error and the names that are whole."""
    good = []
    for number in range(megabytes):
        name = directory / f"blob{number}"
        try:
            with open(name, "wb", buffering=0) as file:
                file.write(os.urandom(1 << 20))
            good.append(name)
        except OSError as error:
            return error, good
    return None, good


def saved(path, text):
    try:
        path.write_text(text)
    except OSError as error:
        assert error.errno == errno.ENOSPC, error
        return False
    return True


def test_full_disk(small):
    small.up()
    pid = small.daemon_pid()
    directory = small.dir / "c"
    directory.mkdir()
    (directory / "keep.json").write_text('{"keep":1}')
    error, good = fill(directory, 300)
    assert error and error.errno == errno.ENOSPC, error
    # The daemon lives, all that was accepted is there, and removing something makes room.
    assert small.daemon_pid() == pid
    assert all(name.stat().st_size == 1 << 20 for name in good) and len(good) > 20
    # Documents can still be saved: large files leave them room.
    assert saved(directory / "keep.json", '{"keep":2}')
    assert json.loads((directory / "keep.json").read_text()) == {"keep": 2}
    small.down()
    small.up()
    assert json.loads((directory / "keep.json").read_text()) == {"keep": 2}
    assert all(name.stat().st_size == 1 << 20 for name in good)
    assert small.shoal("verify", "--json")["errors"] == 0


def test_another_program_fills_the_disk(small):
    small.up()
    pid = small.daemon_pid()
    (small.dir / "keep.json").write_text('{"keep":1}')
    litter = small.store / "litter"
    with pytest.raises(OSError), open(litter, "wb", buffering=0) as file:
        while True:
            file.write(bytes(1 << 20))
    with pytest.raises(OSError) as failed:
        for number in range(100):
            (small.dir / f"{number}.json").write_text(json.dumps({"n": number, "text": "x" * 900}))
    assert failed.value.errno == errno.ENOSPC
    assert json.loads((small.dir / "keep.json").read_text()) == {"keep": 1}
    assert small.daemon_pid() == pid
    small.kill9()
    refused = small.run(BUILD / "shoal", "up", small.dir, check=False)
    assert refused.returncode == 1 and "no space left" in refused.stderr, refused.stderr
    litter.unlink()
    small.up()
    assert json.loads((small.dir / "keep.json").read_text()) == {"keep": 1}
    (small.dir / "keep.json").write_text('{"keep":2}')
    assert json.loads((small.dir / "keep.json").read_text()) == {"keep": 2}


def test_ignored_directories_leave_the_documents_room(small):
    small.up()
    (small.dir / ".shoalignore").write_text("build/\n")
    (small.dir / "keep.json").write_text('{"keep":1}')
    build = small.dir / "build"
    build.mkdir()
    error, good = fill(build, 300)
    assert error and error.errno == errno.ENOSPC, error
    assert all(name.stat().st_size == 1 << 20 for name in good) and len(good) > 20
    # Small files fail as well then, when they are made.
    assert not all(saved(build / f"small{number}", "x") for number in range(1000))
    assert saved(small.dir / "keep.json", '{"keep":2}')
    subprocess.run(["rm", "-r", build], check=True, timeout=60)
    build.mkdir()
    assert saved(build / "one more", "x")
    small.down()
    small.up()
    assert json.loads((small.dir / "keep.json").read_text()) == {"keep": 2}
    assert (build / "one more").read_text() == "x"
