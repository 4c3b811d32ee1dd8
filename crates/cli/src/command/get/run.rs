//! One run of `get`: until it is done, interrupted, or out of time; then what is to be told.

use tokio::signal::unix::{SignalKind, signal};

use super::fetch::{Story, fetch};
use super::request::Ask;
use super::{Args, GetError, failure, json, narrate};
use crate::report::say;

/// A command line that makes sense.
pub(super) struct Run {
    args: Args,
    ask: Ask,
}

impl Run {
    pub(super) fn new(args: Args) -> Result<Self, GetError> {
        let ask = Ask::new(&args)?;
        Ok(Self { args, ask })
    }

    pub(super) fn run(self) -> Result<(), GetError> {
        let Self { args, ask } = self;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(GetError::Runtime)?;
        let mut story = Story::new(ask);
        let ended = runtime.block_on(bounded(&args, &mut story));
        // A name that is still being looked up must not hold up the end.
        runtime.shutdown_background();
        tell(&args, &story, &ended)?;
        ended
    }
}

async fn bounded(args: &Args, story: &mut Story) -> Result<(), GetError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(GetError::Runtime)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(GetError::Runtime)?;
    let time = async {
        match args.max_time {
            Some(limit) => tokio::time::sleep(limit.0).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        fetched = fetch(args, story) => fetched,
        () = time => Err(GetError::MaxTime),
        _ = interrupt.recv() => Err(GetError::Interrupted),
        _ = terminate.recv() => Err(GetError::Interrupted),
    }
}

fn tell(args: &Args, story: &Story, ended: &Result<(), GetError>) -> Result<(), GetError> {
    if args.verbose
        && let Err(error) = ended
    {
        narrate::trace(error.trace());
    }
    if args.timing {
        say(&narrate::timing(story));
    }
    if args.json {
        let object = json::object(args, story, ended.as_ref().err());
        super::sink::stdout(|out| {
            std::io::Write::write_all(out, format!("{object:#}\n").as_bytes())
        })?;
    }
    if let Err(error) = ended {
        failure::tell(error);
    }
    Ok(())
}
