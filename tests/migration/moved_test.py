# SPDX-License-Identifier: Apache-2.0
"""The guest moves although its viewer could not go there, or was late."""

from tests.migration import checks
from tests.migration import move_case
from tests.migration import session_case
from tests.testbed import migration
from tests.testbed import runner

_END_LIMIT_S = 30
_RETURN_LIMIT_S = 60  # the gateway itself waits 30 s


class MovedTest(session_case.SessionCase):
    def test_to_where_the_ticket_is_wrong(self):
        """The source sends the viewer all the same: the session ends."""
        source, made, window = self.begin()
        destination = self.machine(3, incoming=True, password="another one")
        self.announce(source, destination)
        self.wait_answers(window, [session_case.FAILED])
        migration.start(source, destination.incoming_uri)
        migration.wait(source)
        made.wait_metric(
            lambda m: m.sum("spicegate_links_refused_total") >= 2,
            "the viewer's second try",
        )
        made.wait_no_sessions()
        source.wait_idle()
        self.assertFalse(destination.channels())
        self.assertEqual(
            set(checks.refusals(made)), {"server_ticket_refused"}
        )
        # It might come back once more, until then.
        made.wait_record(
            "migration",
            limit_s=_RETURN_LIMIT_S,
            kind=migration.SWITCH_HOST,
            result=migration.FAILED,
        )
        self.assertEqual(checks.pending(made), 0)
        self.assertEqual(checks.guarded(made), {})

    def test_before_the_viewer_knew(self):
        """It is still waiting for a destination that hangs, but not for ever.

        Without a gateway it does, see direct_test.
        """
        source, made, window = self.begin()
        destination = self.machine(3, incoming=True)
        with session_case.listener() as listener:
            port = listener.getsockname()[1]
            self.announce(
                source,
                destination,
                hostname=session_case.ELSEWHERE,
                port=port,
                tls_port=port,
            )
            held = listener.accept()[0]
            self.addCleanup(held.close)
            migration.start(source, destination.incoming_uri)
            migration.wait(source)
            self.until(
                lambda: "migrate-switch-host" in window.log(),
                "the viewer's next message of main",
                window,
            )
            made.wait_metric(
                lambda m: m.sum(
                    "spicegate_links_refused_total", reason="server_timeout"
                ),
                "the end of its next try",
                _END_LIMIT_S,
            )
            made.wait_no_sessions()
        source.wait_idle()
        self.assertEqual(checks.guarded(made), {})

    def test_destination_has_a_ticket_of_its_own(self):
        source = self.machine(2)
        destination = self.machine(3, incoming=True, password="another one")
        made = self.door(
            source, console={"destination_ticket": "another one"}
        )
        window = self.look(made, source)
        self.move(window, source, destination)
        self.wait_done(window, migration.SEAMLESS)
        self.check_key(window, destination, "k")


if __name__ == "__main__":
    runner.main(*move_case.TOOLS)
