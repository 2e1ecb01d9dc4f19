import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.regex.Pattern;

/**
 * What every client does, in the terms of the API: actions, parameters and
 * members of answers. How a client says that is its own affair.
 */
final class RoundTrip {
  private static final Map<String, String> CONTEXT =
      Map.of("tenant", "acme & söhne", "purpose", "a+b=c/d?e~f*g%20 'h'", "区域", "杭州");
  private static final String DESCRIPTION = "ключ 1/2 + \"3\" & 4=5; ~*'() <%7E>\n第二行";
  private static final Pattern UUID =
      Pattern.compile("[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}");

  /** Gives the members of the answer, or throws Refused. */
  interface Call {
    Map<String, ?> ask(String action, Map<String, ?> parameters) throws Exception;
  }

  /** What a client's own exception says; a status of 0 is one that it doesn't tell. */
  static final class Refused extends Exception {
    private final String code;
    private final String told;
    private final String requestId;
    private final int status;

    Refused(String code, String told, String requestId, int status) {
      super(code + " (" + status + "): " + told + " [" + requestId + "]");
      this.code = code;
      this.told = told;
      this.requestId = requestId;
      this.status = status;
    }
  }

  private final BiFunction<String, String, Call> client;
  private final Path folder;
  private final String accessKeyId = System.getenv("ALIBABA_CLOUD_ACCESS_KEY_ID");
  private final String secret = System.getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET");
  private final Call call;
  private int checks;
  private String key;
  private String pair;

  /** `client` gives a call that signs by an access key's id and secret. */
  RoundTrip(BiFunction<String, String, Call> client, String folder) {
    this.client = client;
    this.folder = Path.of(folder);
    call = client.apply(accessKeyId, secret);
  }

  /** What the client makes of a wrong secret: a code, and part of the message. */
  void travel(String wrongSecret, String message) throws Exception {
    keys();
    dataKeys();
    data();
    pairs();
    lists();
    tagsAndAliases();
    states();
    refusals();
    credentials(wrongSecret, message);
    System.out.println(checks + " checks");
  }

  private void check(String name, boolean holds) {
    if (!holds) {
      throw new IllegalStateException("check " + name + " FAILED");
    }
    checks++;
    System.out.println("check " + name + " ok");
  }

  /** A call that must fail, and how. */
  private void refused(
      String name, String code, int status, Call call, String action, Map<String, ?> parameters,
      String message) throws Exception {
    try {
      System.out.println("not refused: " + call.ask(action, parameters));
    } catch (Refused refusal) {
      boolean holds = refusal.code.equals(code)
          && (refusal.status == 0 || refusal.status == status)
          && !refusal.told.isEmpty()
          && refusal.told.contains(message)
          && UUID.matcher(refusal.requestId).matches();
      if (!holds) {
        System.out.println("refused otherwise: " + refusal.getMessage());
      }
      check(name, holds);
      return;
    }
    check(name, false);
  }

  private void refused(String name, String code, int status, String action, Map<String, ?> parameters)
      throws Exception {
    refused(name, code, status, call, action, parameters, "");
  }

  private static Object at(Map<String, ?> answer, String... path) {
    Object value = answer;
    for (String name : path) {
      value = ((Map<?, ?>) value).get(name);
    }
    return value;
  }

  private static String text(Map<String, ?> answer, String... path) {
    return (String) at(answer, path);
  }

  /** A member of each item of a list. */
  private static List<String> texts(Map<String, ?> answer, String list, String item, String member) {
    List<String> found = new ArrayList<>();
    for (Object one : (List<?>) at(answer, list, item)) {
      found.add((String) ((Map<?, ?>) one).get(member));
    }
    return found;
  }

  private static Map<String, Object> with(Map<String, ?> these, Map<String, ?> more) {
    Map<String, Object> all = new HashMap<>(these);
    all.putAll(more);
    return all;
  }

  private static String b64(byte[] data) {
    return Base64.getEncoder().encodeToString(data);
  }

  private static byte[] decoded(String text) {
    return Base64.getDecoder().decode(text);
  }

  private static String random(int size) {
    byte[] data = new byte[size];
    new SecureRandom().nextBytes(data);
    return b64(data);
  }

  private String recipient(String name) throws IOException {
    return b64(Files.readAllBytes(folder.resolve(name + ".der")));
  }

  private void keep(String name, String text) throws IOException {
    Files.write(folder.resolve(name), decoded(text));
  }

  private String create(Map<String, ?> parameters) throws Exception {
    return text(call.ask("CreateKey", parameters), "KeyMetadata", "KeyId");
  }

  private String described(String key, String member) throws Exception {
    return text(call.ask("DescribeKey", Map.of("KeyId", key)), "KeyMetadata", member);
  }

  private String opened(Object blob) throws Exception {
    return text(call.ask("Decrypt", Map.of("CiphertextBlob", blob)), "Plaintext");
  }

  private String openedInContext(Object blob) throws Exception {
    Map<String, ?> asked = Map.of("CiphertextBlob", blob, "EncryptionContext", CONTEXT);
    return text(call.ask("Decrypt", asked), "Plaintext");
  }

  private void keys() throws Exception {
    Map<String, ?> made = call.ask("CreateKey", Map.of("Description", DESCRIPTION));
    key = text(made, "KeyMetadata", "KeyId");
    check("create_key", text(made, "KeyMetadata", "KeyState").equals("Enabled"));
    check("request_id", UUID.matcher(text(made, "RequestId")).matches());
    check("describe_key", described(key, "Description").equals(DESCRIPTION));
    check("unset_is_empty", described(key, "DeleteDate").isEmpty());
    call.ask("UpdateRotationPolicy",
        Map.of("KeyId", key, "EnableAutomaticRotation", true, "RotationInterval", "30d"));
    check("rotation_policy", described(key, "AutomaticRotation").equals("Enabled")
        && described(key, "RotationInterval").equals("2592000s"));
  }

  private void dataKeys() throws Exception {
    Map<String, ?> made = call.ask("GenerateDataKeyWithoutPlaintext",
        Map.of("KeyId", key, "NumberOfBytes", 32, "EncryptionContext", CONTEXT));
    String blob = text(made, "CiphertextBlob");
    check("generate_without_plaintext", made.get("KeyId").equals(key) && made.get("Plaintext") == null);
    export("rsa", blob, "RSA_2048", "RSAES_OAEP_SHA_256");
    export("sm2", blob, "EC_SM2", "SM2PKE");
    String dataKey = openedInContext(blob);
    keep("data_key", dataKey);
    check("decrypt", decoded(dataKey).length == 32);
    Map<String, ?> wrong =
        Map.of("CiphertextBlob", blob, "EncryptionContext", Map.of("tenant", "acme"));
    refused("wrong_context", "InvalidParameter", 400, "Decrypt", wrong);
    Map<String, ?> both = call.ask("GenerateAndExportDataKey", Map.of(
        "KeyId", key, "KeySpec", "AES_128", "PublicKeyBlob", recipient("rsa"),
        "WrappingKeySpec", "RSA_2048", "WrappingAlgorithm", "RSAES_OAEP_SHA_1"));
    keep("both.exported", text(both, "ExportedDataKey"));
    dataKey = opened(both.get("CiphertextBlob"));
    keep("both_data_key", dataKey);
    check("generate_and_export", decoded(dataKey).length == 16);
    Map<String, ?> seen = call.ask("GenerateDataKey", Map.of("KeyId", key, "KeySpec", "AES_256"));
    check("generate_data_key", opened(seen.get("CiphertextBlob")).equals(seen.get("Plaintext")));
  }

  private void export(String name, String blob, String spec, String algorithm) throws Exception {
    Map<String, ?> exported = call.ask("ExportDataKey", Map.of(
        "CiphertextBlob", blob, "PublicKeyBlob", recipient(name), "WrappingKeySpec", spec,
        "WrappingAlgorithm", algorithm, "EncryptionContext", CONTEXT));
    keep(name + ".exported", text(exported, "ExportedDataKey"));
    check("export_" + name, exported.get("KeyId").equals(key));
  }

  private void data() throws Exception {
    String plaintext = random(1024);
    Map<String, ?> made = call.ask("Encrypt",
        Map.of("KeyId", key, "Plaintext", plaintext, "EncryptionContext", CONTEXT));
    Object blob = made.get("CiphertextBlob");
    check("encrypt_decrypt", openedInContext(blob).equals(plaintext));
    Map<String, ?> moved = call.ask("ReEncrypt", Map.of("CiphertextBlob", blob,
        "SourceEncryptionContext", CONTEXT, "DestinationKeyId", create(Map.of())));
    check("re_encrypt", opened(moved.get("CiphertextBlob")).equals(plaintext));
  }

  private String version(String key) throws Exception {
    Map<String, ?> versions = call.ask("ListKeyVersions", Map.of("KeyId", key));
    return texts(versions, "KeyVersions", "KeyVersion", "KeyVersionId").get(0);
  }

  private void pairs() throws Exception {
    String plaintext = random(32);
    pair = create(Map.of("KeySpec", "EC_SM2", "KeyUsage", "ENCRYPT/DECRYPT"));
    String version = version(pair);
    Map<String, ?> used = Map.of("KeyId", pair, "KeyVersionId", version);
    String pem = text(call.ask("GetPublicKey", used), "PublicKey");
    check("get_public_key", pem.startsWith("-----BEGIN PUBLIC KEY-----\n"));
    used = with(used, Map.of("Algorithm", "SM2PKE"));
    Map<String, ?> made = call.ask("AsymmetricEncrypt", with(used, Map.of("Plaintext", plaintext)));
    Object blob = made.get("CiphertextBlob");
    Map<String, ?> opened = call.ask("AsymmetricDecrypt", with(used, Map.of("CiphertextBlob", blob)));
    check("asymmetric_decrypt", opened.get("Plaintext").equals(plaintext));
    Map<String, ?> moved = call.ask("ReEncrypt", Map.of(
        "CiphertextBlob", blob, "SourceKeyId", pair, "SourceKeyVersionId", version,
        "SourceEncryptionAlgorithm", "SM2PKE", "DestinationKeyId", key,
        "DestinationEncryptionContext", CONTEXT));
    check("re_encrypt_from_a_pair", openedInContext(moved.get("CiphertextBlob")).equals(plaintext));
    signatures();
  }

  private static Map<String, ?> digest(String text) throws Exception {
    MessageDigest sha256 = MessageDigest.getInstance("SHA-256");
    return Map.of("Digest", b64(sha256.digest(text.getBytes(StandardCharsets.UTF_8))));
  }

  private void signatures() throws Exception {
    String signer = create(Map.of("KeySpec", "EC_P256"));
    Map<String, ?> used =
        Map.of("KeyId", signer, "KeyVersionId", version(signer), "Algorithm", "ECDSA_SHA_256");
    Object value = call.ask("AsymmetricSign", with(used, digest("signed"))).get("Value");
    used = with(used, Map.of("Value", value));
    check("verify", call.ask("AsymmetricVerify", with(used, digest("signed"))).get("Value").equals(true));
    check("verify_not", call.ask("AsymmetricVerify", with(used, digest("another"))).get("Value").equals(false));
  }

  private static int number(Map<String, ?> answer, String member) {
    return ((Number) answer.get(member)).intValue();
  }

  private void lists() throws Exception {
    HashSet<String> found = new HashSet<>();
    int page = 0;
    int total = 1;
    for (int seen = 0; seen < total; ) {
      page++;
      Map<String, ?> listed = call.ask("ListKeys", Map.of("PageNumber", page, "PageSize", 2));
      total = number(listed, "TotalCount");
      List<String> keys = texts(listed, "Keys", "Key", "KeyId");
      if (keys.isEmpty() || number(listed, "PageNumber") != page || number(listed, "PageSize") != 2) {
        break;
      }
      seen += keys.size();
      found.addAll(keys);
    }
    check("list_pages", found.size() == total && total > 2 && found.contains(key));
    Map<String, ?> past = call.ask("ListKeys", Map.of("PageNumber", page + 1, "PageSize", 2));
    check("list_past_the_end", texts(past, "Keys", "Key", "KeyId").isEmpty());
    String filters = "[{\"Key\":\"KeySpec\",\"Values\":[\"EC_SM2\",\"RSA_3072\"]}]";
    List<String> listed = texts(call.ask("ListKeys", Map.of("Filters", filters)), "Keys", "Key", "KeyId");
    check("list_filters", listed.equals(List.of(pair)));
  }

  private List<String> tags(String member) throws Exception {
    Map<String, ?> listed = call.ask("ListResourceTags", Map.of("KeyId", key));
    return texts(listed, "Tags", "Tag", member).stream().sorted().toList();
  }

  private void tagsAndAliases() throws Exception {
    String given = "[{\"TagKey\":\"équipe\",\"TagValue\":\"a=b&c d\"},{\"TagKey\":\"env\",\"TagValue\":\"<1>\"}]";
    call.ask("TagResource", Map.of("KeyId", key, "Tags", given));
    check("tags", tags("TagKey").equals(List.of("env", "équipe"))
        && tags("TagValue").equals(List.of("<1>", "a=b&c d")));
    call.ask("UntagResource", Map.of("KeyId", key, "TagKeys", "[\"env\"]"));
    check("untag", tags("TagKey").equals(List.of("équipe")));
    String alias = "alias/a-b_c/d";
    call.ask("CreateAlias", Map.of("AliasName", alias, "KeyId", key));
    Map<String, ?> listed = call.ask("ListAliasesByKeyId", Map.of("KeyId", key));
    check("aliases", texts(listed, "Aliases", "Alias", "AliasName").equals(List.of(alias)));
    check("by_alias", described(alias, "KeyId").equals(key));
    call.ask("UpdateAlias", Map.of("AliasName", alias, "KeyId", create(Map.of())));
    check("update_alias", !described(alias, "KeyId").equals(key));
    call.ask("DeleteAlias", Map.of("AliasName", alias));
    Map<String, ?> use = Map.of("KeyId", alias, "Plaintext", "AA==");
    refused("unknown_alias", "Forbidden.AliasNotFound", 404, "Encrypt", use);
  }

  private void states() throws Exception {
    Map<String, ?> named = Map.of("KeyId", key);
    Map<String, ?> use = with(named, Map.of("Plaintext", random(8)));
    call.ask("DisableKey", named);
    check("disable", described(key, "KeyState").equals("Disabled"));
    refused("disabled_key", "Rejected.Disabled", 409, "Encrypt", use);
    call.ask("EnableKey", named);
    check("enable", call.ask("Encrypt", use).get("KeyId").equals(key));
    call.ask("ScheduleKeyDeletion", with(named, Map.of("PendingWindowInDays", 7)));
    check("schedule", described(key, "KeyState").equals("PendingDeletion")
        && !described(key, "DeleteDate").isEmpty());
    refused("pending_deletion", "Rejected.PendingDeletion", 409, "Encrypt", use);
    call.ask("CancelKeyDeletion", named);
    check("cancel", described(key, "KeyState").equals("Enabled"));
  }

  private void refusals() throws Exception {
    Map<String, ?> named = Map.of("KeyId", key);
    Map<String, ?> nowhere = Map.of("KeyId", "00000000-0000-4000-8000-000000000000");
    refused("unknown_key", "Forbidden.KeyNotFound", 404, "DescribeKey", nowhere);
    refused("missing_parameter", "MissingParameter", 400, call, "Encrypt", named, "Plaintext");
    Map<String, ?> many = with(named, Map.of("NumberOfBytes", 1025));
    String generate = "GenerateDataKeyWithoutPlaintext";
    refused("invalid_parameter", "InvalidParameter", 400, call, generate, many, "NumberOfBytes");
    Map<String, ?> dry = with(named, Map.of("Plaintext", "AA==", "DryRun", "true"));
    refused("dry_run", "DryRunOperationError", 400, "Encrypt", dry);
    refused("state_not_modified", "Rejected.StateModifiedFailed", 409, "CancelKeyDeletion", named);
  }

  private void credentials(String code, String message) throws Exception {
    Map<String, ?> named = Map.of("KeyId", key);
    Call wrong = client.apply(accessKeyId, "A".repeat(30));
    refused("wrong_secret", code, 400, wrong, "DescribeKey", named, message);
    Call nobody = client.apply("KFnobody", secret);
    refused("unknown_access_key", "InvalidAccessKeyId.NotFound", 404, nobody, "DescribeKey", named, "");
    Call disabled = client.apply(
        System.getenv("DISABLED_ACCESS_KEY_ID"), System.getenv("DISABLED_ACCESS_KEY_SECRET"));
    refused("disabled_access_key", "InvalidAccessKeyId.Inactive", 400, disabled, "DescribeKey", named, "");
  }
}
