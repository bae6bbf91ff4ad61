//! TLS and mutual TLS with certificates made for the test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use weft_connect::{ClientTls, MllpClient, TlsError, TlsOptions};

use crate::site::{Site, admission, send, within};

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Issuer {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Certificate and key, PEM.
fn issue(authority: &Issuer, name: &str, usage: ExtendedKeyUsagePurpose) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, authority).unwrap().pem(), key.serialize_pem())
}

fn server(authority: &Issuer, clients: &Issuer) -> TlsOptions {
    let (certificate, key) = issue(authority, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    TlsOptions::from_pem(certificate.as_bytes(), key.as_bytes(), Some(clients.pem().as_bytes())).unwrap()
}

fn client(authority: &Issuer, identity: Option<&(String, String)>) -> ClientTls {
    let identity = identity.map(|(certificate, key)| (certificate.as_bytes(), key.as_bytes()));
    ClientTls::from_pem(authority.pem().as_bytes(), identity, "127.0.0.1").unwrap()
}

async fn site(mode: &str, tls: TlsOptions) -> Site {
    Site::with(&format!("tls = \"{mode}\""), |options| options.tls = Some(tls), |log| log).await
}

/// True where a message goes through.
async fn goes_through(site: &Site, tls: Option<&ClientTls>, control_id: &str) -> bool {
    let Ok(mut client) = within(MllpClient::connect(site.address(), tls)).await else { return false };
    within(client.send(&admission(control_id))).await.is_ok()
}

#[tokio::test]
async fn the_server_is_known_by_its_certificate() {
    let (ours, theirs) = (authority(), authority());
    let site = site("server", server(&ours, &theirs)).await;
    let mut connected = within(MllpClient::connect(site.address(), Some(&client(&ours, None)))).await.unwrap();
    assert_eq!(send(&mut connected, &admission("1")).await, "AA 1");
    assert!(!goes_through(&site, Some(&client(&theirs, None)), "2").await);
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn in_the_clear_nothing_goes_through() {
    let ours = authority();
    let site = site("server", server(&ours, &ours)).await;
    assert!(!goes_through(&site, None, "1").await);
    assert!(site.stored().await.is_empty());
}

#[tokio::test]
async fn the_sender_is_known_by_its_certificate() {
    let (ours, clients, strangers) = (authority(), authority(), authority());
    let site = site("mutual", server(&ours, &clients)).await;
    let known = issue(&clients, "pas", ExtendedKeyUsagePurpose::ClientAuth);
    let stranger = issue(&strangers, "pas", ExtendedKeyUsagePurpose::ClientAuth);
    let not_a_client = issue(&clients, "pas", ExtendedKeyUsagePurpose::ServerAuth);
    assert!(goes_through(&site, Some(&client(&ours, Some(&known))), "1").await);
    assert!(!goes_through(&site, Some(&client(&ours, Some(&stranger))), "2").await);
    assert!(!goes_through(&site, Some(&client(&ours, Some(&not_a_client))), "3").await);
    assert!(!goes_through(&site, Some(&client(&ours, None)), "4").await);
    assert_eq!(site.stored_ids().await, ["1"]);
}

#[tokio::test]
async fn large_messages_and_many_in_flight_over_tls() {
    let ours = authority();
    let site = site("server", server(&ours, &ours)).await;
    let mut connected = within(MllpClient::connect(site.address(), Some(&client(&ours, None)))).await.unwrap();
    let mut large = admission("large");
    large.extend_from_slice(format!("NTE|1||{}\r", "x".repeat(300_000)).as_bytes());
    let messages: Vec<Vec<u8>> = (0..50).map(|n| admission(&n.to_string())).chain([large.clone()]).collect();
    within(connected.write(messages.iter().map(Vec::as_slice))).await.unwrap();
    for _ in &messages {
        within(connected.receive()).await.unwrap();
    }
    let stored = site.stored().await;
    assert_eq!((stored.len(), stored[50].1.raw == large), (51, true));
}

#[tokio::test]
async fn shutdown_ends_tls_connections_cleanly() {
    let ours = authority();
    let site = site("server", server(&ours, &ours)).await;
    let mut connected = within(MllpClient::connect(site.address(), Some(&client(&ours, None)))).await.unwrap();
    assert_eq!(send(&mut connected, &admission("1")).await, "AA 1");
    let ending = tokio::spawn(site.shutdown());
    let error = within(connected.receive()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, "connection closed by the listener");
    drop(connected);
    within(ending).await.unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named_and_not_quoted() {
    let ours = authority();
    let (certificate, key) = issue(&ours, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    let (_, other_key) = issue(&ours, "127.0.0.1", ExtendedKeyUsagePurpose::ServerAuth);
    let check = |certificate: &str, key: &str, wanted: &str| {
        let error = TlsOptions::from_pem(certificate.as_bytes(), key.as_bytes(), None).unwrap_err();
        assert_eq!(error.to_string(), wanted);
    };
    check("", &key, "certificate holds no readable PEM section of its kind");
    check(&certificate, "-----BEGIN SECRET", "key holds no readable PEM section of its kind");
    check(&certificate, &other_key, "certificate and key cannot be used together");
    let error = ClientTls::from_pem(ours.pem().as_bytes(), None, "not a name").unwrap_err();
    assert!(matches!(error, TlsError::ServerName(_)));
}
