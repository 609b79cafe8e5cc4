# SPDX-License-Identifier: Apache-2.0
"""A test case with a Nova, a stand-in for Keystone, and portals to them."""

from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import identity
from tests.testbed import nova
from tests.testbed import polling
from tests.testbed import portal
from tests.testbed import web_server

# How long a thing may take on the slowest computer.
LIMIT_S = 60
REQUESTS = "spicegate_cloud_requests_total"
BREAKER = "spicegate_cloud_breaker_open"


class PortalCase(case.Case):
    """No hypervisor: the file is as far as users get here.

    Attributes:
      nova, identity: both up, without any fault.
    """

    def setUp(self):
        super().setUp()
        self.nova = self.start_nova()
        self.identity = identity.Identity(self.nova.project_url("p"))
        self.addCleanup(self.identity.stop)

    def start_nova(self, **how):
        made = nova.Nova(**how)
        self.addCleanup(made.stop)
        return made

    def cloud(self, name="prod", made=None, **more):
        """An entry of "clouds"; a Nova of its own unless `made` is given."""
        return portal.nova_cloud(
            self.directory, made or self.nova, self.identity, name, **more
        )

    def open(self, *clouds, **how):
        """A portal to these clouds, or to one with all defaults."""
        return portal.start(self, clouds or [self.cloud()], **how)

    def assert_file(self, door, token, path=portal.FILE_PATH):
        """There is a .vv; returns its entries."""
        answer = door.ask(token, path)
        self.assertEqual(answer.status, 200, answer.body)
        kind = answer.headers["content-type"]
        self.assertEqual(kind.partition(";")[0], "application/x-virt-viewer")
        return gateway.vv_entries(answer.body)

    def assert_works(self, door, path=portal.FILE_PATH, made=None):
        """A new console token leads to a file."""
        token = (made or self.nova).add_console().token
        return self.assert_file(door, token, path)

    def assert_error(
        self, door, token, status, code, path=portal.FILE_PATH
    ):
        """The JSON error; returns its headers."""
        answer = door.ask(token, path)
        said = (answer.status, answer.headers["content-type"])
        self.assertEqual(said, (status, "application/json"), answer.body)
        self.assertEqual(set(answer.json()), {"error", "code"})
        self.assertEqual(answer.json()["code"], code)
        text = answer.json()["error"]
        self.assertGreater(len(text), 20)
        for secret in (token, "127.0.0.1", str(self.nova.port)):
            self.assertNotIn(secret, text)
        return answer.headers

    def requests(self, door, service="nova", cloud="prod"):
        """{result: number} of the gateway's requests to a service."""
        by_result = {}
        for result in (
            *("ok", "not_found", "refused", "error"),
            *("timeout", "gone", "rejected"),
        ):
            number = door.gateway.metrics().sum(
                REQUESTS, cloud=cloud, service=service, result=result
            )
            if number:
                by_result[result] = int(number)
        return by_result

    def wait_works(self, door, path=portal.FILE_PATH, made=None):
        """Until a new console token leads to a file."""

        def look():
            token = (made or self.nova).add_console().token
            return door.ask(token, path).status == 200

        polling.until(look, "the cloud's recovery", LIMIT_S, 0.5)

    def breaker(self, door, cloud="prod"):
        return int(door.gateway.metrics().sum(BREAKER, cloud=cloud))


class Deaf(web_server.WebServer):
    """Notes that somebody asked, which nobody should.

    Attributes:
      asked: paths.
    """

    def __init__(self):
        self.asked = []
        super().__init__(_DeafHandler)


class _DeafHandler(web_server.Handler):
    def do_GET(self):
        self.owner.asked.append(self.path)
        self.answer(200, [], b"")

    do_POST = do_GET
