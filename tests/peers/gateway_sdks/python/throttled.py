"""What the SDKs make of a server with too much to do: python throttled.py HOST:PORT"""

import os
import sys
from importlib.metadata import version

from alibabacloud_kms20160120 import models
from alibabacloud_kms20160120.client import Client
from alibabacloud_tea_openapi.exceptions import ThrottlingException
from alibabacloud_tea_openapi.models import Config
from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkkms.request.v20160120.DescribeKeyRequest import DescribeKeyRequest

from round_trip import UUID, check

(endpoint,) = sys.argv[1:]
access_key = (
    os.environ["ALIBABA_CLOUD_ACCESS_KEY_ID"],
    os.environ["ALIBABA_CLOUD_ACCESS_KEY_SECRET"],
)
REFUSED = ("Rejected.Throttling", 429)


def tea(algorithm):
    config = Config(
        access_key_id=access_key[0],
        access_key_secret=access_key[1],
        endpoint=endpoint,
        protocol="http",
        signature_algorithm=algorithm,
    )
    try:
        Client(config).describe_key(models.DescribeKeyRequest(key_id="alias/any"))
    except ThrottlingException as error:
        told = (error.code, error.status_code) == REFUSED and UUID.fullmatch(error.request_id)
        # In milliseconds.
        return told and 100 <= error.retry_after <= 60_000


def core():
    request = DescribeKeyRequest()
    request.set_protocol_type("http")
    request.set_endpoint(endpoint)
    request.set_KeyId("alias/any")
    try:
        AcsClient(*access_key, "local", auto_retry=False).do_action_with_exception(request)
    except ServerException as error:
        return (error.error_code, error.http_status) == REFUSED


package = "alibabacloud_tea_openapi"
print(f"peer {package} {version(package)} throttled")
check("tea_v3", tea(None))
check("tea_v1", tea("v2"))
check("core", core())
print("3 checks")
