// SPDX-License-Identifier: Apache-2.0
//
// Debian's libcurl initializes libssh2 whether or not anybody wants SFTP, and
// libssh2 OpenSSL's libcrypto, which must not run in a process with BoringSSL:
// their symbols have the same names. These two come before libssh2's own in the
// loader's order and do nothing; libcurl is told to speak nothing but HTTP, so
// that nothing else of libssh2 is ever called. See gateway/linkage_test.sh.

extern "C" {

int libssh2_init(int flags);
void libssh2_exit();

int libssh2_init(int) { return 0; }
void libssh2_exit() {}

}  // extern "C"
