//! `POST /profile`: which functions the processors spend their time in, by interrupting them now and then.

use std::sync::{Mutex, TryLockError};
use std::thread;
use std::time::Duration;

use pprof::{Frames, ProfilerGuardBuilder};

use super::flame::Flame;

/// Why there is no profile.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProfileError {
    #[error("another profile is being taken")]
    Busy,
    #[error("the profiler cannot run: {0}")]
    Profiler(#[from] pprof::Error),
}

/// Watches the process for this long: a flame graph.
pub(super) fn take(length: Duration) -> Result<String, ProfileError> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _held = match ONE_AT_A_TIME.try_lock() {
        Ok(held) => held,
        Err(TryLockError::Poisoned(held)) => held.into_inner(),
        Err(TryLockError::WouldBlock) => return Err(ProfileError::Busy),
    };
    let guard = ProfilerGuardBuilder::default()
        .frequency(FREQUENCY)
        // A signal within these may find their locks held, and unwinding them would wait for ever.
        .blocklist(&["libc", "libgcc", "pthread", "vdso"])
        .build()?;
    thread::sleep(length);
    let report = guard.report().build()?;
    drop(guard);
    let mut flame = Flame::default();
    let mut samples = 0;
    let mut stacks: Vec<_> = report.data.iter().collect();
    stacks.sort_by_key(|(frames, _)| frames.thread_name.clone());
    for (frames, count) in stacks {
        let count = u64::try_from(*count).unwrap_or(0);
        samples += count;
        flame.add(stack(frames), count);
    }
    let seconds = length.as_secs_f64();
    Ok(flame.to_svg(&format!(
        "{samples} samples in {seconds} s, {FREQUENCY} for each second of a processor"
    )))
}

/// Outermost first, below the name of its thread.
fn stack(frames: &Frames) -> Vec<String> {
    let mut stack = vec![frames.thread_name.clone()];
    let functions = frames.frames.iter().rev().flat_map(|symbols| symbols.iter().rev());
    stack.extend(functions.map(ToString::to_string));
    stack
}

/// Samples for each second of a processor: not a divisor of what else has a rhythm.
const FREQUENCY: i32 = 199;
