# SPDX-License-Identifier: Apache-2.0
"""The libraries, under the labels of their upstream Bazel builds.

By default every library is Debian's: its headers are symlinked into a
repository, so that Bazel sees them change, and its version becomes a link
option, so that an upgraded package relinks what uses it. `--config=upstream`
replaces BoringSSL and abseil by pinned releases built here; see upstream.bzl.
"""

load(
    "//tools/deps:upstream.bzl",
    "ABSEIL",
    "BORINGSSL",
    "UPSTREAM_ENV",
    "fetch",
    "overlay_abseil",
    "overlay_boringssl",
)

# Debian's name of the architecture.
_MULTIARCH = "x86_64-linux-gnu"

_PUBLIC = 'package(default_visibility = ["//visibility:public"])\n'

_HEADERS = _PUBLIC + """
cc_library(
    name = "_headers",
    hdrs = glob(["include/**/*.h", "include/**/*.inc", "include/**/*.ipp"]),
    includes = ["include"],
    # Shows as a symbol: `readelf -s BINARY | grep pkg_` lists the versions.
    linkopts = ["-Wl,--defsym=pkg_{stamp}=0"],
)
"""

_LIBRARY = """
cc_library(
    name = "{name}",
    linkopts = {linkopts},
    deps = ["//:_headers"],
)
"""

def _run(ctx, args):
    result = ctx.execute(args)
    if result.return_code:
        fail("%s: %s%s\n  apt-get install %s   (or tools/setup)" % (
            ctx.name,
            result.stdout,
            result.stderr,
            ctx.attr.package,
        ))
    return result.stdout.strip()

def _link_flags(ctx, modules):
    """Flags of pkg-config; libraries of static_prefix as archives."""
    static = ctx.attr.static_prefix
    flags = []
    command = ["pkg-config", "--print-errors", "--libs"] + modules
    for flag in _run(ctx, command).split(" "):
        if not flag or flag.startswith("-L"):
            continue
        if static and flag.startswith("-l" + static):
            flag = "-l:lib%s.a" % flag[2:]
        flags.append(flag)
    return flags

def _included_as(path):
    """What a header below /usr/include is called in an #include."""
    for folder in ["android/", _MULTIARCH + "/"]:
        if path.startswith(folder):
            return path[len(folder):]
    return path

def _bind_debian(ctx):
    query = ["dpkg-query", "-W", "-f", "${Version}", ctx.attr.package]
    version = ctx.name + "_" + _run(ctx, query)
    stamp = "".join([c if c.isalnum() else "_" for c in version.elems()])
    for path in ctx.attr.headers:
        ctx.symlink("/usr/include/" + path, "include/" + _included_as(path))

    packages = {"": _HEADERS.replace("{stamp}", stamp)}
    flags = {}
    for label, modules in ctx.attr.pkg_config.items():
        flags[label] = _link_flags(ctx, modules)
    flags.update(ctx.attr.libs)
    for label, linkopts in flags.items():
        package, _, name = label.partition(":")
        rule = _LIBRARY.format(name = name, linkopts = repr(linkopts))
        packages[package] = packages.get(package, _PUBLIC) + rule
    for package, text in packages.items():
        ctx.file((package + "/" if package else "") + "BUILD.bazel", text)
    ctx.file("WORKSPACE", "workspace(name = %r)\n" % ctx.name)

_ATTRS = {
    "package": attr.string(
        mandatory = True,
        doc = "Debian package whose version stamps the library",
    ),
    "headers": attr.string_list(
        mandatory = True,
        doc = "files and folders of /usr/include; a leading android/ or " +
              "architecture is cut",
    ),
    "pkg_config": attr.string_list_dict(doc = "label: pkg-config modules"),
    "libs": attr.string_list_dict(doc = "label: link flags"),
    "static_prefix": attr.string(
        doc = "libraries whose name begins so are linked as archives",
    ),
}

# local: looked at again whenever a server starts, so that an upgraded package
# is seen without `bazel sync`.
debian_library = repository_rule(
    implementation = _bind_debian,
    local = True,
    attrs = _ATTRS,
)

def _boringssl_impl(ctx):
    if ctx.os.environ.get("SPICEGATE_DEPS") == "upstream":
        fetch(ctx, BORINGSSL)
        overlay_boringssl(ctx)
    else:
        _bind_debian(ctx)

_boringssl_library = repository_rule(
    implementation = _boringssl_impl,
    local = True,
    environ = UPSTREAM_ENV,
    attrs = _ATTRS,
)

def _abseil_impl(ctx):
    if ctx.os.environ.get("SPICEGATE_DEPS") == "upstream":
        fetch(ctx, ABSEIL)
        overlay_abseil(ctx, ctx.attr.pkg_config.keys())
    else:
        _bind_debian(ctx)

_abseil_library = repository_rule(
    implementation = _abseil_impl,
    local = True,
    environ = UPSTREAM_ENV,
    attrs = _ATTRS,
)

# Where the package puts BoringSSL, outside the linker's and loader's path.
_ANDROID = "/usr/lib/%s/android" % _MULTIARCH

# Label -> Debian's pkg-config module. The upstream overlay serves the same
# labels, so a label missing here is missing in both.
_ABSEIL_MODULES = {
    "absl/algorithm:container": ["absl_algorithm_container"],
    "absl/base:base": ["absl_base"],
    "absl/base:config": ["absl_config"],
    "absl/base:core_headers": ["absl_core_headers"],
    "absl/cleanup:cleanup": ["absl_cleanup"],
    "absl/container:btree": ["absl_btree"],
    "absl/container:fixed_array": ["absl_fixed_array"],
    "absl/container:flat_hash_map": ["absl_flat_hash_map"],
    "absl/container:flat_hash_set": ["absl_flat_hash_set"],
    "absl/container:inlined_vector": ["absl_inlined_vector"],
    "absl/container:node_hash_map": ["absl_node_hash_map"],
    "absl/container:node_hash_set": ["absl_node_hash_set"],
    "absl/flags:config": ["absl_flags_config"],
    "absl/flags:flag": ["absl_flags"],
    "absl/flags:parse": ["absl_flags_parse"],
    "absl/flags:reflection": ["absl_flags_reflection"],
    "absl/flags:usage": ["absl_flags_usage"],
    "absl/functional:any_invocable": ["absl_any_invocable"],
    "absl/functional:function_ref": ["absl_function_ref"],
    "absl/hash:hash": ["absl_hash"],
    "absl/memory:memory": ["absl_memory"],
    "absl/numeric:bits": ["absl_bits"],
    "absl/numeric:int128": ["absl_int128"],
    "absl/random:random": ["absl_random_random"],
    "absl/status:status": ["absl_status"],
    "absl/status:statusor": ["absl_statusor"],
    "absl/strings:cord": ["absl_cord"],
    "absl/strings:str_format": ["absl_str_format"],
    "absl/strings:strings": ["absl_strings"],
    "absl/synchronization:synchronization": ["absl_synchronization"],
    "absl/time:time": ["absl_time"],
    "absl/types:optional": ["absl_optional"],
    "absl/types:span": ["absl_span"],
}

def spicegate_deps():
    """Defines every outside library of the project."""
    debian_library(
        name = "liburing",
        headers = ["liburing.h", "liburing"],
        package = "liburing-dev",
        pkg_config = {":liburing": ["liburing >= 2.3"]},
    )
    _boringssl_library(
        name = "boringssl",
        headers = ["android/openssl"],
        libs = {
            ":crypto": [
                _ANDROID + "/libcrypto.so.0",
                "-Wl,-rpath," + _ANDROID,
            ],
            ":ssl": [
                _ANDROID + "/libssl.so.0",
                _ANDROID + "/libcrypto.so.0",
                "-Wl,-rpath," + _ANDROID,
            ],
        },
        package = "android-libboringssl-dev",
    )
    debian_library(
        name = "curl",
        headers = [_MULTIARCH + "/curl"],
        # By name: -lcurl is the flavour that links OpenSSL's libssl, which must
        # not come into a process with BoringSSL. The headers, the same for
        # both, come with libcurl4-openssl-dev; the two -dev packages exclude
        # each other, and prometheus-cpp-dev needs that one.
        libs = {":curl": ["-l:libcurl-gnutls.so.4"]},
        package = "libcurl3-gnutls",
    )
    debian_library(
        name = "simdjson",
        headers = ["simdjson.h"],
        package = "libsimdjson-dev",
        pkg_config = {":simdjson": ["simdjson"]},
    )
    _abseil_library(
        name = "com_google_absl",
        headers = ["absl"],
        package = "libabsl-dev",
        pkg_config = _ABSEIL_MODULES,
        static_prefix = "absl_",
    )
    debian_library(
        name = "com_github_jupp0r_prometheus_cpp",
        headers = ["prometheus"],
        package = "prometheus-cpp-dev",
        # Core only: pull and push bring an HTTP server and an OpenSSL.
        pkg_config = {"core:core": ["prometheus-cpp-core"]},
    )
    debian_library(
        name = "com_google_googletest",
        headers = ["gtest", "gmock"],
        package = "libgmock-dev",
        pkg_config = {
            ":gtest": ["gmock", "gtest"],
            ":gtest_main": ["gmock_main", "gmock", "gtest"],
        },
    )
    debian_library(
        name = "com_github_google_benchmark",
        headers = ["benchmark"],
        libs = {
            ":benchmark": ["-lbenchmark", "-lpthread"],
            ":benchmark_main": [
                "-lbenchmark_main",
                "-lbenchmark",
                "-lpthread",
            ],
        },
        package = "libbenchmark-dev",
    )
