//! The flaws that a head may have: how bad each is, and what it is called. It finds none.

/// How bad a flaw is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Readers differ, rarely to anyone's harm.
    Ambiguous,
    /// The shape of known attacks.
    Severe,
    /// We could not forward it with one meaning.
    Broken,
}

/// What is wrong with a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flaw {
    /// More than one `Content-Length`, or a list in one.
    LengthTwice,
    /// A `Content-Length` that is not one decimal number.
    LengthOdd,
    /// A `Content-Length` with leading zeros, or of more digits than any body has.
    LengthPadded,
    /// `Content-Length` beside `Transfer-Encoding`.
    LengthAndCoding,
    /// A `Transfer-Encoding` other than one `chunked`.
    CodingOdd,
    /// `Transfer-Encoding` in HTTP/1.0 or earlier.
    CodingInOldVersion,
    /// A field name that other servers read as a framing or routing header, such as `content_length`.
    NameCollides,
    /// More than one `Host`, or one that is no host and port.
    HostOdd,
    /// A target that is neither a path, an absolute `http` URL nor `*` for OPTIONS.
    TargetForm,
    /// A target with spaces, control characters, a fragment, a backslash, or a second HTTP version in it.
    TargetOdd,
    /// `Connection` names a header that frames or routes, or too many.
    ConnectionNames,
    /// A protocol switch with a body, or by another method than GET.
    UpgradeWithBody,
    /// `Expect` other than one `100-continue`.
    ExpectOdd,
    /// A body on GET or HEAD.
    BodyOnGet,
    /// A line that ends with a bare line feed.
    BareLineFeed,
}

impl Class {
    /// Label in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ambiguous => "ambiguous",
            Self::Severe => "severe",
            Self::Broken => "broken",
        }
    }
}

impl Flaw {
    /// Every flaw, for tables and tests.
    pub const ALL: [Self; 15] = [
        Self::LengthTwice,
        Self::LengthOdd,
        Self::LengthPadded,
        Self::LengthAndCoding,
        Self::CodingOdd,
        Self::CodingInOldVersion,
        Self::NameCollides,
        Self::HostOdd,
        Self::TargetForm,
        Self::TargetOdd,
        Self::ConnectionNames,
        Self::UpgradeWithBody,
        Self::ExpectOdd,
        Self::BodyOnGet,
        Self::BareLineFeed,
    ];

    /// How bad it is.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::LengthPadded | Self::ExpectOdd | Self::BodyOnGet | Self::BareLineFeed => Class::Ambiguous,
            Self::LengthTwice
            | Self::LengthAndCoding
            | Self::CodingOdd
            | Self::NameCollides
            | Self::HostOdd
            | Self::ConnectionNames => Class::Severe,
            Self::LengthOdd | Self::CodingInOldVersion | Self::TargetForm | Self::TargetOdd | Self::UpgradeWithBody => {
                Class::Broken
            }
        }
    }

    /// Label in metrics: a closed set.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::LengthTwice => "length_twice",
            Self::LengthOdd => "length_odd",
            Self::LengthPadded => "length_padded",
            Self::LengthAndCoding => "length_and_coding",
            Self::CodingOdd => "coding_odd",
            Self::CodingInOldVersion => "coding_in_old_version",
            Self::NameCollides => "name_collides",
            Self::HostOdd => "host_odd",
            Self::TargetForm => "target_form",
            Self::TargetOdd => "target_odd",
            Self::ConnectionNames => "connection_names",
            Self::UpgradeWithBody => "upgrade_with_body",
            Self::ExpectOdd => "expect_odd",
            Self::BodyOnGet => "body_on_get",
            Self::BareLineFeed => "bare_line_feed",
        }
    }

    /// What is wrong, for the message.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::LengthTwice => "more than one Content-Length",
            Self::LengthOdd => "Content-Length is not one decimal number",
            Self::LengthPadded => "Content-Length has leading zeros or too many digits",
            Self::LengthAndCoding => "both Content-Length and Transfer-Encoding",
            Self::CodingOdd => "Transfer-Encoding other than `chunked`",
            Self::CodingInOldVersion => "Transfer-Encoding in a version of HTTP that has none",
            Self::NameCollides => "a header name that can be taken for a framing or routing header",
            Self::HostOdd => "Host is not one host name and port",
            Self::TargetForm => "the request target is neither a path nor an http URL",
            Self::TargetOdd => "the request target holds a space, a control character, `#`, `\\` or an HTTP version",
            Self::ConnectionNames => "Connection names a header that frames or routes the request, or too many",
            Self::UpgradeWithBody => "a protocol switch with a body or by another method than GET",
            Self::ExpectOdd => "Expect other than `100-continue`",
            Self::BodyOnGet => "a body on GET or HEAD",
            Self::BareLineFeed => "a header line ends with a bare line feed",
        }
    }
}
