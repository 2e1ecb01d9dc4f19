# Verifies a receipt, by joserfc:
#   python joserfc_jws.py RECEIPT EXPORTED PUBLIC.der KEYS.jwks
import hashlib, json, pathlib, sys
from joserfc import jws
from joserfc.jwk import KeySet

receipt, exported, public_key, keys = (pathlib.Path(path).read_bytes() for path in sys.argv[1:])
trusted = json.loads(keys)
signed = jws.deserialize_compact(receipt.strip(), KeySet.import_key_set(trusted), algorithms=["ES256"])
if signed.headers().get("typ") != "keyferry-export-receipt+jws":
    sys.exit("this is no receipt")
claims = json.loads(signed.payload)
if (claims["iss"], claims["exported_sha256"], claims["recipient_sha256"]) != (
    trusted["kf_issuer"], hashlib.sha256(exported).hexdigest(), hashlib.sha256(public_key).hexdigest()):
    sys.exit("this is the receipt of something else")
print(f"{claims['iss']} exported a key of {claims['key_id']}, {claims['blob_kind']}, for this public key")
