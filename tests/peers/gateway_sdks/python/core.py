"""The SDK before the present one: python core.py HOST:PORT FOLDER METHOD"""

import importlib
import json
import sys
from importlib.metadata import version

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient

from round_trip import Refused, RoundTrip

endpoint, folder, method = sys.argv[1:]


def client(access_key_id, secret):
    kms = AcsClient(access_key_id, secret, "local")

    def call(action, **parameters):
        module = importlib.import_module(f"aliyunsdkkms.request.v20160120.{action}Request")
        request = getattr(module, f"{action}Request")()
        request.set_protocol_type("http")
        request.set_endpoint(endpoint)
        request.set_method(method)
        for name, value in parameters.items():
            if isinstance(value, dict):
                value = json.dumps(value)
            if hasattr(request, f"set_{name}"):
                getattr(request, f"set_{name}")(value)
            else:
                # A parameter newer than this SDK.
                request.add_query_param(name, value)
        try:
            return json.loads(kms.do_action_with_exception(request))
        except ServerException as error:
            raise Refused(
                error.error_code, error.message, error.request_id, error.http_status
            ) from error

    return call


package = "aliyun-python-sdk-kms"
print(f"peer {package} {version(package)} ({method}, Python)")
# It knows its own string to sign, and so that the secret must be the reason.
RoundTrip(client, folder).travel(("InvalidAccessKeySecret", "The AccessKeySecret is incorrect"))
