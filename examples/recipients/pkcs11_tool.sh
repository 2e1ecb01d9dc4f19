#!/bin/sh
# An RSA key in a token, by OpenSC's pkcs11-tool:
#   pkcs11_tool.sh make PUBLIC.der           makes the key pair, and a file of its public half
#   pkcs11_tool.sh open EXPORTED >DATA_KEY   opens a data key exported to that
# MODULE is the token's PKCS#11 library, TOKEN its label, PIN its user's PIN.
set -eu
token() { pkcs11-tool --module "$MODULE" --token-label "$TOKEN" --login --pin env:PIN --id 01 "$@"; }
case $1 in
  make)
    token --keypairgen --key-type rsa:2048 --label recipient --sensitive --usage-decrypt --usage-wrap
    token --read-object --type pubkey --output-file "$2"
    ;;
  # RSAES_OAEP_SHA_1. For RSAES_OAEP_SHA_256 the two are SHA256 and MGF1-SHA256.
  open) token --decrypt --mechanism RSA-PKCS-OAEP --hash-algorithm SHA-1 --mgf MGF1-SHA1 --input-file "$2" ;;
esac
