//! The forms of parameters and of answers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry::crypto::unwrapping::RecipientPrivateKey;
use keyferry::crypto::wrapping::WrappingKeySpec;
use serde_json::json;

use crate::support::TestServer;
use crate::support::http::{Answer, Http, Signer, V3, owned};

struct Caller {
    server: TestServer,
    http: Http,
    signer: Signer,
}

impl Caller {
    async fn start() -> Self {
        let server = TestServer::start().await;
        let signer = server.create_signer("shapes").await;
        let http = server.http().await;
        Self { server, http, signer }
    }

    async fn call(&mut self, action: &str, own: &[(&str, &str)]) -> Answer {
        self.http.v3(&self.signer, action, &owned(own)).await
    }

    async fn good(&mut self, action: &str, own: &[(&str, &str)]) -> serde_json::Value {
        let answer = self.call(action, own).await;
        assert_eq!(answer.status, 200, "{action} {own:?}: {}", answer.body);
        answer.json()
    }
}

#[tokio::test]
async fn answers_have_the_shapes_of_the_api() {
    let mut caller = Caller::start().await;
    let made = caller.good("CreateKey", &[]).await;
    let metadata = made["KeyMetadata"].as_object().unwrap();
    assert!(metadata.values().all(serde_json::Value::is_string), "{made}");
    for name in ["DeleteDate", "MaterialExpireTime", "Description", "DKMSInstanceId"] {
        assert_eq!(metadata[name], "", "{name}");
    }
    let request_id = made["RequestId"].as_str().unwrap();
    assert_eq!(request_id, request_id.to_lowercase());
    assert_eq!(request_id.len(), 36);
    let key_id = metadata["KeyId"].as_str().unwrap().to_owned();

    let listed = caller.good("ListKeys", &[]).await;
    let key = json!({"KeyId": key_id, "KeyArn": metadata["Arn"]});
    assert_eq!(listed["Keys"], json!({"Key": [key]}));
    assert_eq!(
        (&listed["TotalCount"], &listed["PageNumber"], &listed["PageSize"]),
        (&json!(1), &json!(1), &json!(10))
    );
    let names: Vec<_> = listed.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["Keys", "TotalCount", "PageNumber", "PageSize", "RequestId"]);
    let aliases = caller.good("ListAliases", &[]).await;
    assert_eq!(aliases["Aliases"], json!({"Alias": []}));

    let enabled = caller.good("EnableKey", &[("KeyId", &key_id)]).await;
    assert_eq!(enabled.as_object().unwrap().keys().collect::<Vec<_>>(), ["RequestId"]);
    let version = caller.good("CreateKeyVersion", &[("KeyId", &key_id)]).await;
    assert_eq!(version["KeyVersion"]["KeyId"], key_id.as_str());
    let generated = caller.good("GenerateDataKey", &[("KeyId", &key_id)]).await;
    assert_eq!(STANDARD.decode(generated["Plaintext"].as_str().unwrap()).unwrap().len(), 32);
}

#[tokio::test]
async fn refusals_have_five_strings() {
    let mut caller = Caller::start().await;
    let answer = caller.call("DescribeKey", &[("KeyId", "none")]).await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-type"), Some("application/json; charset=utf-8"));
    let body = answer.json();
    let names: Vec<_> = body.as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["Code", "Message", "RequestId", "HostId", "Recommend"]);
    assert!(body.as_object().unwrap().values().all(serde_json::Value::is_string), "{body}");
    assert_eq!(body["Code"], "Forbidden.KeyNotFound");
    assert_eq!(body["HostId"], caller.server.address.as_str());
    assert_eq!(Some(body["RequestId"].as_str().unwrap()), answer.header("x-acs-request-id"));
    // Fields are called by the API's names.
    let body = caller.call("DescribeKey", &[]).await.json();
    assert_eq!(body["Message"], "The parameter \"KeyId\" is needed but was not provided.");
    let body = caller.call("Encrypt", &[("KeyId", "a"), ("Plaintext", "not base64")]).await.json();
    assert!(body["Message"].as_str().unwrap().contains("\"Plaintext\""), "{body}");
    assert!(!body.to_string().contains("not base64"), "{body}");
}

#[tokio::test]
async fn xml_is_for_those_who_ask() {
    let mut caller = Caller::start().await;
    caller.good("CreateKey", &[("Description", "<a> & \"b\" \u{1}\r\n")]).await;
    caller.good("CreateKey", &[]).await;
    // As the Java SDK of old does it: a GET, in XML.
    let answer = caller.http.v1(&caller.signer, "ListKeys", &owned(&[("Format", "XML")])).await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/xml;charset=utf-8"))
    );
    let head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><KMS><Keys><Key><KeyId>";
    assert!(answer.body.starts_with(head), "{}", answer.body);
    assert_eq!(answer.body.matches("</Key><Key>").count(), 1, "{}", answer.body);
    assert!(answer.body.contains("<TotalCount>2</TotalCount>"), "{}", answer.body);
    let keys = caller.good("ListKeys", &[]).await;
    let key_id = keys["Keys"]["Key"][0]["KeyId"].as_str().unwrap();
    let answer = caller.call("DescribeKey", &[("KeyId", key_id), ("Format", "xml")]).await;
    let text = "<Description>&lt;a&gt; &amp; &quot;b&quot; \u{fffd}&#13;\n</Description>";
    assert!(answer.body.contains(text), "{}", answer.body);
    let answer = caller.call("DescribeKey", &[("Format", "Xml")]).await;
    assert_eq!(answer.header("content-type"), Some("text/xml;charset=utf-8"));
    assert!(
        answer.body.contains("<Error><Code>MissingParameter</Code><Message>"),
        "{}",
        answer.body
    );
    let answer = caller.call("DescribeKey", &[("Format", "YAML")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"));
}

#[tokio::test]
async fn lists_and_maps_come_in_two_forms() {
    let mut caller = Caller::start().await;
    let made = caller.good("CreateKey", &[]).await;
    let key_id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let id = ("KeyId", key_id.as_str());
    for tags in [
        &[("Tags", r#"[{"TagKey":"a","TagValue":"1"}]"#)][..],
        &[("Tags", r#"[{"Key":"a","Value":"1"}]"#)],
        &[("Tag.1.Key", "a"), ("Tag.1.Value", "1")],
        &[("Tags.1.TagKey", "a"), ("Tags.1.TagValue", "1")],
    ] {
        let parameters = [&[id], tags].concat();
        caller.good("TagResource", &parameters).await;
        let listed = caller.good("ListResourceTags", &[id]).await;
        let tag = json!({"KeyId": key_id, "TagKey": "a", "TagValue": "1"});
        assert_eq!(listed["Tags"], json!({"Tag": [tag]}));
        caller.good("UntagResource", &[id, ("TagKeys", r#"["a"]"#)]).await;
    }
    for keys in [("TagKeys", "a, b"), ("TagKey.1", "a"), ("TagKeys.7", "a")] {
        caller.good("TagResource", &[id, ("Tag.1.Key", "a")]).await;
        caller.good("UntagResource", &[id, keys]).await;
        let listed = caller.good("ListResourceTags", &[id]).await;
        assert_eq!(listed["Tags"], json!({"Tag": []}), "{keys:?}");
    }
    for filters in [
        &[("Filters", r#"[{"Key":"KeyState","Values":["Disabled"]}]"#)][..],
        &[("Filters.1.Key", "KeyState"), ("Filters.1.Values.1", "Disabled")],
    ] {
        assert_eq!(caller.good("ListKeys", filters).await["TotalCount"], 0);
    }
    for odd in [
        &[("Tags", "a=b")][..],
        &[("Tags", "{}")],
        &[("Tags", r#"[{"TagKey":1}]"#)],
        &[("Tag.x.Key", "a")],
        &[("Tag.1.Key", "a"), ("Tags", r#"[{"TagKey":"a"}]"#)],
    ] {
        let answer = caller.call("TagResource", &[&[id], odd].concat()).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"), "{odd:?}");
    }
    let sealed = [id, ("EncryptionContext", r#"{"b":"2","a.b":"1"}"#)];
    let blob = caller.good("GenerateDataKeyWithoutPlaintext", &sealed).await;
    let blob = ("CiphertextBlob", blob["CiphertextBlob"].as_str().unwrap());
    let flat = [blob, ("EncryptionContext.a.b", "1"), ("EncryptionContext.b", "2")];
    caller.good("Decrypt", &flat).await;
    for odd in [r#"{"a":1}"#, r#"{"a":"1","a":"1"}"#, "[]", "x", r#"{"a":{"b":"c"}}"#] {
        let answer = caller.call("Decrypt", &[blob, ("EncryptionContext", odd)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"), "{odd}");
    }
}

#[tokio::test]
async fn values_are_read_as_the_sdks_write_them() {
    let mut caller = Caller::start().await;
    let made = caller.good("CreateKey", &[]).await;
    let key_id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let id = ("KeyId", key_id.as_str());
    // Python's booleans; the older names.
    let policy = [id, ("EnableAutoRotation", "True"), ("RotationIntervalInDays", "30")];
    caller.good("UpdateRotationPolicy", &policy).await;
    let described = caller.good("DescribeKey", &[id]).await;
    assert_eq!(described["KeyMetadata"]["RotationInterval"], "2592000s");
    let answer = caller.call("DescribeKey", &[id, ("DryRun", "TRUE")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "DryRunOperationError"));
    let answer = caller.call("DescribeKey", &[id, ("DryRun", "yes")]).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"));
    // The number of bytes wins over any spec; a spec is trimmed.
    for (spec, bytes, length) in
        [("SM4_128", "16", 16), (" AES_128", "", 16), ("AES_256", " 5 ", 5)]
    {
        let parameters = [id, ("KeySpec", spec), ("NumberOfBytes", bytes)];
        let made = caller.good("GenerateDataKey", &parameters).await;
        assert_eq!(STANDARD.decode(made["Plaintext"].as_str().unwrap()).unwrap().len(), length);
    }
    for odd in [
        ("KeySpec", "SM4_128"),
        ("NumberOfBytes", "+5"),
        ("NumberOfBytes", "0x10"),
        ("NumberOfBytes", "99999999999"),
        ("KeySpec", "UNSPECIFIED"),
        ("KeySpec", "aes_256"),
    ] {
        let answer = caller.call("GenerateDataKey", &[id, odd]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"), "{odd:?}");
    }
    for (odd, told) in [
        ("AAA", "padded: bytes are sent encoded"),
        ("AAA=A", "padded: bytes are sent encoded"),
        ("AAB=", "padded: bytes are sent encoded"),
        ("hello, world", "holds a space: a + is sent as %2B"),
        ("AA AA", "holds a space: a + is sent as %2B"),
        ("_-AA", "holds letters of the URL alphabet"),
    ] {
        let answer = caller.call("Encrypt", &[id, ("Plaintext", odd)]).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"), "{odd:?}");
        let message = answer.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.contains("must be Base64") && message.contains(told), "{message}");
    }
    // Base64 as `base64` writes it: wrapped, with a line feed at the end.
    let long = vec![7; 100];
    let wrapped = STANDARD.encode(&long);
    let wrapped = format!("{}\r\n{}\n", &wrapped[..76], &wrapped[76..]);
    let sealed = caller.good("Encrypt", &[id, ("Plaintext", &wrapped)]).await;
    let blob = format!("{}\n", sealed["CiphertextBlob"].as_str().unwrap());
    let opened = caller.good("Decrypt", &[("CiphertextBlob", &blob)]).await;
    assert_eq!(opened["Plaintext"], STANDARD.encode(&long));
    // A map that is not set, as Go writes it.
    let unset = [id, ("Plaintext", "AA=="), ("EncryptionContext", "null")];
    let sealed = caller.good("Encrypt", &unset).await;
    let blob = sealed["CiphertextBlob"].as_str().unwrap().to_owned();
    let null = ("EncryptionContext", " null ");
    caller.good("Decrypt", &[("CiphertextBlob", &blob), null]).await;
    caller.good("Decrypt", &[("CiphertextBlob", &blob)]).await;
    // Unknown parameters are ignored.
    caller
        .good("DescribeKey", &[id, ("RegionId", "x"), ("PageToken", "x"), ("Recipient", "x")])
        .await;
}

/// A body that is no form would be passed over, and its parameters with it.
#[tokio::test]
async fn a_body_in_json_is_named() {
    let mut caller = Caller::start().await;
    for (content_type, body, told) in [
        (Some("application/json; charset=utf-8"), &br#"{"KeyId":"a"}"#[..], "is JSON"),
        (None, br#" {"KeyId":"a"}"#, "is JSON"),
        (Some("text/plain"), b"KeyId=a", "is not of the content type of a form"),
        (None, b"KeyId=a", "is not of the content type of a form"),
    ] {
        let asked = V3 {
            method: "POST",
            host: &caller.server.address.clone(),
            path: "/",
            action: "DescribeKey",
            query: "",
            content_type,
            body,
        };
        let headers = caller.signer.v3(&asked);
        let answer = caller.http.request(&asked, &headers).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "ParseRequestParameterException"),
            "{}",
            answer.body
        );
        let message = answer.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.contains(told) && message.contains("x-www-form-urlencoded"), "{message}");
    }
    let asked = V3 {
        method: "POST",
        host: &caller.server.address.clone(),
        path: "/",
        action: "ListKeys",
        query: "",
        content_type: Some("application/json"),
        body: b"{}",
    };
    let headers = caller.signer.v3(&asked);
    assert_eq!(caller.http.request(&asked, &headers).await.status, 200);
}

#[tokio::test]
async fn a_public_key_that_is_none_is_named() {
    let mut caller = Caller::start().await;
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::Rsa2048).unwrap();
    let private = recipient.to_pkcs8_pem();
    let shown = "it has been shown and should be replaced";
    let der = recipient.public_key_der();
    for (sent, told) in [
        (private.replace('\n', ""), shown),
        (private.replace('\n', "\\n"), shown),
        (STANDARD.encode(private.as_bytes()), shown),
        (base16ct::lower::encode_string(der), "it is hexadecimal text"),
        ("-----BEGIN PUBLIC KEY-----".to_owned(), "last line -----END"),
        ("ssh-rsa AAAA".to_owned(), "an OpenSSH public key"),
        ("%".to_owned(), "not a SubjectPublicKeyInfo"),
    ] {
        let parameters = [
            ("KeyId", "alias/none"),
            ("PublicKeyBlob", sent.as_str()),
            ("WrappingKeySpec", "RSA_2048"),
            ("WrappingAlgorithm", "RSAES_OAEP_SHA_256"),
        ];
        let answer = caller.call("GenerateAndExportDataKey", &parameters).await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "InvalidParameter"), "{sent}");
        let message = answer.json()["Message"].as_str().unwrap().to_owned();
        assert!(message.contains(told), "{sent}: {message}");
    }
}

#[tokio::test]
async fn a_public_key_may_be_pem() {
    let mut caller = Caller::start().await;
    let made = caller.good("CreateKey", &[]).await;
    let key_id = made["KeyMetadata"]["KeyId"].as_str().unwrap().to_owned();
    let recipient = RecipientPrivateKey::generate(WrappingKeySpec::EcSm2).unwrap();
    let der = STANDARD.encode(recipient.public_key_der());
    let pem = format!(
        "-----BEGIN PUBLIC KEY-----\r\n{}\r\n{}\r\n-----END PUBLIC KEY-----\r\n",
        &der[..64],
        &der[64..]
    );
    for public_key in [
        der.clone(),
        format!(" {}\n{}", &der[..20], &der[20..]),
        pem.clone(),
        STANDARD.encode(&pem),
        pem.replace("\r\n", ""),
        pem.replace("\r\n", " "),
        pem.replace("\r\n", "\\n"),
        pem.replace("\r\n", "\n\n"),
        format!("\u{feff}{pem}"),
    ] {
        let parameters = [
            ("KeyId", key_id.as_str()),
            ("PublicKeyBlob", &public_key),
            ("WrappingKeySpec", "EC_SM2"),
            ("WrappingAlgorithm", "SM2PKE"),
        ];
        caller.good("GenerateAndExportDataKey", &parameters).await;
    }
}
