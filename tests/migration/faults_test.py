# SPDX-License-Identifier: Apache-2.0
"""Migrations that go wrong: the session stays where its guest is.

A viewer that waits for a destination reads nothing of the source's main channel
meanwhile, so it must get its answer from the gateway whatever the destination
does. That it goes on afterwards is shown by a migration that then succeeds.
"""

import contextlib
import socket
import threading

from tests.migration import checks
from tests.migration import move_case
from tests.migration import session_case
from tests.testbed import gateway
from tests.testbed import migration
from tests.testbed import ports
from tests.testbed import runner


class DestinationTest(session_case.SessionCase):
    """Destinations that are no good, told to the viewer before the move."""

    def test_refuses(self):
        (port,) = ports.pick()
        self._fails("server_connect", port=port, tls_port=port)

    def test_hangs_after_accept(self):
        with session_case.listener() as listener:
            port = listener.getsockname()[1]
            self._fails("server_timeout", port=port, tls_port=port)

    def test_hangs_in_the_middle(self):
        """Main gets through, and of the other channels nothing is heard."""
        self._fails_behind_main("server_timeout", hold=True)

    def test_refuses_in_the_middle(self):
        self._fails_behind_main("server_gone", hold=False)

    def _fails_behind_main(self, reason, hold):
        """As far as the gateway goes: spice-gtk 0.42 does not live to see it.

        When one of its links fails while another one is under way it uses
        memory that it has freed, with a gateway or without.
        """
        source, made, window = self.begin()
        destination = self.machine(3, incoming=True)
        place = (destination.address, destination.tls_port)
        with _FirstOnly(place, hold) as first:
            self.announce(
                source,
                destination,
                hostname=session_case.ELSEWHERE,
                tls_port=first.port,
            )
            self._check_record(source, made, reason)
        window.stop()
        made.wait_no_sessions()
        # Whoever noticed first: the viewer goes, and its session with it.
        self._check_refusals(
            made, reason, "migration_over", "client_gone", "session_over"
        )
        for vm in (source, destination):
            vm.wait_idle()
            self.assertTrue(vm.answers(), vm.name)
        self.check_key(self.look(made, source), source, "s")

    def test_has_another_subject(self):
        destination = self.machine(3, incoming=True)
        self._fails(
            gateway.SERVER_TLS_SUBJECT,
            destination,
            cert_subject=move_case.subject(4),
        )

    def test_has_another_name(self):
        """Without a subject it is verified by the name that was told."""
        names = ("DNS:elsewhere.example.test", "IP:127.0.0.4")
        destination = self.machine(3, incoming=True, names=names)
        self._fails(
            gateway.SERVER_TLS_NAME, destination, cert_subject=None
        )

    def test_has_another_ticket(self):
        destination = self.machine(3, incoming=True, password="another one")
        self._fails("server_ticket_refused", destination)

    def _fails(self, reason, destination=None, **changes):
        """Without a destination: whoever is at ELSEWHERE."""
        source, made, window = self.begin()
        if destination:
            self.announce(source, destination, **changes)
        else:
            self.announce(
                source, source, hostname=session_case.ELSEWHERE, **changes
            )
        self._check_failed(source, made, window, reason)
        if destination:
            destination.wait_idle()
        self.check_moves(made, window, source, "k", num_answers=2)

    def _check_failed(self, source, made, window, reason):
        self.wait_answers(window, [session_case.FAILED])
        self._check_record(source, made, reason)
        self._check_refusals(made, reason)
        self.check_stays(window, source, "s")

    def _check_record(self, source, made, reason):
        record = made.wait_record("migration")
        wanted = {
            "console": "desktop",
            "kind": migration.SEAMLESS,
            "result": migration.FAILED,
            "reason": reason,
            "from": checks.place(source),
        }
        self.assertEqual({k: record.get(k) for k in wanted}, wanted, record)
        self.assertEqual(
            checks.counts(made), {session_case.SEAMLESS_FAILED: 1}
        )
        self.assertEqual(checks.pending(made), 0)

    def _check_refusals(self, made, reason, *others):
        found = checks.refusals(made)
        self.assertIn(reason, found)
        self.assertLessEqual(set(found), {reason, *others})
        self.assertEqual(checks.guarded(made), {})


class _FirstOnly:
    """Passes its first connection on; the others it holds, or ends at once."""

    def __init__(self, to, hold):
        self._to = to
        self._hold = hold
        self._listener = session_case.listener()
        self.port = self._listener.getsockname()[1]
        self._held = contextlib.ExitStack()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()
        self._held.close()

    def _serve(self):
        first = self._accept()
        if first is None:
            return
        there = self._held.enter_context(socket.create_connection(self._to))
        for ends in ((first, there), (there, first)):
            threading.Thread(target=_pass_on, args=ends, daemon=True).start()
        while (other := self._accept()) is not None:
            if not self._hold:
                other.close()

    def _accept(self):
        try:
            return self._held.enter_context(self._listener.accept()[0])
        except OSError:
            return None


def _pass_on(source, sink):
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
