//! Compiles what concerns the framing of requests.

use crate::config::file;
use crate::policy::framing::Strictness;

/// How strictly ambiguous framing is treated.
pub(super) const fn strictness(typed: &file::Framing) -> Strictness {
    match typed.strictness {
        file::Strictness::Monitor => Strictness::Monitor,
        file::Strictness::Defensive => Strictness::Defensive,
        file::Strictness::Strictest => Strictness::Strictest,
    }
}
