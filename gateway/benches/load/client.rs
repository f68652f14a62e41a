//! The load: raw HTTP/1.1 over keep-alive connections, open or closed loop, and event streams read chunk by chunk.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One kind of load.
#[derive(Clone, Copy)]
pub enum Load {
    /// So many requests a second whatever the answers do; latency counts from the time a request was due.
    Open { rate: u32, connections: u32, body: usize },
    /// Every connection asks again as soon as it is answered.
    Closed { connections: u32, body: usize },
    /// Event streams of 50 chunks, 20 ms apart.
    Streams { connections: u32 },
}

/// What came of one load.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    pub answers: u64,
    pub failures: u64,
    /// Response chunks that carried events.
    pub chunks: u64,
    /// Chunks that carried more or fewer than one event.
    pub odd_chunks: u64,
    /// Latency to the end of an answer, to the first event for streams; µs.
    pub latencies: Vec<u64>,
    /// From the mock's write to our read; µs.
    pub delays: Vec<u64>,
    pub cpu: Duration,
}

impl Sample {
    fn absorb(&mut self, other: Self) {
        self.answers += other.answers;
        self.failures += other.failures;
        self.chunks += other.chunks;
        self.odd_chunks += other.odd_chunks;
        self.latencies.extend(other.latencies);
        self.delays.extend(other.delays);
    }
}

/// The `q`-quantile (0 to 1) in µs.
pub fn quantile(values: &[u64], q: f64) -> u64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let index = ((sorted.len() as f64 - 1.0) * q).max(0.0) as usize;
    sorted.get(index).copied().unwrap_or(0)
}

/// Runs one load for `time`.
pub fn run(load: Load, address: SocketAddr, time: Duration) -> Sample {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async move {
        let start = Instant::now() + Duration::from_millis(20);
        let (connections, request) = match load {
            Load::Open { connections, body, .. } | Load::Closed { connections, body } => {
                (connections, request(body, false))
            }
            Load::Streams { connections } => (connections, request(1024, true)),
        };
        let request = Arc::new(request);
        let tasks: Vec<_> = (0..connections)
            .map(|index| tokio::spawn(connection(load, address, Arc::clone(&request), (start, time), index)))
            .collect();
        let mut total = Sample::default();
        for task in tasks {
            total.absorb(task.await.unwrap());
        }
        total
    })
}

fn request(body: usize, stream: bool) -> Vec<u8> {
    let head = format!(r#"{{"model":"gpt-4o","stream":{stream},"messages":[{{"role":"user","content":""#);
    let tail = r#""}]}"#;
    let filler = "lorem ipsum dolor sit amet ".bytes().cycle();
    let mut text = head.clone().into_bytes();
    text.extend(filler.take(body.saturating_sub(head.len() + tail.len())));
    text.extend_from_slice(tail.as_bytes());
    let mut request = format!(
        "POST /openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nHost: bench.local\r\n\
         api-key: client-key-0123456789abcdef\r\nContent-Type: application/json\r\nUser-Agent: bench\r\nContent-Length: {}\r\n\r\n",
        text.len()
    )
    .into_bytes();
    request.extend_from_slice(&text);
    request
}

async fn connection(
    load: Load,
    address: SocketAddr,
    request: Arc<Vec<u8>>,
    (start, time): (Instant, Duration),
    index: u32,
) -> Sample {
    let mut sample = Sample::default();
    let mut socket: Option<TcpStream> = None;
    let mut turn = 0_u32;
    loop {
        let due = match load {
            Load::Open { rate, connections, .. } => {
                start + Duration::from_secs_f64(f64::from(index + turn * connections) / f64::from(rate))
            }
            Load::Closed { .. } => Instant::now().max(start),
            Load::Streams { connections } if turn == 0 => {
                start + Duration::from_secs_f64(f64::from(index) / f64::from(connections))
            }
            Load::Streams { .. } => Instant::now(),
        };
        if due >= start + time {
            return sample;
        }
        tokio::time::sleep_until(due.into()).await;
        turn += 1;
        match exchange(&mut socket, address, &request, due, &mut sample).await {
            Ok(()) => sample.answers += 1,
            Err(_broken) => {
                sample.failures += 1;
                socket = None;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }
}

async fn exchange(
    socket: &mut Option<TcpStream>,
    address: SocketAddr,
    request: &[u8],
    due: Instant,
    sample: &mut Sample,
) -> std::io::Result<()> {
    if socket.is_none() {
        let fresh = TcpStream::connect(address).await?;
        fresh.set_nodelay(true)?;
        *socket = Some(fresh);
    }
    let socket = socket.as_mut().unwrap();
    socket.write_all(request).await?;
    let mut buffer = Vec::with_capacity(4096);
    let header_end = loop {
        if socket.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
            break at + 4;
        }
    };
    let header = String::from_utf8_lossy(&buffer[..header_end]).to_ascii_lowercase();
    if !header.starts_with("http/1.1 200") {
        return Err(std::io::Error::other("status"));
    }
    buffer.drain(..header_end);
    match header.split("content-length: ").nth(1).and_then(|v| v.split('\r').next()) {
        Some(length) => {
            let length: usize = length.trim().parse().map_err(std::io::Error::other)?;
            while buffer.len() < length {
                if socket.read_buf(&mut buffer).await? == 0 {
                    return Err(std::io::ErrorKind::UnexpectedEof.into());
                }
            }
            sample.latencies.push(due.elapsed().as_micros() as u64);
            Ok(())
        }
        None => chunks(socket, buffer, due, sample).await,
    }
}

/// Reads a chunked body to its end; every chunk should carry exactly one event.
async fn chunks(socket: &mut TcpStream, mut buffer: Vec<u8>, due: Instant, sample: &mut Sample) -> std::io::Result<()> {
    let mut first = true;
    loop {
        while let Some((size, line)) = chunk_size(&buffer)? {
            if buffer.len() < line + size + 2 {
                break;
            }
            if size == 0 {
                return Ok(());
            }
            if std::mem::take(&mut first) {
                sample.latencies.push(due.elapsed().as_micros() as u64);
            }
            let chunk = String::from_utf8_lossy(&buffer[line..line + size]).into_owned();
            sample.chunks += 1;
            sample.odd_chunks += u64::from(chunk.matches("data: ").count() != 1);
            if let Some(stamp) = chunk.split("\"stamp\":").nth(1).and_then(|v| v.split('}').next()) {
                let written: u64 = stamp.parse().map_err(std::io::Error::other)?;
                sample.delays.push(crate::mock::stamp().saturating_sub(written));
            }
            buffer.drain(..line + size + 2);
        }
        if socket.read_buf(&mut buffer).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

fn chunk_size(buffer: &[u8]) -> std::io::Result<Option<(usize, usize)>> {
    let Some(end) = buffer.windows(2).position(|w| w == b"\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&buffer[..end]).map_err(std::io::Error::other)?;
    let size = usize::from_str_radix(text.trim(), 16).map_err(std::io::Error::other)?;
    Ok(Some((size, end + 2)))
}
