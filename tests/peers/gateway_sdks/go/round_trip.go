package main

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// The steps of every client in the terms of the API: actions, parameters and
// members of answers. How a client spells them is its own affair.

type members = map[string]any

// call gives the members of the answer, or a *refused.
type call func(action string, parameters members) (members, error)

// client gives a call that signs by an access key.
type client func(accessKeyID, secret string) call

// refused is what a client's own error says.
type refused struct {
	code, message, requestID string
	status                   int
}

func (r *refused) Error() string {
	return fmt.Sprintf("%s (%d): %s [%s]", r.code, r.status, r.message, r.requestID)
}

var (
	contextPairs = map[string]any{"tenant": "acme & söhne", "purpose": "a+b=c/d?e~f*g%20 'h'", "区域": "杭州"}
	otherPairs   = map[string]any{"tenant": "acme"}
	description  = "ключ 1/2 + \"3\" & 4=5; ~*'() %7E\n第二行"
	uuid         = regexp.MustCompile(`^[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}$`)
	checks       = 0
)

func fail(format string, arguments ...any) {
	fmt.Printf(format+"\n", arguments...)
	os.Exit(1)
}

func check(name string, holds bool) {
	if !holds {
		fail("check %s FAILED", name)
	}
	checks++
	fmt.Printf("check %s ok\n", name)
}

func b64(data []byte) string { return base64.StdEncoding.EncodeToString(data) }

func decoded(text string) []byte {
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		fail("not Base64: %s", text)
	}
	return data
}

type roundTrip struct {
	client client
	call   call
	folder string
	key    string
	pair   string
}

// ask is a call that must succeed.
func (r *roundTrip) ask(action string, parameters members) members {
	answer, err := r.call(action, parameters)
	if err != nil {
		fail("%s: %v", action, err)
	}
	return answer
}

// refused is a call that must fail, and how.
func refuse(name, code string, status int, ask call, action string, parameters members, message string) {
	answer, err := ask(action, parameters)
	var told *refused
	if !errors.As(err, &told) {
		fail("not refused: %v %v", answer, err)
	}
	holds := told.code == code && told.status == status && told.message != "" &&
		strings.Contains(told.message, message) && uuid.MatchString(told.requestID)
	if !holds {
		fmt.Printf("refused otherwise: %v\n", told)
	}
	check(name, holds)
}

func (r *roundTrip) text(answer members, path ...string) string {
	text, is := at(answer, path...).(string)
	if !is {
		fail("no %v in %v", path, answer)
	}
	return text
}

func at(answer members, path ...string) any {
	var value any = answer
	for _, name := range path {
		inner, _ := value.(members)
		value = inner[name]
	}
	return value
}

// texts are a member of each item of a list.
func texts(answer members, list, item, member string) []string {
	found := []string{}
	items, _ := at(answer, list, item).([]any)
	for _, item := range items {
		found = append(found, item.(members)[member].(string))
	}
	return found
}

func (r *roundTrip) keep(name, text string) {
	if err := os.WriteFile(filepath.Join(r.folder, name), decoded(text), 0o600); err != nil {
		fail("%v", err)
	}
}

func (r *roundTrip) recipient(name string) string {
	der, err := os.ReadFile(filepath.Join(r.folder, name+".der"))
	if err != nil {
		fail("%v", err)
	}
	return b64(der)
}

func (r *roundTrip) create(parameters members) string {
	return r.text(r.ask("CreateKey", parameters), "KeyMetadata", "KeyId")
}

func (r *roundTrip) described(key string) map[string]string {
	answer := r.ask("DescribeKey", members{"KeyId": key})
	metadata := map[string]string{}
	for name, value := range at(answer, "KeyMetadata").(members) {
		metadata[name] = value.(string)
	}
	return metadata
}

func (r *roundTrip) opened(blob string, pairs map[string]any) string {
	parameters := members{"CiphertextBlob": blob}
	if pairs != nil {
		parameters["EncryptionContext"] = pairs
	}
	return r.text(r.ask("Decrypt", parameters), "Plaintext")
}

func (r *roundTrip) travel() {
	accessKeyID, secret := os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_ID"), os.Getenv("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
	r.call = r.client(accessKeyID, secret)
	r.keys()
	r.dataKeys()
	r.data()
	r.pairs()
	r.lists()
	r.tagsAndAliases()
	r.states()
	r.refusals()
	r.credentials(accessKeyID, secret)
	fmt.Printf("%d checks\n", checks)
}

func (r *roundTrip) keys() {
	made := r.ask("CreateKey", members{"Description": description})
	r.key = r.text(made, "KeyMetadata", "KeyId")
	check("create_key", r.text(made, "KeyMetadata", "KeyState") == "Enabled")
	check("request_id", uuid.MatchString(r.text(made, "RequestId")))
	metadata := r.described(r.key)
	check("describe_key", metadata["Description"] == description)
	check("unset_is_empty", metadata["DeleteDate"] == "" && metadata["MaterialExpireTime"] == "")
	r.ask("UpdateRotationPolicy", members{
		"KeyId": r.key, "EnableAutomaticRotation": true, "RotationInterval": "30d",
	})
	metadata = r.described(r.key)
	check("rotation_policy", metadata["AutomaticRotation"] == "Enabled" && metadata["RotationInterval"] == "2592000s")
}

func (r *roundTrip) dataKeys() {
	made := r.ask("GenerateDataKeyWithoutPlaintext", members{
		"KeyId": r.key, "NumberOfBytes": 32, "EncryptionContext": contextPairs,
	})
	blob := r.text(made, "CiphertextBlob")
	check("generate_without_plaintext", made["KeyId"] == r.key && made["Plaintext"] == nil)
	for _, recipient := range [][3]string{
		{"rsa", "RSA_2048", "RSAES_OAEP_SHA_256"},
		{"sm2", "EC_SM2", "SM2PKE"},
	} {
		exported := r.ask("ExportDataKey", members{
			"CiphertextBlob":    blob,
			"PublicKeyBlob":     r.recipient(recipient[0]),
			"WrappingKeySpec":   recipient[1],
			"WrappingAlgorithm": recipient[2],
			"EncryptionContext": contextPairs,
		})
		r.keep(recipient[0]+".exported", r.text(exported, "ExportedDataKey"))
		check("export_"+recipient[0], exported["KeyVersionId"] == made["KeyVersionId"])
	}
	dataKey := r.opened(blob, contextPairs)
	r.keep("data_key", dataKey)
	check("decrypt", len(decoded(dataKey)) == 32)
	wrong := members{"CiphertextBlob": blob, "EncryptionContext": otherPairs}
	refuse("wrong_context", "InvalidParameter", 400, r.call, "Decrypt", wrong, "")
	both := r.ask("GenerateAndExportDataKey", members{
		"KeyId": r.key, "KeySpec": "AES_128", "PublicKeyBlob": r.recipient("rsa"),
		"WrappingKeySpec": "RSA_2048", "WrappingAlgorithm": "RSAES_OAEP_SHA_1",
	})
	r.keep("both.exported", r.text(both, "ExportedDataKey"))
	dataKey = r.opened(r.text(both, "CiphertextBlob"), nil)
	r.keep("both_data_key", dataKey)
	check("generate_and_export", len(decoded(dataKey)) == 16)
	seen := r.ask("GenerateDataKey", members{"KeyId": r.key, "KeySpec": "AES_256"})
	check("generate_data_key", r.opened(r.text(seen, "CiphertextBlob"), nil) == r.text(seen, "Plaintext"))
}

func random(size int) string {
	data := make([]byte, size)
	if _, err := rand.Read(data); err != nil {
		fail("%v", err)
	}
	return b64(data)
}

func (r *roundTrip) data() {
	plaintext := random(1024)
	made := r.ask("Encrypt", members{"KeyId": r.key, "Plaintext": plaintext, "EncryptionContext": contextPairs})
	check("encrypt_decrypt", r.opened(r.text(made, "CiphertextBlob"), contextPairs) == plaintext)
	moved := r.ask("ReEncrypt", members{
		"CiphertextBlob": made["CiphertextBlob"], "SourceEncryptionContext": contextPairs,
		"DestinationKeyId": r.create(members{}),
	})
	check("re_encrypt", r.opened(r.text(moved, "CiphertextBlob"), nil) == plaintext)
}

func (r *roundTrip) version(key string) string {
	versions := r.ask("ListKeyVersions", members{"KeyId": key})
	return texts(versions, "KeyVersions", "KeyVersion", "KeyVersionId")[0]
}

func with(these, more members) members {
	all := members{}
	for _, some := range []members{these, more} {
		for name, value := range some {
			all[name] = value
		}
	}
	return all
}

func (r *roundTrip) pairs() {
	plaintext := random(32)
	r.pair = r.create(members{"KeySpec": "EC_SM2", "KeyUsage": "ENCRYPT/DECRYPT"})
	version := r.version(r.pair)
	used := members{"KeyId": r.pair, "KeyVersionId": version}
	public := r.text(r.ask("GetPublicKey", used), "PublicKey")
	check("get_public_key", strings.HasPrefix(public, "-----BEGIN PUBLIC KEY-----\n"))
	used["Algorithm"] = "SM2PKE"
	made := r.ask("AsymmetricEncrypt", with(used, members{"Plaintext": plaintext}))
	blob := r.text(made, "CiphertextBlob")
	opened := r.ask("AsymmetricDecrypt", with(used, members{"CiphertextBlob": blob}))
	check("asymmetric_decrypt", opened["Plaintext"] == plaintext)
	moved := r.ask("ReEncrypt", members{
		"CiphertextBlob": blob, "SourceKeyId": r.pair, "SourceKeyVersionId": version,
		"SourceEncryptionAlgorithm": "SM2PKE", "DestinationKeyId": r.key,
		"DestinationEncryptionContext": contextPairs,
	})
	check("re_encrypt_from_a_pair", r.opened(r.text(moved, "CiphertextBlob"), contextPairs) == plaintext)
	r.signatures()
}

func (r *roundTrip) signatures() {
	key := r.create(members{"KeySpec": "EC_P256"})
	digest := func(text string) members {
		sum := sha256.Sum256([]byte(text))
		return members{"Digest": b64(sum[:])}
	}
	used := members{"KeyId": key, "KeyVersionId": r.version(key), "Algorithm": "ECDSA_SHA_256"}
	value := r.ask("AsymmetricSign", with(used, digest("signed")))["Value"]
	used["Value"] = value
	check("verify", r.ask("AsymmetricVerify", with(used, digest("signed")))["Value"] == true)
	check("verify_not", r.ask("AsymmetricVerify", with(used, digest("another")))["Value"] == false)
}

func (r *roundTrip) lists() {
	found := map[string]bool{}
	page, total := 0, 1
	for seen := 0; seen < total; {
		page++
		listed := r.ask("ListKeys", members{"PageNumber": page, "PageSize": 2})
		total = int(listed["TotalCount"].(float64))
		keys := texts(listed, "Keys", "Key", "KeyId")
		if len(keys) == 0 || listed["PageNumber"] != float64(page) || listed["PageSize"] != float64(2) {
			break
		}
		seen += len(keys)
		for _, key := range keys {
			found[key] = true
		}
	}
	check("list_pages", len(found) == total && total > 2 && found[r.key])
	past := r.ask("ListKeys", members{"PageNumber": page + 1, "PageSize": 2})
	check("list_past_the_end", len(texts(past, "Keys", "Key", "KeyId")) == 0)
	filters := `[{"Key":"KeySpec","Values":["EC_SM2","RSA_3072"]}]`
	listed := texts(r.ask("ListKeys", members{"Filters": filters}), "Keys", "Key", "KeyId")
	check("list_filters", len(listed) == 1 && listed[0] == r.pair)
}

func (r *roundTrip) tagsAndAliases() {
	named := members{"KeyId": r.key}
	tags := func(member string) []string {
		found := texts(r.ask("ListResourceTags", named), "Tags", "Tag", member)
		sort.Strings(found)
		return found
	}
	given, _ := json.Marshal([]members{
		{"TagKey": "équipe", "TagValue": "a=b&c d"}, {"TagKey": "env", "TagValue": ""},
	})
	r.ask("TagResource", with(named, members{"Tags": string(given)}))
	check("tags", strings.Join(tags("TagKey"), ",") == "env,équipe" && strings.Join(tags("TagValue"), ",") == ",a=b&c d")
	r.ask("UntagResource", with(named, members{"TagKeys": `["env"]`}))
	check("untag", strings.Join(tags("TagKey"), ",") == "équipe")
	alias := "alias/a-b_c/d"
	r.ask("CreateAlias", with(named, members{"AliasName": alias}))
	listed := texts(r.ask("ListAliasesByKeyId", named), "Aliases", "Alias", "AliasName")
	check("aliases", strings.Join(listed, ",") == alias)
	check("by_alias", r.described(alias)["KeyId"] == r.key)
	r.ask("UpdateAlias", members{"AliasName": alias, "KeyId": r.create(members{})})
	check("update_alias", r.described(alias)["KeyId"] != r.key)
	r.ask("DeleteAlias", members{"AliasName": alias})
	use := members{"KeyId": alias, "Plaintext": "AA=="}
	refuse("unknown_alias", "Forbidden.AliasNotFound", 404, r.call, "Encrypt", use, "")
}

func (r *roundTrip) states() {
	named := members{"KeyId": r.key}
	use := with(named, members{"Plaintext": b64([]byte("in vain"))})
	r.ask("DisableKey", named)
	check("disable", r.described(r.key)["KeyState"] == "Disabled")
	refuse("disabled_key", "Rejected.Disabled", 409, r.call, "Encrypt", use, "")
	r.ask("EnableKey", named)
	check("enable", r.ask("Encrypt", use)["KeyId"] == r.key)
	r.ask("ScheduleKeyDeletion", with(named, members{"PendingWindowInDays": 7}))
	metadata := r.described(r.key)
	check("schedule", metadata["KeyState"] == "PendingDeletion" && metadata["DeleteDate"] != "")
	refuse("pending_deletion", "Rejected.PendingDeletion", 409, r.call, "Encrypt", use, "")
	r.ask("CancelKeyDeletion", named)
	check("cancel", r.described(r.key)["KeyState"] == "Enabled")
}

func (r *roundTrip) refusals() {
	named := members{"KeyId": r.key}
	nowhere := members{"KeyId": "00000000-0000-4000-8000-000000000000"}
	refuse("unknown_key", "Forbidden.KeyNotFound", 404, r.call, "DescribeKey", nowhere, "")
	refuse("missing_parameter", "MissingParameter", 400, r.call, "Encrypt", named, "Plaintext")
	many := with(named, members{"NumberOfBytes": 1025})
	generate := "GenerateDataKeyWithoutPlaintext"
	refuse("invalid_parameter", "InvalidParameter", 400, r.call, generate, many, "NumberOfBytes")
	dry := with(named, members{"Plaintext": "AA==", "DryRun": "true"})
	refuse("dry_run", "DryRunOperationError", 400, r.call, "Encrypt", dry, "")
	code := "Rejected.StateModifiedFailed"
	refuse("state_not_modified", code, 409, r.call, "CancelKeyDeletion", named, "")
}

func (r *roundTrip) credentials(accessKeyID, secret string) {
	named := members{"KeyId": r.key}
	told := "Specified signature is not matched with our calculation"
	wrong := r.client(accessKeyID, strings.Repeat("A", 30))
	refuse("wrong_secret", "SignatureDoesNotMatch", 400, wrong, "DescribeKey", named, told)
	nobody := r.client("KFnobody", secret)
	refuse("unknown_access_key", "InvalidAccessKeyId.NotFound", 404, nobody, "DescribeKey", named, "")
	disabled := r.client(os.Getenv("DISABLED_ACCESS_KEY_ID"), os.Getenv("DISABLED_ACCESS_KEY_SECRET"))
	refuse("disabled_access_key", "InvalidAccessKeyId.Inactive", 400, disabled, "DescribeKey", named, "")
}
