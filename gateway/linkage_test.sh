#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# OpenSSL must not be in the process: its symbols and BoringSSL's have the same
# names, and whichever comes second is called with the other's structures.
set -eu
libraries=$(ldd "$1")
echo "$libraries"
echo "$libraries" | grep -q 'libssl\.so\.0 => /' ||
  readelf --symbols --wide "$1" | grep -q ' SSL_CTX_new' ||
  { echo "no BoringSSL found: this test would notice nothing"; exit 1; }
if echo "$libraries" | grep -E 'libssl\.so\.[1-9]|libcrypto\.so\.[1-9]'; then
  echo "OpenSSL is linked"
  exit 1
fi
