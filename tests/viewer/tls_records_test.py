# SPDX-License-Identifier: Apache-2.0
"""How messages lie in the TLS records that a viewer gets.

spice-gtk reads on while its socket is readable, and does not ask how much its
TLS library still holds. Of several messages that end in one record it handles
the first; the others wait until something else comes, up to the next ping 15 s
later. QEMU writes a record for each message. A relay that knows no messages has
to end whatever it sends with a record in which at most one can end.
"""

import socket
import ssl
import struct

from tests.testbed import case
from tests.testbed import polling
from tests.testbed import runner
from tests.testbed import spiceclient

_NUM_DRAWS = 8  # QEMU draws a key's square in so many messages
_KEYS = {"a": b"\x1e\x9e", "s": b"\x1f\x9f"}
_PLAINTEXT_MAX = 1 << 16


class _RecordSocket:
    """TLS over a socket, one record at a time, as far as Link needs it.

    Attributes:
      records: length of the plaintext of each record that came, oldest first.
      num_read: how many bytes of plaintext recv() has returned.
    """

    def __init__(self, port):
        self.records = []
        self.num_read = 0
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_bio(self._in, self._out)
        self._plaintext = b""
        while not self._shake_hands():
            self._in.write(self._take_record())

    def settimeout(self, limit_s):
        self._socket.settimeout(limit_s)

    def close(self):
        self._socket.close()

    def sendall(self, data):
        self._tls.write(data)
        self._socket.sendall(self._out.read())

    def recv(self, length):
        while not self._plaintext:
            self._in.write(self._take_record())
            self._plaintext = self._open_record()
            self.records.append(len(self._plaintext))
        data = self._plaintext[:length]
        self._plaintext = self._plaintext[length:]
        self.num_read += len(data)
        return data

    def _shake_hands(self):
        try:
            self._tls.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        finally:
            self._socket.sendall(self._out.read())

    def _open_record(self):
        try:
            return self._tls.read(_PLAINTEXT_MAX)
        except ssl.SSLWantReadError:
            return b""  # a session ticket, for one

    def _take_record(self):
        header = self._take(5)
        return header + self._take(struct.unpack(">xxxH", header)[0])

    def _take(self, length):
        data = b""
        while len(data) < length:
            piece = self._socket.recv(length - len(data))
            if not piece:
                raise EOFError("closed by the gateway")
            data += piece
        return data


class TlsRecordsTest(case.Case):
    def setUp(self):
        super().setUp()
        self.vm = self.start_vm("vm")
        self.gateway = self.start_gateway([self.vm.console()])
        self.client = spiceclient.Client(self.gateway.ticket("vm"))
        self.addCleanup(self.client.close)

    def test_no_message_waits_behind_another(self):
        body = self._link(spiceclient.MAIN).read_until(spiceclient.MAIN_INIT)
        self.client.connection_id = struct.unpack_from("<I", body)[0]
        display = self._link(spiceclient.DISPLAY)
        num_linking = display.socket.num_read
        display.send_message(
            spiceclient.DISPLAY_INIT, spiceclient.display_init()
        )
        self._check(display, num_linking, 1)
        typed = b""
        for key, codes in _KEYS.items():
            typed += codes
            name = {"type": "qcode", "data": key}
            self.vm.qmp.command("send-key", keys=[name])
            polling.until(lambda: self.vm.keys() == typed, f"key {key}")
            self._check(display, num_linking, _NUM_DRAWS)

    def _link(self, channel):
        return self.client.link(
            channel, connected=_RecordSocket(self.gateway.tls_port)
        )

    def _check(self, link, num_linking, num_expected):
        """Reads all that the gateway has passed, and looks at the end of it."""
        ends = []  # where messages end, in all plaintext so far

        def read():
            while link.socket.num_read - num_linking < self._num_passed():
                link.read_message()
                ends.append(link.socket.num_read)
            return len(ends) >= num_expected

        polling.until(read, f"{num_expected} messages")
        begin_of_last = sum(link.socket.records[:-1])
        in_last = [end for end in ends if end > begin_of_last]
        self.assertLessEqual(
            len(in_last), 1, f"last record of {link.socket.records[-1]} bytes"
        )

    def _num_passed(self):
        return self.gateway.metrics().sum(
            "spicegate_channel_bytes_total",
            channel="display",
            direction="server_to_client",
        )


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
