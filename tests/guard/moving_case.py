# SPDX-License-Identifier: Apache-2.0
"""A guest on its way between two QEMUs, and a client that misbehaves."""

from tests.guard import guard_case
from tests.guard import migrant
from tests.testbed import migration


class MovingCase(guard_case.GuardCase):
    """Two machines per misdeed: most do not survive, and a guest moves once.

    Attributes:
      client: the migrant.Migrant of the last misdeed.
    """

    def pair(self, misdeed):
        """The source, and a destination that waits for its guest."""
        word = "on" if misdeed.seamless else "off"
        options = {"spice": [f"seamless-migration={word}"]}
        source = self.machine(misdeed.machine, **options)
        destination = self.machine(
            misdeed.machine, incoming=True, **options
        )
        return source, destination

    def lead(self, misdeed, pair, password, where):
        """Has self.client do the misdeed.

        Args:
          where: of the source and of the destination, as of spiceclient.Link.
        """
        source, destination = pair
        client = migrant.Migrant(password, *where, misdeed.channels)
        self.client = client
        self.addCleanup(client.close)
        client.open()
        migration.announce(source, destination)
        client.begun()
        self.assertEqual(client.seamless, misdeed.seamless)
        client.link()
        if not misdeed.linked:
            client.report()
            self.depart(pair)
        misdeed.act(client, misdeed.channel)

    def depart(self, pair):
        """Starts to move the guest."""
        source, destination = pair
        migration.start(source, destination.incoming_uri)
