#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A broker for clouds of kind "http": tokens in a file, consoles as JSON.

    broker.py issue --tokens FILE [--life SECONDS] [--once] CONSOLE
    broker.py serve --tokens FILE --bearer-file FILE [--address HOST:PORT]
                    [--certificate FILE --key FILE]

`issue` prints a new token for CONSOLE, the JSON object that the gateway is to
get for it: {"id": "vm-7", "host": "10.0.0.7", "port": 5900}. `serve` answers
the gateway. What is asked and answered stands in docs/brokers.md.

The file has the tokens' SHA-256, never the tokens: who reads it gets in
nowhere, and how long a look-up takes says nothing about a token.
"""

import argparse
import fcntl
import hashlib
import hmac
import http.server
import json
import os
import re
import secrets
import ssl
import threading
import time

# A person's browser shows the token twice, for the page and for the file, and
# once more when the download is repeated: a token that is good "once" is good
# for so long after it was first shown.
ONCE_S = 60

MAX_BODY_BYTES = 4096

# What the gateway passes on.
TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,256}")


def digest(token):
    return hashlib.sha256(token.encode()).hexdigest()


def read_tokens(path):
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def issue(path, console, life_s, once):
    """Adds a token to the file, which is replaced whole, and returns it."""
    token = secrets.token_urlsafe(32)
    now = time.time()
    with open(path + ".lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        tokens = {
            key: entry
            for key, entry in read_tokens(path).items()
            if entry["expires"] > now
        }
        tokens[digest(token)] = {
            "expires": now + life_s,
            "once": once,
            "console": console,
        }
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with open(os.open(path + ".new", flags, 0o600), "w") as file:
            json.dump(tokens, file, indent=1)
        os.replace(path + ".new", path)
    return token


class Directory:
    """What tokens stand for; safe for several threads."""

    def __init__(self, path):
        self._path = path
        self._lock = threading.Lock()
        self._ends = {}  # of tokens that are good once, by digest

    def find(self, token):
        """The console of a token, or None for whatever is not good now."""
        key = digest(token)
        now = time.time()
        with self._lock:
            tokens = read_tokens(self._path)
            ends = {k: e for k, e in self._ends.items() if k in tokens}
            self._ends = ends
            entry = tokens.get(key)
            if entry is None or entry["expires"] <= now:
                return None
            if entry["once"] and ends.setdefault(key, now + ONCE_S) <= now:
                return None
            return entry["console"]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds of silence on a connection
    directory = None
    bearer = b""

    def do_POST(self):
        shown = self.headers.get("Authorization", "").encode()
        # Read whoever asks, or the rest would be taken for the next request.
        body = self._body()
        if body is None:
            return
        if not hmac.compare_digest(shown, b"Bearer " + self.bearer):
            self._answer(401, {"error": "not welcome"})
            return
        token = self._token(body)
        if token is None:
            self._answer(400, {"error": 'expected {"token": "..."}'})
            return
        console = self.directory.find(token)
        if console is None:
            self._answer(404, {"error": "unknown or expired"})
            return
        self._answer(200, {"console": console})

    def _body(self):
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
            self.close_connection = True
            self._answer(413, {"error": "expected a short body"})
            return None
        return self.rfile.read(int(length))

    @staticmethod
    def _token(body):
        try:
            token = json.loads(body)["token"]
        except (ValueError, KeyError, TypeError, RecursionError):
            return None
        good = isinstance(token, str) and TOKEN.fullmatch(token)
        return token if good else None

    def _answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(args):
    with open(args.bearer_file, encoding="utf-8") as file:
        Handler.bearer = file.read().strip().encode()
    if not Handler.bearer:
        raise SystemExit(args.bearer_file + ": expected a secret")
    Handler.directory = Directory(args.tokens)
    host, _, port = args.address.rpartition(":")
    server = Server((host, int(port)), Handler)
    if args.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(args.certificate, args.key)
        # By the connection's own thread, with its first read.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    print("listening on %s:%d" % server.server_address[:2], flush=True)
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    commands = parser.add_subparsers(dest="command", required=True)
    add = commands.add_parser("issue")
    add.add_argument("--tokens", required=True)
    add.add_argument("--life", type=float, default=600)
    add.add_argument("--once", action="store_true")
    add.add_argument("console", type=json.loads)
    run = commands.add_parser("serve")
    run.add_argument("--tokens", required=True)
    run.add_argument("--bearer-file", required=True)
    run.add_argument("--address", default="127.0.0.1:8090")
    run.add_argument("--certificate")
    run.add_argument("--key")
    args = parser.parse_args()
    if args.command == "issue":
        print(issue(args.tokens, args.console, args.life, args.once))
    else:
        serve(args)


if __name__ == "__main__":
    main()
