//! [`Cutoff`]: why the gateway closes a connection that has no request to answer.

/// The reasons, a closed set: they are labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutoff {
    /// As many connections are open as may be.
    TotalFull,
    /// As many connections of this address are open as may be.
    AddressFull,
    /// It came to no listener that we know.
    Stray,
    /// A load balancer did not begin with a PROXY protocol header, or with a malformed one.
    ProxyHeaderBad,
    /// The PROXY protocol header took too long.
    ProxyHeaderTimeout,
    /// The TLS handshake failed.
    TlsFailed,
    /// The TLS handshake took too long.
    TlsTimeout,
    /// No byte of a request came.
    FirstByteTimeout,
    /// The header of a request took too long.
    HeaderTimeout,
    /// What came was no HTTP request.
    BadRequest,
    /// The client took no byte of an answer for too long.
    WriteTimeout,
    /// It flooded an HTTP/2 connection: resets, header blocks, settings, pings or empty frames without measure.
    Http2Flood,
    /// It broke the protocol of HTTP/2.
    Http2Error,
}

impl Cutoff {
    /// All of them, in the order of the variants.
    pub const ALL: [Self; 13] = [
        Self::TotalFull,
        Self::AddressFull,
        Self::Stray,
        Self::ProxyHeaderBad,
        Self::ProxyHeaderTimeout,
        Self::TlsFailed,
        Self::TlsTimeout,
        Self::FirstByteTimeout,
        Self::HeaderTimeout,
        Self::BadRequest,
        Self::WriteTimeout,
        Self::Http2Flood,
        Self::Http2Error,
    ];

    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::TotalFull => "total_full",
            Self::AddressFull => "address_full",
            Self::Stray => "stray",
            Self::ProxyHeaderBad => "proxy_header_bad",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
            Self::TlsFailed => "tls_failed",
            Self::TlsTimeout => "tls_timeout",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::HeaderTimeout => "header_timeout",
            Self::BadRequest => "bad_request",
            Self::WriteTimeout => "write_timeout",
            Self::Http2Flood => "http2_flood",
            Self::Http2Error => "http2_error",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_all_is_the_order_of_the_variants() {
        assert!(Cutoff::ALL.iter().enumerate().all(|(index, cutoff)| *cutoff as usize == index));
    }
}
