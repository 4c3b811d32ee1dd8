//! The thread that orders: one host after the other, whenever one is due.

use std::io;
use std::sync::Weak;
use std::thread;
use std::time::{Duration, SystemTime};

use instant_acme::Account;
use tokio::time::timeout;

use super::order::{self, AcmeError, LOCK_PATIENCE, ORDER_PATIENCE};
use super::pair::Pair;
use super::schedule::{self, Window};
use super::{Acme, Entry, LONGEST_SLEEP, Settings, random};
use crate::operation::Operation;

struct Keeper {
    acme: Acme,
    operation: Weak<Operation>,
    /// That of the settings it was opened with.
    account: Option<(Settings, Account)>,
}

/// What is due.
enum Due {
    Order,
    Advice,
}

/// Starts it; it ends with the operation.
pub(super) fn start(acme: Acme, operation: Weak<Operation>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let keeper = Keeper { acme, operation, account: None };
    let run = move || runtime.block_on(keeper.run());
    thread::Builder::new().name("acme".into()).spawn(run).map(drop)
}

impl Keeper {
    async fn run(mut self) {
        while self.operation.strong_count() > 0 {
            let now = SystemTime::now();
            let Some((host, at, due)) = self.next() else {
                self.acme.changed.notified().await;
                continue;
            };
            let wait = at.duration_since(now).unwrap_or_default();
            if !wait.is_zero() {
                let _ = timeout(wait.min(LONGEST_SLEEP), self.acme.changed.notified()).await;
                continue;
            }
            let Some(settings) = self.acme.state().settings.clone() else { continue };
            match due {
                Due::Order => self.renew(&settings, &host).await,
                Due::Advice => self.ask_advice(&settings, &host).await,
            }
        }
    }

    /// What is due first.
    fn next(&self) -> Option<(String, SystemTime, Due)> {
        let state = self.acme.state();
        let of = |(host, entry): (&String, &Entry)| match entry.pair {
            Some(_) if entry.ask_at < entry.renew_at => (host.clone(), entry.ask_at, Due::Advice),
            _ => (host.clone(), entry.renew_at, Due::Order),
        };
        state.entries.iter().map(of).min_by_key(|(_, at, _)| *at)
    }

    async fn renew(&mut self, settings: &Settings, host: &str) {
        let course = timeout(LOCK_PATIENCE + ORDER_PATIENCE, self.obtain(settings, host));
        let obtained = course.await.unwrap_or(Err(AcmeError::TooLate));
        if let Err(AcmeError::Authority(_)) = &obtained {
            // The directory of the authority may have changed.
            self.account = None;
        }
        let now = SystemTime::now();
        {
            let mut state = self.acme.state();
            match &obtained {
                Ok(_) => state.renewals.succeeded += 1,
                Err(_) => state.renewals.failed += 1,
            }
            // A reload may have taken the host out meanwhile.
            let Some(entry) = state.entries.get_mut(host) else { return };
            match &obtained {
                Ok(pair) => {
                    (entry.failures, entry.error) = (0, None);
                    (entry.pair, entry.issued, entry.ask_at) = (Some(pair.clone()), Some(now), now);
                    entry.plan(None);
                }
                Err(error) => {
                    entry.failures = entry.failures.saturating_add(1);
                    entry.error = Some(in_full(error));
                    entry.renew_at = now + schedule::back_off(entry.failures, random());
                    // Nothing else is asked of the authority before that.
                    entry.ask_at = entry.ask_at.max(entry.renew_at);
                }
            }
        }
        self.tell(host, &obtained);
        if obtained.is_ok() {
            self.show();
        }
    }

    fn tell(&self, host: &str, obtained: &Result<Pair, AcmeError>) {
        match obtained {
            Ok(pair) => tracing::info!(
                target: "sterna::audit", host, issuer = pair.issuer, "certificate obtained"
            ),
            Err(error) => tracing::warn!(
                target: "sterna::audit", host, error = in_full(error),
                "no certificate obtained: what was shown before is shown on"
            ),
        }
    }

    fn show(&self) {
        if let Some(operation) = self.operation.upgrade()
            && let Err(error) = operation.show_issued()
        {
            tracing::error!(error = error.in_full(), "a certificate cannot be shown");
        }
    }

    /// What another process has got meanwhile, else a new one.
    async fn obtain(&mut self, settings: &Settings, host: &str) -> Result<Pair, AcmeError> {
        let store = settings.store();
        let _one_at_a_time = store.lock(LOCK_PATIENCE).await?.ok_or(AcmeError::Locked)?;
        let known = self.acme.state().entries.get(host).and_then(|entry| entry.pair.clone());
        if let Some(kept) = store.pair(host)
            && !kept.has_ended(SystemTime::now())
            && known.as_ref().is_none_or(|known| !known.is(&kept))
        {
            return Ok(kept);
        }
        let account = self.account(settings).await?;
        let ordered =
            order::order(&account, host, &settings.proof, &self.acme.tokens, known.as_ref());
        let pair = timeout(ORDER_PATIENCE, ordered).await.map_err(|_| AcmeError::TooLate)??;
        store.keep(host, &pair.pem)?;
        Ok(pair)
    }

    async fn account(&mut self, settings: &Settings) -> Result<Account, AcmeError> {
        if let Some((of, account)) = &self.account
            && of == settings
        {
            return Ok(account.clone());
        }
        let account = order::account(settings, &settings.store()).await?;
        self.account = Some((settings.clone(), account.clone()));
        Ok(account)
    }

    /// Asks when the authority would like the certificate to be renewed (RFC 9773).
    async fn ask_advice(&mut self, settings: &Settings, host: &str) {
        let known = self.acme.state().entries.get(host).and_then(|entry| entry.pair.clone());
        let Some(identifier) = known.as_ref().and_then(Pair::identifier) else {
            return self.advised(host, None, WITHOUT_ADVICE);
        };
        let asked = async { Ok(self.account(settings).await?.renewal_info(&identifier).await?) };
        let asked: Result<_, AcmeError> = asked.await;
        match asked {
            Ok((info, again)) => {
                let window = info.suggested_window;
                let window = Window { start: window.start.into(), end: window.end.into() };
                self.advised(host, Some(window), schedule::ask_again(again));
            }
            Err(error) => {
                tracing::debug!(host, error = in_full(&error), "no advice on renewal");
                self.account = None;
                self.advised(host, None, WITHOUT_ADVICE);
            }
        }
    }

    fn advised(&self, host: &str, window: Option<Window>, again: Duration) {
        let mut state = self.acme.state();
        if let Some(entry) = state.entries.get_mut(host) {
            entry.ask_at = SystemTime::now() + again;
            if window.is_some() {
                entry.plan(window);
            }
        }
    }
}

fn in_full(error: &dyn std::error::Error) -> String {
    let mut told = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push_str(": ");
        told.push_str(&error.to_string());
        cause = error.source();
    }
    told
}

/// To the next question, where there was no answer.
const WITHOUT_ADVICE: Duration = Duration::from_secs(6 * 3600);
