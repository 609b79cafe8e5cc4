# SPDX-License-Identifier: Apache-2.0
"""BoringSSL and abseil from pinned releases, for --config=upstream.

Bazel 4.2.3 cannot load the BUILD files of either release (they want rules_cc,
bazel_skylib and attributes of later Bazels), so both get an overlay of our
own under the labels that debian.bzl serves.

The releases and their hashes are those of the Bazel Central Registry
(modules/NAME/VERSION/source.json), the hash rewritten from base64 to hex. Where
nothing can be downloaded, a directory with the unpacked release stands in:
--repo_env=SPICEGATE_BORINGSSL_DIR=DIR, --repo_env=SPICEGATE_ABSEIL_DIR=DIR.
"""

# Read by the repository rules; a change of any of them fetches anew.
UPSTREAM_ENV = [
    "SPICEGATE_DEPS",
    "SPICEGATE_BORINGSSL_DIR",
    "SPICEGATE_ABSEIL_DIR",
]

BORINGSSL = struct(
    dir_variable = "SPICEGATE_BORINGSSL_DIR",
    sha256 = "37e23cb9a5fa54f01b07cadd653cebc1d1b235945439a6c334fea58ea47b5b0a",
    strip_prefix = "boringssl-0.20260813.0",
    url = "https://github.com/google/boringssl/releases/download/" +
          "0.20260813.0/boringssl-0.20260813.0.tar.gz",
)

ABSEIL = struct(
    dir_variable = "SPICEGATE_ABSEIL_DIR",
    sha256 = "6e1aee535473414164bf83e4ebc40240dec71a4701f8a642d906e95bea1aea0c",
    strip_prefix = "abseil-cpp-20260526.0",
    url = "https://github.com/abseil/abseil-cpp/releases/download/" +
          "20260526.0/abseil-cpp-20260526.0.tar.gz",
)

_PUBLIC = 'package(default_visibility = ["//visibility:public"])\n'

def fetch(ctx, release):
    """Puts the unpacked release into src/, without its BUILD files."""
    directory = ctx.os.environ.get(release.dir_variable)
    if directory:
        # A copy, not a symlink: the release's BUILD files would be packages.
        _execute(ctx, ["mkdir", "-p", "src"])
        _execute(ctx, ["cp", "-RL", directory + "/.", "src"])
    else:
        ctx.download_and_extract(
            output = "src",
            sha256 = release.sha256,
            stripPrefix = release.strip_prefix,
            url = release.url,
        )
    for name in ["BUILD", "BUILD.bazel", "WORKSPACE", "MODULE.bazel"]:
        _execute(ctx, ["find", "src", "-name", name, "-type", "f", "-delete"])
    ctx.file("WORKSPACE", "workspace(name = %r)\n" % ctx.name)

def _execute(ctx, args):
    result = ctx.execute(args)
    if result.return_code:
        fail("%s: %s: %s" % (ctx.name, " ".join(args), result.stderr))

_BORINGSSL_BUILD = _PUBLIC + """
COPTS = [
    "-w",
    "-DBORINGSSL_IMPLEMENTATION",
    "-fno-exceptions",
    "-fno-rtti",
]

INTERNAL = glob([
    "src/crypto/**/*.h",
    "src/crypto/**/*.inc",
    "src/gen/**/*.h",
    "src/gen/**/*.inc",
    "src/ssl/**/*.h",
    "src/third_party/**/*.h",
    "src/third_party/fiat/**/*.inc",
])

cc_library(
    name = "_headers",
    hdrs = glob(["src/include/openssl/**/*.h"]),
    includes = ["src/include"],
)

cc_library(
    name = "_asm",
    srcs = {asm} + INTERNAL,
    copts = ["-w"],
    linkstatic = True,
    deps = [":_headers"],
)

cc_library(
    name = "crypto",
    srcs = {crypto} + INTERNAL,
    copts = COPTS,
    linkopts = ["-lpthread"],
    linkstatic = True,
    deps = [":_asm", ":_headers"],
)

cc_library(
    name = "ssl",
    srcs = {ssl} + INTERNAL,
    copts = COPTS,
    linkstatic = True,
    deps = [":crypto", ":_headers"],
)
"""

def _for_linux(path):
    """Whether an assembly file is Linux's, or every system's."""
    if path.endswith("-linux.S"):
        return True
    others = ["-apple.", "-win.", "-linux."]
    return path.endswith(".S") and not [o for o in others if o in path]

def overlay_boringssl(ctx):
    """Writes :crypto and :ssl from the release's own list of sources."""
    sources = json.decode(ctx.read("src/gen/sources.json"))
    bcm, crypto = sources["bcm"], sources["crypto"]
    asm = [f for f in bcm["asm"] + crypto["asm"] if _for_linux(f)]
    lists = {
        "asm": asm,
        "crypto": bcm["srcs"] + crypto["srcs"],
        "ssl": sources["ssl"]["srcs"],
    }
    text = _BORINGSSL_BUILD
    for name, files in lists.items():
        paths = ["src/" + f for f in files]
        text = text.replace("{%s}" % name, repr(paths))
    ctx.file("BUILD.bazel", text)

# All of abseil as one library: the linker takes from the archive what is used,
# and no list of two hundred targets has to follow every release.
_ABSEIL_BUILD = _PUBLIC + """
NOT_LIBRARY = [
    "src/absl/**/*_test.cc",
    "src/absl/**/*_test.h",
    "src/absl/**/*_test_*.cc",
    "src/absl/**/*_test_*.h",
    "src/absl/**/*_testing*.cc",
    "src/absl/**/*benchmark*.cc",
    "src/absl/**/benchmarks.cc",
    "src/absl/**/*mock*.cc",
    "src/absl/**/*mock*.h",
    "src/absl/**/test_*.cc",
    "src/absl/**/test_*.h",
    "src/absl/**/gaussian_distribution_gentables.cc",
    "src/absl/**/print_hash_of.cc",
    "src/absl/**/*_win.cc",
]

cc_library(
    name = "_absl",
    srcs = glob(["src/absl/**/*.cc"], exclude = NOT_LIBRARY),
    hdrs = glob(["src/absl/**/*.h", "src/absl/**/*.inc"]),
    copts = ["-w"],
    includes = ["src"],
    linkopts = ["-lpthread"],
    linkstatic = True,
)
"""

_ABSEIL_LABEL = """
cc_library(
    name = "{name}",
    deps = ["//:_absl"],
)
"""

def overlay_abseil(ctx, labels):
    """Writes each of `labels` ("absl/strings:strings") as the one library."""
    ctx.file("BUILD.bazel", _ABSEIL_BUILD)
    packages = {}
    for label in labels:
        package, _, name = label.partition(":")
        text = packages.get(package, _PUBLIC)
        packages[package] = text + _ABSEIL_LABEL.format(name = name)
    for package, text in packages.items():
        ctx.file(package + "/BUILD.bazel", text)
