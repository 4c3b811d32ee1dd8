//! The thread that orders: one host after the other, whenever one is due.

use std::io;
use std::sync::Weak;
use std::thread;
use std::time::{Duration, SystemTime};

use instant_acme::Account;
use tokio::time::timeout;

use super::entry::{Due, Entry};
use super::order::{self, AcmeError, LOCK_PATIENCE, ORDER_PATIENCE};
use super::pair::Pair;
use super::schedule::{self, Window};
use super::{Acme, Settings, random};
use crate::operation::{AUDIT, Operation};
use crate::report;

struct Keeper {
    acme: Acme,
    operation: Weak<Operation>,
    /// That of the settings it was opened with.
    account: Option<(Settings, Account)>,
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
        let of = |(host, entry): (&String, &Entry)| {
            let (at, due) = entry.due();
            (host.clone(), at, due)
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
        // A reload may have taken the host out meanwhile.
        if let Some(entry) = self.acme.state().entries.get_mut(host) {
            match &obtained {
                Ok(pair) => entry.on_obtained(pair.clone(), now, random()),
                Err(error) => entry.on_failure(in_full(error), now, random()),
            }
        }
        if obtained.is_ok() {
            self.show();
        }
        self.count(host, obtained.is_ok());
        self.tell(host, &obtained);
    }

    fn count(&self, host: &str, is_success: bool) {
        let mut state = self.acme.state();
        match is_success {
            true => state.figures.succeeded += 1,
            false => state.figures.failed += 1,
        }
        if let Some(entry) = state.entries.get_mut(host) {
            entry.orders += 1;
        }
    }

    fn tell(&self, host: &str, obtained: &Result<Pair, AcmeError>) {
        match obtained {
            Ok(pair) => {
                report::say(&format!("certificate obtained for {host}"));
                tracing::info!(
                    target: AUDIT, host, issuer = pair.issuer, "certificate obtained"
                );
            }
            Err(error) => tracing::warn!(
                target: AUDIT, host, error = in_full(error),
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
        let pair = match self.order(settings, host, known.as_ref()).await {
            Err(error) if error.is_unknown_account() => {
                tracing::warn!(host, "the authority does not know the account: another is made");
                self.account = None;
                store.forget_account()?;
                self.order(settings, host, known.as_ref()).await?
            }
            ended => ended?,
        };
        // To order it once more would not mend the disk, and authorities count.
        if let Err(error) = store.keep(host, &pair.pem) {
            let error = in_full(&error);
            tracing::error!(host, error, "a certificate is shown, and lost with the process");
        }
        Ok(pair)
    }

    async fn order(
        &mut self,
        settings: &Settings,
        host: &str,
        before: Option<&Pair>,
    ) -> Result<Pair, AcmeError> {
        let account = self.account(settings).await?;
        let ordered = order::order(&account, host, &settings.proof, &self.acme.answers, before);
        timeout(ORDER_PATIENCE, ordered).await.map_err(|_| AcmeError::TooLate)?
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
        let asked: Result<_, AcmeError> =
            timeout(ADVICE_PATIENCE, asked).await.unwrap_or(Err(AcmeError::TooLate));
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
        if let Some(entry) = self.acme.state().entries.get_mut(host) {
            entry.on_advice(window, again, SystemTime::now(), random());
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

/// For advice.
const ADVICE_PATIENCE: Duration = Duration::from_secs(60);

/// At a time, whatever is due: the clock may be set meanwhile.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);
