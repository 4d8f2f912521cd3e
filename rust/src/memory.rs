//! The memory of this machine: predicted needs are compared with it before the work.

use std::sync::OnceLock;

use sysinfo::System;

use crate::error::{Error, Result};

/// The memory that one result or one computation may take, as a fraction of the memory of the machine.
const ALLOWED: (u128, u128) = (3, 4);
/// Arrays from this number of bytes on are requested in a way that can fail before they are allocated.
const LARGE: u128 = 1 << 28;

/// Largest number of bytes that one result or one computation may take: three quarters of the memory of the machine,
/// or of the limit of the process or its control group (a container, a batch job) if that is lower.
#[must_use]
pub fn limit() -> u128 {
    static LIMIT: OnceLock<u128> = OnceLock::new();
    *LIMIT.get_or_init(|| {
        let mut system = System::new();
        system.refresh_memory();
        let group = system.cgroup_limits().map_or(u64::MAX, |group| group.total_memory);
        match system.total_memory().min(group).min(of_process().unwrap_or(u64::MAX)) {
            // The memory of this platform is not known.
            0 => u128::MAX,
            total => u128::from(total) * ALLOWED.0 / ALLOWED.1,
        }
    })
}

/// The limit of the address space of this process (`ulimit -v`), on Linux.
fn of_process() -> Option<u64> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Refuses a computation that needs too much memory.
///
/// # Errors
/// [`Error::Memory`] if `bytes` exceed [`limit`].
pub(crate) fn check(what: &'static str, bytes: u128, advice: &'static str) -> Result<()> {
    let limit = limit();
    if bytes > limit {
        return Err(Error::Memory { what, bytes, limit, advice });
    }
    Ok(())
}

/// Zeros, for a result; `what` and `advice` are parts of the error message.
///
/// # Errors
/// [`Error::Memory`] if they exceed [`limit`], or the operating system refuses them.
pub(crate) fn zeros<T: Clone + Default>(
    count: u128,
    what: &'static str,
    advice: &'static str,
) -> Result<Vec<T>> {
    let bytes = count.saturating_mul(size_of::<T>() as u128);
    check(what, bytes, advice)?;
    let refused = || Error::Memory { what, bytes, limit: limit(), advice };
    let count = usize::try_from(count).map_err(|_| refused())?;
    if bytes >= LARGE {
        // `vec!` ends the process if the operating system refuses; this request is released at once.
        Vec::<T>::new().try_reserve_exact(count).map_err(|_| refused())?;
    }
    Ok(vec![T::default(); count])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn more_than_the_memory_of_the_machine_is_refused_with_need_limit_and_advice() {
        assert!(limit() > 1 << 28);
        assert_eq!(zeros::<u16>(3, "the list", "shorten it").unwrap(), [0, 0, 0]);
        let message = zeros::<f64>(1 << 50, "the list", "shorten it").unwrap_err().to_string();
        assert!(
            message.starts_with("the list would need 8388608.0 GiB of memory, more than the "),
            "{message}"
        );
        assert!(message.ends_with("; shorten it"), "{message}");
        assert!(zeros::<f64>(u128::MAX, "the list", "shorten it").is_err());
    }
}
