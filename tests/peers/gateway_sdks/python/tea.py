"""The present SDK: python tea.py HOST:PORT FOLDER SIGNATURE_ALGORITHM

The algorithm is ACS3-HMAC-SHA256, its default, or v2, its name for HMAC-SHA1.
"""

import re
import sys
from importlib.metadata import version

from alibabacloud_kms20160120 import models
from alibabacloud_kms20160120.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.models import Config

from round_trip import Refused, RoundTrip

endpoint, folder, algorithm = sys.argv[1:]


def client(access_key_id, secret):
    config = Config(
        access_key_id=access_key_id,
        access_key_secret=secret,
        endpoint=endpoint,
        protocol="http",
    )
    if algorithm == "v2":
        config.signature_algorithm = "v2"
    kms = Client(config)

    def call(action, **parameters):
        request = getattr(models, f"{action}Request")().from_map(parameters)
        method = re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()
        try:
            return getattr(kms, method)(request).body.to_map()
        except ClientException as error:
            # It puts the status before the message, and the id after it.
            assert error.message.startswith(f"code: {error.status_code}, "), error.message
            assert error.message.endswith(f" request id: {error.request_id}"), error.message
            raise Refused(
                error.code, error.data["Message"], error.request_id, error.status_code
            ) from error

    return call


package = "alibabacloud_kms20160120"
print(f"peer {package} {version(package)} ({algorithm}, Python)")
RoundTrip(client, folder).travel(
    ("SignatureDoesNotMatch", "Specified signature is not matched with our calculation")
)
