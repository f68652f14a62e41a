//! One order: account, questions and answers, certificate. It keeps what it gets in the cabinet, and gives the answers up
//! when it ends, however it ends.

use super::cabinet;
use super::caller::Caller;
use crate::config::snapshot::Acme;
use crate::state::{Answer, Challenges};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Error, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use std::time::Duration;
use tokio::task::spawn_blocking;

/// How the server is asked whether it has decided.
const PATIENCE: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(120));
/// Longest word of a server that is repeated, in characters.
const WORD_LENGTH_MAX: usize = 400;

/// Obtains a certificate and keeps it.
pub(super) async fn obtain(acme: &Acme, challenges: &Challenges) -> Result<(), String> {
    let account = account(acme).await?;
    let names: Vec<Identifier> = acme.names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(|error| said("order", &error))?;
    let answers = answer(&mut order, challenges).await?;
    let status = order.poll_ready(&PATIENCE).await;
    drop(answers);
    if !matches!(status, Ok(OrderStatus::Ready)) {
        let reason = refused(&mut order).await;
        return Err(match (status, reason) {
            (_, Some(reason)) => reason,
            (Err(error), None) => said("validation", &error),
            (Ok(status), None) => format!("the order is {status:?}"),
        });
    }
    let key = order.finalize().await.map_err(|error| said("signing request", &error))?;
    let chain = order.poll_certificate(&PATIENCE).await.map_err(|error| said("certificate", &error))?;
    let acme = acme.clone();
    on_disk(move || cabinet::keep_certificate(&acme, &key, &chain)).await
}

/// The account of before, else a new one.
async fn account(acme: &Acme) -> Result<Account, String> {
    let wanted = acme.clone();
    let (caller, kept) = on_disk(move || Ok((Caller::new(&wanted)?, cabinet::account(&wanted)?))).await?;
    let builder = Account::builder_with_http(Box::new(caller));
    if let Some(credentials) = kept {
        return builder.from_credentials(credentials).await.map_err(|error| said("account", &error));
    }
    let contacts: Vec<String> = acme.contacts.iter().map(|contact| format!("mailto:{contact}")).collect();
    let contacts: Vec<&str> = contacts.iter().map(String::as_str).collect();
    let new = NewAccount { contact: &contacts, terms_of_service_agreed: true, only_return_existing: false };
    let (account, credentials): (Account, AccountCredentials) =
        builder.create(&new, acme.directory.clone(), None).await.map_err(|error| said("account", &error))?;
    let acme = acme.clone();
    on_disk(move || cabinet::keep_account(&acme, &credentials)).await?;
    Ok(account)
}

/// Puts the answers in place and tells the server so.
async fn answer(order: &mut Order, challenges: &Challenges) -> Result<Vec<Answer>, String> {
    let mut answers = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.map_err(|error| said("authorization", &error))?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let mut challenge =
            authorization.challenge(ChallengeType::Http01).ok_or("the server offers no HTTP-01 challenge")?;
        let answer = challenges.give(&challenge.token, challenge.key_authorization().as_str());
        answers.push(answer.ok_or("the server's token is none, or too many are open")?);
        challenge.set_ready().await.map_err(|error| said("challenge", &error))?;
    }
    Ok(answers)
}

/// Why the server does not believe us: the words of the first challenge that has some.
async fn refused(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return Some(printable(&format!("{name}: {problem}")));
        }
    }
    None
}

/// What went wrong, at which step.
fn said(step: &str, error: &Error) -> String {
    printable(&format!("{step}: {error}"))
}

/// The words of a server, fit for one line of the log.
fn printable(words: &str) -> String {
    words.chars().take(WORD_LENGTH_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

async fn on_disk<T: Send + 'static>(work: impl FnOnce() -> Result<T, String> + Send + 'static) -> Result<T, String> {
    spawn_blocking(work).await.map_err(|error| error.to_string())?
}
