# SPDX-License-Identifier: GPL-2.0-or-later
import os
import shutil
import signal

import pytest

from fsmount import Mount
from lab import Lab, remove_leftovers

NEEDED = {"ip": "iproute2", "nsenter": "util-linux", "fusermount3": "fuse3",
          "systemd-analyze": "systemd"}


def pytest_addoption(parser):
    parser.addoption("--times", type=int, default=1, help="run every test so many times")
    parser.addoption("--soak", type=int, default=20, help="seconds that test_soak lasts")


def pytest_generate_tests(metafunc):
    times = metafunc.config.getoption("--times")
    if times > 1:
        metafunc.fixturenames.append("repetition")
        metafunc.parametrize("repetition", range(1, times + 1))


def pytest_sessionstart(session):
    # Who starts this in the background has it ignore SIGINT, and so every program that a test starts.
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(session.config, "workerinput"):
        return  # the process that started this worker looked already
    missing = [f"{tool} (apt-get install {package})" for tool, package in NEEDED.items()
               if not shutil.which(tool)]
    if not os.path.exists("/dev/fuse"):
        missing.append("/dev/fuse (modprobe fuse)")
    if os.geteuid() != 0:
        missing.append("root (for network namespaces)")
    if missing:
        pytest.exit("the integration tests need " + ", ".join(missing), returncode=1)
    remove_leftovers()


@pytest.fixture
def m():
    """A mounted replica, and another device beside it."""
    mount = Mount()
    yield mount
    mount.close()


@pytest.fixture
def d(m):
    """A collection of it."""
    m.path("c").mkdir()
    return m.path("c")


@pytest.fixture
def lab(request):
    made = Lab()
    request.node.lab = made
    yield made
    made.close()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of every daemon's log."""
    outcome = yield
    report = outcome.get_result()
    if report.when == "call" and report.failed and hasattr(item, "lab"):
        for host in item.lab.hosts:
            lines = host.log().splitlines()[-60:]
            if lines:
                report.sections.append((f"log of {host.name}", "\n".join(lines)))


@pytest.fixture
def anna(lab):
    """A device that is up, on a network of its own."""
    host = lab.host("anna", lab.network())
    host.up()
    return host
