#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records SPICE connections: a TCP proxy that writes down both directions.

record.py LISTEN_PORT SERVER_PORT OUT_DIR [--full-headers]

Everything is on 127.0.0.1. Each connection becomes two files named after the
channel its link message asks for: TYPE_ID.client_to_server.bin and
TYPE_ID.server_to_client.bin. --full-headers clears the MINI_HEADER bit in what
either side says about itself, so that two peers that both prefer mini headers
speak full ones. SIGTERM or SIGINT ends the recording and writes the files.
"""

import asyncio
import contextlib
import pathlib
import signal
import sys

MINI_HEADER = 8
CHANNELS = ["", "main", "display", "inputs", "cursor", "playback", "record",
            "tunnel", "smartcard", "usbredir", "port", "webdav"]
# Where a link message and a link reply have their first common caps word, and
# the length of the message up to there, both with the link header.
CLIENT_WORD = 16 + 18
SERVER_WORD = 16 + 178
# Padding of the net test's third PING. Not stored: what comes behind it goes
# into a file of its own, NAME.tail.bin.
PADDING = bytes(256000)


class Recording:
    def __init__(self, full_headers):
        self.streams = {"client_to_server": bytearray(),
                        "server_to_client": bytearray()}
        self.full_headers = full_headers

    def take(self, direction, data):
        """Writes `data` down and returns what to pass on."""
        stream = self.streams[direction]
        start = len(stream)
        stream += data
        word = CLIENT_WORD if direction == "client_to_server" else SERVER_WORD
        if self.full_headers and start <= word < len(stream):
            stream[word] &= ~MINI_HEADER
        return bytes(stream[start:])

    def write(self, out_dir):
        link = self.streams["client_to_server"]
        if len(link) < CLIENT_WORD:
            return
        name = f"{CHANNELS[link[20]]}_{link[21]}"
        for direction, stream in self.streams.items():
            head, padding, tail = bytes(stream).partition(PADDING)
            path = out_dir / f"{name}.{direction}.bin"
            path.write_bytes(head)
            if padding:
                path.with_suffix(".tail.bin").write_bytes(tail)


async def pump(recording, direction, reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(recording.take(direction, data))
            await writer.drain()
        writer.write_eof()
    except OSError:
        writer.close()


async def record(listen_port, server_port, out_dir, full_headers):
    recordings = []

    async def on_client(client_reader, client_writer):
        recording = Recording(full_headers)
        recordings.append(recording)
        reader, writer = await asyncio.open_connection("127.0.0.1", server_port)
        # Cancelled when the recording ends before the connection does.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(
                pump(recording, "client_to_server", client_reader, writer),
                pump(recording, "server_to_client", reader, client_writer))
        writer.close()
        client_writer.close()

    done = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, done.set)
    server = await asyncio.start_server(on_client, "127.0.0.1", listen_port)
    print("recording", flush=True)
    await done.wait()
    server.close()
    out_dir.mkdir(parents=True, exist_ok=True)
    for recording in recordings:
        recording.write(out_dir)


def main():
    args = [a for a in sys.argv[1:] if a != "--full-headers"]
    if len(args) != 3:
        sys.exit(__doc__)
    asyncio.run(record(int(args[0]), int(args[1]), pathlib.Path(args[2]),
                       "--full-headers" in sys.argv))


if __name__ == "__main__":
    main()
