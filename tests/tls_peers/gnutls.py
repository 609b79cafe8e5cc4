# SPDX-License-Identifier: Apache-2.0
"""GnuTLS' library as a TLS peer, in the shape of Python's ssl module.

gnutls-serv cannot carry SPICE: its plain side is lines of text. And no program
asks for new keys in the middle of a binary stream. Signatures and constants:
gnutls/gnutls.h of GnuTLS 3.7, the library of gnutls-cli.
"""

import ctypes
import socket
import ssl
import struct

_SERVER, _CLIENT, _PEM, _CERTIFICATE_CREDENTIALS = 1, 2, 1, 1
_SHUT_RDWR, _ASK_PEER_TOO = 0, 1
_SUCCESS, _PREMATURE_END = 0, -110
_AGAIN, _INTERRUPTED = -28, -52
_PATIENCE_S = 60


class _Datum(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_uint)]


def _load():
    library = ctypes.CDLL("libgnutls.so.30")
    pointer = ctypes.c_void_p
    for name, result, arguments in (
        ("gnutls_strerror", ctypes.c_char_p, [ctypes.c_int]),
        (
            "gnutls_certificate_set_x509_key_file",
            ctypes.c_int,
            [pointer, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_int],
        ),
        ("gnutls_priority_set_direct", ctypes.c_int, [pointer] * 3),
        (
            "gnutls_credentials_set",
            ctypes.c_int,
            [pointer, ctypes.c_int, pointer],
        ),
        ("gnutls_session_ticket_enable_server", ctypes.c_int, [pointer] * 2),
        ("gnutls_transport_set_int2", None, [pointer] + [ctypes.c_int] * 2),
        ("gnutls_handshake", ctypes.c_int, [pointer]),
        ("gnutls_session_is_resumed", ctypes.c_int, [pointer]),
        ("gnutls_session_get_desc", pointer, [pointer]),
        ("gnutls_rehandshake", ctypes.c_int, [pointer]),
        ("gnutls_session_get_data2", ctypes.c_int, [pointer] * 2),
        (
            "gnutls_session_set_data",
            ctypes.c_int,
            [pointer, ctypes.c_char_p, ctypes.c_size_t],
        ),
        (
            "gnutls_session_key_update",
            ctypes.c_int,
            [pointer, ctypes.c_uint],
        ),
        (
            "gnutls_record_recv",
            ctypes.c_ssize_t,
            [pointer, pointer, ctypes.c_size_t],
        ),
        (
            "gnutls_record_send",
            ctypes.c_ssize_t,
            [pointer, pointer, ctypes.c_size_t],
        ),
        ("gnutls_bye", ctypes.c_int, [pointer, ctypes.c_int]),
        ("gnutls_deinit", None, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


_LIB = _load()


def _check(code, what):
    if code < _SUCCESS:
        raise OSError(f"{what}: {_LIB.gnutls_strerror(code).decode()}")
    return code


class _Context:
    def __init__(self, role, priority):
        self._role = role
        self._priority = priority.encode()
        self._credentials = ctypes.c_void_p()
        _check(
            _LIB.gnutls_certificate_allocate_credentials(
                ctypes.byref(self._credentials)
            ),
            "credentials",
        )

    def _wrap(self, made):
        session = ctypes.c_void_p()
        _check(_LIB.gnutls_init(ctypes.byref(session), self._role), "session")
        link = Link(made, session, self, self._role == _SERVER)
        _check(
            _LIB.gnutls_priority_set_direct(session, self._priority, None),
            "priority",
        )
        _LIB.gnutls_credentials_set(
            session, _CERTIFICATE_CREDENTIALS, self._credentials
        )
        return link, session


class ServerContext(_Context):
    """One certificate, one priority string, one ticket key."""

    def __init__(self, cert, key, priority):
        """`priority`: in GnuTLS' own language, see programs.gnutls_suite."""
        super().__init__(_SERVER, priority)
        self._tickets = _Datum()
        _check(
            _LIB.gnutls_certificate_set_x509_key_file(
                self._credentials, cert.encode(), key.encode(), _PEM
            ),
            "certificate",
        )
        _LIB.gnutls_session_ticket_key_generate(ctypes.byref(self._tickets))

    def wrap_socket(self, made, server_side, suppress_ragged_eofs):
        """Takes the socket over; OSError when the handshake fails."""
        assert server_side and not suppress_ragged_eofs
        link, session = self._wrap(made)
        _LIB.gnutls_session_ticket_enable_server(
            session, ctypes.byref(self._tickets)
        )
        link.handshake()
        return link


class ClientContext(_Context):
    """A client that takes any certificate."""

    def __init__(self, priority):
        super().__init__(_CLIENT, priority)

    def connect(self, port, offer=None):
        """A Link to 127.0.0.1:port; OSError when the handshake fails.

        `offer`: session_data() of an earlier one, to be resumed.
        """
        made = socket.create_connection(("127.0.0.1", port))
        link, session = self._wrap(made)
        if offer:
            _check(
                _LIB.gnutls_session_set_data(session, offer, len(offer)),
                "session",
            )
        link.handshake()
        return link


class Link:
    """A connection: what the tests need of ssl.SSLSocket's methods."""

    def __init__(self, made, session, context, is_server):
        made.setblocking(True)  # GnuTLS reads the descriptor itself
        patience = struct.pack("ll", _PATIENCE_S, 0)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, patience)
        self._socket = made
        self._session = session
        self._is_server = is_server
        self._context = context  # keeps what the session points into
        _LIB.gnutls_transport_set_int2(session, made.fileno(), made.fileno())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        """Ends the connection without a close_notify, once."""
        if self._session:
            _LIB.gnutls_deinit(self._session)
            self._session = None
        self._socket.close()

    def settimeout(self, limit_s):
        """Nothing to set: reading has a limit of its own."""

    def handshake(self):
        _check(
            self._again(_LIB.gnutls_handshake, self._session), "handshake"
        )

    def version(self):
        return self._description().partition("-")[0].strip("(")

    def cipher(self):
        """As the ssl module gives it: the name comes first."""
        return (self._description().rpartition("-(")[2].strip(")"),)

    @property
    def session_reused(self):
        return bool(_LIB.gnutls_session_is_resumed(self._session))

    def session_data(self):
        """What a client needs to resume, once something was received."""
        data = _Datum()
        _check(
            _LIB.gnutls_session_get_data2(self._session, ctypes.byref(data)),
            "session",
        )
        return ctypes.string_at(data.data, data.size)  # a few bytes leak

    def recv(self, length):
        """b"" at a close_notify, SSLEOFError at an end without one."""
        buffer = ctypes.create_string_buffer(length)
        got = self._again(
            _LIB.gnutls_record_recv, self._session, buffer, length
        )
        if got == _PREMATURE_END:
            raise ssl.SSLEOFError("the end came without a close_notify")
        return buffer.raw[: _check(got, "recv")]

    def sendall(self, data):
        while data:
            sent = self._again(
                _LIB.gnutls_record_send, self._session, data, len(data)
            )
            data = data[_check(sent, "send") :]

    def rekey(self):
        """TLS 1.3: new keys for both directions."""
        _check(
            _LIB.gnutls_session_key_update(self._session, _ASK_PEER_TOO),
            "key update",
        )

    def renegotiate(self):
        """TLS 1.2: a handshake within the connection; OSError if refused.

        A server only asks for one here; recv() then has what came of it.
        """
        if self._is_server:
            _check(_LIB.gnutls_rehandshake(self._session), "hello request")
        else:
            self.handshake()

    def unwrap(self):
        """Sends a close_notify and waits for the peer's."""
        _check(
            self._again(_LIB.gnutls_bye, self._session, _SHUT_RDWR), "bye"
        )

    def _description(self):
        text = _LIB.gnutls_session_get_desc(self._session)
        return ctypes.string_at(text).decode()  # a few bytes, never freed

    def _again(self, function, *args):
        while (code := function(*args)) in (_AGAIN, _INTERRUPTED):
            pass
        return code
