//! Calls of the core. Long work runs without the GIL on a pool of threads, while this thread watches for Ctrl-C.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use rayon::{ThreadPool, ThreadPoolBuilder};
use shapsketch::{Cancel, Result};

use crate::errors::{from_panic, from_pool, to_python};

/// Time between two checks for signals.
const WATCH: Duration = Duration::from_millis(50);

/// The pool of a process, with the number of the process.
///
/// A forked child has the memory of its parent, but not its threads: work on the parent's pool would wait for ever. The
/// same is true of rayon's global pool, so no work of the core may run on that. Only threads with the GIL take this
/// lock, and none releases the GIL meanwhile. So the lock is free in a child that a thread of Python forks.
static POOL: Mutex<Option<(u32, Arc<ThreadPool>)>> = Mutex::new(None);

/// The pool of this process. `RAYON_NUM_THREADS` sets the number of its threads.
fn pool(_gil: Python<'_>) -> std::result::Result<Arc<ThreadPool>, rayon::ThreadPoolBuildError> {
    let process = std::process::id();
    let mut slot = POOL.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((owner, pool)) = &*slot
        && *owner == process
    {
        return Ok(Arc::clone(pool));
    }
    let build = ThreadPoolBuilder::new().thread_name(|index| format!("shapsketch-{index}")).build();
    let pool = Arc::new(build?);
    if let Some(inherited) = slot.replace((process, Arc::clone(&pool))) {
        // Its destructor would wake threads that this process does not have.
        std::mem::forget(inherited);
    }
    Ok(pool)
}

/// The result of work, or what it panicked with.
type Outcome<T> = std::thread::Result<Result<T>>;

/// Runs `work` off the GIL; a pending signal handler that raises (Ctrl-C) cancels it.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Cancel) -> Result<T> + Send,
) -> PyResult<T> {
    let pool = pool(py).map_err(|error| from_pool(py, &error))?;
    let cancel = Cancel::new();
    let outcome = py.detach(|| {
        let (sender, receiver) = channel();
        let (cancel, sender) = (&cancel, &sender);
        pool.in_place_scope(|scope| {
            scope.spawn(move |_| {
                let outcome = catch_unwind(AssertUnwindSafe(|| work(cancel)));
                // Nobody receives it after a signal.
                let _ = sender.send(outcome);
            });
            watch(&receiver, cancel)
        })
    })?;
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(to_python(py, &error)),
        Err(_) => Err(from_panic()),
    }
}

/// Runs `work` off the GIL; a pending signal handler that raises (Ctrl-C) ends the call at once. The work then goes on
/// in the background and its result is dropped, so it must not change anything.
pub(crate) fn abandonable<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let pool = pool(py).map_err(|error| from_pool(py, &error))?;
    let outcome = py.detach(|| {
        let (sender, receiver) = channel();
        pool.spawn(move || {
            // If the receiver is gone, the call was interrupted.
            let _ = sender.send(catch_unwind(AssertUnwindSafe(work)));
        });
        watch(&receiver, &Cancel::new())
    })?;
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(to_python(py, &error)),
        Err(_) => Err(from_panic()),
    }
}

/// Waits for the outcome of the work. If a signal handler raises, this cancels the work and returns the exception.
fn watch<T>(receiver: &Receiver<Outcome<T>>, cancel: &Cancel) -> PyResult<Outcome<T>> {
    loop {
        match receiver.recv_timeout(WATCH) {
            Ok(outcome) => return Ok(outcome),
            Err(RecvTimeoutError::Timeout) => {
                if let Err(raised) = Python::attach(|py| py.check_signals()) {
                    cancel.set();
                    return Err(raised);
                }
            }
            // The work sends before it ends.
            Err(RecvTimeoutError::Disconnected) => return Err(from_panic()),
        }
    }
}

/// Runs short work on this thread with the GIL held. It must not be parallel, see [`POOL`].
pub(crate) fn short<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| to_python(py, &error)),
        Err(_) => Err(from_panic()),
    }
}
