import com.aliyuncs.AcsRequest;
import com.aliyuncs.DefaultAcsClient;
import com.aliyuncs.RpcAcsRequest;
import com.aliyuncs.exceptions.ClientException;
import com.aliyuncs.http.FormatType;
import com.aliyuncs.http.ProtocolType;
import com.aliyuncs.profile.DefaultProfile;
import com.google.gson.Gson;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The SDK before the present one. */
final class Core {
  private static final String MODELS = "com.aliyuncs.kms.model.v20160120.";

  private Core() {}

  static RoundTrip.Call client(String endpoint, FormatType format, String accessKeyId, String secret) {
    DefaultProfile profile = DefaultProfile.getProfile("local", accessKeyId, secret);
    DefaultAcsClient client = new DefaultAcsClient(profile);
    client.setAutoRetry(false);
    return (action, parameters) -> {
      RpcAcsRequest<?> request = request(action, parameters);
      request.setSysProtocol(ProtocolType.HTTP);
      request.setSysEndpoint(endpoint);
      request.setSysAcceptFormat(format);
      return call(client, request);
    };
  }

  private static RpcAcsRequest<?> request(String action, Map<String, ?> parameters) throws Exception {
    Class<?> type = Class.forName(MODELS + action + "Request");
    RpcAcsRequest<?> request = (RpcAcsRequest<?>) type.getConstructor().newInstance();
    for (Map.Entry<String, ?> parameter : parameters.entrySet()) {
      Object value = parameter.getValue();
      Object given = value instanceof Map ? new Gson().toJson(value) : value;
      try {
        type.getMethod("set" + parameter.getKey(), given.getClass()).invoke(request, given);
      } catch (NoSuchMethodException newer) {
        request.putQueryParameter(parameter.getKey(), given);
      }
    }
    return request;
  }

  private static Map<String, ?> call(DefaultAcsClient client, AcsRequest<?> request) throws Exception {
    try {
      return members(client.getAcsResponse(request));
    } catch (ClientException error) {
      if (error.getRequestId() == null) {
        throw error;
      }
      throw new RoundTrip.Refused(error.getErrCode(), error.getErrMsg(), error.getRequestId(), 0);
    }
  }

  /** The members of an answer, whose lists this SDK shows without their plural. */
  private static Map<String, Object> members(Object answer) throws Exception {
    Map<String, Object> members = new HashMap<>();
    for (Method method : answer.getClass().getDeclaredMethods()) {
      if (method.getName().startsWith("get") && method.getParameterCount() == 0) {
        Object value = method.invoke(answer);
        if (value != null) {
          members.put(method.getName().substring(3), shown(method, value));
        }
      }
    }
    return members;
  }

  private static Object shown(Method method, Object value) throws Exception {
    if (value instanceof List<?> items) {
      List<Object> shown = new ArrayList<>();
      for (Object item : items) {
        shown.add(members(item));
      }
      String plural = method.getName().substring(3);
      String singular = plural.equals("Aliases") ? "Alias" : plural.substring(0, plural.length() - 1);
      return Map.of(singular, shown);
    }
    return value.getClass().getName().startsWith(MODELS) ? members(value) : value;
  }
}
