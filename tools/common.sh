# SPDX-License-Identifier: Apache-2.0
# Sourced by the scripts of this folder. Leaves the caller in the root of the
# checkout, with a PATH, and with run_bazel.
# shellcheck shell=bash

# An empty environment has no PATH to hand on; some users' has no sbin.
PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

tool=$(basename "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

say() { printf '%s: %s\n' "$tool" "$*"; }

die() {
  printf '%s: %s\n' "$tool" "$*" >&2
  exit 1
}

# Prints the comment at the head of the calling script.
usage() { sed -n '3,/^[^#]/{/^#/!q;s/^# \{0,1\}//;p}' "tools/$tool"; }

# run_bazel ARGS...: Bazel with startup options for this machine. Bazel keeps
# its outputs below the user's home and stops where it cannot write there.
# SPICEGATE_OUTPUT_BASE=DIR puts them elsewhere.
run_bazel() {
  command -v bazel >/dev/null || die "no bazel here: run tools/setup first"
  local home=${HOME:-}
  [ -n "$home" ] || home=$(getent passwd "$(id -u)" | cut -d: -f6)
  local startup=()
  if [ -n "${SPICEGATE_OUTPUT_BASE:-}" ]; then
    startup=(--output_base="$SPICEGATE_OUTPUT_BASE")
  elif [ ! -w "${home:-/nonexistent}" ]; then
    startup=(--output_user_root="${TMPDIR:-/tmp}/spicegate-bazel-$(id -u)")
  fi
  bazel "${startup[@]}" "$@"
}
