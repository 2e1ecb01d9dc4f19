"""Works with an SM2 key pair by gmssl: python sm2_pair.py PRIVATE PUBLIC JOB...

The keys are hexadecimal: d, and x || y. A job is sign:MESSAGE,
verify:MESSAGE:SIGNATURE, encrypt:PLAINTEXT or decrypt:CIPHERTEXT, all of it
hexadecimal; messages are hashed with the usual identifier. Prints its name, then
a line for each job: DER, true or false, 04 || C1 || C3 || C2, the plaintext.
"""

import sys
from importlib.metadata import version

from gmssl import sm2

private_key, public_key, *jobs = sys.argv[1:]
pair = sm2.CryptSM2(private_key=private_key, public_key=public_key, mode=1, asn1=True)


def do(what, *on):
    match what, [bytes.fromhex(part) for part in on]:
        case "sign", [message]:
            return pair.sign_with_sm3(message)
        case "verify", [message, signature]:
            return str(pair.verify_with_sm3(signature.hex(), message)).lower()
        case "encrypt", [plaintext]:
            return "04" + pair.encrypt(plaintext).hex()
        case "decrypt", [ciphertext]:
            return pair.decrypt(ciphertext[1:]).hex()


print(f"gmssl {version('gmssl')}")
for job in jobs:
    print(do(*job.split(":")))
