//! TLS: who may connect, and certificates that change under load.

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keyferry::config::Callers;
use keyferry::server::{Limits, Listener, Tls};
use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tonic::Code;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::support::certificates::{Authority, tls_stream, trusting};
use crate::world::{
    Count, Server, TlsFiles, assert_status, log_lines, play, soon, tls_client, until,
};

/// Looks at the files often, so that tests need not wait.
fn quick() -> Limits {
    Limits { reload_interval: Duration::from_millis(20), ..Limits::default() }
}

/// The outcome of a handshake: `Ok`, or the alert that the server sent.
async fn verdict(server: &Server, config: Arc<rustls::ClientConfig>) -> Result<(), String> {
    let spoken = async {
        let mut stream = tls_stream(server.tcp(), config).await?;
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
        stream.read_u8().await
    };
    soon(spoken).await.map(|_| ()).map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_callers_certificate_names_it() {
    let files = TlsFiles::new();
    let server = files.serve(Limits::default()).await;
    let mut spiffe = CertificateParams::default();
    let id = Ia5String::try_from("spiffe://td.example/ns/pay").unwrap();
    spiffe.subject_alt_names = vec![SanType::URI(id)];
    let issued = [
        (files.authority.client("billing", 1), "cn:billing"),
        (
            files.authority.issue(&CertificateParams::new(["api.example".into()]).unwrap()),
            "dns:api.example",
        ),
        (files.authority.issue(&spiffe), "spiffe://td.example/ns/pay"),
    ];
    for (issued, principal) in issued {
        for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
            let config = trusting(&files.authority, Some(&issued), &[version]);
            let mut client = tls_client(server.tcp(), config).await.unwrap();
            assert_eq!(play(&mut client, "whoami").await.unwrap().key_id, principal);
        }
    }
}

#[tokio::test]
async fn a_certificate_that_names_nobody_is_told_so() {
    let files = TlsFiles::new();
    let server = files.serve(Limits::default()).await;
    let two = CertificateParams::new(["a.example".into(), "b.example".into()]).unwrap();
    let mut no_name = CertificateParams::default();
    no_name.distinguished_name = rcgen::DistinguishedName::new();
    let mut two_ids = no_name.clone();
    let ids = ["spiffe://td.example/a", "spiffe://td.example/b"];
    let ids = ids.map(|id| SanType::URI(Ia5String::try_from(id).unwrap()));
    two_ids.subject_alt_names = ids.to_vec();
    for (params, said) in
        [(two, "several DNS names"), (two_ids, "several URI names"), (no_name, "names nobody")]
    {
        let issued = files.authority.issue(&params);
        let mut client = tls_client(server.tcp(), files.trusting(Some(&issued))).await.unwrap();
        let status = play(&mut client, "whoami").await.unwrap_err();
        assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
        assert!(status.message().contains(said), "{status:?}");
    }
}

#[tokio::test]
async fn strangers_are_refused_in_the_handshake() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    let server = files.serve_with_crl(Limits::default()).await;
    let other = Authority::new("another authority");
    let bad_names = Authority::new("the callers' authority");
    for (issued, alert) in [
        (None, "CertificateRequired"),
        (Some(other.client("billing", 1)), "UnknownCA"),
        (Some(bad_names.client("billing", 1)), "alert"),
        (Some(files.authority.expired_client("billing")), "CertificateExpired"),
        (Some(files.authority.client_of_the_future("billing")), "CertificateExpired"),
        (Some(files.authority.client("billing", 7)), "CertificateRevoked"),
    ] {
        let refused = verdict(&server, files.trusting(issued.as_ref())).await.unwrap_err();
        assert!(refused.contains(alert), "{alert}: {refused}");
    }
    verdict(&server, files.trusting(Some(&files.authority.client("billing", 8)))).await.unwrap();
}

#[tokio::test]
async fn an_expired_revocation_list_speaks_for_nobody() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_secs(1)));
    let server = files.serve_with_crl(quick()).await;
    let config = files.trusting(Some(&files.authority.client("billing", 8)));
    verdict(&server, config.clone()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    verdict(&server, config.clone()).await.unwrap_err();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    soon(async { while verdict(&server, config.clone()).await.is_err() {} }).await;
}

/// A resumed session would carry over a verdict on a certificate.
#[tokio::test]
async fn sessions_are_never_resumed() {
    let files = TlsFiles::new();
    let server = files.serve(Limits::default()).await;
    let issued = files.authority.client("billing", 1);
    for version in [&rustls::version::TLS13, &rustls::version::TLS12] {
        let config = trusting(&files.authority, Some(&issued), &[version]);
        for _ in 0..3 {
            let mut stream = soon(tls_stream(server.tcp(), config.clone())).await.unwrap();
            stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
            // Read what the server sends unasked, such as tickets.
            soon(stream.read_u8()).await.unwrap();
            let kind = stream.get_ref().1.handshake_kind();
            assert_eq!(kind, Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn plaintext_and_silence_on_a_tls_port_are_dropped() {
    let files = TlsFiles::new();
    let limits = Limits { handshake: Duration::from_millis(200), ..Limits::default() };
    let server = files.serve(limits).await;
    for said in
        [&b""[..], b"\x16\x03\x01", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n"]
    {
        let mut stream = tokio::net::TcpStream::connect(server.tcp()).await.unwrap();
        stream.write_all(said).await.unwrap();
        let mut rest = Vec::new();
        let _ = soon(stream.read_to_end(&mut rest)).await;
        assert!(rest.len() <= 7, "an alert at most: {rest:?}");
    }
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    let mut stream = tls_stream(server.tcp(), config).await.unwrap();
    let mut rest = Vec::new();
    let _ = soon(stream.read_to_end(&mut rest)).await;
    assert!(rest.is_empty(), "a preface that never comes is not waited for");
}

#[tokio::test]
async fn a_connection_does_not_outlive_its_certificate() {
    let files = TlsFiles::new();
    let server = files.serve(quick()).await;
    let issued = files.authority.client_until("billing", 1, Duration::from_secs(2));
    let mut client = tls_client(server.tcp(), files.trusting(Some(&issued))).await.unwrap();
    play(&mut client, "whoami").await.unwrap();
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let status = play(&mut client, "whoami").await.unwrap_err();
    assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    assert!(status.message().contains("expired"), "{status:?}");
}

#[tokio::test]
async fn a_certificate_that_is_not_of_the_path_may_have_expired() {
    let files = TlsFiles::new();
    let server = files.serve(quick()).await;
    let mut issued = files.authority.client("billing", 1);
    issued.cert += &files.authority.expired_client("an old authority").cert;
    let mut client = tls_client(server.tcp(), files.trusting(Some(&issued))).await.unwrap();
    assert_eq!(play(&mut client, "whoami").await.unwrap().key_id, "cn:billing");
}

#[tokio::test]
async fn revocation_reaches_open_connections() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[], Duration::from_hours(1)));
    let server = files.serve_with_crl(quick()).await;
    let connect = async |serial| {
        let issued = files.authority.client("billing", serial);
        tls_client(server.tcp(), files.trusting(Some(&issued))).await.unwrap()
    };
    let (mut revoked, mut kept) = (connect(7).await, connect(8).await);
    play(&mut revoked, "whoami").await.unwrap();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    let status = soon(async {
        loop {
            if let Err(status) = play(&mut revoked, "whoami").await {
                return status;
            }
        }
    })
    .await;
    assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    play(&mut kept, "whoami").await.unwrap();
    // And it is not for ever: a list that lets it go lets it in.
    files.put("crl.pem", &files.authority.revoking(&[9], Duration::from_hours(1)));
    soon(async { while play(&mut revoked, "whoami").await.is_err() {} }).await;
}

/// RFC 5280, 6.3.3: after nextUpdate a list says nothing, for a connection that was
/// judged before no less than for a new one.
#[tokio::test]
async fn the_end_of_a_list_reaches_open_connections() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_secs(3)));
    let server = files.serve_with_crl(quick()).await;
    let config = files.trusting(Some(&files.authority.client("billing", 8)));
    let mut open = tls_client(server.tcp(), config).await.unwrap();
    for _ in 0..3 {
        play(&mut open, "whoami").await.unwrap();
    }
    tokio::time::sleep(Duration::from_millis(3_200)).await;
    let status = play(&mut open, "whoami").await.unwrap_err();
    assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    soon(async { while play(&mut open, "whoami").await.is_err() {} }).await;
}

/// The serial number of the certificate that the server shows now.
async fn serial_shown(server: &Server, config: Arc<rustls::ClientConfig>) -> u64 {
    let stream = soon(tls_stream(server.tcp(), config)).await.unwrap();
    let leaf = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    let (_, leaf) = X509Certificate::from_der(&leaf).unwrap();
    u64::try_from(&leaf.tbs_certificate.serial).unwrap()
}

async fn until_shown(server: &Server, config: &Arc<rustls::ClientConfig>, serial: u64) {
    soon(async { while serial_shown(server, config.clone()).await != serial {} }).await;
}

/// Calls without pause, over one connection or a new one each time.
fn load(
    server: &Server,
    config: &Arc<rustls::ClientConfig>,
    over: &Arc<AtomicBool>,
    calls: &Count,
) -> JoinSet<()> {
    let mut callers = JoinSet::new();
    for one_connection in [true, true, false, false] {
        let (address, config) = (server.tcp(), config.clone());
        let (over, calls) = (over.clone(), calls.clone());
        callers.spawn(async move {
            let mut kept = tls_client(address, config.clone()).await.unwrap();
            while !over.load(Ordering::SeqCst) {
                if !one_connection {
                    kept = tls_client(address, config.clone()).await.expect("a new connection");
                }
                play(&mut kept, "whoami").await.expect("a call during the reload");
                calls.add();
            }
        });
    }
    callers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_change_without_one_failed_call() {
    let files = TlsFiles::new();
    let server = files.serve(quick()).await;
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    let (over, calls) = (Arc::new(AtomicBool::new(false)), Count::default());
    let mut callers = load(&server, &config, &over, &calls);
    for serial in 2..6 {
        let before = calls.get();
        let issued = files.authority.server(serial);
        // The certificate first: for a while it does not fit the key.
        files.put("cert.pem", &issued.cert);
        tokio::time::sleep(Duration::from_millis(60)).await;
        assert_eq!(serial_shown(&server, config.clone()).await, serial - 1);
        files.put("key.pem", &issued.key);
        until_shown(&server, &config, serial).await;
        until(|| calls.get() > before + 20).await;
    }
    over.store(true, Ordering::SeqCst);
    while let Some(done) = callers.join_next().await {
        done.expect("no call failed");
    }
    assert!(!log_lines("certificates not reloaded").is_empty(), "the misfit was logged");
}

#[tokio::test]
async fn a_flip_of_a_link_is_a_change() {
    let files = TlsFiles::new();
    // As Kubernetes mounts a secret: ..data is a link to a directory, and the
    // files are links through it.
    for (directory, serial) in [("..v1", 11), ("..v2", 12)] {
        std::fs::create_dir(files.path(directory)).unwrap();
        let issued = files.authority.server(serial);
        files.put(&format!("{directory}/cert.pem"), &issued.cert);
        files.put(&format!("{directory}/key.pem"), &issued.key);
    }
    let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, files.path(name)).unwrap();
    link("..v1", "..data");
    for name in ["cert.pem", "key.pem"] {
        std::fs::remove_file(files.path(name)).unwrap();
        link(&format!("..data/{name}"), name);
    }
    let server = files.serve(quick()).await;
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    assert_eq!(serial_shown(&server, config.clone()).await, 11);
    link("..v2", "..data_tmp");
    std::fs::rename(files.path("..data_tmp"), files.path("..data")).unwrap();
    until_shown(&server, &config, 12).await;
}

#[tokio::test]
async fn what_does_not_load_leaves_the_old_in_place() {
    let files = TlsFiles::new();
    let server = files.serve(quick()).await;
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    let mut expired = CertificateParams::new(["localhost".into()]).unwrap();
    expired.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let expired = files.authority.issue(&expired);
    for (cert, key) in [("", ""), ("garbage", "garbage"), (&*expired.cert, &*expired.key)] {
        files.put("cert.pem", cert);
        files.put("key.pem", key);
        tokio::time::sleep(Duration::from_millis(80)).await;
        assert_eq!(serial_shown(&server, config.clone()).await, 1);
    }
    std::fs::remove_file(files.path("cert.pem")).unwrap();
    tokio::time::sleep(Duration::from_millis(80)).await;
    assert_eq!(serial_shown(&server, config.clone()).await, 1);
    files.put_server(2);
    until_shown(&server, &config, 2).await;
}

#[tokio::test]
async fn a_callers_authority_can_be_replaced() {
    let files = TlsFiles::new();
    let server = files.serve(quick()).await;
    let next = Authority::new("the next authority");
    let old = files.trusting(Some(&files.authority.client("billing", 1)));
    let new = files.trusting(Some(&next.client("billing", 1)));
    let mut open = tls_client(server.tcp(), old.clone()).await.unwrap();
    play(&mut open, "whoami").await.unwrap();
    verdict(&server, new.clone()).await.unwrap_err();
    files.put("ca.pem", &next.pem());
    soon(async { while verdict(&server, new.clone()).await.is_err() {} }).await;
    verdict(&server, old).await.unwrap_err();
    let status = play(&mut open, "whoami").await.unwrap_err();
    assert_status(&status, Code::Unauthenticated, "InvalidAccessKeyId.NotFound");
}

#[tokio::test]
async fn files_may_be_pem_as_people_have_it() {
    let files = TlsFiles::new();
    let issued = files.authority.server(1);
    files.put("crl.pem", &files.authority.revoking(&[9], Duration::from_hours(1)));
    let revoked = std::fs::read_to_string(files.path("crl.pem")).unwrap();
    let lax = |text: &str| format!("\u{feff}{}", text.replace('\n', " \t\r\n\r\n"));
    for (name, text) in [
        ("cert.pem", &issued.cert),
        ("key.pem", &issued.key),
        ("ca.pem", &files.authority.pem()),
        ("crl.pem", &revoked),
    ] {
        files.put(name, &lax(text));
    }
    let server = files.serve_with_crl(Limits::default()).await;
    let [good, revoked] = [1, 9].map(|serial| files.authority.client("billing", serial));
    let mut client = tls_client(server.tcp(), files.trusting(Some(&good))).await.unwrap();
    assert_eq!(play(&mut client, "whoami").await.unwrap().key_id, "cn:billing");
    assert!(verdict(&server, files.trusting(Some(&revoked))).await.is_err());
}

#[tokio::test]
async fn files_that_are_of_no_use_are_named() {
    let files = TlsFiles::new();
    files.put("crl.pem", &files.authority.revoking(&[7], Duration::from_hours(1)));
    let config = files
        .config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem", crl = "crl.pem""#);
    let sound = |name: &str| std::fs::read_to_string(files.path(name)).unwrap();
    let stranger = files.authority.server(3);
    for (name, text, says) in [
        ("cert.pem", "", "no certificate"),
        ("cert.pem", &*stranger.cert, "does not fit the certificate"),
        ("key.pem", "", "no unencrypted private key"),
        ("key.pem", &*sound("cert.pem"), "no unencrypted private key"),
        ("ca.pem", "", "no certificate"),
        ("ca.pem", &*stranger.key, "no certificate"),
        ("crl.pem", "", "no certificate revocation list"),
    ] {
        let before = sound(name);
        files.put(name, text);
        let error = Listener::bind(&config.listeners[0]).await.unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let error = error.to_string();
        assert!(error.contains(says) && error.contains(".pem: "), "{name}: {error}");
        files.put(name, &before);
    }
    std::fs::remove_file(files.path("ca.pem")).unwrap();
    let error = Listener::bind(&config.listeners[0]).await.unwrap_err().to_string();
    assert!(error.contains("ca.pem: cannot be read"), "{error}");
}

#[tokio::test]
async fn a_private_key_that_others_can_read_is_refused() {
    let files = TlsFiles::new();
    let config = files.config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#);
    let chmod = |mode| {
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(files.path("key.pem"), permissions).unwrap();
    };
    for mode in [0o644, 0o604, 0o660] {
        chmod(mode);
        let error = Listener::bind(&config.listeners[0]).await.unwrap_err();
        assert_eq!(error.exit_code(), 78);
        let error = error.to_string();
        assert!(error.contains("key.pem: is not safe: its mode is"), "{mode:o}: {error}");
    }
    // Our own group may read it: a secret of Kubernetes has the pod's.
    for mode in [0o440, 0o400, 0o600] {
        chmod(mode);
        Listener::bind(&config.listeners[0]).await.unwrap();
    }
}

/// Warnings that were logged of this test's files.
fn logged(files: &TlsFiles) -> Vec<String> {
    let lines = log_lines("a certificate needs attention");
    let warnings = lines.iter().map(|line| line["warning"].as_str().unwrap().to_owned());
    let folder = files.path("").display().to_string();
    warnings.filter(|warning| warning.starts_with(&folder)).collect()
}

#[tokio::test]
async fn what_will_expire_is_told_at_start_and_on_reload() {
    let files = TlsFiles::new();
    let server_until = |lasts: Duration| {
        let mut params = CertificateParams::new(["localhost".into()]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + lasts;
        files.authority.issue(&params)
    };
    let day = Duration::from_hours(24);
    let soon_over = server_until(day * 10 + Duration::from_hours(1));
    files.put("cert.pem", &soon_over.cert);
    files.put("key.pem", &soon_over.key);
    let _server = files.serve(quick()).await;
    until(|| !logged(&files).is_empty()).await;
    let told = logged(&files);
    assert!(told[0].contains("cert.pem: the certificate expires in 10 days, on 20"), "{told:?}");
    assert!(told[0].contains("renew it"), "{told:?}");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(logged(&files).len(), 1, "not at each look at the files");

    let sooner = server_until(day * 3 + Duration::from_hours(1));
    files.put("cert.pem", &sooner.cert);
    files.put("key.pem", &sooner.key);
    until(|| logged(&files).len() == 2).await;
    assert!(logged(&files)[1].contains("expires in 3 days"), "{:?}", logged(&files));

    let good = server_until(day * 31);
    files.put("key.pem", &good.key);
    files.put("cert.pem", &good.cert);
    let config = files.config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#);
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("TLS") };
    assert!(Tls::load(tls).unwrap().warnings().is_empty());
}

#[tokio::test]
async fn certificates_that_clients_refuse_are_named() {
    let files = TlsFiles::new();
    let config = files.config(r#"cert = "cert.pem", key = "key.pem", client_ca = "ca.pem""#);
    let Callers::Mtls(tls) = config.listeners[0].callers() else { panic!("TLS") };
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/files");
    for (to, from) in [("cert.pem", "certificate"), ("key.pem", "private")] {
        let text = std::fs::read_to_string(format!("{fixtures}/version_1.{from}.pem")).unwrap();
        files.put(to, &text);
    }
    let error = Tls::load(tls).unwrap_err().to_string();
    let named = error.contains("cert.pem: holds an X.509 certificate of version 1");
    assert!(named && !error.contains("does not fit"), "{error}");

    // `openssl req -x509` makes such a one.
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    files.put("cert.pem", &params.self_signed(&key).unwrap().pem());
    files.put("key.pem", &key.serialize_pem());
    let warnings = Tls::load(tls).unwrap().warnings();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("cert.pem: the certificate has no subjectAltName"));
    assert!(warnings[1].contains("cert.pem: the certificate is an authority's (CA:TRUE)"));
}

#[tokio::test]
async fn hangup_looks_at_once() {
    let files = TlsFiles::new();
    let limits = Limits { reload_interval: Duration::from_hours(1), ..Limits::default() };
    let server = files.serve(limits).await;
    let config = files.trusting(Some(&files.authority.client("billing", 1)));
    assert_eq!(serial_shown(&server, config.clone()).await, 1);
    files.put_server(2);
    let ourselves = rustix::process::getpid();
    rustix::process::kill_process(ourselves, rustix::process::Signal::HUP).unwrap();
    until_shown(&server, &config, 2).await;
}
