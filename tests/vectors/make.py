"""A second implementation of Keyferry's own formats, which made the vectors here.

Needs Python 3 and `cryptography` (OpenSSL's AES, HMAC, HKDF). Adds files that are
missing, never changes one: a released format is read for ever.
"""

import base64
import hashlib
import hmac
import json
import pathlib
import struct

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
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

# ---- receipts: compact JWS by ES256 (RFC 7515, 7518), thumbprints (RFC 7638) ----

SIGNER = ec.derive_private_key(int.from_bytes(MATERIAL, "big"), ec.SECP256R1())
ISSUER = "0198c0de-0000-7000-8000-000000000009"
AT = 1_800_000_000
EXPORTED = bytes(range(256))
RECIPIENT = bytes.fromhex("3059301306072a8648ce3d020106082a811ccf5501822d03420004") + bytes(64)


def b64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def jwk(signer, **more):
    numbers = signer.public_key().public_numbers()
    x, y = (b64url(number.to_bytes(32, "big")) for number in (numbers.x, numbers.y))
    thumbprint = f'{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}'.encode()
    kid = b64url(hashlib.sha256(thumbprint).digest())
    return {"kty": "EC", "crv": "P-256", "x": x, "y": y, "kid": kid, "alg": "ES256", "use": "sig",
            "kf_from": AT - 1000, **more}


def jws(header, claims, signer=SIGNER):
    text = claims if isinstance(claims, str) else json.dumps(claims, separators=(",", ":"))
    signing = b64url(json.dumps(header, separators=(",", ":")).encode()) + "." + b64url(text.encode())
    der = signer.sign(signing.encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))
    r, s = decode_dss_signature(der)
    return signing + "." + b64url(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def receipt_claims(**more):
    salt = bytes(range(32))
    return {
        "iss": ISSUER, "iat": AT, "jti": OTHER_ID, "request_id": "request-1", "key_id": KEY_ID,
        "key_version_id": VERSION_ID, "blob_kind": "DataKeyUnseen",
        "blob_sha256": hashlib.sha256(blob()).hexdigest(),
        "recipient_sha256": hashlib.sha256(RECIPIENT).hexdigest(),
        "exported_sha256": hashlib.sha256(EXPORTED).hexdigest(), "exported_bytes": len(EXPORTED),
        "wrapping_algorithm": "SM2PKE", "sm2_ciphertext_encoding": "RAW_C1C3C2",
        "context_salt": salt.hex(),
        "context_sha256": hashlib.sha256(salt + encode_context(CONTEXT)).hexdigest(), **more}


HEADER = {"alg": "ES256", "typ": "keyferry-export-receipt+jws", "kid": jwk(SIGNER)["kid"]}


def receipt(name, about, text, key=jwk(SIGNER), exported=EXPORTED, recipient=RECIPIENT,
            algorithm="SM2PKE", context=CONTEXT, issuer=ISSUER):
    lines = [f"# {about}", "jwks: " + json.dumps({"kf_issuer": issuer, "keys": [key]}),
             f"receipt: {text}", f"exported: {exported.hex()}", f"recipient: {recipient.hex()}",
             f"algorithm: {algorithm}"]
    lines += [f"pair: {k.encode().hex()} {v.encode().hex()}" for k, v in context.items()]
    path = HERE / f"receipt_{name}.txt"
    INDEX.append(path.name)
    if not path.exists():
        path.write_text("\n".join(lines) + "\n")


GOOD = jws(HEADER, receipt_claims())
HEAD, BODY, SIGNATURE = GOOD.split(".")
RSA = receipt_claims(wrapping_algorithm="RSAES_OAEP_SHA_256")
del RSA["sm2_ciphertext_encoding"]
OTHER = ec.derive_private_key(7, ec.SECP256R1())

receipt("ok_sm2", "An export under SM2.", GOOD)
receipt("ok_rsa", "An export under RSA: no encoding.", jws(HEADER, RSA), algorithm="RSAES_OAEP_SHA_256")
receipt("ok_key_ended", "Its key ended later.", GOOD, jwk(SIGNER, kf_until=AT + 1))
receipt("ok_more_claims", "Claims of a later release.", jws(HEADER, receipt_claims(more=[1])))
altered = b64url(json.dumps(receipt_claims(key_id=OTHER_ID), separators=(",", ":")).encode())
receipt("altered_claims", "Another key id under the old signature.", f"{HEAD}.{altered}.{SIGNATURE}")
receipt("alg_none", "alg none, no signature.",
        jws({**HEADER, "alg": "none"}, receipt_claims()).rsplit(".", 1)[0] + ".")
receipt("alg_none_signed", "alg none, and a sound signature.", jws({**HEADER, "alg": "none"}, receipt_claims()))
receipt("alg_hs256", "alg HS256, and a sound signature of ES256.", jws({**HEADER, "alg": "HS256"}, receipt_claims()))
receipt("other_typ", "A typ that is not a receipt's.", jws({**HEADER, "typ": "JWT"}, receipt_claims()))
receipt("no_typ", "No typ.", jws({k: v for k, v in HEADER.items() if k != "typ"}, receipt_claims()))
receipt("jwk_in_header", "A header with a key of its own.",
        jws({**HEADER, "jwk": jwk(OTHER)}, receipt_claims(), OTHER))
receipt("crit_in_header", "A critical header.", jws({**HEADER, "crit": ["exp"]}, receipt_claims()))
receipt("unknown_kid", "Signed by a key that is not in the set.",
        jws({**HEADER, "kid": jwk(OTHER)["kid"]}, receipt_claims(), OTHER))
receipt("by_another_key", "Signed by another key in the name of this one.", jws(HEADER, receipt_claims(), OTHER))
receipt("other_issuer", "The keys are another store's.", GOOD, issuer=KEY_ID)
receipt("after_its_key_ended", "Signed when the key had ended.", GOOD, jwk(SIGNER, kf_until=AT - 301))
receipt("claim_twice", "A claim twice.",
        jws(HEADER, json.dumps(receipt_claims()).replace("{", '{"iss": "x", ', 1)))
receipt("lacks_a_claim", "No jti.", jws(HEADER, {k: v for k, v in receipt_claims().items() if k != "jti"}))
receipt("padded", "Base64 with padding.", GOOD + "==")
receipt("four_parts", "A part too many.", GOOD + ".")
receipt("signature_in_der", "A signature in DER.", f"{HEAD}.{BODY}." + b64url(
    SIGNER.sign(f"{HEAD}.{BODY}".encode(), ec.ECDSA(hashes.SHA256(), deterministic_signing=True))))
receipt("signature_of_zeroes", "A signature of zeroes.", f"{HEAD}.{BODY}." + b64url(bytes(64)))
receipt("other_exported", "Of another exported data key.", GOOD, exported=flip(EXPORTED, 0))
receipt("other_recipient", "For another recipient.", GOOD, recipient=flip(RECIPIENT, -1))
receipt("other_algorithm", "By another algorithm.", GOOD, algorithm="RSAES_OAEP_SHA_1")
receipt("other_context", "Of another context.", GOOD, context={**CONTEXT, "tenant": "red"})

(HERE / "INDEX").write_text("\n".join(sorted(INDEX)) + "\n")
