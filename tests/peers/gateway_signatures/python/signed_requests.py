"""Prints the requests that Alibaba Cloud's SDKs for Python really send.

Each line of standard input is a case, and so is each line of standard output a
request, as it arrived at a server of this program's own: the signing, the
encoding and the sending are the SDKs'. The first line tells the versions.
"""

import base64
import importlib.metadata
import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from alibabacloud_tea_openapi import models as tea_models
from alibabacloud_tea_openapi import utils_models
from alibabacloud_tea_openapi.client import Client as TeaClient
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import RpcRequest
from darabonba.runtime import RuntimeOptions

VERSION = "2016-01-20"
arrived = []


class Arrivals(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        length = int(self.headers.get("content-length") or 0)
        arrived.append(
            {
                "method": self.command,
                "target": self.path,
                "headers": [[name, value] for name, value in self.headers.items()],
                "body": base64.b64encode(self.rfile.read(length)).decode(),
            }
        )
        answer = b'{"RequestId":"r-1"}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET

    def log_message(self, *_):
        pass


def tea(case, port, algorithm):
    client = TeaClient(
        tea_models.Config(
            access_key_id=case["access_key_id"],
            access_key_secret=case["secret"],
            endpoint=f"127.0.0.1:{port}",
            protocol="http",
            signature_algorithm=algorithm,
        )
    )
    params = utils_models.Params(
        action=case["action"],
        version=VERSION,
        protocol="HTTPS",
        pathname="/",
        method="POST",
        auth_type="AK",
        style="RPC",
        req_body_type="formData",
        body_type="json",
    )
    request = utils_models.OpenApiRequest(query=case["query"], body=case["form"] or None)
    client.call_api(params, request, RuntimeOptions())


def core(case, port, method):
    client = AcsClient(case["access_key_id"], case["secret"], "cn-hangzhou", port=port)
    request = RpcRequest("Kms", VERSION, case["action"], "kms")
    request.set_endpoint("127.0.0.1")
    request.set_protocol_type("http")
    request.set_method(method)
    for name, value in case["query"].items():
        request.add_query_param(name, value)
    for name, value in case["form"].items():
        request.add_body_params(name, value)
    client.do_action_with_exception(request)


SDKS = {
    "tea-openapi V3": lambda case, port: tea(case, port, None),
    "tea-openapi v2": lambda case, port: tea(case, port, "v2"),
    "sdk-core V1 POST": lambda case, port: core(case, port, "POST"),
    "sdk-core V1 GET": lambda case, port: core(case, port, "GET"),
}


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Arrivals)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    versions = [
        f"{name} {importlib.metadata.version(name)}"
        for name in ("alibabacloud-tea-openapi", "aliyun-python-sdk-core")
    ]
    print(", ".join(versions), flush=True)
    for line in sys.stdin:
        case = json.loads(line)
        arrived.clear()
        SDKS[case["sdk"]](case, server.server_port)
        (request,) = arrived
        print(json.dumps(request), flush=True)


main()
