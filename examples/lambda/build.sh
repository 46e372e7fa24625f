#!/bin/sh
# Builds the function and packs it for Lambda: examples/lambda/build/patchbay-lambda.zip with the program `bootstrap`.
#
# Usage: build.sh [PROFILE]   cargo's profile; default: release
set -eu

profile=${1:-release}
# glibc of Amazon Linux 2023, which is `provided.al2023`.
newest=2.34

cd "$(dirname "$0")/../.."
cargo build --locked --package patchbay-lambda --profile "$profile"
target=$(cargo metadata --locked --no-deps --format-version 1 | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
[ "$profile" != dev ] || profile=debug
program=$target/$profile/patchbay-lambda

if command -v objdump >/dev/null; then
    wanted=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
    if [ "$(printf '%s\n%s\n' "$wanted" "$newest" | sort -V | tail -n 1)" != "$newest" ]; then
        echo "build.sh: this program wants glibc $wanted, and Lambda has $newest: build it in amazonlinux:2023" >&2
        exit 1
    fi
fi

build=examples/lambda/build
rm -rf "$build" && mkdir "$build"
cp "$program" "$build/bootstrap"
(cd "$build" && zip --quiet patchbay-lambda.zip bootstrap && rm bootstrap)
ls -l "$build/patchbay-lambda.zip"
