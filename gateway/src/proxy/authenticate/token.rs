//! Signed tokens at station 3: which of the presented texts are tokens, what a refused one means for the client, and the wait
//! for a key that an issuer has published a moment ago. Whether a token is good is [`policy::token`](crate::policy::token)'s word.

use super::{Asked, Doubt};
use crate::config::snapshot::Access;
use crate::domain::{Caller, Denial, TokenFlaw, Unproven};
use crate::policy::token::looks_like;
use crate::state::{Fleet, Now};
use std::time::Duration;

/// How often a request waits for a look at an issuer's keys. The first may have begun before the key was published.
pub(super) const ROUNDS_MAX: u32 = 2;
/// Longest wait for one: a healthy issuer answers in a fraction of it.
const WAIT_MAX: Duration = Duration::from_secs(1);
/// Pause between two glances at whether it is over.
const GLANCE: Duration = Duration::from_millis(10);

/// Whom a token proves; `None` for what is no token, or where no issuer is configured.
pub(super) fn by_token(text: &str, access: &Access, asked: Asked<'_>) -> Option<Result<Caller, Doubt>> {
    if access.issuers.is_empty() || !looks_like(text) {
        return None;
    }
    let now = Now { moment: asked.now, unix: (asked.second)() };
    let known = asked.live.fleet.token(text, now).map_err(|flaw| Doubt::from(Unproven::Token(flaw)));
    Some(known.and_then(|caller| {
        access.enabled(caller.consumer)?;
        Ok(caller)
    }))
}

/// Waits for the looks at issuers' keys that this request or others like it have caused. Whether there were any.
pub(super) async fn looked(fleet: &Fleet) -> bool {
    let looks = fleet.looks();
    if looks.is_empty() {
        return false;
    }
    let over = async {
        while !looks.iter().all(|look| look.is_over()) {
            tokio::time::sleep(GLANCE).await;
        }
    };
    // Late is as good as over: the keys of before are asked then.
    let _ = tokio::time::timeout(WAIT_MAX, over).await;
    true
}

/// What a genuine token that is not enough means; `None` for all others.
pub(super) const fn not_enough(flaw: TokenFlaw) -> Option<Denial> {
    match flaw {
        TokenFlaw::Scope => {
            Some(Denial::NotAllowed { what: "do that without a scope, role or claim that is required" })
        }
        TokenFlaw::Consumer => Some(Denial::NotAllowed { what: "call: no consumer is configured for it" }),
        TokenFlaw::Residency => Some(Denial::ResidencyUnknown),
        _ => None,
    }
}

/// Whether it counts as a guess: a token whose time is over was no guess, and missing keys are our trouble.
pub(super) const fn is_guess(flaw: TokenFlaw) -> bool {
    !matches!(flaw, TokenFlaw::Expired | TokenFlaw::NotYetValid | TokenFlaw::KeysMissing)
}
