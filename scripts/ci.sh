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
  loom         model check of the publication protocol
  integration  the lab and the whole switch: root, real other sides
  doc          documentation, and the examples in it
  shellcheck   the scripts
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
}

step_doc() {
  RUSTDOCFLAGS="-D warnings" cargo doc "${locked[@]}" --workspace --no-deps
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

step_deny() {
  if ! cargo deny --version >/dev/null 2>&1; then
    echo "SKIP: deny: cargo-deny is not installed (cargo install --locked cargo-deny)"
    return 0
  fi
  cargo deny check
}

all=(fmt clippy shellcheck build unit loom integration doc deny)
[ $# -gt 0 ] || { usage >&2; exit 2; }
steps=()
for step in "$@"; do
  case "$step" in
    fmt | clippy | build | unit | loom | integration | doc | shellcheck | deny) steps+=("$step") ;;
    all) steps+=("${all[@]}") ;;
    *) echo "ci.sh: no step $step" >&2; usage >&2; exit 2 ;;
  esac
done
for step in "${steps[@]}"; do
  echo "== $step"
  "step_$step"
done
