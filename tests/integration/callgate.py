# SPDX-License-Identifier: GPL-2.0-or-later
"""Stops programs before their system calls, by way of tests/helpers/callgate.

    def before(call):
        if call.does == "name" and call.other == path:
            ...                       # the program waits until this returns

    run(["sed", "-i", "s/a/b/", path], directory, before)
"""
import os
import socket
import subprocess
import threading
from collections import namedtuple

from fsmount import BUILD

PROGRAM = BUILD / "tests/helpers/callgate"
TIMEOUT = 60  # seconds until a program that hangs is ended

# name: of the system call; does: look, open, empty, write, done, name (tests/helpers/callgate.c)
Call = namedtuple("Call", "name does path other")


def run(command, directory, before, **options):
    """Runs the command in a session of its own and calls before(call) for each of its calls that
    touch files below the directory. Returns the CompletedProcess, its output as text."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        process = subprocess.Popen([PROGRAM, str(theirs.fileno()), directory, *command],
                                   pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                   text=True, start_new_session=True, **options)
        theirs.close()
        output = []
        reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
        reader.start()
        timer = threading.Timer(TIMEOUT, os.killpg, (process.pid, 9))
        timer.start()
        try:
            while message := ours.recv(65536):
                name, does, *paths = map(os.fsdecode, message.split(b"\0"))
                before(Call(name, does, *(path and os.path.normpath(path) for path in paths)))
                ours.send(b"go")
        finally:
            ours.close()
            status = process.wait()
            timer.cancel()
            reader.join()
            process.stdout.close()
    return subprocess.CompletedProcess(command, status, output[0])
