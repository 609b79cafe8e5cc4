# SPDX-License-Identifier: Apache-2.0
"""Session tickets towards clients: ten thousand, other nodes, changed keys."""

import base64
import os
import signal
import ssl
import threading

from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import runner
from tests.testbed import spiceclient
from tests.tls_peers import gnutls
from tests.tls_peers import peers_case
from tests.tls_peers import programs

_NUM_RESUMPTIONS = 10000
_NUM_THREADS = 4
_VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)


class _ResumptionCase(peers_case.PeersCase):
    def session(self, gateway, version, name=None):
        """(context, session) of a client that has a ticket now."""
        context = peers_case.trusting_context(version)
        with peers_case.linked(gateway.tls_port, context, name=name) as made:
            self.assertFalse(made.session_reused)
            self.assertTrue(made.session.has_ticket)
            return context, made.session

    def resumes(self, gateway, context, session, name=None):
        """Whether it was resumed; either way the handshake succeeds."""
        with peers_case.linked(
            gateway.tls_port, context, session, name
        ) as made:
            return made.session_reused


class ManyTest(_ResumptionCase):
    def test_ten_thousand(self):
        gateway = self.start_listener()
        sessions = [self.session(gateway, version) for version in _VERSIONS]
        self._resume_many(gateway, sessions, _NUM_RESUMPTIONS // 10)
        usage = peers_case.Usage(gateway)
        before = peers_case.handshakes(gateway, "client")
        self._resume_many(gateway, sessions, _NUM_RESUMPTIONS)
        usage.check_no_growth(self)
        after = peers_case.handshakes(gateway, "client")
        grown = {outcome: after[outcome] - before[outcome] for outcome in after}
        self.assertEqual(
            grown, {"full": 0, "resumed": _NUM_RESUMPTIONS, "failed": 0}
        )

    def _resume_many(self, gateway, sessions, total):
        """`total` handshakes, the versions in turn, in some threads."""
        resumed, faults = [], []

        def work(count):
            try:
                for number in range(count):
                    context, session = sessions[number % len(sessions)]
                    with peers_case.tls_socket(
                        gateway.tls_port, context, session
                    ) as made:
                        resumed.append(made.session_reused)
            except OSError as error:
                faults.append(error)

        threads = [
            threading.Thread(target=work, args=(total // _NUM_THREADS,))
            for _ in range(_NUM_THREADS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])
        self.assertEqual((len(resumed), all(resumed)), (total, True))


class TicketTest(_ResumptionCase):
    def test_fresh_ticket_each_time(self):
        """A client that only ever offers its newest ticket goes on for ever."""
        gateway = self.start_listener()
        for version in _VERSIONS:
            with self.subTest(version.name):
                context, session = self.session(gateway, version)
                for _ in range(5):
                    with peers_case.linked(
                        gateway.tls_port, context, session
                    ) as made:
                        self.assertTrue(made.session_reused)
                        session = made.session

    def test_no_early_data(self):
        """What a ticket allows is said beside it: none."""
        gateway = self.start_listener()
        path = os.path.join(self.directory, "session.pem")
        options = ["-tls1_3", "-sess_out", path]
        peer = programs.s_client(self, "ticket", gateway.tls_port, *options)
        link = spiceclient.Link(connected=peer.socket)
        link.hello(spiceclient.MAIN)
        code, text, err = processes.run(
            ["openssl", "sess_id", "-in", path, "-noout", "-text"]
        )
        self.assertEqual(code, 0, err)
        self.assertIn("TLS session ticket:", text)
        self.assertRegex(text, r"Max Early Data: 0\b")

    def test_forged_ticket(self):
        """A ticket that nobody made: a full handshake, no error."""
        first = self.start_listener(name="first")
        stranger = self.start_listener(name="stranger")
        for version in _VERSIONS:
            with self.subTest(version.name):
                context, session = self.session(stranger, version)
                self.assertFalse(self.resumes(first, context, session))

    def test_without_key_file_nodes_share_nothing(self):
        """Keys are random where no file says otherwise: gone with a restart."""
        gateway = self.start_listener()
        kept = [self.session(gateway, version) for version in _VERSIONS]
        gateway.stop()
        again = self.start_listener(name="again")
        for context, session in kept:
            self.assertFalse(self.resumes(again, context, session))


class ProgramTest(_ResumptionCase):
    """Clients other than Python resume as well."""

    def setUp(self):
        super().setUp()
        self.gateway = self.start_listener()

    def test_openssl(self):
        path = os.path.join(self.directory, "session.pem")
        for version in programs.VERSIONS:
            with self.subTest(version):
                option = "-tls" + version.replace(".", "_")
                self._s_client("first-" + version, option, "-sess_out", path)
                self._s_client("again-" + version, option, "-sess_in", path)
        self._check_two_resumed()

    def test_gnutls(self):
        port = self.gateway.tls_port
        for version in programs.VERSIONS:
            with self.subTest(version):
                context = gnutls.ClientContext(
                    f"NORMAL:-VERS-ALL:+VERS-TLS{version}"
                )
                with self._linked(context.connect(port)) as first:
                    data = first.session_data()
                with self._linked(context.connect(port, data)) as again:
                    self.assertTrue(again.session_reused)
        self._check_two_resumed()

    def _s_client(self, name, *options):
        peer = programs.s_client(self, name, self.gateway.tls_port, *options)
        self._linked(peer.socket).close()
        self.assertEqual(peer.child.wait(20), 0, peer.child.tail())

    def _linked(self, made):
        """The same connection, after its link reply."""
        reply = spiceclient.Link(connected=made).hello(spiceclient.MAIN)
        self.assertEqual(reply.error, spiceclient.OK)
        return made

    def _check_two_resumed(self):
        self.assertEqual(
            peers_case.handshakes(self.gateway, "client"),
            {"full": 2, "resumed": 2, "failed": 0},
        )


class KeyFileTest(_ResumptionCase):
    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.directory, "ticket.keys")
        authority = pki.Authority(self.directory)
        cert, key = authority.issue("node", kind=pki.ECDSA)
        self.tls = {"certificate": cert, "key": key, "ticket_keys": self.path}

    def write_keys(self, *keys):
        """Replaces the file in one step."""
        with open(self.path + ".new", "wb") as stream:
            stream.write(b"# newest first\n\n" + b"\n".join(keys) + b"\n")
        os.chmod(self.path + ".new", 0o600)
        os.rename(self.path + ".new", self.path)

    def change_keys(self, gateway, *keys):
        """The same, and waits until the gateway has taken them over."""
        before = len(gateway.records("ticket_keys_loaded"))
        self.write_keys(*keys)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.wait_metric(
            lambda _: len(gateway.records("ticket_keys_loaded")) == before + 1,
            "the new ticket keys",
        )

    def test_another_node(self):
        self.write_keys(_new_key())
        one = self.start_listener(name="one", tls=self.tls)
        two = self.start_listener(name="two", tls=self.tls)
        for version in _VERSIONS:
            with self.subTest(version.name):
                context, session = self.session(one, version)
                self.assertTrue(self.resumes(two, context, session))
                context, session = self.session(two, version)
                self.assertTrue(self.resumes(one, context, session))
        self.assertEqual(peers_case.handshakes(two, "client")["resumed"], 2)

    def test_restart(self):
        self.write_keys(_new_key())
        gateway = self.start_listener(name="one", tls=self.tls)
        kept = [self.session(gateway, version) for version in _VERSIONS]
        gateway.stop()
        again = self.start_listener(name="again", tls=self.tls)
        for context, session in kept:
            self.assertTrue(self.resumes(again, context, session))

    def test_rotation(self):
        old, new, newest = _new_key(), _new_key(), _new_key()
        self.write_keys(old)
        gateway = self.start_listener(tls=self.tls)
        early = [self.session(gateway, version) for version in _VERSIONS]
        self.change_keys(gateway, new, old)
        late = [self.session(gateway, version) for version in _VERSIONS]
        for context, session in early + late:
            self.assertTrue(self.resumes(gateway, context, session))
        self.change_keys(gateway, newest, new)
        for context, session in early:
            self.assertFalse(self.resumes(gateway, context, session))
        for context, session in late:
            self.assertTrue(self.resumes(gateway, context, session))

    def test_new_ticket_is_of_the_newest_key(self):
        """A resumed session moves to the newest key before its own goes."""
        old, new = _new_key(), _new_key()
        self.write_keys(old)
        gateway = self.start_listener(tls=self.tls)
        context, session = self.session(gateway, ssl.TLSVersion.TLSv1_3)
        self.change_keys(gateway, new, old)
        with peers_case.linked(gateway.tls_port, context, session) as made:
            self.assertTrue(made.session_reused)
            session = made.session
        self.change_keys(gateway, new)
        self.assertTrue(self.resumes(gateway, context, session))

    def test_broken_file_keeps_the_old_keys(self):
        key = _new_key()
        self.write_keys(key)
        gateway = self.start_listener(tls=self.tls)
        kept = [self.session(gateway, version) for version in _VERSIONS]
        self.write_keys(key[:-8])
        gateway.process.send_signal(signal.SIGHUP)
        record = gateway.wait_record("ticket_keys_refused")
        self.assertIn(self.path, record["error"])
        self.assertNotIn(key[:-8].decode(), record["error"])
        for context, session in kept:
            self.assertTrue(self.resumes(gateway, context, session))


class IdentityTest(_ResumptionCase):
    """A session goes on only where the client would have met the same one."""

    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)

    def test_other_name(self):
        pairs = [
            self._pair("one", "DNS:one.example.test"),
            self._pair("two", "DNS:two.example.test"),
        ]
        gateway = self.start_listener(tls={"certificates": pairs})
        for version in _VERSIONS:
            with self.subTest(version.name):
                one = "one.example.test"
                context, session = self.session(gateway, version, one)
                self.assertTrue(self.resumes(gateway, context, session, one))
                two = "two.example.test"
                self.assertFalse(self.resumes(gateway, context, session, two))

    def test_certificate_for_other_names(self):
        first = self._pair("one", "DNS:one.example.test")
        gateway = self.start_listener(tls={"certificates": [first]})
        kept = [self.session(gateway, version) for version in _VERSIONS]
        self._replace(gateway, first, self._pair("new", "DNS:two.example.test"))
        for context, session in kept:
            self.assertFalse(self.resumes(gateway, context, session))

    def test_renewed_certificate(self):
        first = self._pair("one", "DNS:one.example.test")
        gateway = self.start_listener(tls={"certificates": [first]})
        kept = [self.session(gateway, version) for version in _VERSIONS]
        self._replace(gateway, first, self._pair("new", "DNS:one.example.test"))
        for context, session in kept:
            self.assertTrue(self.resumes(gateway, context, session))

    def _pair(self, name, *names):
        cert, key = self.authority.issue(name, names=names, kind=pki.ECDSA)
        return {"certificate": cert, "key": key}

    def _replace(self, gateway, old, new):
        for what in ("certificate", "key"):
            os.rename(new[what], old[what])
        gateway.process.send_signal(signal.SIGHUP)
        wanted = peers_case.certificate_in(old["certificate"])
        context = peers_case.trusting_context()
        gateway.wait_metric(
            lambda _: wanted
            == peers_case.shown_certificate(gateway.tls_port, context),
            "the new certificate",
        )


def _new_key():
    return base64.b64encode(os.urandom(48))


if __name__ == "__main__":
    runner.main("openssl", "gnutls-cli")
