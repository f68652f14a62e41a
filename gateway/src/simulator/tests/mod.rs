//! Tests of the room through sockets: answers, faults, counters. No fixed ports, deadlines instead of sleeps.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::expect_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "tests may panic and measure"
)]

mod answers;
mod faults;
mod operations;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Control, Region, RegionOptions, Stats};

const CHAT: &str = "/openai/deployments/gpt-prod/chat/completions?api-version=2024-10-21";
const PATIENCE: Duration = Duration::from_secs(10);

async fn region(options: RegionOptions) -> Region {
    Region::start(options, SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

async fn sweden() -> Region {
    region(RegionOptions::new("swedencentral")).await
}

/// An answer, read to its end; `broken` when it ended badly.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Vec<u8>,
    frames: usize,
    broken: bool,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

fn post(path: &str, body: &Value) -> Request<Full<Bytes>> {
    let builder = Request::post(path).header("host", "x").header("content-type", "application/json");
    builder.body(Full::new(Bytes::from(body.to_string()))).unwrap()
}

fn chat(stream: bool) -> Request<Full<Bytes>> {
    post(CHAT, &json!({"messages": [{"role": "user", "content": "12345"}], "stream": stream}))
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(path).header("host", "x").body(Full::default()).unwrap()
}

fn with(mut request: Request<Full<Bytes>>, name: &'static str, value: &'static str) -> Request<Full<Bytes>> {
    request.headers_mut().insert(name, value.parse().unwrap());
    request
}

async fn read(response: Response<hyper::body::Incoming>) -> Answer {
    let (head, mut body) = response.into_parts();
    let mut answer =
        Answer { status: head.status.as_u16(), headers: head.headers, body: Vec::new(), frames: 0, broken: false };
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => answer.body.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(_) => {
                answer.broken = true;
                break;
            }
        }
        answer.frames += 1;
    }
    answer
}

/// One request on a connection of its own; the error is that of connecting or of an answer that never began.
async fn send(region: &Region, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let work = async {
        let stream = TcpStream::connect(region.address()).await.map_err(|e| format!("connect: {e}"))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
        let answer = read(response).await;
        driver.abort();
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, work).await.map_err(|_elapsed| "hung".to_owned())?
}

async fn send_h2(region: &Region, request: Request<Full<Bytes>>) -> Result<Answer, String> {
    let work = async {
        let stream = TcpStream::connect(region.address()).await.map_err(|e| format!("connect: {e}"))?;
        let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.unwrap();
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(|e| format!("{e:?}"))?;
        let answer = read(response).await;
        driver.abort();
        Ok(answer)
    };
    tokio::time::timeout(PATIENCE, work).await.map_err(|_elapsed| "hung".to_owned())?
}

/// Waits until the counters look as wanted.
async fn until(control: &Control, wanted: impl Fn(&Stats) -> bool) -> Stats {
    let start = Instant::now();
    loop {
        let stats = control.stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(start.elapsed() < PATIENCE, "still {stats:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The `data:` payloads of a stream.
fn events(text: &str) -> Vec<String> {
    text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
}
