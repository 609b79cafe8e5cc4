# SPDX-License-Identifier: Apache-2.0
"""The picture through the gateway is the picture of the QEMU, byte by byte."""

from tests.testbed import case
from tests.testbed import picture
from tests.testbed import pki
from tests.testbed import runner
from tests.testbed import viewer

_MIN_COLOURS = 100000  # the gradient has one for each of its 786432 pixels


class ScreenshotTest(case.Case):
    def test_qemu_with_plain_port(self):
        vm = self.start_vm("plain", "min")
        self._check(vm, vm.console())

    def test_qemu_with_tls_port_only(self):
        authority = pki.Authority(self.directory)
        vm = self.start_vm("secured", "tls", x509_dir=authority.x509_dir())
        console = vm.console(host_subject=pki.SUBJECT)
        self.assertNotIn("port", console)
        gateway = self._check(vm, console, authority.cert_path)
        self.assertGreater(_num_tls(gateway, "server"), 0)

    def test_qemu_on_unix_socket(self):
        vm = self.start_vm("local", "unix")
        self._check(vm, vm.console())

    def test_qemu_without_ticket(self):
        vm = self.start_vm("open", "noticket")
        console = vm.console()
        self.assertNotIn("ticket", console)
        self._check(vm, console)

    def _check(self, vm, console, ca_path=None):
        direct = viewer.direct(vm, tls=bool(ca_path), ca_path=ca_path)
        wanted = self._shoot(vm, "direct", direct)
        self._check_reference(vm, wanted)
        gateway = self.start_gateway([console])
        for tls in (False, True):
            name = "gateway-tls" if tls else "gateway-plain"
            with self.subTest(name):
                num_tls = _num_tls(gateway, "client")
                got = self._shoot(vm, name, gateway.target(vm.name, tls))
                self.assertTrue(
                    got.bytes() == wanted.bytes(), "the pictures differ"
                )
                self.assertEqual(_num_tls(gateway, "client") > num_tls, tls)
        opened = gateway.metrics().by(
            "spicegate_channels_opened_total", "channel"
        )
        self.assertEqual((opened["main"], opened["display"]), (2, 2))
        return gateway

    def _check_reference(self, vm, shot):
        """What the direct viewer saw is what QEMU itself says it shows."""
        dump = picture.read_ppm(vm.screendump(shot.path + ".dump"))
        seen = picture.read_ppm(shot.path)
        self.assertEqual((seen.width, seen.height), (1024, 768))
        self.assertTrue(seen == dump, "the viewer saw something else")
        self.assertGreater(seen.num_colours(), _MIN_COLOURS)

    def _shoot(self, vm, name, target):
        shot = viewer.screenshot(self.directory, name, target)
        self.assertEqual(shot.code, 0, shot.text)
        vm.wait_idle()
        return shot


def _num_tls(gateway, leg):
    return gateway.metrics().sum("spicegate_tls_connections_total", leg=leg)


if __name__ == "__main__":
    runner.main("qemu-system-x86_64", "spicy-screenshot", "openssl")
