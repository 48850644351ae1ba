#!/usr/bin/env bash
# Runs the Rust core's tests on processors that this machine is not, under qemu's user-mode emulation; then lints the ARM
# code, which the lints of another architecture never see.
#
# An instruction that a processor lacks is an illegal instruction here as it is there, so this also proves that dispatch
# lets none through. qemu has no AVX-512, no AVX-VNNI and no AMX: those levels are tested on machines that have them. The profile is
# `checked` (optimised, with debug assertions). TURBOQUANT_TEST_DEPTH=full runs the tests at full depth.
set -euo pipefail
cd "$(dirname "$0")/.."

# architecture, qemu's CPU model, levels that must have been tested there (a skipped one fails)
readonly MODELS="
aarch64 max         neon,neon_dot,neon_i8mm
aarch64 cortex-a72  neon
aarch64 neoverse-n1 neon,neon_dot
x86_64  Nehalem     scalar
x86_64  Haswell     avx2
"
readonly FOLDER=.aarch64

scripts/aarch64-setup.sh "$FOLDER"
mkdir -p "$FOLDER/logs"
export TURBOQUANT_TEST_DEPTH=${TURBOQUANT_TEST_DEPTH:-quick}
unset TURBOQUANT_SIMD

# Runs a command with the environment in which cargo builds for `arch` and runs test binaries on the CPU `model`.
on() {
  local arch=$1 model=$2
  shift 2
  if [ "$arch" = aarch64 ]; then
    (
      # shellcheck source=/dev/null
      . "$FOLDER/env.sh"
      export CARGO_BUILD_TARGET=aarch64-unknown-linux-gnu
      export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -cpu $model -L /usr/aarch64-linux-gnu"
      "$@"
    )
  else
    # One unit of code: split into 16, one binary gave another scale for a single tiny row of a fitted codec at AVX2 under
    # qemu 7.2 alone; on the processor and under valgrind the same binary gives the reference's, as this one does under qemu.
    CARGO_PROFILE_CHECKED_CODEGEN_UNITS=1 \
      CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER="qemu-x86_64-static -cpu $model" "$@"
  fi
}

# One line from a log of cargo test: "57 passed, 0 failed, 1 ignored".
totals() {
  awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
       END { printf "%d passed, %d failed, %d ignored", passed, failed, ignored; exit passed == 0 }' "$1"
}

readonly TESTS=(test --package turboquant-rs-core --locked --profile checked --lib --tests)
for arch in aarch64 x86_64; do
  echo "== building for $arch"
  on "$arch" max cargo "${TESTS[@]}" --no-run
done

report=()
while read -r arch model levels; do
  [ -n "$arch" ] || continue
  echo "== $arch $model"
  log=$FOLDER/logs/$arch-$model.log
  started=$SECONDS
  # qemu warns of the features that it does not emulate; the tests say which levels they found.
  TURBOQUANT_REQUIRE_SIMD=$levels on "$arch" "$model" cargo "${TESTS[@]}" \
    < /dev/null 2> >(grep -v "TCG doesn't support requested feature" >&2) | tee "$log"
  counts=$(totals "$log")
  report+=("ran on $arch $model (qemu): $counts; levels: $levels; $((SECONDS - started)) s")
done <<< "$MODELS"

echo "== aarch64 lints"
# This compiler is the newest there is, so lints that are about taste may appear from one day to the next: only those that
# are about errors fail here; `make lint` holds everything else on the pinned side.
on aarch64 max cargo-clippy clippy --package turboquant-rs-core --all-targets --locked -- \
  -D clippy::correctness -D clippy::suspicious -D clippy::undocumented_unsafe_blocks -D unused

printf '%s\n' "${report[@]}"
