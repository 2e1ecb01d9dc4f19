import com.aliyun.kms20160120.Client;
import com.aliyuncs.http.FormatType;
import com.aliyuncs.kms.model.v20160120.EncryptRequest;
import java.nio.file.Path;

/**
 * The SDKs for Java: Main HOST:PORT FOLDER SDK
 *
 * <p>The SDK is JSON or XML, the one before the present with that format; or the
 * present one's signature algorithm: ACS3-HMAC-SHA256, its default, or v2, its
 * name for HMAC-SHA1.
 */
final class Main {
  private Main() {}

  public static void main(String[] arguments) throws Exception {
    String endpoint = arguments[0];
    String folder = arguments[1];
    String sdk = arguments[2];
    if (sdk.equals("JSON") || sdk.equals("XML")) {
      System.out.println("peer " + archive(EncryptRequest.class) + " (" + sdk + ", Java)");
      FormatType format = FormatType.valueOf(sdk);
      // It knows its own string to sign, and so that the secret must be the reason.
      new RoundTrip((id, secret) -> Core.client(endpoint, format, id, secret), folder)
          .travel("SDK.InvalidAccessKeySecret", "Specified Access Key Secret is not valid");
    } else {
      System.out.println("peer " + archive(Client.class) + " (" + sdk + ", Java)");
      new RoundTrip((id, secret) -> Tea.client(endpoint, sdk, id, secret), folder)
          .travel("SignatureDoesNotMatch", "Specified signature is not matched with our calculation");
    }
    // Its connections' threads would wait for more.
    System.exit(0);
  }

  /** The archive that a class is from: its name and its version. */
  private static String archive(Class<?> type) throws Exception {
    Path path = Path.of(type.getProtectionDomain().getCodeSource().getLocation().toURI());
    return path.getFileName().toString().replaceFirst("-([0-9.]+)\\.jar$", " $1");
  }
}
