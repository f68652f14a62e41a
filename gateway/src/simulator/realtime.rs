//! The realtime endpoint: a WebSocket that greets with `session.created`, answers the common client events, and sends
//! everything else back as it came. Faults before the 101 are `serve`'s; those inside the session strike here.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::body::{Body, Strike};
use super::call::Call;
use super::socket::{Connection, Cut};
use super::visit::{Manner, Visit, response};

/// Largest message taken.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// Appended to a client's key (RFC 6455, 1.3).
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// Deltas of one answer.
const DELTAS: usize = 3;

const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

/// Opens a session, or says why not.
pub(crate) fn open(visit: &Visit<'_>, call: Call, manner: Manner) -> Response<Body> {
    let request = &visit.head.headers;
    let key = request.get(header::SEC_WEBSOCKET_KEY);
    let (Some(key), Some(upgrade)) = (key, visit.head.extensions.get::<OnUpgrade>()) else {
        let body = Bytes::from_static(b"{\"error\":{\"code\":\"426\",\"message\":\"Upgrade Required\"}}");
        return visit.answer(call, StatusCode::UPGRADE_REQUIRED, visit.headers(), body);
    };
    let mut headers = visit.headers();
    accept(&mut headers, key, request);
    call.status(101);
    let deployment = visit.target.deployment.unwrap_or_default().to_owned();
    let session = Session {
        connection: Arc::clone(visit.connection),
        call,
        strike: manner.shape.strike,
        name: format!("{}/{deployment}", visit.shared.options.region),
        id: visit.id,
        sent: 0,
    };
    visit.connection.tunnel(tokio::spawn(run(session, upgrade.clone())));
    response(StatusCode::SWITCHING_PROTOCOLS, headers, Body::Whole(Bytes::new()))
}

fn accept(headers: &mut HeaderMap, key: &HeaderValue, request: &HeaderMap) {
    let mut digest = Sha1::new();
    digest.update(key.as_bytes());
    digest.update(GUID);
    let token = STANDARD.encode(digest.finalize());
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers
        .insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&token).unwrap_or(HeaderValue::from_static("-")));
    let offered = request.get(header::SEC_WEBSOCKET_PROTOCOL).and_then(|value| value.to_str().ok()).unwrap_or("");
    if offered.split(',').any(|name| name.trim() == "realtime") {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static("realtime"));
    }
}

/// One session.
struct Session {
    connection: Arc<Connection>,
    call: Call,
    /// What goes wrong after so many messages.
    strike: Option<(u64, Strike)>,
    /// `region/deployment`.
    name: String,
    id: u64,
    /// Messages sent.
    sent: u64,
}

type Wire = TokioIo<Upgraded>;

async fn run(mut session: Session, upgrade: OnUpgrade) {
    let Ok(upgraded) = upgrade.await else { return };
    let mut wire = TokioIo::new(upgraded);
    // The client's leaving is the usual end.
    let _ = session.talk(&mut wire).await;
    session.call.end();
}

/// One frame.
struct Frame {
    last: bool,
    opcode: u8,
    payload: Vec<u8>,
}

impl Session {
    async fn talk(&mut self, wire: &mut Wire) -> io::Result<()> {
        let greeting = json!({ "type": "session.created", "session": {
            "id": format!("sess_{:016x}", self.id), "object": "realtime.session", "model": self.name,
        }});
        self.say(wire, &greeting).await?;
        let mut message: Option<(u8, Vec<u8>)> = None;
        loop {
            let frame = read(wire).await?;
            match frame.opcode {
                CLOSE => {
                    write(wire, CLOSE, frame.payload.get(..2).unwrap_or_default()).await?;
                    return wire.shutdown().await;
                }
                PING => write(wire, PONG, &frame.payload).await?,
                PONG => {}
                opcode => {
                    let (kind, mut whole) = message.take().unwrap_or((opcode, Vec::new()));
                    whole.extend_from_slice(&frame.payload);
                    if whole.len() > MESSAGE_MAX {
                        return Ok(());
                    }
                    if frame.last {
                        self.answer(wire, kind, whole).await?;
                    } else {
                        message = Some((kind, whole));
                    }
                }
            }
        }
    }

    async fn answer(&mut self, wire: &mut Wire, kind: u8, message: Vec<u8>) -> io::Result<()> {
        let event = (kind == TEXT).then(|| serde_json::from_slice::<Value>(&message).ok()).flatten();
        match event.as_ref().and_then(|event| event.get("type")?.as_str()) {
            Some("session.update") => {
                self.say(wire, &json!({ "type": "session.updated", "session": { "model": self.name } })).await
            }
            Some("response.create") => {
                self.say(wire, &json!({ "type": "response.created" })).await?;
                for number in 1..=DELTAS {
                    let delta = json!({ "type": "response.output_text.delta", "delta": format!("token{number}") });
                    self.say(wire, &delta).await?;
                }
                let usage = json!({ "input_tokens": 8, "output_tokens": DELTAS, "total_tokens": 8 + DELTAS });
                self.say(wire, &json!({ "type": "response.done", "response": { "usage": usage } })).await
            }
            _ => self.send(wire, kind, &message).await,
        }
    }

    async fn say(&mut self, wire: &mut Wire, event: &Value) -> io::Result<()> {
        self.send(wire, TEXT, event.to_string().as_bytes()).await
    }

    async fn send(&mut self, wire: &mut Wire, opcode: u8, payload: &[u8]) -> io::Result<()> {
        if let Some((_, strike)) = self.strike.filter(|(after, _)| self.sent >= *after) {
            match strike {
                Strike::Stall(Some(pause)) => tokio::time::sleep(pause).await,
                Strike::Stall(None) => std::future::pending().await,
                Strike::Reset => {
                    // What was sent leaves the process first.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    self.connection.end(Cut::Reset);
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Strike::Truncate | Strike::Event(_) => return Err(io::ErrorKind::BrokenPipe.into()),
            }
        }
        self.sent += 1;
        write(wire, if opcode == BINARY { BINARY } else { TEXT }, payload).await
    }
}

async fn read(wire: &mut Wire) -> io::Result<Frame> {
    let mut head = [0; 2];
    wire.read_exact(&mut head).await?;
    let [first, second] = head;
    let length = match second & 0x7f {
        126 => u64::from(wire.read_u16().await?),
        127 => wire.read_u64().await?,
        short => u64::from(short),
    };
    let length =
        usize::try_from(length).ok().filter(|length| *length <= MESSAGE_MAX).ok_or(io::ErrorKind::InvalidData)?;
    let mut mask = [0; 4];
    if second & 0x80 != 0 {
        wire.read_exact(&mut mask).await?;
    }
    let mut payload = vec![0; length];
    wire.read_exact(&mut payload).await?;
    for (byte, key) in payload.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
    Ok(Frame { last: first & 0x80 != 0, opcode: first & 0x0f, payload })
}

async fn write(wire: &mut Wire, opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut head = vec![0x80 | opcode];
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(short @ 0..126), _) => head.push(short),
        (_, Ok(medium)) => {
            head.push(126);
            head.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            head.push(127);
            head.extend_from_slice(&(payload.len() as u64).to_be_bytes());
        }
    }
    wire.write_all(&head).await?;
    wire.write_all(payload).await?;
    wire.flush().await
}
