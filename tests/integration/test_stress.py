# SPDX-License-Identifier: GPL-2.0-or-later
"""What others wrote to strain file systems, and to find what they get wrong: stress-ng, fio."""
import subprocess

import pytest

from fsmount import Mount

STRESSORS = {
    "names": ["dentry", "dir", "dirdeep", "filename", "getdent", "rename", "symlink", "touch"],
    "attributes": ["access", "chdir", "chmod", "chown", "fstat", "mknod", "utime", "xattr"],
    "contents": ["fallocate", "fpunch", "hdd", "io", "iomix", "readahead", "revio"],
    "handles": ["dup", "fcntl", "flock", "lease", "locka", "lockf", "lockofd", "open", "seek",
                "sendfile", "sync-file"],
}


@pytest.fixture
def d():
    mount = Mount("allow_other,dev,suid")
    made = mount.dir / "d"
    made.mkdir()
    yield made
    mount.close()


@pytest.mark.parametrize("group", STRESSORS)
def test_stress_ng(d, group):
    """Two seconds of each at the same time, that looks at what comes of it."""
    stressors = [word for s in STRESSORS[group] for word in (f"--{s}", "1")]
    done = subprocess.run(
        ["stress-ng", "--temp-path", d, "--verify", "--timeout", "2s", "--hdd-bytes", "8M",
         "--fallocate-bytes", "8M", "--readahead-bytes", "8M", "--iomix-bytes", "8M", *stressors],
        timeout=200,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "fail:" not in done.stdout, done.stdout


@pytest.mark.parametrize("engine", ["psync", "mmap"])
@pytest.mark.parametrize("rw", ["randwrite", "randrw", "write"])
def test_fio(d, engine, rw):
    """Blocks that carry a checksum, two files at the same time, read back."""
    done = subprocess.run(
        ["fio", "--name=f", f"--directory={d}", f"--ioengine={engine}", f"--rw={rw}", "--bs=4k",
         "--size=4M", "--numjobs=2", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
         "--verify_state_save=0", "--fsync=100", "--randseed=7"], timeout=200, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0 and "verify:" not in done.stdout, done.stdout
