# SPDX-License-Identifier: GPL-2.0-or-later
"""The command line: each command, each exit code, the keys of --json."""
import contextlib
import fcntl
import json
import os
import pty
import re
import signal
import socket
import struct
import subprocess
import termios
import threading

import pytest

from lab import BUILD, Failed, alive, mounts_below, wait_for

STATUS_KEYS = {"version", "store", "pid", "uptime_s", "mesh", "device", "mount", "drafts", "port",
               "files", "contents", "conflicts", "sync", "addresses", "durable", "disk"}
PEER_KEYS = {"device", "id", "role", "state", "transport", "reason", "address", "standby", "dialled", "rtt_us",
             "rate_out", "rate_in", "slow",
             "bytes_in", "bytes_out", "sync_bytes_in", "sync_bytes_out", "deltas_in", "deltas_out",
             "behind_here", "behind_there", "in_step", "copies", "connected_s"}
DEVICE_KEYS = {"name", "id", "role", "self", "connected", "through", "last_seen"}
COMMANDS = ("up down upgrade init mount umount invite join status peers devices connect disconnect "
            "evict fetch wait watch cat log diff restore blame conflicts resolve txn query index import export type "
            "subscribe unsubscribe subscriptions config log-level doctor verify").split()


def fails(host, status, *words, says="", **options):
    """The command ends with this status and one line that says why."""
    result = host.run(BUILD / "shoal", *words, check=False, **options)
    assert result.returncode == status, (words, result.stdout, result.stderr)
    assert result.stderr.count("\n") == 1 and result.stderr.startswith("shoal"), result.stderr
    assert says in result.stderr, result.stderr
    return result.stderr


@pytest.fixture
def anna(lab):
    host = lab.host("anna", lab.network())
    host.up()
    return host


def test_help_and_version(lab):
    a = lab.host("anna")
    listed = re.findall(r"^  ([a-z-]+) ", a.shoal("--help"), re.M)
    assert listed == COMMANDS
    for command in COMMANDS:
        text = a.shoal(command, "--help")
        assert text.startswith(f"Usage: shoal {command}") and "--store DIR" in text
        assert a.shoal("help", command) == text
        assert max(map(len, text.splitlines())) <= 100
    for words in (["--version"], ["status", "--version"]):
        assert re.fullmatch(r"shoal \d+\.\d+\.\d+\n", a.shoal(*words))
    assert not a.store.exists()


def test_usage_errors(lab):
    a = lab.host("anna")
    fails(a, 2, "statsu", says='did you mean "status"?')
    fails(a, 2, says="a command is missing")
    for words in (["status", "x"], ["cat"], ["wait", "--timeout", "soon"], ["up", "--nope"],
                  ["evict"], ["fetch"],
                  ["invite", "--uses", "0"], ["quest", "SELECT 1"], ["query", "SELECT 1", "--format=xml"], ["config", "no.such"],
                  ["wait", "--peers", "1", "--device", "x"], ["cat", "--json", "x"],
                  ["invite", "--expires", "0"], ["invite", "--qr", "--json"], ["log"], ["restore"],
                  ["diff"], ["diff", "x", "1", "2", "3"], ["type"]):
        fails(a, 2, *words)
    assert not a.store.exists()


def test_no_daemon(lab):
    a = lab.host("anna")
    for words in (["status"], ["peers"], ["devices"], ["wait"], ["watch"], ["cat", "x"],
                  ["log", "x"], ["log", "--deleted"], ["diff", "x"], ["restore", "x"],
                  ["blame", "x"], ["connect", "h"], ["disconnect", "h"], ["invite"], ["log-level"],
                  ["type", "."]):
        fails(a, 4, *words, says="shoal up")
    assert not a.store.exists()
    a.shoal("init")
    fails(a, 4, "status", "--json", says="no daemon")


def test_up_and_down(lab):
    a = lab.host("anna", lab.network())
    assert "new mesh" in a.up()
    assert "up already" in a.up()
    pid = a.daemon_pid()
    status = a.shoal("status", "--json")
    assert set(status) == STATUS_KEYS
    assert status["pid"] == pid and status["mount"]["dir"] == str(a.dir)
    assert status["device"]["name"] == "anna" and status["sync"]["state"] == "alone"
    assert (a.store / "control.sock").stat().st_mode & 0o777 == 0o600
    assert (a.store / "identity").stat().st_mode & 0o777 == 0o700
    assert a.store.stat().st_mode & 0o777 == 0o700
    (a.dir / "f.json").write_text('{"a":1}')
    assert a.down()
    assert not alive(pid) and not mounts_below(a.home)
    assert "was not up" in a.down()
    a.up()
    assert (a.dir / "f.json").read_text() == '{"a":1}'
    # What is mounted there names the store.
    assert a.shoal("down", a.dir, env={"SHOAL_STORE": ""})
    fails(a, 1, "up", a.home, says="has files in it")
    fails(a, 1, "up", "/proc/self/status")


def test_two_ups_at_once(lab):
    a = lab.host("anna", lab.network())
    both = [a.popen(BUILD / "shoal", "up", a.dir, stdout=subprocess.PIPE, text=True)
            for _ in range(2)]
    assert [p.wait(timeout=30) for p in both] == [0, 0]
    assert len(mounts_below(a.home)) == 1


def test_busy_mount_is_not_torn_away(anna):
    with open(anna.dir / "open.txt", "w") as file:
        fails(anna, 1, "down", says="busy")
        file.write("kept")
    wait_for(lambda: anna.run(BUILD / "shoal", "down", check=False).returncode == 0)
    anna.up()
    assert (anna.dir / "open.txt").read_text() == "kept"


def test_down_of_another_directory_ends_nothing(anna):
    pid = anna.daemon_pid()
    fails(anna, 1, "down", anna.home / "nowhere", says="is not a mount of shoal")
    fails(anna, 1, "down", anna.home, says="is not a mount of shoal")
    assert alive(pid) and anna.daemon_pid() == pid and mounts_below(anna.home)
    anna.run("ln", "-s", anna.store, anna.home / "link")
    assert anna.shoal("--store", anna.home / "link", "down", anna.dir)


def test_status_says_where_a_draft_is_wrong(anna):
    (anna.dir / "f.json").write_text('{"a":1}')
    assert anna.shoal("cat", "f.json") == '{"a":1}'  # it is a document, no longer a new file
    with pytest.raises(OSError), open(anna.dir / "f.json", "w") as file:
        file.write('{"a":1,\n "b":}')
    assert "f.json, line 2, column 6: expected " in anna.shoal("status")


def test_blame_names_what_each_change_was(anna):
    (anna.dir / "f.json").write_text('{"a":1}')
    for _ in range(2):
        os.utime(anna.dir / "f.json", (1, 1))
        assert all(c["what"] for c in anna.shoal("blame", "f.json", "--json")["changes"])


def test_blame_numbers_elements(anna):
    (anna.dir / "l.json").write_text('{"tags":["a",{"x":["b"]}]}')
    changes = anna.shoal("blame", "l.json", "--json")["changes"]
    assert ["/tags/0", "/tags/1", "/tags/1/x", "/tags/1/x/0"] == sorted(
        p for c in changes for p in c.get("pointers", []) if p.startswith("/tags/"))


def test_up_while_the_last_daemon_dies(anna):
    """A process that is being killed still takes connections, and answers none."""
    anna.shoal("down")
    path = str(anna.store / "control.sock")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    dying = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    dying.bind(path)
    dying.listen()
    taken = threading.Event()

    def die():
        dying.accept()[0].close()
        dying.close()
        taken.set()
    threading.Thread(target=die, daemon=True).start()
    anna.up()
    assert taken.is_set()


def test_dead_mount_is_healed(anna):
    (anna.dir / "f.json").write_text('{"a":1}')
    subprocess.run(["sync", "-f", anna.dir], check=False)
    with open(anna.dir / "f.json") as file:
        os.fsync(file.fileno())
    anna.kill9()
    with pytest.raises(OSError):
        os.listdir(anna.dir)
    fails(anna, 4, "status")
    assert any(c["check"] == "mounts" and c["result"] == "error"
               for c in json.loads(anna.run(BUILD / "shoal", "doctor", "--json",
                                            check=False).stdout))
    anna.up()
    assert (anna.dir / "f.json").read_text() == '{"a":1}'


def test_doctor_tells_whose_mount_is_dead(lab):
    """The mount of another store is no error of this one."""
    anna, ben = (lab.host(name) for name in ("anna", "ben"))

    def mounts(host):
        found = host.shoal("doctor", "--json", check=False)
        return next(f for f in found if f["check"] == "mounts")

    for host in (anna, ben):
        host.up()
    ben.kill9()
    assert mounts(anna)["result"] == "warning"
    assert mounts(ben)["result"] == "error" and str(ben.dir) in mounts(ben)["message"]
    assert mounts(ben)["command"] == f"shoal up {ben.dir}"
    ben.up()
    assert mounts(ben)["result"] != "error"


def test_signals_and_unmounting_from_outside(anna):
    pid = anna.daemon_pid()
    os.kill(pid, signal.SIGHUP)
    wait_for(lambda: "settings read again" in anna.log())
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not alive(pid))
    assert not mounts_below(anna.home)
    anna.up()
    pid = anna.daemon_pid()
    subprocess.run(["umount", anna.dir], check=True)
    wait_for(lambda: not alive(pid))
    assert "shoald ended" in anna.log()


def test_init_mount_umount(lab):
    a = lab.host("anna", lab.network())
    made = a.shoal("init", "--mesh", "Family", "--device", "desk", "--json")
    assert made == {"store": str(a.store), "mesh": "Family", "device": "desk"}
    fails(a, 1, "init", says="already")
    a.shoal("mount", a.dir)
    assert a.shoal("status", "--json")["mount"]["dir"] == str(a.dir)
    fails(a, 1, "mount", a.home / "other", says="mounted at")
    fails(a, 1, "umount", a.home, says="not a mount")
    a.shoal("umount", a.dir)
    wait_for(lambda: a.daemon_pid() is None)
    assert not mounts_below(a.home)
    fails(a, 1, "mount", a.dir, "-o", "nonsense")
    fails(a, 1, "init", "--device", "a\nb", "--store", a.home / "s2")


def test_mount_helper(lab):
    a = lab.host("anna", lab.network())
    a.shoal("init")
    a.dir.mkdir()
    helper = BUILD / "mount.fuse.shoal"
    a.run(helper, a.store, a.dir, "-f", "-o", "rw,noatime,x-systemd.automount")
    assert not mounts_below(a.home)
    a.run(helper, a.store, a.dir, "-n", "-s", "-o", "rw,dev,suid,noauto")
    assert mounts_below(a.home) == [str(a.dir)]
    assert a.run(helper, a.store, a.dir, check=False).returncode == 32
    assert a.run(helper, a.store, check=False).returncode == 1
    a.run("umount", a.dir)


def test_invite_and_join_refusals(anna):
    token = anna.shoal("invite", "--expires", "5m").strip()
    assert re.fullmatch(r"shoal1-[a-z0-9-]+", token)
    assert anna.shoal("invite", "--json")["token"] != token
    for role in ("reader", "courier"):
        fails(anna, 1, "invite", "--role", role, says="not enforce")
    fails(anna, 1, "invite", "--role", "king")
    said = fails(anna, 1, "join", token, says="already")
    assert token not in said and token not in anna.log()
    fails(anna, 1, "join", "shoal1-nonsense", "--store", anna.home / "s2")
    fails(anna, 1, "join", "-", "--store", anna.home / "s3", input="x" * 10000)


def on_terminal(host, *words, columns=80, **environment):
    """Runs shoal with a terminal for its output: exit status, what the terminal got, stderr."""
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    process = host.popen(BUILD / "shoal", *words, stdin=subprocess.DEVNULL, stdout=terminal,
                         stderr=subprocess.PIPE, env={"TERM": "xterm-256color", **environment})
    os.close(terminal)
    output = b""
    with open(screen, "rb", buffering=0) as shown, process.stderr as said:
        try:
            while data := shown.read(65536):
                output += data
        except OSError:  # Linux says that nobody has the other end any more
            pass
        return process.wait(timeout=30), output.decode().replace("\r\n", "\n"), said.read().decode()


BLACK_ON_WHITE, PLAIN = "\033[38;5;16;48;5;231m", "\033[0m"
QR_ROOM = [25, 47, 77, 114, 154, 195, 224, 279, 335, 395]  # of versions 1…: letters, level L


def modules(drawing):
    """The rows of a QR code drawn with half blocks, True for black."""
    rows = []
    for line in drawing.splitlines():
        assert line.startswith(BLACK_ON_WHITE) and line.endswith(PLAIN)
        cells = line.removeprefix(BLACK_ON_WHITE).removesuffix(PLAIN)
        rows.append([cell in "▀█" for cell in cells])
        rows.append([cell in "▄█" for cell in cells])
        assert not set(cells) - set(" ▀▄█")
    return rows


def decoded(host, rows):
    """What a reader of QR codes makes of the modules, each drawn as 4×4 points."""
    points = "".join("1111" if dark else "0000" for row in rows for _ in range(4) for dark in row)
    image = host.home / "code.pbm"
    image.write_text(f"P1\n{4 * len(rows[0])} {4 * len(rows)}\n{points}\n")
    return host.run("zbarimg", "--quiet", "--raw", "-S*.disable", "-Sqrcode.enable", image).stdout


def test_invitation_as_qr_code(lab, anna):
    status, output, said = on_terminal(anna, "invite", "--qr")
    assert status == 0 and not said
    drawing, token = output[:output.rindex(PLAIN + "\n") + 5], output.splitlines()[-1]
    assert re.fullmatch(r"shoal1-[a-z2-7]+", token) and output == drawing + token + "\n"
    rows = modules(drawing)
    version = next(v for v, room in enumerate(QR_ROOM, 1) if len(token) <= room)
    width = 4 * version + 17 + 2 * 4
    assert {len(row) for row in rows} == {width} and len(rows) == width + 1
    quiet = [*rows[:4], *rows[-5:], *(row[:4] + row[-4:] for row in rows)]
    assert not any(map(any, quiet)) and all(rows[4][4:11]) and rows[-6][4]
    scanned = decoded(anna, rows).strip()
    assert scanned == token.upper()
    # What a camera reads is a token, and the daemon's log knows nothing of it.
    assert token not in anna.log().lower()
    ben = lab.host("ben", lab.networks[0])
    assert ben.shoal("join", "-", "--json", input=scanned)["inviter"] == "anna"

    # Colours that a theme cannot change are no decoration.
    assert BLACK_ON_WHITE in on_terminal(anna, "invite", "--qr", NO_COLOR="1")[1]
    assert on_terminal(anna, "invite", "--qr", columns=width)[0] == 0
    assert on_terminal(anna, "invite", "--qr", columns=0)[0] == 0  # nobody knows
    for why, options in ((f"needs {width} columns and the terminal has {width - 1}",
                          {"columns": width - 1}), ("without escape sequences", {"TERM": "dumb"})):
        status, output, said = on_terminal(anna, "invite", "--qr", **options)
        assert status == 1 and re.fullmatch(r"shoal1-[a-z2-7]+\n", output)
        assert said.count("\n") == 1 and why in said
    assert re.fullmatch(r"shoal1-[a-z2-7]+\n", anna.shoal("invite", "--qr"))


def test_connect_is_remembered(anna):
    assert anna.shoal("connect", "192.0.2.1", "--json") == {"address": "192.0.2.1:7580"}
    anna.shoal("connect", "[2001:db8::1]:99")
    anna.shoal("connect", "192.0.2.1")  # again is no mistake
    anna.down()
    anna.up()
    known = {a["address"] for a in anna.shoal("status", "--json")["addresses"]}
    assert known == {"192.0.2.1:7580", "[2001:db8::1]:99"}
    anna.shoal("disconnect", "192.0.2.1:7580")
    fails(anna, 1, "disconnect", "192.0.2.1:7580", says="not one of")
    fails(anna, 1, "connect", "a b c")
    assert len(anna.shoal("status", "--json")["addresses"]) == 1


def test_paths_and_cat(anna):
    (anna.dir / "c" / "d").mkdir(parents=True)
    (anna.dir / "c" / "d" / "x.json").write_text('{"n": 1}\n')
    blob = os.urandom(300000)
    (anna.dir / "c" / "blob.bin").write_bytes(blob)
    for path, cwd in (("c/d/x.json", anna.home), (anna.dir / "c/d/x.json", anna.home),
                      ("x.json", anna.dir / "c/d"), ("../d/./x.json", anna.dir / "c/d")):
        assert anna.shoal("cat", path, cwd=cwd) == '{"n": 1}\n'
    # In the mount, its store needs no name.
    assert anna.shoal("cat", "x.json", cwd=anna.dir / "c/d", env={"SHOAL_STORE": ""})
    got = anna.run(BUILD / "shoal", "cat", "c/blob.bin", text=False).stdout
    assert got == blob
    change = anna.shoal("blame", "c/d/x.json", "--json")
    version = change["version"]
    assert anna.shoal("cat", f"c/d/x.json@{version[:8]}") == '{"n": 1}\n'
    fails(anna, 1, "cat", "c/d/x.json@00000000", says="no version")
    fails(anna, 1, "cat", "c", says="directory")
    fails(anna, 1, "cat", "c/none", says='"c/none"')
    fails(anna, 1, "cat", "/etc/passwd", says="not inside")
    assert change["path"] == "c/d/x.json" and change["changes"][0]["device"] == "anna"
    assert any("/n" in item["pointers"] for item in change["changes"])


def test_long_answers_come_whole(anna):
    """A client that reads as fast as the daemon writes: nobody waits for room that is there."""
    (anna.dir / "blob.bin").write_bytes(os.urandom(2_000_000))
    assert anna.shoal("log", "blob.bin")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as control:
        control.settimeout(10)
        control.connect(str(anna.store / "control.sock"))
        with control.makefile("rb") as answers:
            for number in range(200):
                control.sendall(b'{"method":"cat","params":{"path":"blob.bin"},"id":%d}\n' % number)
                got, more = 0, True
                while more:
                    answer = json.loads(answers.readline())
                    got += len(answer["result"]["data"]) * 3 // 4
                    more = answer.get("more", False)
                assert 2_000_000 <= got < 2_000_003


def test_wait_times_out_alone(anna):
    fails(anna, 3, "wait", "--timeout", "0.2", says="0 of 1")
    fails(anna, 1, "wait", "none.json", says="none.json")


def test_wait_for_a_device_that_nobody_knows(lab, anna):
    (anna.dir / "x.json").write_text("{}")
    # No timeout: each of these would last for ever.
    fails(anna, 1, "wait", "--device", "ben", says='no device "ben": this one has met no other')
    fails(anna, 1, "wait", "--device", "anna", says="is this device")
    ben = lab.host("ben", lab.networks[0])
    ben.shoal("join", "-", input=anna.shoal("invite"))
    # Admitted, but it never came up.
    fails(anna, 3, "wait", "--timeout", "200ms", "--device", "ben", says="ben does not hold")
    said = fails(anna, 1, "wait", "--device", "bem", says='no device "bem"')
    assert said.endswith("`shoal devices` lists those that are known: ben\n")
    lab.networks[0].disconnect(ben)
    ben.up()
    # Nor has it met the one that let it in since, but it knows it.
    assert [d["name"] for d in ben.shoal("devices", "--json")] == ["ben", "anna"]
    (ben.dir / "y.json").write_text("{}")
    fails(ben, 3, "wait", "--timeout", "200ms", "--device", "anna", says="anna does not hold")
    lab.networks[0].connect(ben)
    ben.shoal("wait", "--device", "anna", "--timeout", "30")
    ben.down()
    (anna.dir / "z.json").write_text("{}")
    identity = [d["id"] for d in anna.shoal("devices", "--json") if d["name"] == "ben"][0]
    for name in ("ben", identity):
        fails(anna, 3, "wait", "--timeout", "200ms", "--device", name, says="does not hold")
    # With more devices than fit into a line, it is still one that can be read.
    for number in range(3):
        other = lab.host(f"other{number}", lab.networks[0])
        other.shoal("join", "-", "--device", f"{number} {'x' * 60}", input=anna.shoal("invite"))
    assert re.search(r"known: .* and \d+ more\n$", fails(anna, 1, "wait", "--device", "bem"))


def test_watch(anna):
    (anna.dir / "c").mkdir()
    (anna.dir / "c" / "x.json").write_text("{}")
    wait_for(lambda: anna.shoal("cat", "c/x.json") == "{}")
    lines = []
    watch = anna.popen(BUILD / "shoal", "watch", "c", stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: lines.extend(watch.stdout), daemon=True)
    reader.start()

    def seen(kind):
        return [json.loads(line) for line in list(lines) if json.loads(line)["kind"] == kind]

    number = 0

    def change():
        nonlocal number
        number += 1
        (anna.dir / "c" / "x.json").write_text('{"n": %d}' % number)
        (anna.dir / "elsewhere.json").write_text('{"n": %d}' % number)
        return seen("changed")
    first = wait_for(change)[0]
    assert first["path"] == "c/x.json" and first["device"] == "anna" and not first["remote"]
    assert first["pointers"] == ["/n"] and first["type"] == "file" and first["version"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    os.rename(anna.dir / "c" / "x.json", anna.dir / "c" / "y.json")
    moved = wait_for(lambda: seen("moved"))[0]
    assert (moved["from"], moved["path"]) == ("c/x.json", "c/y.json")
    os.unlink(anna.dir / "c" / "y.json")
    assert wait_for(lambda: seen("removed"))[0]["path"] == "c/y.json"
    assert all("elsewhere" not in line for line in lines)
    watch.terminate()
    reader.join(timeout=10)


def test_config(anna):
    everything = anna.shoal("config", "--json")
    assert everything["network.discovery"] is True and everything["log.level"] == "info"
    anna.shoal("config", "log.level", "debug")
    assert anna.shoal("log-level") == "debug\n"
    assert anna.shoal("config", "log.level") == "debug\n"
    assert "[log]\nlevel = debug\n" in (anna.store / "shoal.conf").read_text()
    fails(anna, 1, "config", "log.level", "loud", says="one of")
    fails(anna, 1, "config", "network.listen", "nowhere", says="PORT")
    anna.shoal("config", "log.level", "")
    assert anna.shoal("log-level", "--json") == {"level": "info"}
    assert anna.shoal("config", "--json")["history.days"] == 30
    assert anna.shoal("config", "history.days", "7") == ""
    assert anna.shoal("config", "history.days") == "7\n"
    for value in ("0", "3651", "a week", "7d"):
        fails(anna, 1, "config", "history.days", value, says="from 1 to 3650")
    fails(anna, 1, "config", "history.share", "91", says="from 0 to 90")
    anna.shoal("log-level", "error")
    assert anna.shoal("log-level") == "error\n"
    fails(anna, 1, "log-level", "loud")
    assert "next start" in anna.shoal("config", "network.listen", "127.0.0.1:7999")
    anna.down()
    anna.up()
    assert anna.shoal("status", "--json")["port"] == 7999
    listening = anna.run("ss", "-Hltn", "sport = :7999").stdout
    assert "127.0.0.1:7999" in listening
    anna.down()
    (anna.store / "shoal.conf").write_text("[network]\n\nlisten = x\n")
    fails(anna, 1, "up", anna.dir, says="line 3")


def test_doctor_and_verify(anna):
    for check in anna.shoal("doctor", "--json"):
        assert set(check) == {"check", "result", "message", "command"}
        assert check["result"] in ("ok", "note", "warning"), check
        assert [check["result"], check["check"]] in [line.split()[:2] for line in anna.shoal("doctor").splitlines()]
    (anna.dir / "x.json").write_text("{}")
    report = anna.shoal("verify", "--json")
    assert report["errors"] == 0 and report["problems"] == []
    anna.down()
    assert anna.shoal("verify", "--repair", "--json")["records"] >= 1


def test_reports_in_the_mount(anna):
    assert set(json.loads((anna.dir / ".shoal" / "status.json").read_text())) == STATUS_KEYS
    assert json.loads((anna.dir / ".shoal" / "peers.json").read_text()) == []


def test_devices_and_peers_keys(lab):
    lan = lab.network()
    a, b = lab.host("anna", lan), lab.host("ben", lan)
    a.up()
    joined = b.shoal("join", "-", "--json", input=a.shoal("invite"))
    assert set(joined) == {"store", "mesh", "device", "inviter"} and joined["inviter"] == "anna"
    b.up()
    peers = wait_for(lambda: a.shoal("peers", "--json"))
    assert set(peers[0]) == PEER_KEYS and peers[0]["device"] == "ben"
    devices = a.shoal("devices", "--json")
    assert all(set(d) == DEVICE_KEYS for d in devices)
    assert {d["name"]: d["self"] for d in devices} == {"anna": True, "ben": False}
    assert json.loads((a.dir / ".shoal" / "peers.json").read_text())[0]["device"] == "ben"
    b.down()
    wait_for(lambda: a.shoal("peers", "--json") == [])
    assert "Nobody is here" in a.shoal("peers")
    assert not [d for d in a.shoal("devices", "--json") if d["name"] == "ben"][0]["connected"]


def test_control_socket_with_hostile_clients(anna):
    path = str(anna.store / "control.sock")
    clients = []
    for data in (b"\0\xff\n", b"[" * 100000 + b"\n", b'{"method":"watch"}\n' * 100, b"x" * 300000,
                 b'{"method":"wait","params":{"timeout_us":1e400}}\n', b'{"method":"status"'):
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(5)
        client.connect(path)
        try:
            client.sendall(data)
        except OSError:
            pass
        clients.append(client)
    for number in range(50):
        (anna.dir / "f.json").write_text('{"n": %d}' % number)
    assert anna.shoal("status", "--json")["device"]["name"] == "anna"
    for client in clients:
        client.close()
    result = anna.run("setpriv", "--reuid", "65534", "--clear-groups", BUILD / "shoal", "status",
                      check=False)
    assert result.returncode in (1, 4)
    with pytest.raises(Failed):
        anna.shoal("status", env={"SHOAL_STORE": str(anna.home / "none")})
