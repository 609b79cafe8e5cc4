# SPDX-License-Identifier: Apache-2.0
"""vm_test: C++ tests run inside a kernel of their own."""

# One test per series; both are what Debian 12 offers.
KERNELS = [
    "6.1",
    "6.12",
]

def vm_test(
        name,
        kernel,
        tests,
        env = {},
        programs = [],
        modules = [],
        without_modules = [],
        memory_mib = 1024,
        data = [],
        tags = [],
        **kwargs):
    """Boots one guest and runs binaries in it, one after the other.

    The guest finds the runfiles of all of them below TEST_SRCDIR, as root, with
    nothing but loopback. The test fails when any binary does, and its cases are
    those of the binaries.

    Args:
      name: of the test.
      kernel: one of KERNELS.
      tests: labels of cc_test or cc_binary.
      env: environment in the guest; values without spaces and quotes.
      programs: of the host's PATH, such as "openssl".
      modules: kernel modules beyond those for kernel TLS, in loading order.
      without_modules: modules that this guest shall not have, such as "tls".
      memory_mib: the guest's memory.
      data: more files that shall be in the guest.
      tags: beside "vm".
      **kwargs: as for py_test; without `size` it has 5 minutes.
    """
    args = ["--kernel=" + kernel, "--memory-mib=%d" % memory_mib]
    args += ["--env=%s=%s" % (key, env[key]) for key in sorted(env)]
    args += ["--program=" + program for program in programs]
    args += ["--module=" + module for module in modules]
    args += ["--without-module=" + module for module in without_modules]
    args += ["$(rootpath %s)" % test for test in tests]
    kwargs.setdefault("size", "medium")
    native.py_test(
        name = name,
        srcs = ["//tests/vm:vm_test.py"],
        args = args,
        data = tests + data,
        main = "//tests/vm:vm_test.py",
        python_version = "PY3",
        # The guest has two processors and uses them.
        tags = ["cpu:2", "vm"] + tags,
        deps = ["//tests/vm"],
        **kwargs
    )
