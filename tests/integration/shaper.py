# SPDX-License-Identifier: GPL-2.0-or-later
"""A slow way between two hosts, in user space: takes TCP connections and carries what comes at a rate, after a delay,
in packets, of which some are lost. As TCP shows loss: all that comes later waits for a while.

    python3 shaper.py PORT TARGET TARGET-PORT RATE DELAY [LOSS]

RATE in bits a second each way, DELAY in seconds one way, LOSS between 0 and 1. It has small buffers, so who sends
learns soon what the way carries. SIGUSR1 stops the reading of what comes from the target for good."""
import asyncio
import random
import signal
import socket
import sys

PACKET = 1000
BUFFER = 16384  # of sockets, asked for: the kernel takes twice that, packets with all that is around them
STALL = 0.3     # what a lost packet costs at least
SLACK = 0.5      # seconds that a timer may be late, and the link still carries its rate


async def carry(reader, writer, rate, delay, loss, stopped):
    """One direction: packets leave one after the other, and arrive a delay later."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue(maxsize=max(2, int(rate * delay / 8 / PACKET) + 2))

    async def arrive():
        while True:
            at, data = await queue.get()
            await asyncio.sleep(max(0, at - loop.time()))
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()
    arriving = asyncio.create_task(arrive())
    try:
        # A bucket that time fills: what a timer oversleeps is carried after it.
        free = loop.time()
        while True:
            if stopped and stopped.is_set():
                await asyncio.sleep(3600)
            data = await reader.read(PACKET)
            free = max(free, loop.time() - SLACK) + len(data) * 8 / rate
            if data and random.random() < loss:
                free += max(STALL, 2 * delay)
            if free > loop.time():
                await asyncio.sleep(free - loop.time())
            await queue.put((free + delay, data))
            if not data:
                break
        await arriving
    except OSError:
        writer.close()
        arriving.cancel()


async def serve(port, target, target_port, rate, delay, loss):
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, stopped.set)

    def small(s):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def accepted(reader, writer):
        out = socket.socket()
        out.setblocking(False)
        small(out)
        try:
            await asyncio.get_running_loop().sock_connect(out, (target, target_port))
        except OSError:
            writer.close()
            return
        far_reader, far_writer = await asyncio.open_connection(sock=out, limit=PACKET)
        await asyncio.gather(carry(reader, far_writer, rate, delay, loss, None),
                             carry(far_reader, writer, rate, delay, loss, stopped))

    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    small(listener)
    listener.bind(("", port))
    server = await asyncio.start_server(accepted, sock=listener, limit=PACKET)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    numbers = [float(x) for x in sys.argv[4:]]
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *(numbers + [0.0])[:3]))
