# SPDX-License-Identifier: Apache-2.0
"""Who reaches a desktop's server past the gateway is counted and logged."""

from tests.proxmox import qmp_case
from tests.testbed import qemu
from tests.testbed import runner
from tests.testbed import spiceclient

_FOREIGN = "spicegate_qmp_foreign_channels_total"
# With a shared monitor the gateway looks every 30 s.
_LOOK_LIMIT_S = 90


class AuditTest(qmp_case.QmpCase):
    def setUp(self):
        super().setUp()
        self.vm = self.desktop()

    def test_with_a_monitor_of_its_own(self):
        self._check("own")

    def test_with_a_shared_monitor(self):
        self._check("shared")

    def test_who_was_there_before(self):
        stranger = self.direct(self.vm, qemu.PASSWORD)
        stranger.open_main()
        made = self._start("own")
        record = made.wait_record("qmp_foreign_channel")
        self.assertEqual(record["peer"], _name(stranger.links[0]))

    def test_an_unsuccessful_stranger_is_none(self):
        """The second, who got in, shows that the first has been judged."""
        made = self._start("own")
        made.ticket("desktop")
        with self.assertRaises(PermissionError):
            self.direct(self.vm, qemu.PASSWORD).open_main()
        stranger = self._enter()
        made.wait_record("qmp_foreign_channel", peer=_name(stranger.links[0]))
        self.assertEqual(self._num_foreign(made), 1)

    def _check(self, monitor):
        """All of the gateway's channels are known, and of others each one.

        The gateway's are opened first and again behind the stranger's, so that
        they have been judged when he has, and when the last of all has.
        """
        made = self._start(monitor)
        client = self.through(made)
        self.vm.wait_channels(qmp_case.open_channels(client))
        client.close()
        made.wait_no_sessions()
        self.vm.wait_idle()

        strangers = [self._enter()]
        strangers[0].link(spiceclient.INPUTS)
        names = {_name(link) for link in strangers[0].links}
        for name in names:
            made.wait_record(
                "qmp_foreign_channel", _LOOK_LIMIT_S, peer=name
            )
        strangers[0].close()
        self.vm.wait_idle()

        client = self.through(made)
        self.vm.wait_channels(qmp_case.open_channels(client))
        client.close()
        self.vm.wait_idle()
        strangers.append(self._enter())
        names.add(_name(strangers[1].links[0]))
        made.wait_record(
            "qmp_foreign_channel",
            _LOOK_LIMIT_S,
            peer=_name(strangers[1].links[0]),
            channel="main",
        )
        records = made.records("qmp_foreign_channel")
        self.assertEqual({r["peer"] for r in records}, names)
        self.assertEqual(len(records), len(names))
        self.assertEqual({r["console"] for r in records}, {"desktop"})
        self.assertEqual(self._num_foreign(made), len(names))

    def _start(self, monitor):
        return self.start_gateway([self.console(qmp_monitor=monitor)])

    def _enter(self):
        """Somebody with a password of his own, set by hand."""
        spice = {"protocol": "spice"}
        self.vm.qmp.command("set_password", password="by hand", **spice)
        self.vm.qmp.command("expire_password", time="never", **spice)
        stranger = self.direct(self.vm, "by hand")
        stranger.open_main()
        return stranger

    def _num_foreign(self, made):
        return made.metrics().sum(_FOREIGN)


def _name(link):
    host, port = link.socket.getsockname()
    return f"{host}:{port}"


if __name__ == "__main__":
    runner.main("qemu-system-x86_64")
