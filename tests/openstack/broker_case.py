# SPDX-License-Identifier: Apache-2.0
"""A test case with a broker behind the portal, and no cloud else."""

import os

from tests.openstack import desktop_case
from tests.openstack import fake_broker
from tests.testbed import case
from tests.testbed import gateway
from tests.testbed import pki
from tests.testbed import processes
from tests.testbed import spiceclient
from tests.testbed import viewer

BEARER = "bearer-of-the-gateway"
TOKEN = "Token.of~a_user-1"
_POLICIES = {"no-record": {"refuse_channels": ["record"]}}


class BrokerCase(case.Case):
    """The policy "no-record" is there for whoever names it."""

    def setUp(self):
        super().setUp()
        self.authority = pki.Authority(self.directory)
        self.broker = self.start_broker(BEARER)

    def start_broker(self, bearer):
        broker = fake_broker.Broker(bearer)
        self.addCleanup(broker.stop)
        return broker

    def entry(self, broker, name="desks", bearer=BEARER, **more):
        """A cloud of kind http in the configuration."""
        path = os.path.join(self.directory, name + ".bearer")
        with open(path, "w", encoding="ascii") as stream:
            stream.write(bearer + "\n")
        url = getattr(broker, "url", broker)
        said = {"kind": "http", "url": url, "bearer_file": path, **more}
        return {"name": name, **said}

    def begin(self, *entries, **config):
        certificate, key = self.authority.issue("portal", "O=Test,CN=portal")
        own = {"certificate": certificate, "key": key}
        self.made = self.start_gateway(
            (),
            portal={"address": "127.0.0.1:0", **own},
            clouds=entries or [self.entry(self.broker)],
            policies=_POLICIES,
            **config,
        )
        self.port = desktop_case.portal_port(self.made)

    def ask(self, token=TOKEN, path="/console", *options):
        """curl's (status, body)."""
        out = os.path.join(self.directory, "answer")
        code, said, errors = processes.run(
            [*"curl -sS -w %{http_code} --cacert".split()]
            + [self.authority.cert_path, "-o", out, *options]
            + [f"https://localhost:{self.port}{path}?token={token}"],
            env=viewer.private_environment(self.directory),
        )
        self.assertEqual(code, 0, errors)
        with open(out, "rb") as stream:
            return int(said), stream.read()

    def take(self, token=TOKEN, path="/console"):
        """The entries of the connection file."""
        status, body = self.ask(token, path)
        self.assertEqual(status, 200, body)
        return gateway.vv_entries(body)

    def client(self, entries):
        client = spiceclient.Client(
            entries["password"], port=int(entries["tls-port"]), tls=True
        )
        self.addCleanup(client.close)
        client.open_main()
        return client
