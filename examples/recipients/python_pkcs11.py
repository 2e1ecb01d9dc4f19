"""Decrypts a file inside a token: python python_pkcs11.py EXPORTED SEALED >PLAIN

EXPORTED is a data key for the token's RSA key `recipient`, by RSAES_OAEP_SHA_1. It becomes an
AES key of the token, and is never shown. SEALED is a nonce of 12 bytes, then AES-GCM under it.
MODULE, TOKEN and PIN are those of pkcs11_tool.sh, which makes such a key.
"""

import os
import sys
from pathlib import Path

import pkcs11
from pkcs11 import MGF, Attribute, GCMParams, KeyType, Mechanism, ObjectClass

exported, sealed = (Path(name).read_bytes() for name in sys.argv[1:])
token = pkcs11.lib(os.environ["MODULE"]).get_token(token_label=os.environ["TOKEN"])
with token.open(user_pin=os.environ["PIN"]) as session:
    recipient = session.get_key(ObjectClass.PRIVATE_KEY, label="recipient")
    data_key = recipient.unwrap_key(
        ObjectClass.SECRET_KEY, KeyType.AES, exported,
        mechanism=Mechanism.RSA_PKCS_OAEP,
        mechanism_param=(Mechanism.SHA_1, MGF.SHA1, None),  # SHA256 twice for RSAES_OAEP_SHA_256
        template={Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False, Attribute.DECRYPT: True},
    )
    plain = data_key.decrypt(
        sealed[12:], mechanism=Mechanism.AES_GCM, mechanism_param=GCMParams(sealed[:12])
    )
sys.stdout.buffer.write(plain)
