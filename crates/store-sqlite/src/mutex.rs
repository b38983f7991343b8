//! Mutexes: a panic elsewhere must not spread through a poisoned lock; what they guard is valid after
//! every statement.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not another thread panicked while it held the lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
