"""Exports a new data key: python alibaba_sdk.py PUBLIC_KEY.der EXPORTED"""

import base64
import os
import sys

from alibabacloud_kms20160120 import models
from alibabacloud_kms20160120.client import Client
from alibabacloud_tea_openapi.models import Config

kms = Client(Config(
    access_key_id=os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    access_key_secret=os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
    endpoint="127.0.0.1:7311",  # was kms.cn-hangzhou.aliyuncs.com
    protocol="http",  # on loopback only: left out, it is https
))
key_id = kms.create_key(models.CreateKeyRequest()).body.key_metadata.key_id
context = {"tenant": "acme"}
made = kms.generate_data_key_without_plaintext(models.GenerateDataKeyWithoutPlaintextRequest(
    key_id=key_id, number_of_bytes=32, encryption_context=context)).body
with open(sys.argv[1], "rb") as public_key:
    recipient = base64.b64encode(public_key.read()).decode()
exported = kms.export_data_key(models.ExportDataKeyRequest(
    ciphertext_blob=made.ciphertext_blob, encryption_context=context, public_key_blob=recipient,
    wrapping_key_spec="RSA_2048", wrapping_algorithm="RSAES_OAEP_SHA_256")).body
with open(sys.argv[2], "wb") as file:
    file.write(base64.b64decode(exported.exported_data_key))
