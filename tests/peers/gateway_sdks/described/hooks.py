"""Signs what schemathesis sends by the SDK's own code, and puts what lives on
this server in the place of what a description can only give examples of.

Each operation has CMKs of its own, so that what one does to them is not in the
way of the others.
"""

import base64
import functools
import hashlib
import json
import os
import zlib
from urllib.parse import parse_qsl, urlsplit

import schemathesis
from alibabacloud_kms20160120 import models
from alibabacloud_kms20160120.client import Client
from alibabacloud_tea_openapi.models import Config
from alibabacloud_tea_openapi.utils import Utils
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from darabonba.request import DaraRequest
from requests.auth import AuthBase

ALGORITHM = "ACS3-HMAC-SHA256"
ACCESS_KEY = (
    os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
)
ENDPOINT, ANSWERS = os.environ["ENDPOINT"], os.environ["ANSWERS"]
kms = Client(Config(*ACCESS_KEY, endpoint=ENDPOINT, protocol="http"))


class Signed(AuthBase):
    """Comes last, when a request is as it will be sent."""

    def __call__(self, prepared):
        address, body = urlsplit(prepared.url), prepared.body or b""
        digest = hashlib.sha256(body.encode() if isinstance(body, str) else body).hexdigest()
        prepared.headers.update({
            "host": address.netloc,
            "x-acs-date": Utils.get_timestamp(),
            "x-acs-signature-nonce": Utils.get_nonce(),
            "x-acs-content-sha256": digest,
        })
        request = DaraRequest()
        request.method, request.pathname = prepared.method, address.path
        request.query = dict(parse_qsl(address.query, keep_blank_values=True))
        request.headers = {
            name.lower(): value if isinstance(value, str) else value.decode("latin-1")
            for name, value in prepared.headers.items()
            if name.lower().startswith("x-acs-") or name.lower() in ("host", "content-type")
        }
        signature = Utils.get_authorization(request, ALGORITHM, digest, *ACCESS_KEY)
        prepared.headers["Authorization"] = signature
        return prepared


schemathesis.auth.set_from_requests(Signed())


def b64(data):
    return base64.b64encode(data).decode()


@functools.cache
def recipient():
    public_key = rsa.generate_private_key(65537, 2048).public_key()
    return b64(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def cmk(**parameters):
    made = kms.create_key(models.CreateKeyRequest(**parameters)).body.key_metadata.key_id
    listed = kms.list_key_versions(models.ListKeyVersionsRequest(key_id=made)).body
    return made, listed.key_versions.key_version[0].key_version_id


@functools.cache
def living(action):
    """By parameter, values that are good for this operation."""
    digest = b64(hashlib.sha256(action.encode()).digest())
    found = {"Digest": digest, "PublicKeyBlob": recipient(), "Plaintext": b64(b"keyferry")}
    if action in ("AsymmetricSign", "AsymmetricVerify", "GetPublicKey"):
        key, version = cmk(key_spec="EC_P256", key_usage="SIGN/VERIFY")
        found["Algorithm"] = "ECDSA_SHA_256"
        found["Value"] = kms.asymmetric_sign(models.AsymmetricSignRequest(
            key_id=key, key_version_id=version, algorithm="ECDSA_SHA_256", digest=digest
        )).body.value
    elif action.startswith("Asymmetric"):
        key, version = cmk(key_spec="EC_SM2", key_usage="ENCRYPT/DECRYPT")
        found["Algorithm"] = "SM2PKE"
        found["CiphertextBlob"] = kms.asymmetric_encrypt(models.AsymmetricEncryptRequest(
            key_id=key, key_version_id=version, algorithm="SM2PKE", plaintext=found["Plaintext"]
        )).body.ciphertext_blob
    else:
        key, version = cmk()
        found["CiphertextBlob"] = kms.encrypt(models.EncryptRequest(
            key_id=key, plaintext=found["Plaintext"])).body.ciphertext_blob
    alias = f"alias/{action}"
    if action != "CreateAlias":
        kms.create_alias(models.CreateAliasRequest(alias_name=alias, key_id=key))
    if action == "CancelKeyDeletion":
        kms.schedule_key_deletion(
            models.ScheduleKeyDeletionRequest(key_id=key, pending_window_in_days=7))
    described = kms.describe_key(models.DescribeKeyRequest(key_id=key)).body
    return found | {
        "KeyId": key, "DestinationKeyId": key, "KeyVersionId": version, "AliasName": alias,
        "ProtectedResourceArn": described.key_metadata.arn,
        "ResourceIds": json.dumps([key]), "ResourceType": "key",
    }


@schemathesis.hook
def before_call(context, case, kwargs):
    action = case.operation.path.strip("/")
    if not isinstance(case.body, dict) or action in ("healthz", "readyz"):
        return
    known = living(action)
    for name, value in case.body.items():
        # All but one of four of those that were made up.
        made_up = zlib.crc32(str(value).encode("utf-8", "replace")) % 4 == 0
        if name in known and not (made_up and case.meta.phase.name == "fuzzing"):
            case.body[name] = known[name]


@schemathesis.hook
def after_call(context, case, response):
    with open(ANSWERS, "a", encoding="utf-8") as answers:
        print(case.operation.path.strip("/"), response.status_code, file=answers)
