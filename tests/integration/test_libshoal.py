# SPDX-License-Identifier: GPL-2.0-or-later
"""libshoal: a C program on a store, what it is told, and that it can be built and linked as its manual says."""
import json
import re
import shlex
import subprocess
import time

import pytest

from lab import BUILD, SOURCE, wait_for

LIBUSER = BUILD / "tests/helpers/libuser"
HEADER = SOURCE / "tools/libshoal/shoal.h"


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    (host.dir / "cars").mkdir()
    return host


def cases(host, *words):
    """Runs libuser; it passes all of its cases."""
    result = host.run(LIBUSER, *words, check=False, timeout=120)
    assert result.returncode == 0 and "not ok" not in result.stdout, result.stdout + result.stderr
    assert re.search(r"^# libuser: \d+ passed, 0 failed$", result.stdout, re.M), result.stdout
    return result.stdout


def test_program(anna):
    """Everything a program can do, by the store's directory and from inside of its mount."""
    cases(anna, anna.store, "cars")
    listed = {path.name for path in (anna.dir / "cars").iterdir()}
    assert len(listed) == 3 * 6000 + 4
    (anna.dir / "more").mkdir()
    cases(anna, anna.dir / "cars", "more")
    assert anna.shoal("verify", "--json")["errors"] == 0


def test_default_store(anna):
    """Without a name it is found as the command finds it."""
    example = build(anna, example_of_manual())
    (anna.dir / "visits.json").write_text("41\n")
    anna.run(example)
    assert (anna.dir / "visits.json").read_text() == "42\n"
    anna.run(example, cwd=anna.dir / "cars", env={"SHOAL_STORE": ""})
    assert (anna.dir / "visits.json").read_text() == "43\n"


def test_counter_of_many(anna):
    """The manual's example loses no count, however many run at once."""
    example = build(anna, example_of_manual())
    (anna.dir / "visits.json").write_text("0\n")
    anna.run("sh", "-c", f"for k in 1 2 3 4; do (for i in 1 2 3 4 5 6 7 8; do {shlex.quote(str(example))} "
                         f"|| exit 1; done) & done; wait", timeout=120)
    assert (anna.dir / "visits.json").read_text() == "32\n"


def example_of_manual():
    """The program of libshoal(3), as mdoc shows it."""
    page = (SOURCE / "man/libshoal.3").read_text()
    text = re.search(r"^#include <errno\.h>\n.*?^}\n", page, re.M | re.S)[0]
    return text.replace(r"\e", "\\")


def build(host, program):
    """Compiled as pkg-config says, with every warning."""
    source = host.home / "program.c"
    source.write_text(program)
    flags = subprocess.run(
        ["pkg-config", f"--define-variable=libdir={BUILD}", f"--define-variable=includedir={HEADER.parent}",
         "--cflags", "--libs", BUILD / "tools/libshoal/shoal.pc"],
        capture_output=True, text=True, check=True).stdout.split()
    sanitizers = re.search(r"^SAN_FLAGS = *(.*)$", (BUILD / "Makefile").read_text(), re.M)[1].split()
    result = host.home / "program"
    subprocess.run(["gcc", "-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", *sanitizers, "-o", result, source,
                    *flags, f"-Wl,-rpath,{BUILD}"], check=True, timeout=60)
    return result


def test_header_alone(anna):
    """In C++ as in C, before anything else."""
    for language in ("c", "c++"):
        result = subprocess.run(["clang", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", language, "-"],
                                input=f'#include "{HEADER}"\nint main(void) {{ return 0; }}\n',
                                capture_output=True, text=True, timeout=60)
        assert result.returncode == 0, result.stderr


def test_exports():
    """What the header declares, no less and no more, each with the version of the interface."""
    declared = set(re.findall(r"^[a-z][a-z0-9_ ]*[ *](shoal_[a-z_]+)\(", HEADER.read_text(), re.M))
    output = subprocess.run(["nm", "-D", "--defined-only", BUILD / "libshoal.so"], capture_output=True, text=True,
                            check=True).stdout
    exported = set(re.findall(r" T (\S+)$", output, re.M))
    assert exported == {f"{name}@@SHOAL_0" for name in declared} and len(declared) == 30
    manual = (SOURCE / "man/libshoal.3").read_text()
    assert all(re.search(rf"^\.F[no] {name}\b", manual, re.M) for name in declared)


def test_watch_of_two(lab):
    """A program on one device hears what is done on another."""
    lan = lab.network()
    anna, ben = lab.host("anna", lan), lab.host("ben", lan)
    anna.up()
    ben.join(anna)
    (anna.dir / "cars").mkdir()
    wait_for((ben.dir / "cars").is_dir, what="the directory")
    watch = ben.popen(LIBUSER, ben.store, "cars", "watch", stdout=subprocess.PIPE, text=True)
    assert watch.stdout.readline() == "{}\n"
    (anna.dir / "cars/1.json").write_text('{"doors": 3}\n')
    anna.shoal("wait", "--device", "ben", "--timeout", "30s")
    (anna.dir / "cars/1.json").write_text('{"doors": 5}\n')
    anna.shoal("wait", "--device", "ben", "--timeout", "30s")
    (anna.dir / "cars/end.json").write_text("{}\n")
    told = [json.loads(line) for line in watch.stdout]
    assert watch.wait(timeout=30) == 0
    mine = [(x["kind"], x["device"], x["remote"], x["pointers"]) for x in told if x["path"] == "cars/1.json"
            and x["kind"] != "attributes"]
    assert mine[0][:3] == ("created", "anna", True)
    assert mine[-1] == ("changed", "anna", True, ["/doors"])


def test_gone(anna):
    """The daemon ends under a program."""
    program = anna.popen(LIBUSER, anna.store, "cars", "gone", stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert program.stdout.readline() == "ready\n"
    anna.down()
    output, _ = program.communicate("go on\n", timeout=60)
    first, second = output.splitlines()
    assert first.startswith("ECONNRESET: the daemon went away") and second.startswith("ESRCH: no daemon serves")


def test_sync_outlives_power(anna):
    """With SHOAL_SYNC the write-ahead log is on the disk when the answer comes; `sync` alone does that as well."""
    trace = anna.home / "trace"
    pid = anna.daemon_pid()
    strace = anna.popen("strace", "-f", "-qq", "-e", "trace=fdatasync,fsync,sync_file_range", "-o", trace, "-p", pid,
                        stderr=subprocess.PIPE)
    wait_for(lambda: traced(pid), what="strace")

    def synced():
        return trace.read_text().count("sync(") if trace.exists() else 0

    for params in ({"lines": '{"put": "cars/a.json", "value": 1}', "sync": True},
                   {"lines": '{"put": "cars/a.json", "value": 2}'}):
        before = synced()
        with anna.connect() as store:
            store.call("txn", params)
            if "sync" not in params:
                store.call("sync")
        wait_for(lambda: synced() > before, timeout=5, what="a sync")
    strace.terminate()


def test_open_files_hold_nothing_up(anna):
    """Programs that keep files open are no reason to wait: only who reads the file that changes is let finish."""
    (anna.dir / "cars/other.txt").write_text("x\n")
    with open(anna.dir / "cars/other.txt") as reader, open(anna.dir / "cars/log.txt", "a") as writer, \
            anna.connect() as store:
        reader.read()
        writer.write("x\n")
        writer.flush()
        start = time.monotonic()
        for n in range(30):
            store.put("cars/a.json", n)
        # A tenth of a second each would be three.
        assert time.monotonic() - start < 2
    assert (anna.dir / "cars/a.json").read_text() == "29\n"


def traced(pid):
    status = open(f"/proc/{pid}/status").read()
    return re.search(r"^TracerPid:\t[1-9]", status, re.M)
