# SPDX-License-Identifier: Apache-2.0
"""How the load's lines and its end are judged, with shells that play it."""

import json
import unittest

from bench.compare import load
from tests.testbed import processes
from tests.testbed import runner

_LIMIT_S = 20
_GOOD = {"event": "result", "errors": 0, "checksum_errors": 0}


class LoadTest(unittest.TestCase):
    def setUp(self):
        self.directory = processes.temporary_directory(self)

    def play(self, script):
        """A load that is this shell script."""
        made = load.Load(["sh", "-c", script], self.directory)
        self.enterContext(made)
        return made

    def end_with(self, result, code=0):
        """What finish() says of a load with this result and exit code."""
        line = json.dumps(result)
        played = self.play(f"echo '{line}'; echo why >&2; exit {code}")
        return played.finish(played.wait_event("result", _LIMIT_S))

    def test_events_in_turn(self):
        played = self.play(
            """echo '{"event":"listening"}'
            echo '{"event":"measuring","x":1}'
            echo '{"event":"result","errors":0}'"""
        )
        event = played.wait_event("measuring", _LIMIT_S)
        self.assertEqual(event["x"], 1)
        played.finish(played.wait_event("result", _LIMIT_S))

    def test_silence_ends_by_a_line(self):
        line = json.dumps(_GOOD)
        played = self.play(
            f"""echo '{{"event":"ready"}}'; read line; echo '{line}'"""
        )
        played.wait_event("ready", _LIMIT_S)
        played.go_on()
        played.finish(played.wait_event("result", _LIMIT_S))

    def test_good_end(self):
        self.assertEqual(self.end_with(_GOOD), _GOOD)

    def test_errors_are_told_with_its_own_words(self):
        with self.assertRaisesRegex(load.LoadError, "3 errors(.|\n)*why"):
            self.end_with(dict(_GOOD, errors=3), 1)
        with self.assertRaisesRegex(load.LoadError, "2 checksum errors"):
            self.end_with(dict(_GOOD, checksum_errors=2))
        with self.assertRaisesRegex(load.LoadError, "ended with 1"):
            self.end_with(_GOOD, 1)

    def test_end_without_a_result(self):
        played = self.play("echo broken >&2; exit 1")
        with self.assertRaisesRegex(load.LoadError, "no 'result'(.|\n)*broken"):
            played.wait_event("result", _LIMIT_S)

    def test_nothing_said(self):
        played = self.play("sleep 600")
        with self.assertRaisesRegex(load.LoadError, "says nothing"):
            played.wait_event("result", 0.1)

    def test_not_json(self):
        played = self.play("echo result: fine")
        with self.assertRaisesRegex(load.LoadError, "not JSON"):
            played.wait_event("result", _LIMIT_S)


if __name__ == "__main__":
    runner.main("setpriv")
