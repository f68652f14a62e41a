//! A bare backend: answers a request for about 10 µs of CPU, streams 50 stamped events, or says 429.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CHUNKS: u32 = 50;
const GAP: Duration = Duration::from_millis(20);

/// Wall clock in µs, the same for mock and client on one machine.
pub fn stamp() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// Serves `HEALTHY THROTTLED` addresses until the process is ended.
pub fn serve(addresses: &[String]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let throttled = tokio::spawn(accept(addresses[1].parse().unwrap(), true));
        accept(addresses[0].parse().unwrap(), false).await;
        throttled.await.unwrap();
    });
}

async fn accept(address: SocketAddr, throttled: bool) {
    let listener = TcpListener::bind(address).await.unwrap();
    loop {
        if let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            tokio::spawn(connection(socket, throttled));
        }
    }
}

async fn connection(mut socket: TcpStream, throttled: bool) {
    let answer = answer();
    let mut buffer: Vec<u8> = Vec::with_capacity(64 * 1024);
    loop {
        let header_end = loop {
            if let Some(at) = buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            match socket.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
        };
        let header = String::from_utf8_lossy(&buffer[..header_end]).to_ascii_lowercase();
        let length: usize = (header.split("content-length: ").nth(1))
            .and_then(|v| v.split('\r').next())
            .map_or(0, |v| v.trim().parse().unwrap_or(0));
        let mut head = Vec::new();
        let mut left = length;
        let have = left.min(buffer.len() - header_end);
        head.extend_from_slice(&buffer[header_end..header_end + have.min(256)]);
        buffer.drain(..header_end + have);
        left -= have;
        while left > 0 {
            match socket.read_buf(&mut buffer).await {
                Ok(n) if n > 0 => {}
                _ => return,
            }
            let have = left.min(buffer.len());
            if head.len() < 256 {
                head.extend_from_slice(&buffer[..have.min(256)]);
            }
            buffer.drain(..have);
            left -= have;
        }
        let streams = head.windows(13).any(|w| w == b"\"stream\":true");
        let done = if throttled {
            let body = r#"{"error":{"code":"429","message":"Please retry after 60 seconds."}}"#;
            let text = format!(
                "HTTP/1.1 429 Too Many Requests\r\nretry-after: 60\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            socket.write_all(text.as_bytes()).await
        } else if streams {
            stream(&mut socket).await
        } else {
            socket.write_all(&answer).await
        };
        if done.is_err() {
            return;
        }
    }
}

/// 1.2 KB as Azure words it.
fn answer() -> Vec<u8> {
    let filter = r#"{"hate":{"filtered":false,"severity":"safe"},"self_harm":{"filtered":false,"severity":"safe"},"sexual":{"filtered":false,"severity":"safe"},"violence":{"filtered":false,"severity":"safe"}}"#;
    let body = format!(
        r#"{{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"gpt-4o-2024-11-20","choices":[{{"index":0,"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop","content_filter_results":{filter}}}],"prompt_filter_results":[{{"prompt_index":0,"content_filter_results":{filter}}}],"usage":{{"prompt_tokens":250,"completion_tokens":60,"total_tokens":310}}}}"#,
        "Twenty words of answer text here. ".repeat(10)
    );
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\napim-request-id: 7\r\nx-ms-region: Sweden Central\r\n\
         x-ratelimit-remaining-tokens: 90000\r\nx-ratelimit-remaining-requests: 900\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn stream(socket: &mut TcpStream) -> std::io::Result<()> {
    socket
        .write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        .await?;
    for index in 0..CHUNKS {
        let event = format!(
            "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"token {index} \"}}}}],\"stamp\":{}}}\n\n",
            stamp()
        );
        socket.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes()).await?;
        tokio::time::sleep(GAP).await;
    }
    socket.write_all(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await
}
