//! [`H2Writer`]: writes the rest of an answer over HTTP/2 so that no place is lost when its future is dropped. Pingora's own
//! loses it inside a piece that the client's window has no room for; it stands in for that one only where a gate opened in
//! silence (`gateway/decisions/0011`).

use bytes::Bytes;
use h2::SendStream;
use http::HeaderMap;
use pingora::protocols::http::HttpTask;
use pingora::protocols::http::v2::server::HttpSession;
use pingora::{Error, ErrorType, OrErr, Result};
use pingora_timeout::timeout;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::time::Duration;

/// What is still to be written, and where to.
pub(super) struct H2Writer {
    stream: SendStream<Bytes>,
    queue: VecDeque<Bytes>,
    stalled: Option<Duration>,
    sent: usize,
    ended: bool,
}

impl H2Writer {
    /// Takes the stream of an answer whose header has been written.
    pub(super) fn take(session: &mut HttpSession) -> Option<Self> {
        let stalled = session.get_write_timeout();
        let stream = session.take_response_body_writer()?;
        Some(Self { stream, queue: VecDeque::new(), stalled, sent: 0, ended: false })
    }

    /// Bytes of the body that were handed on.
    pub(super) const fn sent(&self) -> usize {
        self.sent
    }

    /// Queues what is to be written.
    pub(super) fn queue(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.queue.push_back(part);
        }
    }

    /// Writes what is queued as the client takes it. Dropped and called again, it goes on where it was.
    pub(super) async fn flush(&mut self) -> Result<()> {
        while let Some(front) = self.queue.front_mut() {
            self.stream.reserve_capacity(front.len());
            let room = poll_fn(|context| self.stream.poll_capacity(context));
            let room = match self.stalled {
                Some(stalled) => timeout(stalled, room).await.map_err(|_late| down(ErrorType::WriteTimedout))?,
                None => room.await,
            };
            let room = room
                .ok_or_else(|| down(ErrorType::H2Error))?
                .or_err(ErrorType::H2Error, "no room")
                .map_err(into_down)?;
            let part = front.split_to(room.min(front.len()));
            if front.is_empty() {
                self.queue.pop_front();
            }
            self.sent += part.len();
            self.send(part, false)?;
        }
        Ok(())
    }

    /// Writes these tasks behind what is queued; whether the answer has ended.
    pub(super) async fn respond(&mut self, tasks: Vec<HttpTask>) -> Result<bool> {
        let mut end = false;
        for task in tasks {
            match task {
                HttpTask::Body(part, last) => {
                    self.queue(part.unwrap_or_default());
                    end |= last;
                }
                HttpTask::Trailer(Some(trailers)) => {
                    self.flush().await?;
                    self.trail(*trailers)?;
                    end = true;
                }
                HttpTask::Header(_, last) => end |= last,
                HttpTask::Trailer(None) | HttpTask::Done => end = true,
                HttpTask::Failed(error) => {
                    self.flush().await?;
                    return Err(error);
                }
                HttpTask::UpgradedBody(..) => return Err(down(ErrorType::InternalError)),
            }
        }
        self.flush().await?;
        if end {
            self.finish()?;
        }
        Ok(end)
    }

    /// Writes one piece, and the end if it is the last.
    pub(super) async fn write(&mut self, part: Bytes, end: bool) -> Result<()> {
        self.respond(vec![HttpTask::Body(Some(part), end)]).await.map(drop)
    }

    /// Ends the answer, once.
    pub(super) fn finish(&mut self) -> Result<()> {
        if self.ended { Ok(()) } else { self.send(Bytes::new(), true) }
    }

    /// Waits until the client gives the answer up.
    pub(super) async fn given_up(&mut self) -> Box<Error> {
        match poll_fn(|context| self.stream.poll_reset(context)).await {
            Ok(reason) => Error::explain(ErrorType::H2Error, format!("Client closed H2, reason: {reason}")),
            Err(error) => Error::because(ErrorType::H2Error, "downstream error while idling", error),
        }
    }

    fn send(&mut self, part: Bytes, end: bool) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.ended = end;
        self.stream.send_data(part, end).or_err(ErrorType::WriteError, "while writing to the client").map_err(into_down)
    }

    fn trail(&mut self, trailers: HeaderMap) -> Result<()> {
        if self.ended {
            return Ok(());
        }
        self.ended = true;
        self.stream
            .send_trailers(trailers)
            .or_err(ErrorType::WriteError, "while writing to the client")
            .map_err(into_down)
    }
}

fn into_down(error: Box<Error>) -> Box<Error> {
    error.into_down()
}

fn down(kind: ErrorType) -> Box<Error> {
    Error::new_down(kind)
}
