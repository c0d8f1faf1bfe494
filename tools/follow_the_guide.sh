#!/usr/bin/env bash
# Takes AdaMax out of a copy of the repository, follows docs/adding-an-optimizer.md, and sees that it is known,
# trained and tested again.
#
# Usage: tools/follow_the_guide.sh [PYTHON]
# PYTHON has what tools/golden/README.md asks for, and makes the golden file; without it the one that there is
# is taken.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python="${1:-}"
copy="$(mktemp -d)"
trap 'rm -rf "$copy"' EXIT
git archive HEAD | tar -x -C "$copy"
golden="$PWD/tests/golden/adamax.json"
cd "$copy"

rust="crates/downhill-optim/src/optimizers/adamax.rs"
list="crates/downhill-optim/src/optimizers/mod.rs"
reference="tools/golden/optimizers/adamax.py"
guide="docs/adding-an-optimizer.md"

# The Nth block of a language in the guide, as it stands.
block() {
    awk -v open="\`\`\`$1" -v want="$2" '
        $0 == open { inside = 1; count += 1; next }
        $0 == "```" { inside = 0 }
        inside && count == want { print }
    ' "$guide"
}
known() {
    cargo run --quiet --bin downhill -- list optimizers adamax
}

line="$(grep -n 'adamax: AdaMax;' "$list")"
rm "$rust" "$reference" tests/golden/adamax.json
sed -i '/adamax: AdaMax;/d' "$list"
if known; then
    echo "AdaMax is still there" >&2
    exit 1
fi

block rust 1 >"$rust"
sed -i "$((${line%%:*} - 1))a\\    adamax: AdaMax;" "$list"
block python 1 >"$reference"
if [ -n "$python" ]; then
    "$python" tools/golden/generate.py adamax
else
    cp "$golden" tests/golden/adamax.json
fi

known
cargo run --quiet --example mlp -- --optimizer adamax --epochs 1
cargo test --quiet --test optimizers -- golden conformance settings
