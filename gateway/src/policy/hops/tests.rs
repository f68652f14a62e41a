//! Tests of who is believed: a table of what proxies send, and what no client can forge.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

use super::*;
use proptest::prelude::*;

const ID: &str = "a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1";

fn hops(networks: &[&str]) -> Hops {
    Hops {
        networks: networks.iter().map(|text| text.parse::<crate::domain::Network>().unwrap()).collect(),
        ..Hops::default()
    }
}

fn client(hops: &Hops, peer: &str, forwarded: &[&str]) -> String {
    let client = hops.client(peer.parse().unwrap(), forwarded.iter().map(|value| value.as_bytes()));
    if client.port() == 0 { client.ip().to_string() } else { client.to_string() }
}

#[test]
fn the_client_is_the_right_most_address_that_is_not_ours() {
    let hops = hops(&["10.0.0.0/8", "2001:db8:1::/48"]);
    for (peer, forwarded, expected) in [
        // Nobody believes a stranger.
        ("192.0.2.1:5000", &["198.51.100.7"][..], "192.0.2.1:5000"),
        ("192.0.2.1:5000", &[], "192.0.2.1:5000"),
        // One trusted proxy.
        ("10.0.0.1:5000", &["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1:5000", &["198.51.100.7:4711"], "198.51.100.7:4711"),
        ("10.0.0.1:5000", &["2001:db8::7"], "2001:db8::7"),
        ("10.0.0.1:5000", &["[2001:db8::7]"], "2001:db8::7"),
        ("10.0.0.1:5000", &["[2001:db8::7]:4711"], "[2001:db8::7]:4711"),
        ("10.0.0.1:5000", &["::ffff:198.51.100.7"], "198.51.100.7"),
        ("[::ffff:10.0.0.1]:5000", &["198.51.100.7"], "198.51.100.7"),
        ("[2001:db8:1::9]:5000", &["198.51.100.7"], "198.51.100.7"),
        // What the client wrote in front of it is not read.
        ("10.0.0.1:5000", &["1.1.1.1, 10.9.9.9, 198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1:5000", &["1.1.1.1", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1:5000", &["garbage, 198.51.100.7"], "198.51.100.7"),
        // A chain of trusted proxies.
        ("10.0.0.1:5000", &["198.51.100.7, 10.0.0.3,10.0.0.2"], "198.51.100.7"),
        ("10.0.0.1:5000", &["1.1.1.1, 198.51.100.7", "10.0.0.3", "10.0.0.2"], "198.51.100.7"),
        // All of them ours: the first of them asked.
        ("10.0.0.1:5000", &["10.0.0.4, 10.0.0.3"], "10.0.0.4"),
        ("10.0.0.1:5000", &[], "10.0.0.1:5000"),
        ("10.0.0.1:5000", &["", " , "], "10.0.0.1:5000"),
        // What is no address ends the reading.
        ("10.0.0.1:5000", &["198.51.100.7, unknown, 10.0.0.2"], "10.0.0.2"),
        ("10.0.0.1:5000", &["198.51.100.7, _hidden"], "10.0.0.1:5000"),
        ("10.0.0.1:5000", &["198.51.100.7:99999"], "10.0.0.1:5000"),
        ("10.0.0.1:5000", &["[198.51.100.7]"], "10.0.0.1:5000"),
        ("10.0.0.1:5000", &["198.51.100.7, \"[2001:db8::7]\""], "10.0.0.1:5000"),
        ("10.0.0.1:5000", &["198.51.100.7,, 10.0.0.2,"], "198.51.100.7"),
    ] {
        assert_eq!(client(&hops, peer, forwarded), expected, "{peer} {forwarded:?}");
    }
    let long = vec!["10.0.0.2"; 10_000].join(",");
    assert_eq!(client(&hops, "10.0.0.1:5000", &["198.51.100.7", &long]), "10.0.0.2");
}

#[test]
fn front_door_tells_its_socket_before_its_client() {
    let hops = hops(&["10.0.0.0/8"]);
    let told = |socket: &str, client: &str| {
        let value = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
        let (socket, client) = (Box::leak(socket.into()), Box::leak(client.into()));
        hops.client_of_front_door(value(socket), value(client)).map(|address| address.ip().to_string())
    };
    assert_eq!(told("198.51.100.7", "1.1.1.1").as_deref(), Some("198.51.100.7"));
    assert_eq!(told("10.0.0.9", "1.1.1.1").as_deref(), Some("1.1.1.1"));
    assert_eq!(told("", "1.1.1.1").as_deref(), Some("1.1.1.1"));
    assert_eq!(told("10.0.0.9", "nonsense").as_deref(), Some("10.0.0.9"));
    assert_eq!(told("", ""), None);
}

#[test]
fn a_front_door_is_known_by_its_id() {
    let door = FrontDoor { listener: ListenerName::new("a").unwrap(), ids: vec![FrontDoorId::new(ID).unwrap()] };
    let upper = ID.to_ascii_uppercase();
    for (values, admitted) in [
        (&[ID][..], true),
        (&[upper.as_str()], true),
        (&[], false),
        (&[""], false),
        (&["a0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e2"], false),
        (&[ID, ID], false),
        (&["a0a0a0a0"], false),
    ] {
        assert_eq!(door.admits(values.iter().map(|value| value.as_bytes())), admitted, "{values:?}");
    }
    assert!(!format!("{door:?}").contains("a0a0"));
    for bad in ["", "a0a0a0a0bbbbccccdddde1e1e1e1e1e1", "g0a0a0a0-bbbb-cccc-dddd-e1e1e1e1e1e1", &ID[1..]] {
        assert_eq!(FrontDoorId::new(bad), Err(FrontDoorIdError), "{bad}");
    }
}

#[test]
fn a_request_that_comes_back_is_known() {
    let hops = Hops { passes_max: 2, ..Hops::default() };
    let passed = |via: &[&str]| hops.passed("tidegate-0a", via.iter().map(|value| value.as_bytes())).is_ok();
    for good in [
        &[][..],
        &["1.1 Azure"],
        &["1.1 tidegate-0b, 2 tidegate-0c (edge)", "1.1 proxy.example:8080"],
        &["1.1", "", ",,", "tidegate-0a"],
    ] {
        assert!(passed(good), "{good:?}");
    }
    for bad in [
        &["1.1 tidegate-0a"][..],
        &["1.1 Azure", "HTTP/1.1  tidegate-0a  (comment)"],
        &["1.1 tidegate-0b,1.1 tidegate-0b,1.1 tidegate-0b"],
        &["1.1 tidegate-0b", "2 tidegate-0c", "1.1 tidegate-0d"],
    ] {
        assert!(!passed(bad), "{bad:?}");
    }
    assert!(!passed(&[&["1.1 someone"; 40].join(", ")]));
}

proptest! {
    /// Whatever a client writes into the header, a trusted proxy adds its address behind it, and that one counts.
    #[test]
    fn a_client_cannot_choose_its_address(
        forged in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 0..6),
        real in any::<u32>(),
        joined in any::<bool>(),
    ) {
        let hops = hops(&["10.0.0.0/8"]);
        let real = IpAddr::from(real.to_be_bytes());
        prop_assume!(!hops.trusts(real));
        let mut values = forged;
        match values.last_mut().filter(|_| joined) {
            Some(last) => last.extend_from_slice(format!(", {real}").as_bytes()),
            None => values.push(real.to_string().into_bytes()),
        }
        let peer: SocketAddr = "10.0.0.1:5000".parse().unwrap();
        prop_assert_eq!(hops.client(peer, values.iter().map(Vec::as_slice)).ip(), real);
        let stranger = SocketAddr::new(real, 5000);
        prop_assert_eq!(hops.client(stranger, values.iter().map(Vec::as_slice)), stranger);
    }

    #[test]
    fn no_bytes_panic(values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 0..8)) {
        let hops = hops(&["0.0.0.0/0", "::/0"]);
        let _ = hops.client("10.0.0.1:5000".parse().unwrap(), values.iter().map(Vec::as_slice));
        let _ = hops.passed("tidegate-0a", values.iter().map(Vec::as_slice));
        let _ = hops.client_of_front_door(values.first().map(Vec::as_slice), values.last().map(Vec::as_slice));
    }
}
