"""What every client does, in the terms of the API: actions, parameters and
members of answers. How a client says that is its own affair.
"""

import base64
import hashlib
import json
import os
import re
from pathlib import Path

CONTEXT = {"tenant": "acme & söhne", "purpose": "a+b=c/d?e~f*g%20 'h'", "区域": "杭州"}
DESCRIPTION = "ключ 1/2 + \"3\" & 4=5; ~*'() %7E\n第二行"
UUID = re.compile(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")

checks = 0


def check(name, holds):
    global checks
    if not holds:
        raise SystemExit(f"check {name} FAILED")
    checks += 1
    print(f"check {name} ok", flush=True)


class Refused(Exception):
    """What a client's own exception says."""

    def __init__(self, code, message, request_id, status):
        super().__init__(code, message, request_id, status)
        self.code, self.message, self.request_id, self.status = code, message, request_id, status


def refused(name, code, status, call, action, /, message="", **parameters):
    """A call that must fail, and how."""
    try:
        answer = call(action, **parameters)
    except Refused as refusal:
        told = (refusal.code, refusal.status) == (code, status) and message in refusal.message
        if not (told and refusal.message and UUID.fullmatch(refusal.request_id)):
            print(f"refused otherwise: {refusal}")
        check(name, told and refusal.message and UUID.fullmatch(refusal.request_id))
    else:
        print(f"not refused: {answer}")
        check(name, False)


def b64(data):
    return base64.b64encode(data).decode()


class RoundTrip:
    """`client(access_key_id, secret)` gives a call: `call(action, **parameters)`
    gives the members of the answer, or raises `Refused`."""

    def __init__(self, client, folder):
        env = os.environ
        self.client = client
        self.folder = Path(folder)
        self.access_key = (
            env["ALIBABA_CLOUD_ACCESS_KEY_ID"],
            env["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
        )
        self.disabled = env["DISABLED_ACCESS_KEY_ID"], env["DISABLED_ACCESS_KEY_SECRET"]
        self.call = client(*self.access_key)

    def travel(self, wrong_secret):
        """`wrong_secret` is what the client makes of one: a code, and part of
        the message."""
        self.keys()
        self.data_keys()
        self.data()
        self.pairs()
        self.lists()
        self.tags_and_aliases()
        self.states()
        self.refusals()
        self.credentials(*wrong_secret)
        print(f"{checks} checks")

    def recipient(self, name):
        return b64((self.folder / f"{name}.der").read_bytes())

    def keep(self, name, data):
        (self.folder / name).write_bytes(base64.b64decode(data, validate=True))

    def create(self, **parameters):
        return self.call("CreateKey", **parameters)["KeyMetadata"]["KeyId"]

    def described(self, key):
        return self.call("DescribeKey", KeyId=key)["KeyMetadata"]

    def keys(self):
        made = self.call("CreateKey", Description=DESCRIPTION)
        self.key = made["KeyMetadata"]["KeyId"]
        check("create_key", made["KeyMetadata"]["KeyState"] == "Enabled")
        check("request_id", UUID.fullmatch(made["RequestId"]))
        metadata = self.described(self.key)
        check("describe_key", metadata["Description"] == DESCRIPTION)
        check("unset_is_empty", metadata["DeleteDate"] == "" == metadata["MaterialExpireTime"])
        self.call(
            "UpdateRotationPolicy",
            KeyId=self.key,
            EnableAutomaticRotation=True,
            RotationInterval="30d",
        )
        metadata = self.described(self.key)
        rotates = metadata["AutomaticRotation"], metadata["RotationInterval"]
        check("rotation_policy", rotates == ("Enabled", "2592000s"))

    def data_keys(self):
        made = self.call(
            "GenerateDataKeyWithoutPlaintext",
            KeyId=self.key,
            NumberOfBytes=32,
            EncryptionContext=CONTEXT,
        )
        blob = made["CiphertextBlob"]
        check("generate_without_plaintext", made["KeyId"] == self.key and not made.get("Plaintext"))
        for name, spec, algorithm in [
            ("rsa", "RSA_2048", "RSAES_OAEP_SHA_256"),
            ("sm2", "EC_SM2", "SM2PKE"),
        ]:
            exported = self.call(
                "ExportDataKey",
                CiphertextBlob=blob,
                PublicKeyBlob=self.recipient(name),
                WrappingKeySpec=spec,
                WrappingAlgorithm=algorithm,
                EncryptionContext=CONTEXT,
            )
            self.keep(f"{name}.exported", exported["ExportedDataKey"])
            check(f"export_{name}", exported["KeyVersionId"] == made["KeyVersionId"])
        opened = self.call("Decrypt", CiphertextBlob=blob, EncryptionContext=CONTEXT)
        self.keep("data_key", opened["Plaintext"])
        check("decrypt", len(base64.b64decode(opened["Plaintext"])) == 32)
        refused(
            "wrong_context",
            "InvalidParameter",
            400,
            self.call,
            "Decrypt",
            CiphertextBlob=blob,
            EncryptionContext={**CONTEXT, "tenant": "acme"},
        )
        both = self.call(
            "GenerateAndExportDataKey",
            KeyId=self.key,
            KeySpec="AES_128",
            PublicKeyBlob=self.recipient("rsa"),
            WrappingKeySpec="RSA_2048",
            WrappingAlgorithm="RSAES_OAEP_SHA_1",
        )
        self.keep("both.exported", both["ExportedDataKey"])
        opened = self.call("Decrypt", CiphertextBlob=both["CiphertextBlob"])
        self.keep("both_data_key", opened["Plaintext"])
        check("generate_and_export", len(base64.b64decode(opened["Plaintext"])) == 16)
        seen = self.call("GenerateDataKey", KeyId=self.key, KeySpec="AES_256")
        opened = self.call("Decrypt", CiphertextBlob=seen["CiphertextBlob"])
        check("generate_data_key", opened["Plaintext"] == seen["Plaintext"])

    def data(self):
        text = b64(bytes(range(256)) * 4)
        made = self.call(
            "Encrypt", KeyId=self.key, Plaintext=text, EncryptionContext=CONTEXT
        )
        opened = self.call(
            "Decrypt", CiphertextBlob=made["CiphertextBlob"], EncryptionContext=CONTEXT
        )
        check("encrypt_decrypt", opened["Plaintext"] == text)
        moved = self.call(
            "ReEncrypt",
            CiphertextBlob=made["CiphertextBlob"],
            SourceEncryptionContext=CONTEXT,
            DestinationKeyId=self.create(),
        )
        opened = self.call("Decrypt", CiphertextBlob=moved["CiphertextBlob"])
        check("re_encrypt", opened["Plaintext"] == text)

    def version(self, key):
        versions = self.call("ListKeyVersions", KeyId=key)["KeyVersions"]["KeyVersion"]
        return versions[0]["KeyVersionId"]

    def pairs(self):
        text = b64(os.urandom(32))
        self.pair = self.create(KeySpec="EC_SM2", KeyUsage="ENCRYPT/DECRYPT")
        used = {"KeyId": self.pair, "KeyVersionId": self.version(self.pair)}
        public = self.call("GetPublicKey", **used)["PublicKey"]
        check("get_public_key", public.startswith("-----BEGIN PUBLIC KEY-----\n"))
        made = self.call(
            "AsymmetricEncrypt", Algorithm="SM2PKE", Plaintext=text, **used
        )
        opened = self.call(
            "AsymmetricDecrypt",
            Algorithm="SM2PKE",
            CiphertextBlob=made["CiphertextBlob"],
            **used,
        )
        check("asymmetric_decrypt", opened["Plaintext"] == text)
        moved = self.call(
            "ReEncrypt",
            CiphertextBlob=made["CiphertextBlob"],
            SourceKeyId=self.pair,
            SourceKeyVersionId=used["KeyVersionId"],
            SourceEncryptionAlgorithm="SM2PKE",
            DestinationKeyId=self.key,
            DestinationEncryptionContext=CONTEXT,
        )
        opened = self.call(
            "Decrypt", CiphertextBlob=moved["CiphertextBlob"], EncryptionContext=CONTEXT
        )
        check("re_encrypt_from_a_pair", opened["Plaintext"] == text)
        self.signatures()

    def signatures(self):
        key = self.create(KeySpec="EC_P256")
        signed = {
            "KeyId": key,
            "KeyVersionId": self.version(key),
            "Algorithm": "ECDSA_SHA_256",
            "Digest": b64(hashlib.sha256(b"signed").digest()),
        }
        value = self.call("AsymmetricSign", **signed)["Value"]
        check("verify", self.call("AsymmetricVerify", Value=value, **signed)["Value"] is True)
        signed["Digest"] = b64(hashlib.sha256(b"another").digest())
        check("verify_not", self.call("AsymmetricVerify", Value=value, **signed)["Value"] is False)

    def lists(self):
        found, total, page = [], 1, 0
        while len(found) < total:
            page += 1
            listed = self.call("ListKeys", PageNumber=page, PageSize=2)
            total = listed["TotalCount"]
            keys = listed["Keys"]["Key"]
            if not keys or (listed["PageNumber"], listed["PageSize"]) != (page, 2):
                break
            found += [key["KeyId"] for key in keys]
        check("list_pages", len(set(found)) == total > 2 and self.key in found)
        filters = json.dumps([{"Key": "KeySpec", "Values": ["EC_SM2", "RSA_3072"]}])
        listed = self.call("ListKeys", Filters=filters)
        check("list_filters", [key["KeyId"] for key in listed["Keys"]["Key"]] == [self.pair])
        listed = self.call("ListKeys", PageNumber=page + 1, PageSize=2)
        check("list_past_the_end", not listed["Keys"]["Key"])

    def tags_and_aliases(self):
        tags = [{"TagKey": "équipe", "TagValue": "a=b&c d"}, {"TagKey": "env", "TagValue": ""}]
        self.call("TagResource", KeyId=self.key, Tags=json.dumps(tags))
        listed = self.call("ListResourceTags", KeyId=self.key)["Tags"]["Tag"]
        pairs = sorted((tag["TagKey"], tag["TagValue"]) for tag in listed)
        check("tags", pairs == [("env", ""), ("équipe", "a=b&c d")])
        self.call("UntagResource", KeyId=self.key, TagKeys=json.dumps(["env"]))
        listed = self.call("ListResourceTags", KeyId=self.key)["Tags"]["Tag"]
        check("untag", [tag["TagKey"] for tag in listed] == ["équipe"])
        self.call("CreateAlias", AliasName="alias/a-b_c/d", KeyId=self.key)
        listed = self.call("ListAliasesByKeyId", KeyId=self.key)["Aliases"]["Alias"]
        check("aliases", [alias["AliasName"] for alias in listed] == ["alias/a-b_c/d"])
        check("by_alias", self.described("alias/a-b_c/d")["KeyId"] == self.key)
        self.call("UpdateAlias", AliasName="alias/a-b_c/d", KeyId=self.create())
        check("update_alias", self.described("alias/a-b_c/d")["KeyId"] != self.key)
        self.call("DeleteAlias", AliasName="alias/a-b_c/d")
        refused(
            "unknown_alias",
            "Forbidden.AliasNotFound",
            404,
            self.call,
            "Encrypt",
            KeyId="alias/a-b_c/d",
            Plaintext="AA==",
        )

    def states(self):
        use = {"KeyId": self.key, "Plaintext": b64(b"in vain")}
        self.call("DisableKey", KeyId=self.key)
        check("disable", self.described(self.key)["KeyState"] == "Disabled")
        refused("disabled_key", "Rejected.Disabled", 409, self.call, "Encrypt", **use)
        self.call("EnableKey", KeyId=self.key)
        check("enable", self.call("Encrypt", **use)["KeyId"] == self.key)
        self.call("ScheduleKeyDeletion", KeyId=self.key, PendingWindowInDays=7)
        metadata = self.described(self.key)
        check("schedule", metadata["KeyState"] == "PendingDeletion" and metadata["DeleteDate"])
        refused("pending_deletion", "Rejected.PendingDeletion", 409, self.call, "Encrypt", **use)
        self.call("CancelKeyDeletion", KeyId=self.key)
        check("cancel", self.described(self.key)["KeyState"] == "Enabled")

    def refusals(self):
        unknown = "00000000-0000-4000-8000-000000000000"
        code = "Forbidden.KeyNotFound"
        refused("unknown_key", code, 404, self.call, "DescribeKey", KeyId=unknown)
        refused(
            "missing_parameter",
            "MissingParameter",
            400,
            self.call,
            "Encrypt",
            message="Plaintext",
            KeyId=self.key,
        )
        refused(
            "invalid_parameter",
            "InvalidParameter",
            400,
            self.call,
            "GenerateDataKeyWithoutPlaintext",
            message="NumberOfBytes",
            KeyId=self.key,
            NumberOfBytes=1025,
        )
        refused(
            "dry_run",
            "DryRunOperationError",
            400,
            self.call,
            "Encrypt",
            KeyId=self.key,
            Plaintext="AA==",
            DryRun="true",
        )
        refused(
            "state_not_modified",
            "Rejected.StateModifiedFailed",
            409,
            self.call,
            "CancelKeyDeletion",
            KeyId=self.key,
        )

    def credentials(self, code, message):
        wrong = self.client(self.access_key[0], "A" * 30)
        refused("wrong_secret", code, 400, wrong, "DescribeKey", message=message, KeyId=self.key)
        code = "InvalidAccessKeyId.NotFound"
        nobody = self.client("KFnobody", self.access_key[1])
        refused("unknown_access_key", code, 404, nobody, "DescribeKey", KeyId=self.key)
        code = "InvalidAccessKeyId.Inactive"
        disabled = self.client(*self.disabled)
        refused("disabled_access_key", code, 400, disabled, "DescribeKey", KeyId=self.key)
