# Verifies a receipt, by PyJWT:
#   python pyjwt.py RECEIPT EXPORTED PUBLIC.der KEYS.jwks
import hashlib, json, pathlib, sys
import jwt

receipt, exported, public_key, keys = (pathlib.Path(path).read_bytes() for path in sys.argv[1:])
token, trusted = receipt.decode().strip(), json.loads(keys)
header = jwt.get_unverified_header(token)
if header.get("typ") != "keyferry-export-receipt+jws":
    sys.exit("this is no receipt")
by_kid = {key.key_id: key for key in jwt.PyJWKSet.from_dict(trusted).keys}
claims = jwt.decode(
    token, by_kid[header["kid"]], algorithms=["ES256"], issuer=trusted["kf_issuer"], leeway=300)
if (claims["exported_sha256"], claims["recipient_sha256"]) != (
    hashlib.sha256(exported).hexdigest(), hashlib.sha256(public_key).hexdigest()):
    sys.exit("this is the receipt of something else")
print(f"{claims['iss']} exported a key of {claims['key_id']}, {claims['blob_kind']}, for this public key")
