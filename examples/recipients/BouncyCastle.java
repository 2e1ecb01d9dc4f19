// Opens an SM2 export in the encoding raw-c1c3c2, by Bouncy Castle:
//   java -cp bcprov-jdk18on.jar BouncyCastle.java PRIVATE.pem EXPORTED >DATA_KEY
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Base64;
import org.bouncycastle.crypto.engines.SM2Engine;
import org.bouncycastle.crypto.util.PrivateKeyFactory;

class BouncyCastle {
    public static void main(String[] args) throws Exception {
        var pem = Files.readString(Path.of(args[0])).replaceAll("-----.*-----", "");
        var pkcs8 = Base64.getMimeDecoder().decode(pem);
        var exported = Files.readAllBytes(Path.of(args[1]));
        var sm2 = new SM2Engine(SM2Engine.Mode.C1C3C2);
        sm2.init(false, PrivateKeyFactory.createKey(pkcs8));
        System.out.writeBytes(sm2.processBlock(exported, 0, exported.length));
        System.out.flush();
    }
}
