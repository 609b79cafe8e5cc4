# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with an answer of Nova's, for nova.Nova.misbehave().

A fault is called with the nova.Handler and the console token of a request,
and sends what it likes in place of the answer.
"""

import json

from tests.testbed import nova
from tests.testbed import nova_auth


def status(code, message="as the test wishes", retry_after=None):
    """An error in Nova's own format; 401 as Keystone's middleware has it."""

    def act(handler, _token):
        if code == 401:
            handler.answer(*nova_auth.unauthorized())
            return
        headers = [("Retry-After", str(retry_after))] if retry_after else []
        handler.answer_fault(code, message, headers)

    return act


def changed(**fields):
    """The console with other values; nova.ABSENT takes a key away."""

    def act(handler, token):
        handler.version = (2, 99)
        reply = handler.owner.find(token).reply()
        for name, value in fields.items():
            reply["console"].pop(name, None)
            if value is not nova.ABSENT:
                reply["console"][name] = value
        handler.answer_json(reply)

    return act


def body(data, code=200, kind="application/json"):
    """Any bytes for a body."""
    return lambda handler, _token: handler.answer(
        code, [("Content-Type", kind)], data
    )


def huge(num_bytes=10_000_000):
    """A right answer, but for a key of that size which nobody knows."""

    def act(handler, token):
        reply = handler.owner.find(token).reply()
        reply["console"]["more"] = "x" * num_bytes
        handler.answer_json(reply)

    return act


def slow(seconds):
    """The right answer, so much later."""

    def act(handler, token):
        if not handler.owner.wait_over(seconds):
            handler.answer_json(handler.owner.find(token).reply())

    return act


def trickle(step_s=0.2):
    """The right answer, one byte at a time."""

    def act(handler, token):
        data = json.dumps(handler.owner.find(token).reply()).encode()
        whole = handler.head(200, [], len(data)) + data
        for position in range(len(whole)):
            if handler.owner.wait_over(step_s):
                return
            handler.send(whole[position : position + 1])

    return act


def cut_at_once(handler, _token):
    """Not a byte in reply."""
    handler.cut()


def cut_in_headers(handler, _token):
    handler.send(handler.head(200, [], 100)[:60])
    handler.cut()


def cut_in_body(handler, token):
    data = json.dumps(handler.owner.find(token).reply()).encode()
    handler.send(handler.head(200, [], len(data)) + data[: len(data) // 2])
    handler.cut()


def close_quietly(handler, token):
    """The right answer, and then the end, of which it says nothing before."""
    handler.answer_json(handler.owner.find(token).reply())
    handler.cut()


def redirect(location):
    return lambda handler, _token: handler.answer(
        302, [("Location", location)], b""
    )
