#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Joins the tracefiles of one coverage run. Bazel names this tool for every
# cc_test, also without coverage; tools/coverage does not need it.
set -euo pipefail

dir=
output=
for arg in "$@"; do
  case "$arg" in
    --coverage_dir=*) dir=${arg#*=} ;;
    --output_file=*) output=${arg#*=} ;;
  esac
done
[ -n "$output" ] || exit 0
: >"$output"
[ -n "$dir" ] || exit 0
find "$dir" -name '*.dat' -type f -exec cat {} + >>"$output"
