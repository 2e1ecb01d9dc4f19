"""The round trip as a Python program makes it: python client.py HOST:PORT

A data key is made unseen, exported to an RSA key and to an SM2 key, unwrapped
here by `cryptography` and `gmssl`, and must be the same each time. Prints one
line for each check.
"""

import os
import platform
import sys
import uuid
from importlib.metadata import version

import grpc
from Cryptodome.Util.asn1 import DerSequence
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from gmssl import sm2
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

from keyferry.v1 import key_management_pb2 as management
from keyferry.v1 import key_management_pb2_grpc, kms_pb2_grpc
from keyferry.v1 import kms_pb2 as kms
from keyferry.v1 import types_pb2 as types

CONTEXT = {"tenant": "acme", "purpose": "backups", "区域": "杭州"}
TIMEOUT_S = 20

# gmssl makes no keys, and mangles those whose x begins with 0 or 4.
SM2_PRIVATE = "1316d75dd70ac77a1e3ddc9abc1f99e803707b66e55b413d65ffc170d2bb852f"
SM2_PUBLIC = (
    "52bff5badf983df84a0640338ae19b64a523d1b6c04008d3a1e092491adc817b"
    "1d6ccb1c452f1728b89902fc04350cb6bb009048b89590f37068a12539fb82d2"
)
# SubjectPublicKeyInfo up to the uncompressed point: id-ecPublicKey, sm2p256v1.
SM2_SPKI_HEAD = "3059301306072a8648ce3d020106082a811ccf5501822d03420004"

checks = 0


def check(name, holds):
    global checks
    if not holds:
        sys.exit(f"check {name} FAILED")
    checks += 1
    print(f"check {name} ok")


def refusal(call, request, **options):
    """The status and the details, by type, of a call that must fail."""
    try:
        call(request, timeout=TIMEOUT_S, **options)
    except grpc.RpcError as error:
        details = {}
        for packed in rpc_status.from_call(error).details:
            kind = packed.type_url.rpartition(".")[2]
            details[kind] = getattr(error_details_pb2, kind)()
            assert packed.Unpack(details[kind])
        return error.code(), details
    sys.exit(f"{request.DESCRIPTOR.name} was not refused")


def refused(name, call, request, code, reason, detail="ErrorInfo"):
    found, details = refusal(call, request)
    info = details["ErrorInfo"]
    check(
        name,
        (found, info.reason, info.domain) == (code, reason, "keyferry")
        and detail in details
        and details["RequestInfo"].request_id,
    )
    return details


def oaep(algorithm):
    return padding.OAEP(mgf=padding.MGF1(algorithm), algorithm=algorithm, label=None)


def open_sm2_raw(exported):
    """04 || C1 || C3 || C2, which gmssl wants without its first byte."""
    assert exported[0] == 4
    return sm2.CryptSM2(SM2_PRIVATE, SM2_PUBLIC, mode=1).decrypt(exported[1:])


def open_sm2_der(exported):
    """GM/T 0009: SEQUENCE { x, y, C3, C2 }"""
    x, y, c3, c2 = DerSequence().decode(exported, strict=True)
    octets = [bytes(part)[2:] for part in (c3, c2)]
    raw = x.to_bytes(32, "big") + y.to_bytes(32, "big") + b"".join(octets)
    return open_sm2_raw(b"\x04" + raw)


def main(address):
    print(f"peer grpcio {version('grpcio')} (Python {platform.python_version()})")
    channel = grpc.insecure_channel(address)
    keys = kms_pb2_grpc.KmsStub(channel)
    managed = key_management_pb2_grpc.KeyManagementStub(channel)

    def ask(call, request, **options):
        return call(request, timeout=TIMEOUT_S, **options)

    # A key and a name for it.
    request_id = f"python-{uuid.uuid4()}"
    made = ask(
        managed.CreateKey,
        management.CreateKeyRequest(description="from Python"),
        metadata=[("x-request-id", request_id)],
    )
    key_id = made.key_metadata.key_id
    check("create_key", made.key_metadata.key_state == "Enabled" and uuid.UUID(key_id))
    check("request_id", made.request_id == request_id)
    alias = f"alias/python-{uuid.uuid4()}"
    ask(managed.CreateAlias, management.CreateAliasRequest(alias_name=alias, key_id=key_id))
    described = ask(managed.DescribeKey, management.DescribeKeyRequest(key_id=alias))
    check("alias", described.key_metadata.key_id == key_id)

    # A data key that nobody has seen.
    unseen = ask(
        keys.GenerateDataKeyWithoutPlaintext,
        kms.GenerateDataKeyWithoutPlaintextRequest(key_id=alias, encryption_context=CONTEXT),
    )
    check("generate_without_plaintext", unseen.key_id == key_id and len(unseen.ciphertext_blob) == 32 + 110)
    blob = unseen.ciphertext_blob

    # To an RSA key.
    recipient = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    recipient_public = recipient.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    def export(**fields):
        return ask(
            keys.ExportDataKey,
            kms.ExportDataKeyRequest(ciphertext_blob=blob, encryption_context=CONTEXT, **fields),
        ).exported_data_key

    to_rsa = dict(public_key_blob=recipient_public, wrapping_key_spec=types.WRAPPING_KEY_SPEC_RSA_2048)
    exported = export(wrapping_algorithm=types.WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256, **to_rsa)
    data_key = recipient.decrypt(exported, oaep(hashes.SHA256()))
    check("export_rsa_sha_256", len(data_key) == 32)
    exported = export(wrapping_algorithm=types.WRAPPING_ALGORITHM_RSAES_OAEP_SHA_1, **to_rsa)
    check("export_rsa_sha_1", recipient.decrypt(exported, oaep(hashes.SHA1())) == data_key)

    # To an SM2 key.
    to_sm2 = dict(
        public_key_blob=bytes.fromhex(SM2_SPKI_HEAD + SM2_PUBLIC),
        wrapping_key_spec=types.WRAPPING_KEY_SPEC_EC_SM2,
        wrapping_algorithm=types.WRAPPING_ALGORITHM_SM2PKE,
    )
    check("export_sm2_der", open_sm2_der(export(**to_sm2)) == data_key)
    raw = types.SM2_CIPHERTEXT_ENCODING_RAW_C1C3C2
    exported = export(sm2_ciphertext_encoding=raw, **to_sm2)
    check("export_sm2_raw", len(exported) == 32 + 97 and open_sm2_raw(exported) == data_key)

    # Used on both sides of the boundary.
    opened = ask(keys.Decrypt, kms.DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT))
    check("decrypt_is_the_same", opened.plaintext == data_key)
    nonce = os.urandom(12)
    sealed = AESGCM(opened.plaintext).encrypt(nonce, b"a file", None)
    check("data_key_works", AESGCM(data_key).decrypt(nonce, sealed, None) == b"a file")

    # The other ways to a data key.
    both = ask(
        keys.GenerateAndExportDataKey,
        kms.GenerateAndExportDataKeyRequest(
            key_id=key_id,
            key_spec=types.DATA_KEY_SPEC_AES_128,
            wrapping_algorithm=types.WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256,
            **to_rsa,
        ),
    )
    unwrapped = recipient.decrypt(both.exported_data_key, oaep(hashes.SHA256()))
    opened = ask(keys.Decrypt, kms.DecryptRequest(ciphertext_blob=both.ciphertext_blob))
    check("generate_and_export", opened.plaintext == unwrapped and len(unwrapped) == 16)
    shown = ask(
        keys.GenerateDataKey,
        kms.GenerateDataKeyRequest(key_id=key_id, number_of_bytes=48, encryption_context=CONTEXT),
    )
    opened = ask(
        keys.Decrypt,
        kms.DecryptRequest(ciphertext_blob=shown.ciphertext_blob, encryption_context=CONTEXT),
    )
    check("generate_data_key", len(shown.plaintext) == 48 and opened.plaintext == shown.plaintext)

    # The caller's own bytes, and a blob made anew.
    words = "密钥 and bytes".encode()
    encrypted = ask(
        keys.Encrypt, kms.EncryptRequest(key_id=alias, plaintext=words, encryption_context=CONTEXT)
    )
    backwards = dict(reversed(CONTEXT.items()))
    opened = ask(
        keys.Decrypt,
        kms.DecryptRequest(ciphertext_blob=encrypted.ciphertext_blob, encryption_context=backwards),
    )
    check("encrypt_decrypt", opened.plaintext == words)
    other = ask(managed.CreateKey, management.CreateKeyRequest()).key_metadata.key_id
    moved = ask(
        keys.ReEncrypt,
        kms.ReEncryptRequest(
            ciphertext_blob=encrypted.ciphertext_blob,
            source_encryption_context=CONTEXT,
            destination_key_id=other,
            destination_encryption_context={"moved": "yes"},
        ),
    )
    opened = ask(
        keys.Decrypt,
        kms.DecryptRequest(ciphertext_blob=moved.ciphertext_blob, encryption_context={"moved": "yes"}),
    )
    check("re_encrypt", moved.key_id == key_id and opened.key_id == other and opened.plaintext == words)

    # Refusals and their details.
    refused(
        "wrong_context",
        keys.Decrypt,
        kms.DecryptRequest(ciphertext_blob=blob, encryption_context={"tenant": "other"}),
        grpc.StatusCode.INVALID_ARGUMENT,
        "InvalidParameter",
    )
    details = refused(
        "missing_parameter",
        keys.GenerateDataKey,
        kms.GenerateDataKeyRequest(),
        grpc.StatusCode.INVALID_ARGUMENT,
        "MissingParameter",
        "BadRequest",
    )
    check("bad_request_field", details["BadRequest"].field_violations[0].field == "key_id")
    refused(
        "unknown_key",
        managed.DescribeKey,
        management.DescribeKeyRequest(key_id=str(uuid.uuid4())),
        grpc.StatusCode.NOT_FOUND,
        "Forbidden.KeyNotFound",
    )
    refused(
        "dry_run",
        keys.Decrypt,
        kms.DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT, dry_run=True),
        grpc.StatusCode.FAILED_PRECONDITION,
        "DryRunOperationError",
    )
    ask(managed.DisableKey, management.DisableKeyRequest(key_id=key_id))
    details = refused(
        "disabled_key",
        keys.ExportDataKey,
        kms.ExportDataKeyRequest(
            ciphertext_blob=blob,
            encryption_context=CONTEXT,
            wrapping_algorithm=types.WRAPPING_ALGORITHM_RSAES_OAEP_SHA_256,
            **to_rsa,
        ),
        grpc.StatusCode.FAILED_PRECONDITION,
        "Rejected.Disabled",
        "PreconditionFailure",
    )
    check("precondition", details["PreconditionFailure"].violations[0].type == "Rejected.Disabled")
    ask(managed.EnableKey, management.EnableKeyRequest(key_id=key_id))
    opened = ask(keys.Decrypt, kms.DecryptRequest(ciphertext_blob=blob, encryption_context=CONTEXT))
    check("enabled_again", opened.plaintext == data_key)

    # The standard services.
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "keyferry.v1.Kms", "keyferry.v1.KeyManagement"):
        answer = ask(health.Check, health_pb2.HealthCheckRequest(service=service))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, service
    check("health", True)
    services = ProtoReflectionDescriptorDatabase(channel).get_services()
    check("reflection_v1alpha", {"keyferry.v1.Kms", "keyferry.v1.KeyManagement"} <= set(services))
    print(f"{checks} checks")


if __name__ == "__main__":
    main(sys.argv[1])
