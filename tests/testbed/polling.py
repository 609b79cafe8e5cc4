# SPDX-License-Identifier: Apache-2.0
"""Waiting for something to become true, with a bound."""

import time

_STEP_S = 0.02


def until(probe, what, limit_s=10, step_s=_STEP_S):
    """Calls probe until it returns something true, and returns that.

    Raises TimeoutError naming `what` and the last answer after limit_s. The
    limit is a bound on a broken run, never a statement about speed.
    """
    end = time.monotonic() + limit_s
    while True:
        answer = probe()
        if answer:
            return answer
        if time.monotonic() > end:
            raise TimeoutError(
                f"{what}: not within {limit_s} s, last: {answer!r}"
            )
        time.sleep(step_s)
