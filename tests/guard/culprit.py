# SPDX-License-Identifier: Apache-2.0
"""Commits a misdeed: opens the channel in its manner, and sends."""

from tests.guard.misdeeds import Manner
from tests.testbed import spiceclient
from tests.testbed.spiceclient import DISPLAY, MAIN, USBREDIR

_COMMON_CAPS = {
    Manner.PIPELINED: spiceclient.AUTH_SELECTION | spiceclient.MINI_HEADER,
    Manner.LEGACY: spiceclient.MINI_HEADER,
    Manner.FULL: spiceclient.AUTH_SELECTION,
}


def commit(client, misdeed):
    """Does it, and returns the link it was done on.

    Args:
      client: a spiceclient.Client that has connected nothing yet.
    """
    if misdeed.channel != MAIN:
        client.open_main()
    if misdeed.manner in (Manner.PIPELINED, Manner.LEGACY):
        return _hurry(client, misdeed)
    link = _opened(client, misdeed)
    try:
        for piece in misdeed.pieces:
            link.send(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it may be closed at the first header
    return link


def _opened(client, misdeed):
    if misdeed.manner is Manner.FULL:
        link, reply = _linked(client, misdeed)
        if link.ticket(reply, client.password) != spiceclient.OK:
            raise PermissionError("link refused")
        return link
    if misdeed.channel == MAIN:
        return client.open_main()
    link = client.link(misdeed.channel)
    if misdeed.channel == DISPLAY and misdeed.manner is not Manner.FRESH:
        link.send_message(
            spiceclient.DISPLAY_INIT, spiceclient.display_init()
        )
        link.read_message()
    if misdeed.channel == USBREDIR:
        link.read_message()  # the server's hello
    return link


def _hurry(client, misdeed):
    """Without waiting for the result of the ticket."""
    link, reply = _linked(client, misdeed)
    (piece,) = misdeed.pieces
    selects = misdeed.manner is not Manner.LEGACY
    link.send_ticket(reply, client.password, piece, selects)
    return link


def _linked(client, misdeed):
    """A link with other common capabilities, and its reply."""
    link = spiceclient.Link(**client.where)
    client.links.append(link)
    reply = link.hello(
        misdeed.channel,
        0,
        client.connection_id,
        common=_COMMON_CAPS[misdeed.manner],
    )
    if reply.error != spiceclient.OK:
        raise PermissionError(f"link error {reply.error}")
    return link, reply
