#!/usr/bin/env bash
# Every step of the continuous integration, each runnable by hand: scripts/ci.sh <step>...
set -euo pipefail
cd "$(dirname "$0")/.."

# Where the lock file is committed, CI builds exactly that.
locked=()
[ "${CI:-}" != true ] || locked=(--locked)

usage() {
  cat <<'EOF'
usage: scripts/ci.sh <step>...
  fmt          formatting
  clippy       lints, warnings are errors
  build        everything, and the binaries
  unit         tests of one crate each (some need root and say so)
  loom         model checks of the publication protocol and the connection table
  integration  the lab and the whole switch: root, real other sides
  doc          documentation, and the examples in it
  shellcheck   the scripts
  instructions instructions that a worker spends on a frame, against the committed figure (release build, valgrind)
  fuzz         one minute (FUZZ_SECONDS) for each fuzz target, or those in FUZZ_TARGETS; not part of all
  deny         licences and advisories (needs cargo-deny)
  all          all of these
EOF
}

step_fmt() { cargo fmt --all --check; }
step_clippy() { cargo clippy "${locked[@]}" --workspace --all-targets -- -D warnings; }
step_build() { cargo build "${locked[@]}" --workspace --all-targets; }
step_unit() { cargo nextest run "${locked[@]}" --workspace -E 'not (package(shunt-tests) and kind(test))'; }
step_integration() { cargo nextest run "${locked[@]}" -p shunt-tests -E 'kind(test)'; }

# A target directory of its own: the flag changes every crate. Merged into the flags of .cargo/config.toml, not instead of them.
step_loom() {
  cargo nextest run "${locked[@]}" --config 'target.x86_64-unknown-linux-gnu.rustflags=["--cfg","loom"]' --target-dir target/loom \
    -p shunt-ffi --lib -E 'test(/^rcu::/) or test(/^vhost::gate::/)'
  # By a feature: the flag would change tokio, which this crate needs as it is.
  cargo nextest run "${locked[@]}" -p shunt-switch --features loom --lib -E 'test(/^state::model::/)'
}

step_doc() {
  RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc "${locked[@]}" --workspace --no-deps --document-private-items
  cargo test "${locked[@]}" --workspace --doc
}

step_shellcheck() {
  local scripts=()
  # By the first line, not by the name.
  while IFS= read -r file; do
    scripts+=("$file")
  done < <(grep -lE '^#!.*\b(ba)?sh\b' scripts/* .ci/*)
  shellcheck "${scripts[@]}"
}

# Counted, not timed: the same on every machine with the same compiler. A change of the figure belongs into the commit that
# makes it: SHUNT_BLESS=1 writes it.
step_instructions() {
  if ! command -v valgrind >/dev/null; then
    echo "SKIP: instructions: valgrind is not installed (scripts/setup test)"
    return 0
  fi
  local target out frames counted now committed
  cargo build "${locked[@]}" --quiet --release --package shunt-bench --bin instructions
  target=$(cargo metadata --format-version 1 --no-deps | sed -E 's/.*"target_directory":"([^"]+)".*/\1/')
  out=$(mktemp)
  frames=$(valgrind --tool=callgrind --callgrind-out-file="$out" --toggle-collect='*Forwarder::forward*' \
    "$target/release/instructions" 2>/dev/null | tail -n 1)
  counted=$(sed -n 's/^\(totals\|summary\): //p' "$out" | tail -n 1)
  rm -f "$out"
  now=$((counted / frames))
  committed=$(cat bench/instructions.txt 2>/dev/null || echo 0)
  echo "instructions: $now a frame (1,000 flows, routed, cached; driver of the egress port included), committed: $committed"
  if [ "${SHUNT_BLESS:-}" = 1 ]; then
    echo "$now" >bench/instructions.txt
  elif [ $((now * 100)) -gt $((committed * 105)) ]; then
    echo "instructions: more than 5 % above the committed figure; if that is meant, SHUNT_BLESS=1 scripts/ci.sh instructions" >&2
    return 1
  fi
}

# Without a sanitizer, so that the stable toolchain will do. Flags of cargo-fuzz's own take the place of those in .cargo/config.toml.
step_fuzz() {
  local target places
  scripts/setup build fuzz
  local -x RUSTFLAGS="-C target-cpu=x86-64-v3"
  cargo fetch "${locked[@]}" --quiet --manifest-path tests/fuzz/Cargo.toml
  cargo fuzz build --fuzz-dir tests/fuzz --sanitizer none
  for target in ${FUZZ_TARGETS:-$(cargo fuzz list --fuzz-dir tests/fuzz)}; do
    places=("tests/fuzz/corpus/$target")
    mkdir -p "${places[@]}"
    case "$target" in
      # The tests' own files.
      kube | config) places+=(config/tests/kube config/examples) ;;
      *) places+=("tests/fuzz/seeds/$target") ;;
    esac
    echo "-- fuzz $target"
    nice cargo fuzz run --fuzz-dir tests/fuzz --sanitizer none "$target" "${places[@]}" "tests/fuzz/crashes/$target" -- \
      -max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -timeout=20 -print_final_stats=1
  done
}

step_deny() {
  if ! cargo deny --version >/dev/null 2>&1; then
    echo "SKIP: deny: cargo-deny is not installed (cargo install --locked cargo-deny)"
    return 0
  fi
  cargo deny check
}

all=(fmt clippy shellcheck build unit loom integration doc instructions deny)
[ $# -gt 0 ] || { usage >&2; exit 2; }
steps=()
for step in "$@"; do
  case "$step" in
    fmt | clippy | build | unit | loom | integration | doc | shellcheck | instructions | fuzz | deny) steps+=("$step") ;;
    all) steps+=("${all[@]}") ;;
    *) echo "ci.sh: no step $step" >&2; usage >&2; exit 2 ;;
  esac
done
for step in "${steps[@]}"; do
  echo "== $step"
  "step_$step"
done
