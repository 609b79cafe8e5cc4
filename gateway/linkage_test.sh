#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# OpenSSL must not run in the process: its symbols and BoringSSL's have the same
# names, and whichever comes second is called with the other's structures.
#
# Its libssl must not even be there. Its libcrypto is loaded, by libssh2, by
# Debian's libcurl, and nothing may call it: neither we nor BoringSSL, and
# libssh2's initialization is replaced (gateway/http_client/ssh_stub.cc).
set -eu
libraries=$(ldd "$1")
echo "$libraries"
echo "$libraries" | grep -q 'libssl\.so\.0 => /' ||
  readelf --symbols --wide "$1" | grep -q ' SSL_CTX_new' ||
  { echo "no BoringSSL found: this test would notice nothing"; exit 1; }
if echo "$libraries" | grep -E 'libssl\.so\.[1-9]|libcurl\.so'; then
  echo "OpenSSL is linked"
  exit 1
fi

# Which library each symbol was found in, all of them at once.
bindings=$(LD_DEBUG=bindings LD_BIND_NOW=1 "$1" --version 2>&1 |
  sed -n 's/.*binding file \([^ ]*\) .* to \([^ ]*\) .* symbol/\1 \2/p')
ours=$(echo "$bindings" | grep -c "^$1 ") ||
  { echo "no symbol of ours was seen: this test would notice nothing"; exit 1; }
echo "$ours symbols of ours"
if echo "$bindings" | grep ' [^ ]*libcrypto\.so\.[1-9]' |
  grep -Ev '^[^ ]*(libssh2\.so|libcrypto\.so\.[1-9])'; then
  echo "OpenSSL is called"
  exit 1
fi
if echo "$bindings" | grep libssh2_init | grep -v " $1 "; then
  echo "libssh2 initializes OpenSSL"
  exit 1
fi
