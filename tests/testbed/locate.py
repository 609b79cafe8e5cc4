# SPDX-License-Identifier: Apache-2.0
"""Where built files are: beside a test, or in the tree's bazel-bin."""

import os

_ROOT = os.path.dirname(
    os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
)


def built(path):
    """Absolute path of a built file, named from the root of the tree.

    Looks into $SPICEGATE_BUILT (a directory shaped like bazel-bin), beside
    this file's own root (a test's runfiles) and into bazel-bin, in this order.
    Raises FileNotFoundError with the command that builds the file.
    """
    roots = [os.environ.get("SPICEGATE_BUILT"), _ROOT]
    roots.append(os.path.join(_ROOT, "bazel-bin"))
    for root in filter(None, roots):
        candidate = os.path.join(root, path)
        if os.path.isfile(candidate):
            return os.path.abspath(candidate)
    label = f"//{os.path.dirname(path)}:{os.path.basename(path)}"
    raise FileNotFoundError(f"{path} is not built: bazel build {label}")


def gateway():
    """The gateway's binary."""
    return built("gateway/spicegate")


def guest(name):
    """The boot sector of a guest, see guests/BUILD.bazel for the names."""
    return built(f"tests/testbed/guests/{name}.img")
