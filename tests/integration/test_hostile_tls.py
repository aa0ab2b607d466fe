# SPDX-License-Identifier: GPL-2.0-or-later
"""Strangers at the port: another TLS implementation (OpenSSL) with every wrong credential, and
things that are no TLS at all. None gets one byte of application data, and a good peer gets in."""
import contextlib
import select
import socket
import ssl
import subprocess
import time
import warnings

import pytest

from lab import wait_for
from linkpeer import Peer, linkpeer

YEAR = 365 * 86400
HANDSHAKE = 22
ALERT = 21
CHANGE_CIPHER = 20


class Here:
    """The machine itself instead of a host of the lab: loopback is all that this needs."""

    def popen(self, *words, **options):
        return subprocess.Popen([str(word) for word in words], **options)


@pytest.fixture(scope="module")
def identities(tmp_path_factory):
    here = tmp_path_factory.mktemp("identities")
    linkpeer("init", here / "server", "family", "server")
    linkpeer("init", here / "other", "family", "other")  # a mesh of the same name
    linkpeer("admit", here / "server", here / "good", "good", "member")
    linkpeer("admit", here / "server", here / "expired", "expired", "member", -21 * YEAR)
    linkpeer("admit", here / "server", here / "early", "early", "member", 3 * 86400)
    linkpeer("admit", here / "server", here / "admin", "admin", "admin")
    return here


@pytest.fixture
def server(identities):
    peer = Peer(Here(), identities / "server", "--no-discover", "--port", "0")
    yield peer
    peer.quit()


def context(certificate=None, alpn="shoal/1", version=ssl.TLSVersion.TLSv1_3):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.minimum_version = min(version, ssl.TLSVersion.TLSv1_2)
        made.maximum_version = version
    if certificate:
        made.load_cert_chain(*certificate)
    if alpn:
        made.set_alpn_protocols([alpn])
    return made


def of(directory):
    return directory / "device.crt", directory / "device.key"


def connect(server, made):
    """Speaks TLS to the server and returns (handshake ended for us, bytes that we were given)."""
    got = b""
    done = False
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as plain:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            with made.wrap_socket(plain) as wrapped:
                done = True
                wrapped.sendall(b"\x01let me in\n")
                while chunk := wrapped.recv(4096):
                    got += chunk
    return done, got


def records(data):
    """Types of the TLS records in what a server sent in clear."""
    kinds = []
    while len(data) >= 5:
        kinds.append(data[0])
        data = data[5 + int.from_bytes(data[3:5], "big"):]
    return kinds


def exchange(server, data, timeout=15):
    """Sends bytes as they are; everything that comes until the server closes."""
    got = b""
    with socket.create_connection(("127.0.0.1", server.port), timeout=timeout) as plain:
        with contextlib.suppress(ConnectionError):
            plain.sendall(data)
            while chunk := plain.recv(65536):
                got += chunk
    return got


def gets_in(server, identities):
    """A good peer is linked within the time of a few handshakes."""
    start = len(server.lines)
    peer = Peer(Here(), identities / "good", "--no-discover", "--port", "0", "--connect",
                f"127.0.0.1:{server.port}")
    peer.expect("up server", timeout=10)
    server.expect("up good", start, timeout=10)
    peer.say("send hello")
    peer.expect("got server echo hello")
    peer.quit()
    server.expect("down good", start)


def test_openssl_with_good_credentials(server, identities):
    """The others fail for what they are, not for being OpenSSL."""
    made = context(of(identities / "good"))
    with socket.create_connection(("127.0.0.1", server.port), timeout=15) as plain:
        with made.wrap_socket(plain) as wrapped:
            assert wrapped.version() == "TLSv1.3"
            assert wrapped.selected_alpn_protocol() == "shoal/1"
            wrapped.sendall(b"\x01")  # asks for a link
            assert wrapped.recv(1) == b"\x01"
            wrapped.sendall(b"hello\n")
            server.expect("got good hello")


@pytest.mark.parametrize("who", ["nobody", "other", "expired", "early", "self-signed", "chain"])
def test_wrong_certificate(server, identities, tmp_path, who):
    if who == "nobody":
        made = context()
    elif who == "self-signed":
        made = context((identities / "other/root.crt", identities / "other/root.key"))
    elif who == "chain":
        # Another mesh's device that sends our root's certificate along.
        both = tmp_path / "chain.pem"
        both.write_bytes((identities / "other/device.crt").read_bytes() +
                         (identities / "server/root.crt").read_bytes())
        made = context((both, identities / "other/device.key"))
    else:
        made = context(of(identities / who))
    done, got = connect(server, made)
    assert got == b"", "application data for a stranger"
    gets_in(server, identities)
    assert not server.find(f"up {who} ")


def test_wrong_protocol(server, identities):
    """Good credentials, but not what we speak."""
    good = of(identities / "good")
    for made in (context(good, alpn="h2"), context(good, alpn=None),
                 context(good, alpn="shoal/2"), context(good, version=ssl.TLSVersion.TLSv1_2)):
        done, got = connect(server, made)
        assert not done and got == b""
    # Nobody is invited: joining is not offered.
    done, got = connect(server, context(alpn="shoal-join/1"))
    assert not done and got == b""
    gets_in(server, identities)


def test_joiner_without_secret(server, identities):
    start = len(server.lines)
    server.say("invite member 60 1")
    token = server.expect("token (.*)", start)[1]
    made = context(of(identities / "other"), alpn="shoal-join/1")
    bodies = [b"", b"\x00", b"\xff\xff" + b"A" * 400, b"GET / HTTP/1.1\r\n\r\n",
              b"\x00\x33\x01" + bytes(48) + b"\x01x"]
    refused = 0
    for body in bodies:
        with socket.create_connection(("127.0.0.1", server.port), timeout=15) as plain:
            got = b""
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                with made.wrap_socket(plain) as wrapped:
                    if body:
                        wrapped.sendall(body)
                        while chunk := wrapped.recv(4096):
                            got += chunk
        assert got in (b"", b"\x00\x02\x02\x01"), "more than a refusal"
        refused += got != b""
    assert refused
    # The invitation is still good.
    out = linkpeer("join", identities / "newcomer", token, "newcomer")
    assert out.startswith("joined server")
    gets_in(server, identities)


@pytest.mark.parametrize("what", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0" * 5000,
                                  b"SSH-2.0-OpenSSH_9.2\r\n", b"\x16\x03\x01\xff\xff" + b"A" * 70000,
                                  b"\x16\x03\x01\x00\x05hello", b"\x17\x03\x03\x00\x10" + b"B" * 16,
                                  b"\x80\x2e\x01\x03\x01" + b"C" * 46])
def test_garbage(server, identities, what):
    got = exchange(server, what)
    assert set(records(got)) <= {ALERT}, f"it was answered {got!r}"
    gets_in(server, identities)


def test_client_hello_and_no_more(server, identities):
    """A ServerHello may come, and encrypted handshake; nothing after, and the end within 15 s."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        wrapped.do_handshake()
    hello = outgoing.read()
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as plain:
        plain.sendall(hello)
        got = b""
        while chunk := plain.recv(65536):
            got += chunk
    took = time.monotonic() - begin
    assert 8 < took < 15, f"closed after {took:.1f} s"
    assert records(got)[0] == HANDSHAKE
    # What we can decrypt of it is the handshake's only.
    incoming.write(got)
    with contextlib.suppress(ssl.SSLError):
        wrapped.do_handshake()
    with pytest.raises(ssl.SSLError):
        wrapped.read(100)


def test_slow_loris(server, identities):
    """Many that send a byte now and then: they are ended, and keep nobody out meanwhile."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    wrapped = context().wrap_bio(incoming, outgoing)
    with contextlib.suppress(ssl.SSLWantReadError):
        wrapped.do_handshake()
    hello = outgoing.read()
    begin = time.monotonic()
    slow = []
    with contextlib.ExitStack() as stack:
        for number in range(6):
            plain = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=20))
            slow.append(plain)
        sent = 0
        open_ones = set(slow)
        got = b""
        good = False
        while open_ones and time.monotonic() - begin < 20:
            for plain in list(open_ones):
                try:
                    plain.sendall(hello[sent:sent + 1])
                except OSError:
                    open_ones.discard(plain)
            sent += 1
            if not good:
                gets_in(server, identities)
                good = True
            for plain in select.select(list(open_ones), [], [], 0.2)[0]:
                try:
                    chunk = plain.recv(4096)
                except OSError:
                    chunk = b""
                got += chunk
                if not chunk:
                    open_ones.discard(plain)
    took = time.monotonic() - begin
    assert not open_ones, "slow ones are still there"
    assert 8 < took < 16
    assert set(records(got)) <= {ALERT}


def test_flood_of_half_open(server, identities):
    with contextlib.ExitStack() as stack:
        held = []
        for number in range(300):
            plain = stack.enter_context(
                socket.create_connection(("127.0.0.1", server.port), timeout=20))
            held.append(plain)
            if number % 2:
                with contextlib.suppress(OSError):
                    plain.sendall(b"\x16\x03\x01\x02\x00\x01")
            if number == 200:
                gets_in(server, identities)
        gets_in(server, identities)

        def still_open():
            count = 0
            for plain in held:
                plain.setblocking(False)
                try:
                    data = plain.recv(100)
                    assert set(records(data)) <= {ALERT}
                except BlockingIOError:
                    count += 1
                except OSError:
                    pass
            return count
        wait_for(lambda: still_open() <= 8, what="at most eight of one host")


def test_hostile_server(identities):
    """Whoever answers at an address that we dial gets nothing unless it is of our mesh."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(*of(identities / "other"))
    made.set_alpn_protocols(["shoal/1"])
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(*of(identities / "server"))
    old.set_alpn_protocols(["shoal/1"])
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    silent = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    silent.load_cert_chain(*of(identities / "server"))
    silent.minimum_version = ssl.TLSVersion.TLSv1_3
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        port = listener.getsockname()[1]
        peer = Peer(Here(), identities / "good", "--no-discover", "--port", "0", "--connect",
                    f"127.0.0.1:{port}")
        for kind in (made, old, silent, None):
            plain, _ = listener.accept()
            with plain:
                plain.settimeout(10)
                if kind is None:
                    plain.sendall(b"220 mail.example.org ESMTP\r\n")
                    got = b""
                    with contextlib.suppress(OSError):
                        while chunk := plain.recv(4096):
                            got += chunk
                    assert set(records(got)) <= {HANDSHAKE, ALERT, CHANGE_CIPHER}
                    continue
                got = b""
                with contextlib.suppress(ssl.SSLError, OSError):
                    with kind.wrap_socket(plain, server_side=True) as wrapped:
                        got = wrapped.recv(100)
                assert got == b"", "application data for a stranger"
        assert not peer.find("up ")
        peer.quit()
