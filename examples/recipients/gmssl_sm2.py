"""Opens an SM2 export in the encoding raw-c1c3c2: python gmssl_sm2.py PRIVATE.hex EXPORTED >DATA_KEY

gmssl neither compares C3 nor asks whether C1 is on the curve; this program does both. Without that, a
changed file gives a wrong data key, and many changed files can give the private key away.
"""

import sys
from hmac import compare_digest
from pathlib import Path

from gmssl import sm2, sm3

private_key = Path(sys.argv[1]).read_text().strip()
exported = Path(sys.argv[2]).read_bytes()
recipient = sm2.CryptSM2(private_key=private_key, public_key="", mode=1)
p, a, b = (int(recipient.ecc_table[name], 16) for name in "pab")
point, c3 = exported[1:65], exported[65:97]
x, y = (int.from_bytes(half, "big") for half in (point[:32], point[32:]))
if exported[0] != 4 or max(x, y) >= p or (y * y - x**3 - a * x - b) % p != 0:
    sys.exit("C1 is not a point of the curve")
data_key = recipient.decrypt(exported[1:])
shared = bytes.fromhex(recipient._kg(int(private_key, 16), point.hex()))
if not compare_digest(sm3.sm3_hash(list(shared[:32] + data_key + shared[32:])), c3.hex()):
    sys.exit("the exported data key does not open")
sys.stdout.buffer.write(data_key)
