// Verifies a receipt, by Nimbus JOSE + JWT:
//   java -cp nimbus-jose-jwt.jar Nimbus.java RECEIPT EXPORTED PUBLIC.der KEYS.jwks
import com.nimbusds.jose.JOSEObjectType;
import com.nimbusds.jose.JWSAlgorithm;
import com.nimbusds.jose.JWSObject;
import com.nimbusds.jose.crypto.ECDSAVerifier;
import com.nimbusds.jose.jwk.JWKSet;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.util.HexFormat;

class Nimbus {
    public static void main(String[] args) throws Exception {
        var receipt = JWSObject.parse(Files.readString(Path.of(args[0])).strip());
        var trusted = JWKSet.load(Path.of(args[3]).toFile());
        var header = receipt.getHeader();
        check(header.getAlgorithm().equals(JWSAlgorithm.ES256), "this is not signed by ES256");
        check(new JOSEObjectType("keyferry-export-receipt+jws").equals(header.getType()), "this is no receipt");
        var key = trusted.getKeyByKeyId(header.getKeyID());
        check(key != null && receipt.verify(new ECDSAVerifier(key.toECKey())), "none of these keys signed this");
        var claims = receipt.getPayload().toJSONObject();
        check(trusted.getAdditionalMembers().get("kf_issuer").equals(claims.get("iss"))
            && digest(args[1]).equals(claims.get("exported_sha256"))
            && digest(args[2]).equals(claims.get("recipient_sha256")), "this is the receipt of something else");
        System.out.println(claims.get("iss") + " exported a key of " + claims.get("key_id") + ", "
            + claims.get("blob_kind") + ", for this public key");
    }

    static String digest(String file) throws Exception {
        var sha256 = MessageDigest.getInstance("SHA-256");
        return HexFormat.of().formatHex(sha256.digest(Files.readAllBytes(Path.of(file))));
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) throw new SecurityException(otherwise);
    }
}
