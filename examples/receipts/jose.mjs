// Verifies a receipt, by jose (npm install jose):
//   node jose.mjs RECEIPT EXPORTED PUBLIC.der KEYS.jwks
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { compactVerify, createLocalJWKSet } from "jose";

const [receipt, exported, publicKey, keys] = process.argv.slice(2).map((path) => readFileSync(path));
const trusted = JSON.parse(keys);
const digest = (content) => createHash("sha256").update(content).digest("hex");
const signed = await compactVerify(receipt.toString().trim(), createLocalJWKSet(trusted), { algorithms: ["ES256"] });
if (signed.protectedHeader.typ !== "keyferry-export-receipt+jws") throw new Error("this is no receipt");
const claims = JSON.parse(new TextDecoder().decode(signed.payload));
if (claims.iss !== trusted.kf_issuer || claims.exported_sha256 !== digest(exported) || claims.recipient_sha256 !== digest(publicKey)) {
  throw new Error("this is the receipt of something else");
}
console.log(`${claims.iss} exported a key of ${claims.key_id}, ${claims.blob_kind}, for this public key`);
