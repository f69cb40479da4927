//! Bans and allowances: what operators do with them, and what every instance does with both.

use crate::auth::{Auth, Caller, Operator, OperatorRefusal, Refusal, denial::BAN, operator::bounded_life};
use crate::domain::{
    address_rule::{
        Added, AddressRule, MAX_RULES, NewRule, RuleBook, Ruling, VERSION_SETTING, folded, loopback, overlap,
        parse_network, shown,
    },
    audit::{Action, Event},
    setting::Setting,
    store_error::StoreError,
};
use ipnet::IpNet;
use shared::time::Span;
use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
};

/// The longest wait that a banned caller is told, in milliseconds: a ban without an end is none to wait for.
const BAN_WAIT_MS: i64 = 900_000;

/// The rules in force, and the version of the setting that told of them.
#[derive(Debug, Default)]
pub(super) struct Rules(RwLock<(i64, Arc<RuleBook>)>);

/// A rule as an operator wants it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleWish {
    /// Address or network.
    pub network: String,
    /// What it says.
    pub ruling: Ruling,
    /// How long it holds.
    pub life: Option<Span>,
    /// Whether it may shut out what should never be.
    pub guard: BanGuard,
}

/// Whether a ban of this machine or of a trusted proxy is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BanGuard {
    /// It is: it was hardly meant.
    Kept,
    /// It is not.
    Forced,
}

/// Whether limits that count by address apply to a caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressLimits {
    /// They do.
    Apply,
    /// An operator has allowed the address.
    Lifted,
}

impl Auth {
    fn rules(&self) -> Arc<RuleBook> {
        self.rules.0.read().unwrap_or_else(PoisonError::into_inner).1.clone()
    }

    /// Reads the rules again when somebody has changed them.
    pub(super) async fn follow_rules(&self, stored: &[Setting]) -> Result<(), StoreError> {
        let version =
            stored.iter().find(|setting| setting.name == VERSION_SETTING).map_or(0, |setting| setting.version);
        if version == self.rules.0.read().unwrap_or_else(PoisonError::into_inner).0 {
            return Ok(());
        }
        let book = Arc::new(RuleBook::new(self.parts.rules.all().await?));
        *self.rules.0.write().unwrap_or_else(PoisonError::into_inner) = (version, book);
        Ok(())
    }

    /// Refuses a caller whose address is banned, before anything is spent. Every route that takes a credential asks:
    /// login, registration, refresh, password reset, password change and deletion of an account. Those that only end
    /// or show something do not, nor do those that gateways ask.
    ///
    /// # Errors
    /// [`Refusal::RateLimited`], like any other limit; [`Refusal::Storage`] when the refusal cannot be recorded.
    pub(super) async fn admit_caller(&self, caller: &Caller, event: &Event) -> Result<(), Refusal> {
        let (book, now_ms) = (self.rules(), self.now_ms());
        let Some(rule) = book.find(caller.ip, now_ms).filter(|rule| rule.ruling == Ruling::Ban) else { return Ok(()) };
        let about = event.clone().doing(Action::LimitExceeded).about("address", &shown(rule.network));
        self.note_denial(about.denied(BAN)).await?;
        let left_ms = rule.expires_ms.map_or(BAN_WAIT_MS, |end_ms| end_ms.saturating_sub(now_ms));
        Err(Refusal::RateLimited { retry_after_ms: left_ms.clamp(1, BAN_WAIT_MS) })
    }

    /// Whether limits by address apply: `login.ip`, `login.net`, `login.spray`, `register.ip`, `refresh.ip`. Those of
    /// accounts, devices and sessions always do.
    pub(super) fn address_limits(&self, ip: IpAddr) -> AddressLimits {
        match self.rules().find(ip, self.now_ms()) {
            Some(AddressRule { ruling: Ruling::Allow, .. }) => AddressLimits::Lifted,
            _ => AddressLimits::Apply,
        }
    }

    /// The rules of one kind that hold, newest first.
    ///
    /// # Errors
    /// [`OperatorRefusal::Storage`].
    pub async fn list_rules(&self, ruling: Ruling) -> Result<Vec<AddressRule>, OperatorRefusal> {
        let rules = self.parts.rules.all().await?;
        Ok(rules.into_iter().filter(|rule| rule.ruling == ruling).collect())
    }

    /// Makes a rule, or makes it anew: here at once, on other instances within a second.
    ///
    /// # Errors
    /// [`OperatorRefusal`].
    pub async fn add_rule(&self, operator: &Operator, wish: RuleWish) -> Result<AddressRule, OperatorRefusal> {
        let network = readable(&wish.network)?;
        if wish.ruling == Ruling::Ban && wish.guard == BanGuard::Kept {
            self.check_ban(network)?;
        }
        let (now_ms, life_ms) = (self.now_ms(), bounded_life(wish.life)?);
        let rule = AddressRule {
            network,
            ruling: wish.ruling,
            reason: operator.reason.clone(),
            created_ms: now_ms,
            created_by: operator.name(),
            expires_ms: life_ms.map(|life_ms| now_ms.saturating_add(life_ms)),
        };
        if operator.is_dry_run() {
            return Ok(rule);
        }
        let action = match wish.ruling {
            Ruling::Ban => Action::AddressBanned,
            Ruling::Allow => Action::AddressAllowed,
        };
        let event = self.operator_event(operator, action).about("address", &shown(network));
        let event = event.with("for", wish.life.map_or_else(|| "ever".to_owned(), |life| life.to_string()));
        let new = NewRule {
            network,
            ruling: wish.ruling,
            reason: operator.reason.clone(),
            created_by: operator.name(),
            life_ms,
        };
        match self.parts.rules.add(new, event).await? {
            Added::Done => self.poll_settings().await?,
            Added::Full => {
                let full = format!("there are {MAX_RULES} rules already: remove some, or name wider networks");
                return Err(OperatorRefusal::Invalid(full));
            }
        }
        Ok(self.parts.rules.all().await?.into_iter().find(|has| is_same(has, &rule)).unwrap_or(rule))
    }

    /// Removes a rule.
    ///
    /// # Errors
    /// [`OperatorRefusal::Unknown`] when there is none for exactly this network.
    pub async fn remove_rule(
        &self,
        operator: &Operator,
        ruling: Ruling,
        network: &str,
    ) -> Result<AddressRule, OperatorRefusal> {
        let network = readable(network)?;
        let rules = self.list_rules(ruling).await?;
        let none = || {
            let kind = if ruling == Ruling::Ban { "ban of" } else { "allowance of" };
            OperatorRefusal::none_called(kind, &shown(network))
        };
        let rule = rules.into_iter().find(|rule| rule.network == network).ok_or_else(none)?;
        if operator.is_dry_run() {
            return Ok(rule);
        }
        let action = match ruling {
            Ruling::Ban => Action::AddressBanRemoved,
            Ruling::Allow => Action::AddressAllowRemoved,
        };
        let event = self.operator_event(operator, action).about("address", &shown(network));
        if !self.parts.rules.remove(network, ruling, &operator.name(), event).await? {
            return Err(none());
        }
        self.poll_settings().await?;
        Ok(rule)
    }

    /// Whether a ban would shut out this machine or a proxy through which everybody comes.
    fn check_ban(&self, network: IpNet) -> Result<(), OperatorRefusal> {
        let refuse = |what: String| Err(OperatorRefusal::Invalid(format!("{what} (--force bans it all the same)")));
        if let Some(own) = loopback().into_iter().find(|own| overlap(network, *own)) {
            return refuse(format!("{} reaches into the loopback network {own}", shown(network)));
        }
        let settings = self.settings();
        let proxies = settings.trusted_proxies.iter().map(|proxy| folded(*proxy));
        match proxies.into_iter().find(|proxy| overlap(network, *proxy)) {
            Some(proxy) => refuse(format!(
                "{} reaches into {}, a trusted proxy by server.trusted_proxies",
                shown(network),
                shown(proxy)
            )),
            None => Ok(()),
        }
    }
}

fn is_same(one: &AddressRule, other: &AddressRule) -> bool {
    one.network == other.network && one.ruling == other.ruling
}

fn readable(text: &str) -> Result<IpNet, OperatorRefusal> {
    parse_network(text).map_err(|error| OperatorRefusal::Invalid(format!("`{text}` is {error}")))
}
