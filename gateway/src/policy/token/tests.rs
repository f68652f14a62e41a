//! What tokens of every kind come to. Good ones are also those of another implementation (`vectors.json`).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests may panic")]

use super::*;
use crate::domain::Zones;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use proptest::prelude::*;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// When the tokens of these tests are in force.
const NOW: u64 = 1_800_000_100;
const DIRECTORY: &str = "72f988bf-86f1-41af-91ab-2d7cd011db47";

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn keys() -> KeySet {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": encode(signer().public_key())});
    KeySet::read(json!({"keys": [key]}).to_string().as_bytes()).unwrap()
}

/// Signed by our key, whatever it says.
pub(super) fn signed(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", encode(header), encode(claims));
    format!("{message}.{}", encode(signer().sign(message.as_bytes())))
}

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "k1", "typ": "JWT"})
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example/", "aud": "api://tidegate", "azp": "app-1", "exp": NOW + 600, "nbf": NOW - 100,
        "iat": NOW - 100, "scp": "chat.read chat.write", "roles": ["Chat.User"], "tid": DIRECTORY,
    })
}

fn with(mut value: Value, name: &str, new: Value) -> String {
    value[name] = new;
    value.to_string()
}

fn issuer() -> Issuer {
    Issuer {
        names: vec![IssuerPattern::new("https://id.example/").unwrap()],
        audiences: vec!["api://tidegate".into()],
        directories: vec![DIRECTORY.into()],
        algorithms: Algorithms::ALL,
        requirements: vec![Requirement { claim: "scp".into(), values: vec!["chat.read".into()], all: false }],
        leeway: 60,
        residency: None,
        consumer: Mapping::ByClaim { claim: "azp".into(), map: [("app-1".into(), 3)].into(), other: None },
        kept: vec!["azp".into(), "none".into(), "tid".into()],
    }
}

fn judge(text: &str) -> Result<Admitted, Flaw> {
    issuer().admit(&Token::read(text)?, &keys(), NOW)
}

#[test]
fn a_good_token_names_its_consumer_its_claims_and_its_end() {
    let admitted = judge(&signed(&header().to_string(), &claims().to_string())).unwrap();
    let kept: Vec<(&str, &str)> = admitted.claims.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!((admitted.consumer, admitted.expires), (3, NOW + 600 + 60));
    assert_eq!(kept, [("azp", "app-1"), ("tid", DIRECTORY)]);
}

#[test]
fn tokens_of_another_implementation_are_verified_and_only_with_their_own_key() {
    let vectors: Value = serde_json::from_str(include_str!("vectors.json")).unwrap();
    let set = KeySet::read(json!({"keys": vectors["keys"]}).to_string().as_bytes()).unwrap();
    assert_eq!(set.len(), 4, "P-521, short RSA, oct and keys for encryption are passed over");
    let judge = |name: &str, issuer: &Issuer| {
        issuer.admit(&Token::read(vectors["tokens"][name].as_str().unwrap()).unwrap(), &set, NOW).map(|ok| ok.consumer)
    };
    for name in ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"] {
        assert_eq!(judge(name, &issuer()), Ok(3), "{name}");
        let narrowed = Algorithms::of(Algorithm::ALL.into_iter().filter(|one| one.name() != name));
        assert_eq!(judge(name, &Issuer { algorithms: narrowed, ..issuer() }), Err(Flaw::Algorithm), "{name}");
    }
    for (name, flaw) in [
        ("HS256", Flaw::Algorithm),
        ("ES512", Flaw::Algorithm),
        ("ES256-der", Flaw::Signature),
        ("RS256-short", Flaw::KeyUnknown),
    ] {
        assert_eq!(judge(name, &issuer()), Err(flaw), "{name}");
    }
    // The same signature under another of the issuer's keys.
    let text = vectors["tokens"]["ES256"].as_str().unwrap();
    let (_, rest) = text.split_once('.').unwrap();
    for (kid, flaw) in [("ES384", Flaw::Algorithm), ("rsa", Flaw::Algorithm), ("ES256", Flaw::Signature)] {
        let forged = format!("{}.{rest}", encode(json!({"alg": "ES256", "kid": kid, "typ": "jwt"}).to_string()));
        assert_eq!(issuer().admit(&Token::read(&forged).unwrap(), &set, NOW), Err(flaw), "{kid}");
    }
}

#[test]
fn headers_that_bring_keys_or_change_the_meaning_are_refused_though_signed() {
    let body = claims().to_string();
    for (name, value) in [
        ("crit", json!(["exp"])),
        ("jku", json!("https://evil.example/keys")),
        ("x5u", json!("https://evil.example/chain")),
        ("x5c", json!(["AAAA"])),
        ("jwk", json!({"kty": "OKP", "crv": "Ed25519", "x": "AAAA"})),
        ("b64", json!(false)),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("typ", json!("dpop+jwt")),
        ("typ", json!("logout+jwt")),
    ] {
        assert_eq!(judge(&signed(&with(header(), name, value), &body)), Err(Flaw::Header), "{name}");
    }
    for (name, value, flaw) in [
        ("alg", json!("none"), Flaw::Algorithm),
        ("alg", json!("None"), Flaw::Algorithm),
        ("alg", json!("HS256"), Flaw::Algorithm),
        ("alg", json!("eddsa"), Flaw::Algorithm),
        ("alg", json!("RS256"), Flaw::Algorithm),
        ("alg", json!("E".repeat(65)), Flaw::Malformed),
        ("alg", json!(7), Flaw::Malformed),
        ("alg", json!(null), Flaw::Malformed),
        ("alg", json!(["EdDSA"]), Flaw::Malformed),
        ("typ", json!(1), Flaw::Malformed),
        ("kid", json!(1), Flaw::Malformed),
        ("kid", json!("k".repeat(257)), Flaw::Malformed),
        ("kid", json!("k2"), Flaw::KeyUnknown),
        ("kid", json!("../../k1"), Flaw::KeyUnknown),
    ] {
        assert_eq!(judge(&signed(&with(header(), name, value.clone()), &body)), Err(flaw), "{name} {value}");
    }
    for absent in ["typ", "kid"] {
        let mut header = header();
        header.as_object_mut().unwrap().remove(absent);
        assert!(judge(&signed(&header.to_string(), &body)).is_ok(), "{absent} may be absent");
    }
}

#[test]
fn forms_that_are_no_token_are_malformed() {
    let (head, body) = (header().to_string(), claims().to_string());
    let good = signed(&head, &body);
    let parts: Vec<&str> = good.split('.').collect();
    let nested = format!("{{\"alg\":\"EdDSA\",\"x\":{}{}}}", "[".repeat(2000), "]".repeat(2000));
    let many: String = (0..200).fold(String::new(), |all, index| format!("{all},\"c{index}\":1"));
    for (what, text) in [
        ("nothing", String::new()),
        ("two dots", "..".to_owned()),
        ("no dot", good.replace('.', "")),
        ("one dot", format!("{}.{}", parts[0], parts[1])),
        ("three dots", format!("{good}.AAAA")),
        ("no header", format!(".{}.{}", parts[1], parts[2])),
        ("no claims", format!("{}..{}", parts[0], parts[2])),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("padding", format!("{}.{}.{}==", parts[0], parts[1], parts[2])),
        ("standard alphabet", format!("{}.{}.{}", parts[0], parts[1], "+/".repeat(43))),
        ("a space", format!("{}. {}.{}", parts[0], parts[1], parts[2])),
        ("a line break", format!("{good}\n")),
        ("leftover bits", format!("{}.{}.{}", parts[0], parts[1], "B".repeat(86))),
        ("huge", format!("{}.{}.{}", parts[0], "A".repeat(TOKEN_LENGTH_MAX), parts[2])),
        ("a huge signature", format!("{}.{}.{}", parts[0], parts[1], "A".repeat(1500))),
        ("header is a list", signed("[]", &body)),
        ("header is a text", signed("\"alg\"", &body)),
        ("header is not UTF-8", format!("{}.{}.{}", encode([b'{', 0xff, b'}']), parts[1], parts[2])),
        ("header without alg", signed("{}", &body)),
        ("header with alg twice", signed(r#"{"alg":"EdDSA","alg":"EdDSA","kid":"k1"}"#, &body)),
        ("header with alg twice, escaped", signed("{\"alg\":\"EdDSA\",\"\\u0061lg\":\"none\"}", &body)),
        ("header with rubbish behind", signed(&format!("{head}x"), &body)),
        ("claims are a list", signed(&head, "[]")),
        ("claims are cut", signed(&head, &body[..body.len() - 1])),
        ("claims twice", signed(&head, &body.replacen('{', r#"{"aud":"x","#, 1))),
        ("too many claims", signed(&head, &body.replacen('}', &format!("{many}}}"), 1))),
    ] {
        assert_eq!(judge(&text), Err(Flaw::Malformed), "{what}");
    }
    // Depth alone does no harm: what is nested is not read.
    assert!(matches!(judge(&signed(&nested, &body)), Err(Flaw::Malformed | Flaw::Algorithm) | Ok(_)));
}

#[test]
fn claims_are_judged_each_by_its_type_and_value() {
    let head = header().to_string();
    for (name, value, flaw) in [
        ("iss", json!("https://id.example"), Flaw::Issuer),
        ("iss", json!("https://id.example//"), Flaw::Issuer),
        ("iss", json!(["https://id.example/"]), Flaw::Claims),
        ("iss", json!(null), Flaw::Claims),
        ("aud", json!("api://other"), Flaw::Audience),
        ("aud", json!(["api://other", "API://tidegate"]), Flaw::Audience),
        ("aud", json!([]), Flaw::Audience),
        ("aud", json!({"x": 1}), Flaw::Claims),
        ("aud", json!([1]), Flaw::Claims),
        ("exp", json!(NOW - 60), Flaw::Expired),
        ("exp", json!(0), Flaw::Expired),
        ("exp", json!(null), Flaw::Claims),
        ("exp", json!((NOW + 600).to_string()), Flaw::Claims),
        ("exp", json!(-1), Flaw::Claims),
        ("exp", json!(true), Flaw::Claims),
        ("exp", json!([NOW + 600]), Flaw::Claims),
        ("exp", json!(u64::MAX), Flaw::Claims),
        ("exp", json!((NOW + 600) * 1000), Flaw::Claims),
        ("exp", json!(1e300), Flaw::Claims),
        ("nbf", json!(NOW + 61), Flaw::NotYetValid),
        ("nbf", json!(NOW as f64 + 60.5), Flaw::NotYetValid),
        ("nbf", json!("0"), Flaw::Claims),
        ("iat", json!(NOW + 3600), Flaw::NotYetValid),
        ("iat", json!(-5), Flaw::Claims),
        ("tid", json!("11111111-86f1-41af-91ab-2d7cd011db47"), Flaw::Directory),
        ("scp", json!("chat.readall chat"), Flaw::Scope),
        ("scp", json!(["chat"]), Flaw::Scope),
        ("scp", json!(7), Flaw::Claims),
        ("azp", json!("app-2"), Flaw::Consumer),
        ("tid", json!(7), Flaw::Claims),
    ] {
        assert_eq!(judge(&signed(&head, &with(claims(), name, value.clone()))), Err(flaw), "{name}: {value}");
    }
    for (name, value) in [
        ("aud", json!(["x", "api://tidegate"])),
        ("exp", json!(NOW - 59)),
        ("exp", json!(NOW as f64 + 0.5)),
        ("nbf", json!(NOW + 60)),
        ("scp", json!(["chat.read"])),
        ("tid", json!(DIRECTORY.to_uppercase())),
        ("azp", json!(["x", "app-1"])),
    ] {
        let judged = judge(&signed(&head, &with(claims(), name, value.clone())));
        assert!(judged.is_ok() || name == "azp", "{name}: {value} {judged:?}");
    }
    let overflow = claims().to_string().replace(&(NOW + 600).to_string(), "1e999");
    assert_eq!(judge(&signed(&head, &overflow)), Err(Flaw::Claims), "a number beyond numbers");
}

#[test]
fn absent_claims_are_flaws_only_where_they_are_needed() {
    for (name, flaw) in [
        ("iss", Some(Flaw::Claims)),
        ("aud", Some(Flaw::Audience)),
        ("exp", Some(Flaw::Claims)),
        ("nbf", None),
        ("iat", None),
        ("tid", Some(Flaw::Directory)),
        ("scp", Some(Flaw::Scope)),
        ("azp", Some(Flaw::Consumer)),
    ] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(name);
        assert_eq!(judge(&signed(&header().to_string(), &claims.to_string())).err(), flaw, "{name}");
    }
}

#[test]
fn an_entra_issuer_is_the_one_of_the_tokens_own_directory() {
    let other = "11111111-2222-3333-4444-555555555555";
    let names = ["https://login.microsoftonline.com/{tenant}/v2.0", "https://sts.windows.net/{tenant}/"];
    let entra = Issuer {
        names: names.iter().map(|name| IssuerPattern::new(name).unwrap()).collect(),
        directories: vec![DIRECTORY.into()],
        ..issuer()
    };
    for (iss, tid, verdict) in [
        (names[0].replace("{tenant}", DIRECTORY), DIRECTORY, Ok(3)),
        (names[1].replace("{tenant}", DIRECTORY), DIRECTORY, Ok(3)),
        (names[0].replace("{tenant}", other), other, Err(Flaw::Directory)),
        (names[0].replace("{tenant}", DIRECTORY), other, Err(Flaw::Issuer)),
        (names[0].replace("{tenant}", ""), "", Err(Flaw::Issuer)),
        (names[0].to_owned(), DIRECTORY, Err(Flaw::Issuer)),
        (format!("https://login.microsoftonline.com/{DIRECTORY}/v2.0/"), DIRECTORY, Err(Flaw::Issuer)),
    ] {
        let mut claims = claims();
        claims["iss"] = json!(iss);
        claims["tid"] = json!(tid);
        let token = Token::read(&signed(&header().to_string(), &claims.to_string())).unwrap();
        assert_eq!(entra.admit(&token, &keys(), NOW).map(|ok| ok.consumer), verdict, "{iss} {tid}");
    }
    assert_eq!(IssuerPattern::new("{tenant}{tenant}"), Err("has the placeholder twice"));
}

#[test]
fn requirements_want_one_value_or_all() {
    for (values, all, holds) in [
        (&["chat.read", "other"][..], false, true),
        (&["chat.read", "other"], true, false),
        (&["chat.read", "chat.write"], true, true),
        (&["other"], false, false),
    ] {
        let requirement =
            Requirement { claim: "scp".into(), values: values.iter().map(|value| (*value).into()).collect(), all };
        let issuer = Issuer { requirements: vec![requirement], ..issuer() };
        let token = Token::read(&signed(&header().to_string(), &claims().to_string())).unwrap();
        assert_eq!(issuer.admit(&token, &keys(), NOW).is_ok(), holds, "{values:?} {all}");
    }
}

#[test]
fn key_sets_are_bounded_and_useless_ones_refused() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 32])});
    let set = |keys: Vec<Value>| KeySet::read(json!({"keys": keys}).to_string().as_bytes()).map(|set| set.len());
    assert_eq!(set(vec![key.clone(); KEYS_MAX]), Ok(KEYS_MAX));
    assert_eq!(set(vec![key.clone(); KEYS_MAX + 1]), Err(KeySetError::TooMany));
    assert_eq!(set(vec![json!(7), json!({"kty": 1}), key.clone()]), Ok(1));
    for bad in [
        json!({"kty": "OKP", "crv": "X25519", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 31])}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": "!"}),
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "HS256", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "none", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "use": "enc", "x": encode([1; 32])}),
        json!({"kty": "OKP", "crv": "Ed25519", "key_ops": ["sign"], "x": encode([1; 32])}),
        json!({"kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": encode([0; 256]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": encode([0xff; 2000]), "e": "AQAB"}),
        json!({"kty": "RSA", "n": encode([0xff; 256]), "e": encode([1; 5])}),
        json!({"kty": "oct", "k": encode([1; 32])}),
    ] {
        assert_eq!(set(vec![bad.clone()]), Err(KeySetError::NoKey), "{bad}");
    }
    for bad in ["", "{}", "[]", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", "<html>"] {
        assert_eq!(KeySet::read(bad.as_bytes()), Err(KeySetError::Shape), "{bad}");
    }
    assert_eq!(KeySet::read(&vec![b' '; SET_SIZE_MAX + 1]), Err(KeySetError::TooLarge));
}

#[test]
fn labels_are_distinct() {
    let labels: std::collections::BTreeSet<_> = Flaw::ALL.iter().map(|flaw| flaw.label()).collect();
    assert_eq!(labels.len(), Flaw::ALL.len());
}

proptest! {
    #[test]
    fn a_changed_token_is_never_admitted(at in 0_usize..600, bit in 0_u32..7) {
        let good = signed(&header().to_string(), &claims().to_string());
        let mut bytes = good.clone().into_bytes();
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        let text = String::from_utf8(bytes).unwrap();
        prop_assert!(judge(&text).is_err(), "{text}");
    }

    #[test]
    fn anything_is_judged_without_a_panic(text in ".{0,300}", header in ".{0,200}", claims in ".{0,200}") {
        let _ = judge(&text);
        let _ = judge(&signed(&header, &claims));
        let _ = KeySet::read(text.as_bytes());
    }
}

#[test]
fn a_token_is_bound_by_every_value_of_its_claim_of_residency() {
    let map: BTreeMap<Box<str>, usize> = [("EUR".into(), 0), ("CHE".into(), 2)].into();
    let judge = |value: Option<Value>, required| {
        let issuer =
            Issuer { residency: Some(ResidencyClaim { claim: "pdl".into(), map: map.clone(), required }), ..issuer() };
        let mut claims = claims();
        if let Some(value) = value {
            claims["pdl"] = value;
        }
        let token = Token::read(&signed(&header().to_string(), &claims.to_string())).unwrap();
        issuer.admit(&token, &keys(), NOW).map(|admitted| admitted.zones)
    };
    let both = Zones::one(0).and(Zones::one(2));
    for (value, verdict) in [
        (json!("EUR"), Ok(Zones::one(0))),
        (json!(["EUR", "CHE"]), Ok(both)),
        (json!("NAM"), Err(Flaw::Residency)),
        (json!(["EUR", "NAM"]), Err(Flaw::Residency)),
        (json!(""), Err(Flaw::Residency)),
        (json!([]), Err(Flaw::Residency)),
        (json!(7), Err(Flaw::Claims)),
    ] {
        assert_eq!(judge(Some(value.clone()), true), verdict, "{value}");
    }
    assert_eq!(judge(None, true), Err(Flaw::Residency), "a token that does not say it is refused");
    assert_eq!(judge(None, false), Ok(Zones::NONE), "where that is allowed it says nothing");
}
