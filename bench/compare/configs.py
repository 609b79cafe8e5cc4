# SPDX-License-Identifier: Apache-2.0
"""The peers' configuration files, as text."""

import json

# Relayed connections may be silent for as long as a run takes.
_SILENCE_S = 3600
_SUITE = "TLS_AES_128_GCM_SHA256"
TICKET = "bench-ticket"


def haproxy(setup, buffer_bytes=None, splice=False):
    """One thread in TCP mode; all else as Debian ships it.

    With TLS that is: session tickets and a session cache, no buffer but
    tune.bufsize.

    Pipes are bounded because their descriptors count against RLIMIT_NOFILE,
    and HAProxy refuses to start where its worst case does not fit.
    """
    lines = [
        "global",
        f"  maxconn {setup.max_channels}",
        "  nbthread 1",
        f"  stats socket {setup.directory}/haproxy.sock mode 600",
    ]
    if buffer_bytes:
        lines.append(f"  tune.bufsize {buffer_bytes}")
    if splice:
        lines.append(f"  maxpipes {setup.max_pipes}")
    if setup.certificate:
        lines += [
            f"  ssl-default-bind-ciphersuites {_SUITE}",
            "  ssl-default-bind-options ssl-min-ver TLSv1.3",
        ]
    lines += [
        "defaults",
        "  mode tcp",
        f"  maxconn {setup.max_channels}",
        "  timeout connect 5s",
        f"  timeout client {_SILENCE_S}s",
        f"  timeout server {_SILENCE_S}s",
    ]
    if splice:
        lines += ["  option splice-request", "  option splice-response"]
    bind = f"  bind {setup.host}:{setup.port}"
    if setup.certificate:
        bind += f" ssl crt {setup.certificate.both}"
    lines += [
        "listen relay",
        bind,
        f"  server desktop {setup.server}",
        "",
    ]
    return "\n".join(lines)


def nginx(setup, module):
    """One process, no master: it could outlive a run that is killed.

    With TLS: session tickets, as by default; a session cache would serve TLS
    1.2 only.
    """
    tls = (
        f"""
    ssl_certificate {setup.certificate.cert};
    ssl_certificate_key {setup.certificate.key};
    ssl_protocols TLSv1.3;
    ssl_conf_command Ciphersuites {_SUITE};"""
        if setup.certificate
        else ""
    )
    return f"""daemon off;
master_process off;
worker_processes 1;
pid {setup.directory}/nginx.pid;
error_log {setup.directory}/nginx.log;
load_module {module};
events {{ worker_connections {2 * setup.max_channels + 64}; }}
stream {{
  access_log off;
  server {{
    listen {setup.host}:{setup.port}{" ssl" if tls else ""};{tls}
    proxy_pass {setup.server};
    proxy_connect_timeout 5s;
    proxy_timeout {_SILENCE_S}s;
  }}
}}
"""


def stunnel(setup):
    """A thread for each connection, as it is made; nothing logged."""
    return f"""foreground = yes
pid =
syslog = no
debug = emerg
output = {setup.directory}/stunnel.log
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
sslVersion = TLSv1.3
ciphersuites = {_SUITE}
[relay]
accept = {setup.host}:{setup.port}
connect = {setup.server}
cert = {setup.certificate.cert}
key = {setup.certificate.key}
TIMEOUTidle = {_SILENCE_S}
"""


def squid(setup):
    """CONNECT to the server, nothing kept, nothing logged for each tunnel."""
    host, _, port = setup.server.rpartition(":")
    return f"""http_port {setup.host}:{setup.port}
acl server dst {host}
acl server_port port {port}
acl tunnel method CONNECT
http_access allow tunnel server server_port
http_access deny all
access_log none
cache deny all
cache_log {setup.directory}/squid.log
cache_store_log none
coredump_dir {setup.directory}
max_filedescriptors {setup.max_descriptors}
memory_cache_shared off
netdb_filename none
pid_filename none
pinger_enable off
read_timeout {_SILENCE_S} seconds
shutdown_lifetime 0 seconds
visible_hostname localhost
workers 1
"""


def spicegate(setup, spin_us=0):
    """One worker, one listener, tickets that outlast the run."""
    config = {
        "workers": 1,
        "listeners": [
            {
                "address": f"{setup.host}:{setup.port}",
                "tls": bool(setup.certificate),
                "need_secured": False,
            }
        ],
        "admin": {"unix": f"{setup.directory}/admin.sock"},
        "consoles": f"{setup.directory}/consoles.json",
        "state_dir": setup.directory,
        "tickets": {"first_use_s": _SILENCE_S},
    }
    if setup.certificate:
        config["tls"] = {
            # Everybody makes records in user space.
            "offload": "off",
            "certificate": setup.certificate.cert,
            "key": setup.certificate.key,
            "min_version": "1.3",
        }
    if spin_us:
        config["relay"] = {"spin_us": spin_us}
    return json.dumps(config, indent=1)


def connect(setup):
    """One worker, one listener for CONNECT, the server on the allow-list."""
    host, _, port = setup.server.rpartition(":")
    return json.dumps(
        {
            "workers": 1,
            "listeners": [
                {
                    "address": f"{setup.host}:{setup.port}",
                    "protocol": "connect",
                }
            ],
            "connect": {
                "tickets": False,
                "allow": [{"hosts": [host], "ports": [int(port)]}],
            },
            "guard": "off" if _uploads(setup) else "enforce",
            "admin": {"unix": f"{setup.directory}/admin.sock"},
            "consoles": f"{setup.directory}/consoles.json",
            "state_dir": setup.directory,
        },
        indent=1,
    )


def _uploads(setup):
    """What is sent up a usbredir channel is no USB."""
    return setup.scenario.flags.get("direction") == "c2s"


def consoles(setup, guard="enforce"):
    """As many desktops as the load asks for, all at its one address."""
    host, _, port = setup.server.rpartition(":")
    return json.dumps(
        {
            "consoles": [
                {
                    "name": f"bench-{number:05d}",
                    "host": host,
                    "port": int(port),
                    "ticket": TICKET,
                    "guard": "off" if _uploads(setup) else guard,
                }
                for number in range(setup.num_consoles)
            ]
        }
    )
