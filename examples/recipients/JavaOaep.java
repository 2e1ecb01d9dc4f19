// Opens an RSAES_OAEP_SHA_256 export, by Java alone:
//   java JavaOaep.java PRIVATE.pem EXPORTED >DATA_KEY
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.crypto.Cipher;
import javax.crypto.spec.OAEPParameterSpec;
import javax.crypto.spec.PSource;

class JavaOaep {
    public static void main(String[] args) throws Exception {
        var pem = Files.readString(Path.of(args[0])).replaceAll("-----.*-----", "");
        var pkcs8 = new PKCS8EncodedKeySpec(Base64.getMimeDecoder().decode(pem));
        var key = KeyFactory.getInstance("RSA").generatePrivate(pkcs8);
        var oaep = new OAEPParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, PSource.PSpecified.DEFAULT);
        var cipher = Cipher.getInstance("RSA/ECB/OAEPWithSHA-256AndMGF1Padding");
        cipher.init(Cipher.DECRYPT_MODE, key, oaep);
        System.out.writeBytes(cipher.doFinal(Files.readAllBytes(Path.of(args[1]))));
        System.out.flush();
    }
}
