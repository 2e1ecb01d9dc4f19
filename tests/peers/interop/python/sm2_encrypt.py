"""Encrypts by gmssl: python sm2_encrypt.py PUBLIC_KEY_HEX PLAINTEXT_HEX...

The public key is x || y. Prints its name, then 04 || C1 || C3 || C2 for each
plaintext.
"""

import sys
from importlib.metadata import version

from gmssl import sm2

public_key, *plaintexts = sys.argv[1:]
recipient = sm2.CryptSM2(private_key="", public_key=public_key, mode=1)
print(f"gmssl {version('gmssl')}")
for plaintext in plaintexts:
    print("04" + recipient.encrypt(bytes.fromhex(plaintext)).hex())
