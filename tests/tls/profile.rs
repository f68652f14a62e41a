//! What a scanner says: the listener keeps Mozilla's intermediate profile, with an ECDSA and with an RSA certificate.

use crate::common::setup;
use harness::{Setup, Sim, venv_python, within};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

/// As public CAs make them: 90 days, with what their rules want to be in it.
fn params(names: &[&str]) -> CertificateParams {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    params.not_before = epoch + (now - Duration::from_secs(3600));
    params.not_after = epoch + (now + Duration::from_secs(90 * 24 * 3600));
    params.use_authority_key_identifier_extension = true;
    params
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = params(&[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.distinguished_name.push(DnType::CommonName, "tidegate test authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn certificate(key: &KeyPair, authority: &CertifiedIssuer<'static, KeyPair>) -> String {
    let mut params = params(&["localhost"]);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.signed_by(key, authority).unwrap().pem()
}

/// An RSA key, PEM.
fn rsa() -> KeyPair {
    let mut openssl = Command::new("openssl");
    openssl.args(["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).stderr(Stdio::null());
    let output = openssl.output().expect("openssl runs");
    KeyPair::from_pem(&String::from_utf8(output.stdout).unwrap()).expect("a key")
}

/// What sslyze says of `setup`'s TLS listener.
async fn scanned(setup: Setup) -> String {
    let gateway = setup.start().await;
    let target = format!("localhost:{}", gateway.secure().port());
    let ca_file = gateway.file("ca.pem");
    let scan = tokio::task::spawn_blocking(move || {
        let mut scan = Command::new(venv_python());
        scan.args(["-m", "sslyze", "--mozilla_config=intermediate", "--certinfo_ca_file"]).arg(ca_file).arg(target);
        let output = scan.stdin(Stdio::null()).output().expect("sslyze runs");
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    });
    within("a scan", Duration::from_secs(120), scan).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_keeps_mozillas_intermediate_profile() {
    let sim = Sim::start("swedencentral").await;
    let authority = authority();
    for (kind, key) in [("ECDSA", KeyPair::generate().unwrap()), ("RSA", rsa())] {
        let setup = setup("{ certificate: { file: edge.pem }, key: { file: edge.key } }", &sim)
            .file("edge.pem", &certificate(&key, &authority))
            .file("edge.key", &key.serialize_pem())
            .file("ca.pem", &authority.pem());
        let told = scanned(setup).await;
        assert!(told.contains("OK - Compliant"), "{kind}: {told}");
    }
}
