//! What stands between Microsoft's crates and the network. They build requests; we carry them with our own client, and take each
//! answer apart before a crate sees it. Why something failed passes through them in our words: theirs may quote an answer.

use ::http::{HeaderName, HeaderValue, Method, Request};
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::request::{Body, Request as Built};
use azure_core::http::{ClientOptions, HttpClient, RetryOptions, Transport};
use bytes::Bytes;
use http_body_util::Full;
use std::io;
use std::sync::Arc;

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(String);

/// An error that crates pass on, and do not try again for.
pub(super) fn refused(why: String) -> Error {
    // Of the kinds `Io` and `Connection` they would: the credential of a virtual machine has its own idea of retries.
    Error::new(ErrorKind::Credential, Refused(why))
}

/// The same where an error of input or output is expected.
pub(super) fn refused_io(why: String) -> io::Error {
    io::Error::other(Refused(why))
}

/// Our words in `error`; `otherwise` where a crate itself has refused.
pub(super) fn told(error: &Error, otherwise: &str) -> String {
    let first: &(dyn std::error::Error + 'static) = error;
    let mut chain = std::iter::successors(Some(first), |error| error.source());
    let ours = chain.find_map(|error| {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        error.downcast_ref::<Refused>().or_else(|| inner?.downcast_ref())
    });
    ours.map_or_else(|| otherwise.to_owned(), |Refused(why)| why.clone())
}

/// Options of a client: our transport, and no retries of its own.
pub(super) fn options(client: impl HttpClient + 'static) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::new(Arc::new(client))),
        retry: RetryOptions::none(),
        ..ClientOptions::default()
    }
}

/// A request as [`super::http`] takes it. Its headers do not print: some are credentials.
pub(super) fn request(built: &Built) -> Result<Request<Full<Bytes>>, String> {
    let Body::Bytes(body) = built.body() else { return Err("its body has no known size".to_owned()) };
    let mut request = Request::new(Full::new(body.clone()));
    *request.method_mut() =
        Method::from_bytes(built.method().as_str().as_bytes()).map_err(|error| error.to_string())?;
    for (name, value) in built.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(|error| error.to_string())?;
        let value = HeaderValue::from_str(value.as_str());
        let mut value = value.map_err(|_error| format!("its header `{name}` cannot be sent"))?;
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    Ok(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_words_come_through_every_wrapping_and_no_other_words_do() {
        let wrapped =
            |error| Error::with_error(ErrorKind::Credential, error, "canary of a crate").with_context("canary");
        assert_eq!(told(&wrapped(refused("status 400".to_owned())), "no token"), "status 400");
        let io = Error::with_error(ErrorKind::Credential, refused_io("`az` failed".to_owned()), "canary");
        assert_eq!(told(&wrapped(io), "no token"), "`az` failed");
        let other = Error::with_error(ErrorKind::Io, io::Error::other("canary"), "canary");
        assert_eq!(told(&wrapped(other), "no token"), "no token");
        assert_eq!(told(&Error::with_message(ErrorKind::Other, "canary"), "no token"), "no token");
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_named_and_not_quoted() {
        let url = azure_core::http::Url::parse("https://localhost/x");
        let mut built = Built::new(url.unwrap_or_else(|error| unreachable!("{error}")), azure_core::http::Method::Get);
        built.insert_header("x-of-ours", "canary");
        let debug = request(&built).map(|request| format!("{:?}", request.headers()));
        assert!(debug.is_ok_and(|text| text.contains("x-of-ours") && !text.contains("canary")));
        built.insert_header("x-of-ours", "canary\r\nx: y");
        assert_eq!(request(&built).map(|_| ()), Err("its header `x-of-ours` cannot be sent".to_owned()));
    }
}
