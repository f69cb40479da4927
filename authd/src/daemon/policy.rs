//! A password policy whose rules a reload can replace.

use crate::domain::password::{Password, PasswordPolicy, WeakPassword};
use std::sync::{Arc, PoisonError, RwLock};

/// The policy in force.
pub(super) struct LivePolicy(RwLock<Arc<dyn PasswordPolicy>>);

impl LivePolicy {
    pub(super) fn new(policy: Arc<dyn PasswordPolicy>) -> Self {
        Self(RwLock::new(policy))
    }

    pub(super) fn replace(&self, policy: Arc<dyn PasswordPolicy>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = policy;
    }

    fn current(&self) -> Arc<dyn PasswordPolicy> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl PasswordPolicy for LivePolicy {
    fn judge(&self, password: &Password, personal: &[&str]) -> Result<(), WeakPassword> {
        self.current().judge(password, personal)
    }

    fn is_overlong(&self, password: &Password) -> bool {
        self.current().is_overlong(password)
    }
}
