# SPDX-License-Identifier: GPL-2.0-or-later
"""The scaffolding itself: networks carry, split and heal; nothing is left behind."""
import os
import signal
import subprocess
import sys

import pytest

from lab import Failed, Lab, alive, mounts_below, remove_leftovers, tree_hash, wait_for


def reaches(host, address):
    """Nobody listens on the discard port there, so a refusal is the answer of a host in reach."""
    result = host.run("timeout", "1", "bash", "-c", f"</dev/tcp/{address}/9", check=False)
    return "refused" in result.stderr


def test_hosts_reach_each_other(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    assert reaches(a, b.addresses[lan])
    assert reaches(b, a.addresses6[lan])


def test_split_and_heal(lab):
    lan = lab.network()
    a, b, c = (lab.host(name, lan) for name in ("anna", "ben", "cleo"))
    lan.split([a], [b, c])
    assert not reaches(a, b.addresses[lan])
    assert reaches(c, b.addresses[lan])
    lan.heal()
    wait_for(lambda: reaches(a, b.addresses[lan]), what="the healed network")


def test_pulled_cable_is_seen(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)

    def carrier():
        return "LOWER_UP" in a.run("ip", "-o", "link", "show", "eth0").stdout

    wait_for(carrier)
    lan.disconnect(a)
    wait_for(lambda: not carrier(), what="the loss of the carrier")
    assert not reaches(b, a.addresses[lan])
    lan.connect(a)
    wait_for(lambda: reaches(b, a.addresses[lan]), what="the cable")


def test_chain_has_no_shortcut(lab):
    left, right = lab.network(), lab.network()
    a, b, c = lab.host("anna", left), lab.host("ben", left, right), lab.host("cleo", right)
    assert reaches(a, b.addresses[left]) and reaches(c, b.addresses[right])
    assert not reaches(a, c.addresses[right])


def test_hosts_have_their_own_names_and_homes(lab):
    a = lab.host("anna")
    assert a.run("hostname").stdout == "anna\n"
    assert a.run("sh", "-c", "cd; pwd").stdout == f"{a.home}\n"
    assert os.uname().nodename != "anna"


def test_everything_ends_with_the_test():
    lab = Lab()
    a = lab.host("anna", lab.network())
    child = a.popen("sleep", "1000")
    orphan = int(a.run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!").stdout)
    assert alive(child.pid) and alive(orphan)
    stranger = subprocess.Popen(["sleep", "1000"])
    subprocess.run(["mount", "-t", "tmpfs", "none", a.runtime], check=True)
    lab.close()
    assert child.returncode == -signal.SIGTERM
    assert not alive(orphan)
    assert not lab.directory.exists() and not mounts_below(lab.directory)
    assert a.namespace not in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_what_a_killed_run_left_is_removed():
    script = """
import signal, subprocess
from lab import Lab
lab = Lab()
anna = lab.host("anna", lab.network())
child = anna.popen("sleep", "1000", stdout=subprocess.DEVNULL)
subprocess.run(["mount", "-t", "tmpfs", "none", anna.runtime], check=True)
print(child.pid, lab.directory, anna.namespace, flush=True)
signal.pause()
"""
    run = subprocess.Popen([sys.executable, "-c", script], cwd=os.path.dirname(__file__),
                           stdout=subprocess.PIPE, text=True)
    pid, directory, namespace = run.stdout.readline().split()
    run.kill()
    run.wait()
    run.stdout.close()
    assert alive(int(pid)) and mounts_below(directory)
    remove_leftovers(run.pid)
    assert not alive(int(pid))
    assert not os.path.exists(directory) and not mounts_below(directory)
    assert not os.path.exists(f"/run/netns/{namespace}")


def test_commands_cannot_hang_or_fail_unseen(lab):
    a = lab.host("anna")
    with pytest.raises(Failed, match="exit status 3"):
        a.run("sh", "-c", "exit 3")
    with pytest.raises(Failed, match="not done after"):
        a.run("sleep", "1000", timeout=0.2)
    with pytest.raises(Failed, match="not within"):
        wait_for(lambda: False, timeout=0.05)


def test_tree_hash_tells_trees_apart(tmp_path):
    makers = [
        lambda d: None,
        lambda d: (d / "a").write_text(""),
        lambda d: (d / "a").mkdir(),
        lambda d: (d / "a").symlink_to("b"),
        lambda d: (d / "a").write_text("x"),
        lambda d: (d / "b").write_text("x"),
    ]
    hashes = set()
    for number, make in enumerate(makers):
        for twin in "xy":
            directory = tmp_path / f"{number}{twin}"
            directory.mkdir()
            make(directory)
            hashes.add(tree_hash(directory))
    assert len(hashes) == len(makers)
    there = tmp_path / "4x"
    os.utime(there / "a", ns=(1, 1))
    before = tree_hash(there), tree_hash(there, times=True)
    os.utime(there / "a", ns=(1, 2))
    assert tree_hash(there) == before[0] and tree_hash(there, times=True) != before[1]


def test_avahi_sees_the_other_host(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    for host in (a, b):
        host.start_avahi()
    a.popen("avahi-publish", "-s", "probe of anna", "_shoal-probe._tcp", "4711",
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_for(lambda: "anna" in b.run("avahi-browse", "-ptk", "_shoal-probe._tcp").stdout,
             what="the service of the other host")
