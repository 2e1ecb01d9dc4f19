#!/usr/bin/env bash
# From region to region: examples/two-regions.sh
#
# Region A makes a data key, and region B gets it. The way from one to the other
# carries only bytes that B alone can open. Each region is a development
# server of its own here, on loopback, with a store and a root key of its own.
#
# Needs openssl, and keyferry: $KEYFERRY, or what cargo built in target/. Works in
# a new directory, and takes that and both servers away at the end.
set -euo pipefail

here=$(cd "$(dirname "$0")/.." && pwd)
keyferry=$(command -v "${KEYFERRY:-$here/target/release/keyferry}" || command -v "$here/target/debug/keyferry") || {
  echo "no keyferry: cargo build --release makes it; or say where it is in KEYFERRY" >&2
  exit 1
}
keyferry=$(realpath "$keyferry")

folder=$(mktemp -d)
cd "$folder"
servers=()
cleanup() {
  if ((${#servers[@]})); then
    kill "${servers[@]}" 2>/dev/null || true
    wait "${servers[@]}" 2>/dev/null || true
  fi
  rm -rf "$folder"
}
trap cleanup EXIT

say() { printf '\n%s\n' "$*"; }

# serve REGION: starts a server on a free port and learns which.
serve() {
  : >"$1.says"
  "$keyferry" serve --dev --data-dir "$1" --listen 127.0.0.1:0 >"$1.says" 2>"$1.log" &
  servers+=($!)
  for _ in {1..150}; do
    # listening on ADDRESS
    if read -r _ _ address <"$1.says"; then
      declare -g "endpoint_$1=http://$address"
      return
    fi
    sleep 0.2
  done
  echo "region $1 does not listen:" >&2
  cat "$1.log" >&2
  exit 1
}

# A command in one of the regions, shown and run.
in_a() { shown A "$endpoint_a" "$@"; }
in_b() { shown B "$endpoint_b" "$@"; }
shown() {
  local region=$1 endpoint=$2
  shift 2
  echo "$region\$ keyferry $*" >&2
  "$keyferry" "$@" --endpoint "$endpoint"
}

# field NAME: of a JSON answer.
field() { grep -o "\"$1\": *\"[^\"]*\"" | cut -d '"' -f 4; }

serve a
serve b

say "1. Region B makes an asymmetric CMK, whose private key never leaves it."
door=$(in_b key create --key-spec RSA_3072 --key-usage ENCRYPT/DECRYPT --json | field key_id)
version=$(in_b key versions --key "$door" --json | field key_version_id)

say "2. It hands out the public key."
in_b key public-key --key "$door" --key-version "$version" --out b.public.pem

say "3. Region A looks at what it was given. Its owner compares public_key_sha256 with
what B's owner says by another way: whoever swaps the public key reads the data key."
echo 'A$ keyferry recipient show b.public.pem'
"$keyferry" recipient show b.public.pem

say "4. Region A makes a data key. Nobody sees it, A's own caller included."
key_a=$(in_a key create --json | field key_id)
in_a data-key generate --key "$key_a" --context tenant=acme --out a.blob

say "5. Region A exports it to B's public key. This file may go by any way."
in_a data-key export --in a.blob --context tenant=acme --public-key b.public.pem --out crossing

say "6. Region B imports it under a CMK of its own. The blob says that it was imported."
key_b=$(in_b key create --json | field key_id)
in_b data-key import --in crossing --source-key "$door" --source-key-version "$version" \
  --key "$key_b" --context tenant=acme --out b.blob

say "7. Is it the same? A hardware module, played by openssl, shows its public key, and
each region exports its own blob to it."
openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out module.private.pem
openssl pkey -in module.private.pem -pubout -out module.public.pem
in_a data-key export --in a.blob --context tenant=acme --public-key module.public.pem --out from-a
in_b data-key export --in b.blob --context tenant=acme --public-key module.public.pem --out from-b

# digest FILE: of the data key in it, which itself is shown nowhere.
digest() {
  openssl pkeyutl -decrypt -inkey module.private.pem -in "$1" -pkeyopt rsa_padding_mode:oaep \
    -pkeyopt rsa_oaep_md:sha256 -pkeyopt rsa_mgf1_md:sha256 | openssl dgst -sha256
}
from_a=$(digest from-a)
from_b=$(digest from-b)
if [[ $from_a != "$from_b" ]]; then
  say "The regions hold different data keys." >&2
  exit 1
fi
say "Both regions hold the same data key, and nobody in between saw it."
