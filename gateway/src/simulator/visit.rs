//! One request on one connection, and the ways to answer it. What to answer is `serve` and `answer`.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};

use super::body::{Body, Shape, Shaped, Source};
use super::call::Call;
use super::headers;
use super::plan::Wish;
use super::shared::Shared;
use super::socket::Connection;
use super::target::{Operation, Target};
use crate::domain::Moment;

/// One request on one connection.
pub(crate) struct Visit<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) connection: &'a Arc<Connection>,
    pub(crate) head: &'a http::request::Parts,
    pub(crate) target: Target<'a>,
    pub(crate) wish: Wish,
    pub(crate) id: u64,
    pub(crate) now: Moment,
}

impl Visit<'_> {
    /// The headers of any answer to this request.
    pub(crate) fn headers(&self) -> HeaderMap {
        headers::common(self.shared, self.id)
    }

    /// A whole answer; the call ends with it.
    pub(crate) fn answer(&self, mut call: Call, status: StatusCode, headers: HeaderMap, body: Bytes) -> Response<Body> {
        call.status(status.as_u16());
        call.end();
        let body = if self.target.operation == Operation::Alive { Bytes::new() } else { body };
        response(status, headers, Body::Whole(body))
    }

    /// An answer of 200 whose body takes time; the call ends with the body.
    pub(crate) fn shaped(&self, call: Call, headers: HeaderMap, source: Source, shape: Shape) -> Response<Body> {
        call.status(200);
        let http2 = self.head.version == http::Version::HTTP_2;
        let shaped = Shaped::new(source, shape, call, Arc::clone(self.connection), http2);
        response(StatusCode::OK, headers, Body::Shaped(Box::new(shaped)))
    }
}

/// What a fault changes about an otherwise good answer.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manner {
    pub(crate) shape: Shape,
    pub(crate) bad_usage: bool,
}

/// Puts an answer together.
pub(crate) fn response(status: StatusCode, headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
