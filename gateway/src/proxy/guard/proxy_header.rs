//! PROXY protocol, versions 1 and 2: the line or the block in front of everything else in which a load balancer tells whom
//! it speaks for. Read byte for byte to its end and no further, bounded; extensions are skipped unread.
//!
//! It never decides who may send one: the listener's networks do.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt};

/// What version 2 begins with.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with.
const WORD: &[u8] = b"PROXY ";
/// Longest line of version 1, its end included.
const LINE_MAX: usize = 107;
/// Longest block of version 2 after its first 16 bytes: addresses and some hundred bytes of extensions.
const BLOCK_MAX: u16 = 2048;

/// There is no header, or one that nobody should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// Reads the header: the client's address, or `None` where the load balancer speaks for itself or does not know.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Malformed> {
    let mut begun = [0; SIGNATURE.len()];
    let mut length = 0;
    while let Some(rest) = begun.get_mut(length..).filter(|rest| !rest.is_empty()) {
        let more = stream.read(rest).await.map_err(|_broken| Malformed)?;
        length += more;
        let so_far = begun.get(..length).unwrap_or_default();
        if more == 0 || !(SIGNATURE.starts_with(so_far) || WORD.starts_with(so_far) || so_far.starts_with(WORD)) {
            return Err(Malformed);
        }
    }
    if begun == *SIGNATURE { block(stream).await } else { line(stream, &begun).await }
}

/// Version 1, of which `begun` was read: shorter than the shortest line there is.
async fn line(stream: &mut (impl AsyncRead + Unpin), begun: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let mut line = begun.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() >= LINE_MAX {
            return Err(Malformed);
        }
        line.push(stream.read_u8().await.map_err(|_broken| Malformed)?);
    }
    let text = line.get(WORD.len()..line.len() - 2).and_then(|text| std::str::from_utf8(text).ok());
    first(text.ok_or(Malformed)?)
}

/// What follows `PROXY ` in version 1.
fn first(text: &str) -> Result<Option<SocketAddr>, Malformed> {
    if text == "UNKNOWN" || text.starts_with("UNKNOWN ") {
        return Ok(None);
    }
    let mut words = text.split(' ');
    let mut next = || words.next().ok_or(Malformed);
    let address: fn(&str) -> Option<IpAddr> = match next()? {
        "TCP4" => |text| text.parse().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse().ok().map(IpAddr::V6),
        _ => return Err(Malformed),
    };
    let source = address(next()?).ok_or(Malformed)?;
    address(next()?).ok_or(Malformed)?;
    let source_port = port(next()?)?;
    port(next()?)?;
    if words.next().is_some() { Err(Malformed) } else { Ok(Some(SocketAddr::new(source.to_canonical(), source_port))) }
}

fn port(text: &str) -> Result<u16, Malformed> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().map_err(|_error| Malformed)
    } else {
        Err(Malformed)
    }
}

/// Version 2 after its signature.
async fn block(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Malformed> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await.map_err(|_broken| Malformed)?;
    let [command, family, high, low] = head;
    let length = u16::from_be_bytes([high, low]);
    if length > BLOCK_MAX {
        return Err(Malformed);
    }
    let mut payload = vec![0; usize::from(length)];
    stream.read_exact(&mut payload).await.map_err(|_broken| Malformed)?;
    second(command, family, &payload)
}

/// Command, family and payload of version 2.
fn second(command: u8, family: u8, payload: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match command {
        0x20 => return Ok(None),
        0x21 => {}
        _ => return Err(Malformed),
    }
    match family {
        // Unspecified, and Unix sockets: somebody without an address.
        0x00 | 0x31 => Ok(None),
        0x11 => {
            let (source, rest) = payload.split_first_chunk::<4>().ok_or(Malformed)?;
            let (_destination, ports) = rest.split_first_chunk::<4>().ok_or(Malformed)?;
            told(IpAddr::V4(Ipv4Addr::from(*source)), ports)
        }
        0x21 => {
            let (source, rest) = payload.split_first_chunk::<16>().ok_or(Malformed)?;
            let (_destination, ports) = rest.split_first_chunk::<16>().ok_or(Malformed)?;
            told(IpAddr::V6(Ipv6Addr::from(*source)), ports)
        }
        _ => Err(Malformed),
    }
}

/// The address with the first of two ports.
fn told(source: IpAddr, ports: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let ([high, low, _, _], _extensions) = ports.split_first_chunk::<4>().ok_or(Malformed)?;
    Ok(Some(SocketAddr::new(source.to_canonical(), u16::from_be_bytes([*high, *low]))))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests may panic")]
    use super::*;

    /// What is told, and what is left on the stream.
    async fn parse(mut bytes: &[u8]) -> (Result<Option<SocketAddr>, Malformed>, Vec<u8>) {
        let told = read(&mut bytes).await;
        (told, bytes.to_vec())
    }

    fn block_of(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, payload, b"GET"].concat()
    }

    #[tokio::test]
    async fn lines_of_version_one() {
        for (line, told) in [
            ("TCP4 192.0.2.7 198.51.100.1 56324 443", Some("192.0.2.7:56324")),
            ("TCP6 2001:db8::7 2001:db8::1 1 443", Some("[2001:db8::7]:1")),
            ("TCP6 ::ffff:192.0.2.7 ::1 1 443", Some("192.0.2.7:1")),
            ("UNKNOWN", None),
            ("UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535", None),
        ] {
            let (got, rest) = parse(format!("PROXY {line}\r\nGET").as_bytes()).await;
            assert_eq!(got, Ok(told.map(|address| address.parse().unwrap())), "{line}");
            assert_eq!(rest, b"GET", "{line}");
        }
        let long = format!("UNKNOWN {}", "x".repeat(100));
        for line in [
            "TCP4 192.0.2.7 198.51.100.1 56324",
            "TCP4 192.0.2.7 198.51.100.1 56324 443 1",
            "TCP4 192.0.2.7 198.51.100.1 +1 443",
            "TCP4 192.0.2.7 198.51.100.1 65536 443",
            "TCP4 2001:db8::7 198.51.100.1 1 443",
            "TCP4  192.0.2.7 198.51.100.1 1 443",
            "UDP4 192.0.2.7 198.51.100.1 1 443",
            "UNKNOWNS",
            long.as_str(),
        ] {
            assert_eq!(parse(format!("PROXY {line}\r\nGET").as_bytes()).await.0, Err(Malformed), "{line}");
        }
    }

    #[tokio::test]
    async fn blocks_of_version_two() {
        let four = [192, 0, 2, 7, 198, 51, 100, 1, 0x12, 0x34, 1, 187];
        let six = ["2001:db8::7", "2001:db8::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets()).concat();
        let six = [six.as_slice(), &[0, 80, 1, 187]].concat();
        let extended = [four.as_slice(), &[0xEE, 0, 5, 1, 0, 0, 0, 7]].concat();
        for (bytes, told) in [
            (block_of(0x21, 0x11, &four), Some("192.0.2.7:4660")),
            (block_of(0x21, 0x11, &extended), Some("192.0.2.7:4660")),
            (block_of(0x21, 0x21, &six), Some("[2001:db8::7]:80")),
            (block_of(0x20, 0x00, &[]), None),
            (block_of(0x20, 0x11, &four), None),
            (block_of(0x21, 0x00, &[]), None),
        ] {
            let (got, rest) = parse(&bytes).await;
            assert_eq!(got, Ok(told.map(|address| address.parse().unwrap())), "{bytes:?}");
            assert_eq!(rest, b"GET", "{bytes:?}");
        }
        let large = [four.as_slice(), &[0; 3000]].concat();
        for bytes in [
            block_of(0x22, 0x11, &four),
            block_of(0x11, 0x11, &four),
            block_of(0x21, 0x12, &four),
            block_of(0x21, 0x11, &[192, 0, 2, 7]),
            block_of(0x21, 0x21, &four),
            block_of(0x21, 0x11, &large),
            SIGNATURE.to_vec(),
        ] {
            assert_eq!(parse(&bytes).await.0, Err(Malformed), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn anything_else_is_refused_at_its_first_wrong_byte() {
        for bytes in [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"PROXX TCP4", b"\r\n\r\nGET", b"", b"PROXY "] {
            assert_eq!(parse(bytes).await.0, Err(Malformed), "{bytes:?}");
        }
    }
}
