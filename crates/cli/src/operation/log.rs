//! The access log of the process, which goes elsewhere when a reload says so.

use std::io::{self, Write};
use std::time::Duration;

use sterna_gateway::AccessLog;
use sterna_gateway::access_log::file::{LogFile, Reopener};
use sterna_gateway::access_log::{Layout, Recorders};

use crate::error::Error;
use crate::serve::Args;

/// The access log of the process.
#[derive(Default)]
pub(crate) struct Log {
    log: Option<AccessLog>,
    reopener: Option<Reopener>,
}

/// What has been opened to write to.
pub(super) struct Output {
    layout: Layout,
    to: Box<dyn Write + Send>,
    reopener: Option<Reopener>,
}

impl Log {
    /// Starts what the arguments say.
    pub(crate) fn start(args: &Args) -> Result<(Self, Option<Recorders>), Error> {
        let mut log = Self::default();
        let (recorders, output) = log.prepare(args)?;
        log.follow(output);
        Ok((log, recorders))
    }

    /// Opens what the arguments say, for those who will log, and is as before for those who do.
    pub(super) fn prepare(
        &mut self,
        args: &Args,
    ) -> Result<(Option<Recorders>, Option<Output>), Error> {
        let Some(output) = Output::open(args)? else { return Ok((None, None)) };
        let output = match &self.log {
            Some(log) if log.is_running() => Some(output),
            _ => {
                let Output { layout, to, reopener } = output;
                self.log = Some(AccessLog::start(layout, to).map_err(Error::AccessLog)?);
                self.reopener = reopener;
                None
            }
        };
        Ok((self.log.as_ref().map(AccessLog::recorders), output))
    }

    /// Goes on in what [`Self::prepare`] has opened.
    pub(super) fn follow(&mut self, output: Option<Output>) {
        if let (Some(log), Some(Output { layout, to, reopener })) = (&self.log, output) {
            log.redirect(layout, to, PATIENCE);
            self.reopener = reopener;
        }
    }

    /// Opens its file anew.
    pub(super) fn reopen(&self) {
        if let Some(reopener) = &self.reopener {
            reopener.reopen();
        }
    }

    /// Lines that were dropped because their output was slower than the requests.
    pub(super) fn dropped(&self) -> u64 {
        self.log.as_ref().map_or(0, AccessLog::dropped)
    }

    /// Writes out what there is.
    pub(super) fn finish(self) {
        if let Some(log) = self.log {
            log.finish(PATIENCE);
        }
    }
}

impl Output {
    fn open(args: &Args) -> Result<Option<Self>, Error> {
        let layout = args.access_log_layout();
        Ok(match args.access_log() {
            None => None,
            Some(None) => Some(Self { layout, to: Box::new(io::stdout()), reopener: None }),
            Some(Some(config)) => {
                let path = config.path.clone();
                let refused = |source| Error::AccessLogFile { path, source };
                let file = LogFile::open(config).map_err(refused)?;
                let reopener = Some(file.reopener());
                Some(Self { layout, to: Box::new(file), reopener })
            }
        })
    }
}

/// How long a reload and the end wait for whoever reads the access log.
const PATIENCE: Duration = Duration::from_secs(1);
