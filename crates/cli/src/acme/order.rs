//! One certificate, from the order to the pair: what the authority wants to see is shown, and taken away again.

use std::path::PathBuf;
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeHandle, ChallengeType, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use sterna_gateway::handler::challenge::Answering;
use sterna_net::AnsweredHost;

use super::alpn::{self, AlpnError};
use super::hook::{self, HookError};
use super::http::Http;
use super::pair::{Pair, PairError};
use super::store::{Store, StoreError};
use super::{Answers, Settings};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AcmeError {
    #[error("the client for the authority cannot be made")]
    Client(#[from] sterna_net::client::BuildError),
    #[error("the authority refused, or was not reached")]
    Authority(#[from] instant_acme::Error),
    #[error("the account that is kept cannot be read; move it away, and another is made")]
    Account(#[source] serde_json::Error),
    #[error("the authority does not offer {wanted} for `{host}`")]
    NotOffered { host: String, wanted: &'static str },
    #[error("the authority has not seen that `{host}` is ours: {told}")]
    Challenge { host: String, told: String },
    #[error("a certificate for the challenge cannot be made")]
    Alpn(#[from] AlpnError),
    #[error("too many challenges at a time")]
    TooMany,
    #[error(transparent)]
    Hook(#[from] HookError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("what the authority issued cannot be used")]
    Pair(#[from] PairError),
    #[error("another process has been ordering for {} s", LOCK_PATIENCE.as_secs())]
    Locked,
    #[error("the authority took longer than {} s", ORDER_PATIENCE.as_secs())]
    TooLate,
}

/// How a challenge is met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Over plain HTTP.
    Http,
    /// By a certificate in a handshake.
    Tls,
    /// By a TXT record, which this program publishes.
    Dns { hook: PathBuf },
}

impl Proof {
    fn kind(&self) -> ChallengeType {
        match self {
            Self::Http => ChallengeType::Http01,
            Self::Tls => ChallengeType::TlsAlpn01,
            Self::Dns { .. } => ChallengeType::Dns01,
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::Tls => "tls-alpn-01",
            Self::Dns { .. } => "dns-01",
        }
    }

    async fn show(
        &self,
        challenge: &ChallengeHandle<'_>,
        host: &str,
        answers: &Answers,
    ) -> Result<Shown, AcmeError> {
        let answer = challenge.key_authorization();
        match self {
            Self::Http => {
                let token = challenge.token.clone();
                let answering = answers.tokens.answer(&token, answer.as_str().to_owned());
                Ok(Shown::Http { _answering: answering.ok_or(AcmeError::TooMany)? })
            }
            Self::Tls => {
                let (certificate, key) = alpn::certificate(host, answer.digest().as_ref())?;
                let answered = answers.challenges.answer(host, certificate, key);
                let answered = answered.map_err(AlpnError::from)?;
                Ok(Shown::Tls { _answered: answered.ok_or(AcmeError::TooMany)? })
            }
            Self::Dns { hook } => {
                let name = format!("_acme-challenge.{}", host.trim_start_matches("*."));
                let shown = Shown::Dns { hook: hook.clone(), name, value: answer.dns_value() };
                if let Shown::Dns { hook, name, value } = &shown {
                    hook::run(hook, "present", name, value).await?;
                }
                Ok(shown)
            }
        }
    }
}

/// What the authority can see now.
enum Shown {
    Http { _answering: Answering },
    Tls { _answered: AnsweredHost },
    Dns { hook: PathBuf, name: String, value: String },
}

impl Shown {
    async fn take_away(self) {
        if let Self::Dns { hook, name, value } = self
            && let Err(error) = hook::run(&hook, "cleanup", &name, &value).await
        {
            tracing::warn!(%error, name, "a record is left in the DNS");
        }
    }
}

/// The account that is kept, or a new one.
pub(super) async fn account(settings: &Settings, store: &Store) -> Result<Account, AcmeError> {
    if let Some(kept) = store.account()? {
        let credentials: AccountCredentials =
            serde_json::from_slice(&kept).map_err(AcmeError::Account)?;
        let builder = Account::builder_with_http(Box::new(Http::new(settings.ca.as_deref())?));
        return Ok(builder.from_credentials(credentials).await?);
    }
    let (account, credentials) = register(settings).await?;
    let content = serde_json::to_vec(&credentials).map_err(AcmeError::Account)?;
    store.keep_account(&content)?;
    Ok(account)
}

async fn register(settings: &Settings) -> Result<(Account, AccountCredentials), AcmeError> {
    let contact: Vec<&str> = settings.contact.as_deref().into_iter().collect();
    let new = NewAccount {
        contact: &contact,
        // A configuration without is refused.
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let mut tries = 1..NONCE_TRIES;
    loop {
        let builder = Account::builder_with_http(Box::new(Http::new(settings.ca.as_deref())?));
        match builder.create(&new, settings.directory.clone(), None).await {
            Err(error) if is(&error, BAD_NONCE) && tries.next().is_some() => {}
            ended => return Ok(ended?),
        }
    }
}

/// Orders a certificate for one host, in place of `before`.
///
/// An authority that does not know its nonces any more, because it was restarted or is behind a balancer, refuses what is
/// signed with them (RFC 8555 §6.5): a request is tried again below, a whole order here.
pub(super) async fn order(
    account: &Account,
    host: &str,
    proof: &Proof,
    answers: &Answers,
    before: Option<&Pair>,
) -> Result<Pair, AcmeError> {
    let mut tries = 1..NONCE_TRIES;
    loop {
        match order_once(account, host, proof, answers, before).await {
            // req: 8555-6.5-bad-nonce-again
            Err(AcmeError::Authority(error)) if is(&error, BAD_NONCE) && tries.next().is_some() => {
            }
            ended => return ended,
        }
    }
}

/// Whether the authority refused for this reason (RFC 8555 §6.7).
fn is(error: &instant_acme::Error, kind: &str) -> bool {
    let instant_acme::Error::Api(problem) = error else { return false };
    problem.r#type.as_deref().and_then(|kind| kind.strip_prefix(ERRORS)) == Some(kind)
}

impl AcmeError {
    /// Whether the authority does not know the account, because it has been taken away there.
    pub(super) fn is_unknown_account(&self) -> bool {
        matches!(self, Self::Authority(error) if is(error, UNKNOWN_ACCOUNT))
    }
}

async fn order_once(
    account: &Account,
    host: &str,
    proof: &Proof,
    answers: &Answers,
    before: Option<&Pair>,
) -> Result<Pair, AcmeError> {
    let identifiers = [Identifier::Dns(host.to_owned())];
    let new = || NewOrder::new(&identifiers);
    // req: 9773-5-replaces
    let placed = match before.and_then(Pair::identifier) {
        // An authority without advice, or one that has forgotten the old one, takes the order without it.
        Some(replaced) => match account.new_order(&new().replaces(replaced)).await {
            Err(_) => account.new_order(&new()).await,
            placed => placed,
        },
        None => account.new_order(&new()).await,
    };
    let mut order = placed?;
    let mut shown = Vec::new();
    let proved = prove(&mut order, host, proof, answers, &mut shown).await;
    for one in shown {
        // req: 8555-8.4-taken-away
        one.take_away().await;
    }
    proved?;
    let key = order.finalize().await?;
    let chain = order.poll_certificate(&RETRIES).await?;
    Ok(Pair::of_pem(&format!("{key}{chain}"))?)
}

async fn prove(
    order: &mut Order,
    host: &str,
    proof: &Proof,
    answers: &Answers,
    shown: &mut Vec<Shown>,
) -> Result<(), AcmeError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Valid {
            continue;
        }
        let not_offered =
            || AcmeError::NotOffered { host: host.to_owned(), wanted: proof.as_str() };
        let mut challenge = authorization.challenge(proof.kind()).ok_or_else(not_offered)?;
        shown.push(proof.show(&challenge, host, answers).await?);
        challenge.set_ready().await?;
    }
    match order.poll_ready(&RETRIES).await {
        Ok(OrderStatus::Ready) => Ok(()),
        Ok(_) => Err(why(order, host).await),
        Err(error @ instant_acme::Error::Api(_)) => match why(order, host).await {
            AcmeError::Challenge { told, .. } if told == UNSAID => Err(error.into()),
            told => Err(told),
        },
        Err(error) => Err(error.into()),
    }
}

/// What the authority says of a challenge that failed.
async fn why(order: &mut Order, host: &str) -> AcmeError {
    let mut authorizations = order.authorizations();
    let mut told = UNSAID.to_owned();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let Ok(state) = authorization.refresh().await else { continue };
        let problem = state.challenges.iter().find_map(|challenge| challenge.error.as_ref());
        if let Some(problem) = problem {
            told = problem.to_string();
        }
    }
    AcmeError::Challenge { host: host.to_owned(), told }
}

/// What types of errors begin with, and two of them.
const ERRORS: &str = "urn:ietf:params:acme:error:";
const BAD_NONCE: &str = "badNonce";
const UNKNOWN_ACCOUNT: &str = "accountDoesNotExist";

/// Orders, one after the other at once, while the authority knows none of its nonces.
const NONCE_TRIES: u32 = 4;

const UNSAID: &str = "it does not say why";

/// Looks often at first: authorities take about a second.
const RETRIES: RetryPolicy = RetryPolicy::new()
    .initial_delay(Duration::from_millis(250))
    .backoff(1.5)
    .timeout(Duration::from_secs(90));

/// For other processes.
pub(super) const LOCK_PATIENCE: Duration = Duration::from_secs(300);

/// For one order, hooks included.
pub(super) const ORDER_PATIENCE: Duration = Duration::from_secs(600);
