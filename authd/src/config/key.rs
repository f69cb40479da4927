//! One key of the configuration: its name, default, bounds and meaning, and how to reach its field.
//!
//! `config show`, `config-schema`, authd.toml(5), the reload and the reader all walk the same table of these.

use super::{
    Config,
    value::{Raw, Setting, Shape},
};

/// When a changed value takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// At the next reload.
    Live,
    /// At the next start.
    Restart,
    /// In a later version: this one takes the default only (see `check`).
    Later,
}

/// One key.
pub struct Key {
    /// The table it stands in, as TOML writes it: `server`, `limit."login.ip"`.
    pub section: &'static str,
    /// Its name there.
    pub name: &'static str,
    /// Default, as it would be written.
    pub default: &'static str,
    /// Lowest and highest value, as they would be written.
    pub bounds: Option<(&'static str, &'static str)>,
    /// When a change takes effect.
    pub effect: Effect,
    /// Lines of documentation.
    pub doc: &'static [&'static str],
    pub(super) field: &'static dyn Field,
}

impl Key {
    /// The dotted name without quotes: `limit.login.ip.rate`.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{}.{}", self.section.replace('"', ""), self.name)
    }

    /// The dotted name as TOML writes it: `limit."login.ip".rate`.
    #[must_use]
    pub fn toml_name(&self) -> String {
        format!("{}.{}", self.section, self.name)
    }

    /// The environment variable that sets it: `AUTHD_LIMIT__LOGIN_IP__RATE`.
    #[must_use]
    pub fn env_name(&self) -> String {
        let (head, rest) = self.section.split_once('.').unwrap_or((self.section, ""));
        let parts = [head, rest, self.name].into_iter().filter(|part| !part.is_empty());
        let parts: Vec<String> =
            parts.map(|part| part.replace('"', "").replace(['.', '-'], "_").to_ascii_uppercase()).collect();
        format!("AUTHD_{}", parts.join("__"))
    }

    /// Documentation as one text.
    #[must_use]
    pub fn text(&self) -> String {
        self.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    /// What is accepted.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.field.shape()
    }

    /// Whether the value is never shown in full.
    #[must_use]
    pub fn is_secret(&self) -> bool {
        self.field.is_secret()
    }

    /// Writes a value into the configuration.
    ///
    /// # Errors
    /// What was expected instead.
    pub fn set(&self, config: &mut Config, raw: &Raw) -> Result<(), String> {
        self.field.set(config, raw, self.bounds)
    }

    /// The value as it would be written, with secrets masked.
    #[must_use]
    pub fn show(&self, config: &Config) -> String {
        self.field.show(config)
    }

    /// Whether two configurations differ here.
    #[must_use]
    pub fn differs(&self, one: &Config, other: &Config) -> bool {
        self.field.differs(one, other)
    }

    /// Takes over the value of another configuration.
    pub fn adopt(&self, into: &mut Config, from: &Config) {
        self.field.adopt(into, from);
    }
}

/// Access to a field whose type is not known here.
pub(super) trait Field: Sync {
    fn shape(&self) -> Shape;
    fn is_secret(&self) -> bool;
    fn set(&self, config: &mut Config, raw: &Raw, bounds: Option<(&str, &str)>) -> Result<(), String>;
    fn show(&self, config: &Config) -> String;
    fn differs(&self, one: &Config, other: &Config) -> bool;
    fn adopt(&self, into: &mut Config, from: &Config);
}

/// Where a field of type `T` stands in the configuration.
pub(super) struct Lens<T: 'static> {
    pub(super) get: fn(&Config) -> &T,
    pub(super) get_mut: fn(&mut Config) -> &mut T,
}

impl<T: Setting> Field for Lens<T> {
    fn shape(&self) -> Shape {
        T::SHAPE
    }

    fn is_secret(&self) -> bool {
        T::SECRET
    }

    fn set(&self, config: &mut Config, raw: &Raw, bounds: Option<(&str, &str)>) -> Result<(), String> {
        let value = T::read(raw)?;
        if let (Some(size), Some((low, high))) = (value.size(), bounds) {
            let bound = |text: &str| T::read(&Raw::Text(text.to_owned())).ok().and_then(|bound| bound.size());
            if bound(low).is_some_and(|low| size < low) || bound(high).is_some_and(|high| size > high) {
                return Err(format!("{} is not between {low} and {high}", value.show()));
            }
        }
        *(self.get_mut)(config) = value;
        Ok(())
    }

    fn show(&self, config: &Config) -> String {
        (self.get)(config).show()
    }

    fn differs(&self, one: &Config, other: &Config) -> bool {
        (self.get)(one) != (self.get)(other)
    }

    fn adopt(&self, into: &mut Config, from: &Config) {
        *(self.get_mut)(into) = (self.get)(from).clone();
    }
}
