"""A second implementation of Keyferry's own formats, which made the vectors here.

Needs Python 3 and `cryptography` (OpenSSL's AES, HMAC, HKDF). Adds files that are
missing, never changes one: a released format is read for ever.
"""

import hashlib
import hmac
import pathlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

HERE = pathlib.Path(__file__).parent

MATERIAL = bytes(range(32))
KEY_ID = "0198c0de-0000-7000-8000-000000000001"
VERSION_ID = "0198c0de-0000-7000-8000-000000000002"
OTHER_ID = "0198c0de-0000-7000-8000-000000000003"
SPEC = "Aliyun_AES_256"
NONCE = bytes(range(100, 124))
CONTEXT = {"tenant": "blue", "目的": "付款"}
CONTENTS = bytes(range(200, 232))


def hkdf(secret, info):
    return HKDF(hashes.SHA256(), 32, None, info).derive(secret)


def xaes(key, nonce, aad, plaintext):
    """C2SP XAES-256-GCM."""
    ecb = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    l = int.from_bytes(ecb.update(bytes(16)), "big")
    k1 = (l << 1) & (1 << 128) - 1 ^ (0x87 if l >> 127 else 0)
    k1 = k1.to_bytes(16, "big")
    blocks = [bytes([0, i, 0x58, 0]) + nonce[:12] for i in (1, 2)]
    derived = b"".join(ecb.update(bytes(a ^ b for a, b in zip(m, k1))) for m in blocks)
    return AESGCM(derived).encrypt(nonce[12:], plaintext, aad)


def prefixed(data):
    return struct.pack(">I", len(data)) + data


def encode_context(context):
    pairs = sorted((k.encode(), v.encode()) for k, v in context.items())
    return struct.pack(">I", len(pairs)) + b"".join(prefixed(k) + prefixed(v) for k, v in pairs)


def blob(kind=1, contents=CONTENTS, context=CONTEXT, format=1, committer=None,
         key_id=KEY_ID, version_id=VERSION_ID, spec=SPEC, material=MATERIAL, commitment=None):
    ids = key_id.encode() + version_id.encode()
    info = bytes([format]) + ids + prefixed(spec.encode())
    blob_key = hkdf(material, b"keyferry/blob-key" + info)
    committer = committer or hkdf(material, b"keyferry/commitment-key" + info)
    aad = b"keyferry/blob" + bytes([format, kind]) + ids + encode_context(context)
    message = NONCE + hashlib.sha256(aad).digest()
    commitment = commitment or hmac.digest(committer, message, "sha256")
    sealed = xaes(blob_key, NONCE, aad, contents)
    return version_id.encode() + bytes([format, kind]) + NONCE + commitment + sealed


def flip(data, at, bit=1):
    data = bytearray(data)
    data[at] ^= bit
    return bytes(data)


def write_blob(name, why, data, context=CONTEXT, opens=None):
    lines = ["# " + why, "key_material: " + MATERIAL.hex(), "key_id: " + KEY_ID,
             "version_id: " + VERSION_ID, "key_spec: " + SPEC]
    lines += [f"pair: {k.encode().hex()} {v.encode().hex()}" for k, v in context.items()]
    lines += ["blob: " + data.hex()]
    if opens:
        lines += [f"kind: {opens[0]}", "contents: " + opens[1].hex()]
    write("blob_" + name, lines)


def sealed_record(name, why, change=lambda fields: None, contents=None, label="cmk",
                  info=b"store", aad=b"cmk/1", secret=CONTENTS):
    key = hkdf(MATERIAL, prefixed(label.encode()) + info)
    fields = {"secret": MATERIAL, "label": "cmk", "info": b"store", "aad": b"cmk/1",
              "nonce": NONCE, "sealed": xaes(key, NONCE, aad, secret)}
    change(fields)
    lines = ["# " + why]
    lines += [f"{k}: {v if isinstance(v, str) else v.hex()}" for k, v in fields.items()]
    if contents is not None:
        lines += ["contents: " + contents.hex()]
    write("sealed_record_" + name, lines)


INDEX = []


def write(name, lines):
    INDEX.append(name + ".txt")
    path = HERE / (name + ".txt")
    if not path.exists():
        path.write_text("\n".join(line.rstrip() for line in lines) + "\n")


OK = blob()
KINDS = {1: "data key unseen", 2: "data key shown", 3: "caller bytes", 4: "imported"}
for kind, word in KINDS.items():
    write_blob(f"ok_kind{kind}", f"Kind {kind}: {word}.", blob(kind=kind), opens=(kind, CONTENTS))
write_blob("ok_no_context", "No context.", blob(context={}), {}, (1, CONTENTS))
write_blob("ok_reordered_context", "The pairs given in another order than they were sealed in.",
           OK, dict(reversed(CONTEXT.items())), (1, CONTENTS))
write_blob("ok_one_byte", "The shortest contents.", blob(contents=b"x"), opens=(1, b"x"))
longest = bytes(i % 251 for i in range(6144))
write_blob("ok_6144_bytes", "The longest contents.", blob(3, longest), opens=(3, longest))

write_blob("empty", "No bytes.", b"")
write_blob("cut_in_version_id", "20 bytes.", OK[:20])
write_blob("cut_in_nonce", "50 bytes.", OK[:50])
write_blob("cut_in_commitment", "80 bytes.", OK[:80])
write_blob("truncated_tag", "The last byte is missing.", OK[:-1])
write_blob("no_contents", "A tag over no contents.", blob(contents=b""))
write_blob("6145_bytes", "Contents of one byte too many.", blob(3, longest + b"x"))
write_blob("trailing_byte", "A byte follows the tag.", OK + b"\0")
write_blob("upper_case_version_id", "The version id in upper case.", OK[:36].upper() + OK[36:])
write_blob("version_id_not_hex", "A version id that is none.", b"z" + OK[1:])
write_blob("other_version_id", "Another version's id on this one's blob.",
           OTHER_ID.encode() + OK[36:])
write_blob("of_other_version", "A sound blob of another version.", blob(version_id=OTHER_ID))
write_blob("of_other_key", "Sealed for another CMK.", blob(key_id=OTHER_ID))
write_blob("of_other_spec", "Sealed for another spec.", blob(spec="Aliyun_SM4"))
write_blob("of_other_material", "Sealed under other key material.", blob(material=MATERIAL[::-1]))
write_blob("format_0", "A format that there is not.", blob(format=0))
write_blob("format_2", "The format that is kept for SM4.", blob(format=2))
write_blob("format_changed", "The format byte changed after sealing.", flip(OK, 36, 3))
write_blob("kind_0", "A kind that there is not.", blob(kind=0))
write_blob("kind_5", "A kind that there is not.", blob(kind=5))
write_blob("kind_changed", "Bytes of the caller passed off as a key born unseen.",
           blob(kind=3)[:37] + b"\1" + blob(kind=3)[38:])
write_blob("flipped_nonce", "A bit of the nonce.", flip(OK, 40))
write_blob("flipped_commitment", "A bit of the commitment.", flip(OK, 62))
write_blob("foreign_commitment", "A sound tag, the commitment under another key.",
           blob(committer=MATERIAL))
write_blob("zero_commitment", "A sound tag, a commitment of zeroes.", blob(commitment=bytes(32)))
write_blob("flipped_ciphertext", "A bit of the ciphertext.", flip(OK, 94))
write_blob("flipped_tag", "A bit of the tag.", flip(OK, -1, 128))
write_blob("wrong_context", "Another value.", OK, {**CONTEXT, "tenant": "red"})
write_blob("missing_context", "No context.", OK, {})
write_blob("missing_pair", "A pair less.", OK, {"tenant": "blue"})
write_blob("extra_pair", "A pair more.", OK, {**CONTEXT, "x": ""})
write_blob("shifted_context", "The same characters, cut elsewhere.",
           blob(context={"ab": "c"}), {"a": "bc"})
write_blob("empty_pair_for_none", "No pair and an empty one are not the same.",
           blob(context={}), {"": ""})

sealed_record("ok_secret", "A secret of 32 bytes.", contents=CONTENTS)
sealed_record("ok_no_secret", "Nothing secret: the AAD alone is authenticated.",
              contents=b"", secret=b"")


def changed(name, value):
    def change(fields):
        fields[name] = value(fields[name])
    return change


sealed_record("moved", "A record moved to another path.", changed("aad", lambda _: b"cmk/2"))
sealed_record("changed_plain", "A plain field changed.", changed("aad", lambda a: flip(a, 0)))
sealed_record("other_kind", "A record opened as another kind.", label="version")
sealed_record("other_store", "A record of another store.", info=b"other")
sealed_record("shifted_label", "Label and info cut elsewhere.", label="cmkst", info=b"ore")
sealed_record("other_secret", "Another store key.", changed("secret", lambda s: s[::-1]))
sealed_record("flipped_nonce", "A bit of the nonce.", changed("nonce", lambda n: flip(n, 0)))
sealed_record("short_nonce", "A nonce of 12 bytes.", changed("nonce", lambda n: n[:12]))
sealed_record("flipped_ciphertext", "A bit of the ciphertext.", changed("sealed", lambda s: flip(s, 0)))
sealed_record("truncated_tag", "The last byte is missing.", changed("sealed", lambda s: s[:-1]))
sealed_record("empty", "No bytes at all.", changed("sealed", lambda _: b""))

(HERE / "INDEX").write_text("\n".join(sorted(INDEX)) + "\n")
