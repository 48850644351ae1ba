#!/usr/bin/env bash
# Puts into FOLDER what it takes to build the Rust core for 64-bit ARM and to run it here: aarch64-setup.sh FOLDER
#
# From Debian's packages, because they hold a Rust standard library for arm64: rustc-web (a current compiler) and
# libstd-rust-web-dev:arm64 are unpacked into FOLDER, beside the machine's own Rust. The private package lists know both
# architectures, so dpkg's own list of architectures stays as it is. The linker, qemu-user and the ARM C library are plain packages and
# are installed. A machine whose rustc already has the target (`rustup target add aarch64-unknown-linux-gnu`) uses that
# compiler. FOLDER/env.sh sets the environment for cargo; FOLDER is a cache, remove it to start anew.
set -euo pipefail

readonly TARGET=aarch64-unknown-linux-gnu

fail() {
  echo "aarch64-setup: $*" >&2
  exit 1
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    fail "needs root for: $*"
  fi
}

have() {
  command -v "$1" > /dev/null
}

[ $# = 1 ] || fail "usage: aarch64-setup.sh FOLDER"
[ "$(uname -sm)" = "Linux x86_64" ] || fail "made for Linux on x86-64, this is $(uname -sm)"
mkdir -p "$1"
folder=$(cd "$1" && pwd)

packages=()
have aarch64-linux-gnu-gcc || packages+=(gcc-aarch64-linux-gnu libc6-dev-arm64-cross)
have qemu-aarch64-static && have qemu-x86_64-static || packages+=(qemu-user-static)
if [ ${#packages[@]} -gt 0 ]; then
  have apt-get || fail "install by hand: ${packages[*]} (no apt-get here)"
  echo "aarch64-setup: installing ${packages[*]}"
  as_root apt-get -qq update
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -qqy install --no-install-recommends "${packages[@]}" > /dev/null
fi

if [ -d "$(rustc --print target-libdir --target "$TARGET" 2> /dev/null)" ]; then
  rustc=$(command -v rustc)
  rustdoc=$(command -v rustdoc)
  libraries=
else
  root=$folder/root
  rustc=$root/usr/bin/rustc
  rustdoc=$root/usr/bin/rustdoc
  libraries=$root/usr/lib/x86_64-linux-gnu
  if [ ! -e "$folder/unpacked" ]; then
    have apt-get || fail "this rustc has no standard library for $TARGET: add it (rustup target add $TARGET)"
    echo "aarch64-setup: unpacking Debian's Rust for arm64 into $folder"
    rm -rf "$root" "$folder/debs"
    mkdir -p "$root" "$folder"/lists/partial "$folder"/debs/partial
    options=(
      -qq
      -o APT::Architecture=amd64 -o APT::Architectures::=amd64 -o APT::Architectures::=arm64
      -o Dir::State::Lists="$folder/lists" -o Dir::Cache::archives="$folder/debs"
      -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User=root
    )
    as_root apt-get "${options[@]}" update
    # --download-only resolves rustc-web's own dependencies (LLVM) as well, at whatever version is current.
    as_root apt-get "${options[@]}" -y install --download-only --no-install-recommends rustc-web rust-web-clippy
    (cd "$folder/debs" && as_root apt-get "${options[@]}" download libstd-rust-web-dev:arm64)
    for package in "$folder"/debs/{rustc-web,rust-web-clippy,libstd-rust-web,libllvm}*.deb; do
      dpkg -x "$package" "$root"
    done
    rm -rf "$folder/debs" "$folder/lists"
    touch "$folder/unpacked"
  fi
fi

cat > "$folder/env.sh" << ENV
export RUSTC=$rustc RUSTDOC=$rustdoc CARGO_TARGET_DIR=$folder/target
${libraries:+export LD_LIBRARY_PATH=$libraries PATH=$root/usr/bin:\$PATH}
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L /usr/aarch64-linux-gnu"
ENV
(
  # shellcheck source=/dev/null
  . "$folder/env.sh"
  echo "aarch64-setup: $("$RUSTC" --version) for $TARGET"
)
