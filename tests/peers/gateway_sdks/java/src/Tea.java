import com.aliyun.kms20160120.Client;
import com.aliyun.tea.TeaException;
import com.aliyun.tea.TeaModel;
import com.aliyun.teaopenapi.models.Config;
import java.lang.reflect.InvocationTargetException;
import java.util.Map;

/** The present SDK. */
final class Tea {
  private Tea() {}

  static RoundTrip.Call client(String endpoint, String algorithm, String accessKeyId, String secret) {
    Config config = new Config()
        .setAccessKeyId(accessKeyId)
        .setAccessKeySecret(secret)
        .setEndpoint(endpoint)
        .setProtocol("http");
    if (algorithm.equals("v2")) {
      config.setSignatureAlgorithm("v2");
    }
    try {
      Client kms = new Client(config);
      return (action, parameters) -> call(kms, action, parameters);
    } catch (Exception error) {
      throw new IllegalStateException(error);
    }
  }

  private static Map<String, ?> call(Client kms, String action, Map<String, ?> parameters)
      throws Exception {
    Class<?> type = Class.forName("com.aliyun.kms20160120.models." + action + "Request");
    TeaModel request = (TeaModel) type.getConstructor().newInstance();
    String method = Character.toLowerCase(action.charAt(0)) + action.substring(1);
    try {
      Object response =
          Client.class.getMethod(method, type).invoke(kms, TeaModel.build(parameters, request));
      return ((TeaModel) response.getClass().getMethod("getBody").invoke(response)).toMap();
    } catch (InvocationTargetException thrown) {
      if (thrown.getCause() instanceof TeaException error && error.getData() != null) {
        Map<String, ?> data = error.getData();
        throw new RoundTrip.Refused(
            error.getCode(), (String) data.get("Message"), (String) data.get("RequestId"),
            error.getStatusCode());
      }
      throw thrown;
    }
  }
}
