//! Calls of the core. Long work runs without the GIL on a second thread, while this thread watches for Ctrl-C.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use pyo3::prelude::*;
use shapsketch::{Cancel, Result};

use crate::errors::{from_panic, to_python};

/// Time between two checks for signals.
const WATCH: Duration = Duration::from_millis(50);

/// Runs `work` off the GIL; a pending signal handler that raises (Ctrl-C) cancels it.
pub(crate) fn interruptible<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&Cancel) -> Result<T> + Send,
) -> PyResult<T> {
    let cancel = Cancel::new();
    let (outcome, signal) = py.detach(|| {
        std::thread::scope(|scope| {
            let (sender, receiver) = channel();
            let cancel = &cancel;
            let worker = scope.spawn(move || {
                let outcome = work(cancel);
                // The receiver is gone only if this thread is being joined already.
                let _ = sender.send(());
                outcome
            });
            let signal = watch(&receiver, cancel);
            (worker.join(), signal)
        })
    });
    match (outcome, signal) {
        (_, Some(raised)) => Err(raised),
        (Ok(Ok(value)), None) => Ok(value),
        (Ok(Err(error)), None) => Err(to_python(py, &error)),
        (Err(_), None) => Err(from_panic()),
    }
}

/// Runs `work` off the GIL; a pending signal handler that raises (Ctrl-C) ends the call at once. The work then goes on
/// in the background and its result is dropped, so it must not change anything.
pub(crate) fn abandonable<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> PyResult<T> {
    let (outcome, signal) = py.detach(|| {
        let (sender, receiver) = channel();
        let worker = std::thread::spawn(move || {
            let outcome = work();
            // If the receiver is gone, the call was interrupted.
            let _ = sender.send(());
            outcome
        });
        match watch(&receiver, &Cancel::new()) {
            Some(raised) => (None, Some(raised)),
            None => (Some(worker.join()), None),
        }
    });
    match (outcome, signal) {
        (_, Some(raised)) => Err(raised),
        (Some(Ok(Ok(value))), None) => Ok(value),
        (Some(Ok(Err(error))), None) => Err(to_python(py, &error)),
        (Some(Err(_)) | None, None) => Err(from_panic()),
    }
}

/// Waits for the end of the work. If a signal handler raises, this cancels the work and returns the exception.
fn watch(receiver: &Receiver<()>, cancel: &Cancel) -> Option<PyErr> {
    while let Err(RecvTimeoutError::Timeout) = receiver.recv_timeout(WATCH) {
        if let Err(raised) = Python::attach(|py| py.check_signals()) {
            cancel.set();
            return Some(raised);
        }
    }
    None
}

/// Runs short work with the GIL held.
pub(crate) fn short<T>(py: Python<'_>, work: impl FnOnce() -> Result<T>) -> PyResult<T> {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)) {
        Ok(outcome) => outcome.map_err(|error| to_python(py, &error)),
        Err(_) => Err(from_panic()),
    }
}
