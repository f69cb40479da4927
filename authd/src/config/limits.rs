//! The limit policies of this version and their defaults; live values are set by `authctl limit set`.

use super::{
    key::{Effect, Key, Lens},
    sections::from_default,
};
use shared::{rate::Rate, time::Span};

/// A rate with room for a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many in how long.
    pub rate: Rate,
    /// How many at once.
    pub burst: u32,
}

/// Free attempts, then a delay that doubles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LadderLimit {
    /// Failures without a delay.
    pub burst: u32,
    /// The first delay.
    pub first_delay: Span,
    /// The longest delay.
    pub max_delay: Span,
    /// How long after the last failure all is forgotten.
    pub forget: Span,
}

/// Consecutive failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountLimit {
    /// How many.
    pub count: u32,
}

macro_rules! key {
    ($policy:literal, $field:ident.$key:ident: $ty:ty = $default:literal, $bounds:expr, $doc:literal) => {
        Key {
            section: concat!("limit.\"", $policy, "\""),
            name: stringify!($key),
            default: $default,
            bounds: $bounds,
            effect: Effect::Live,
            doc: &[$doc],
            field: &Lens::<$ty> {
                get: |config| &config.limit.$field.$key,
                get_mut: |config| &mut config.limit.$field.$key,
            },
        }
    };
}

macro_rules! policies {
    (
        rates { $($(#[doc = $rate_doc:literal])+ $rate_name:literal $rate_field:ident = $rate:literal, $burst:literal;)+ }
        $(#[doc = $ladder_doc:literal])+
        ladder $ladder_name:literal $ladder_field:ident = $free:literal, $first:literal, $most:literal, $forget:literal;
        $(#[doc = $count_doc:literal])+
        count $count_name:literal $count_field:ident = $count:literal;
    ) => {
        /// The policies of this version.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Limits {
            $($(#[doc = $rate_doc])+ pub $rate_field: RateLimit,)+
            $(#[doc = $ladder_doc])+
            pub $ladder_field: LadderLimit,
            $(#[doc = $count_doc])+
            pub $count_field: CountLimit,
        }

        impl Limits {
            pub(super) fn from_defaults() -> Result<Self, String> {
                Ok(Self {
                    $($rate_field: RateLimit { rate: from_default($rate)?, burst: from_default($burst)? },)+
                    $ladder_field: LadderLimit {
                        burst: from_default($free)?,
                        first_delay: from_default($first)?,
                        max_delay: from_default($most)?,
                        forget: from_default($forget)?,
                    },
                    $count_field: CountLimit { count: from_default($count)? },
                })
            }
        }

        /// The keys of the policies.
        pub(super) static LIMIT_KEYS: &[Key] = &[
            $(
                key!($rate_name, $rate_field.rate: Rate = $rate, None, "How many in how long."),
                key!($rate_name, $rate_field.burst: u32 = $burst, Some(("1", "1000000")), "How many at once."),
            )+
            key!($ladder_name, $ladder_field.burst: u32 = $free, Some(("1", "84")), "Failures without a delay."),
            key!($ladder_name, $ladder_field.first_delay: Span = $first, Some(("1ms", "24h")), "First delay; each further one doubles."),
            key!($ladder_name, $ladder_field.max_delay: Span = $most, Some(("1ms", "7d")), "Longest delay."),
            key!($ladder_name, $ladder_field.forget: Span = $forget, Some(("1s", "365d")), "How long after the last failure all is forgotten."),
            key!($count_name, $count_field.count: u32 = $count, Some(("1", "100")), "How many."),
        ];

        /// What the policies count.
        pub(super) const LIMIT_DOCS: &[(&str, &[&str])] = &[
            $((concat!("limit.\"", $rate_name, "\""), &[$($rate_doc),+]),)+
            (concat!("limit.\"", $ladder_name, "\""), &[$($ladder_doc),+]),
            (concat!("limit.\"", $count_name, "\""), &[$($count_doc),+]),
        ];

        /// Names of the policies.
        pub const POLICIES: &[&str] = &[$($rate_name,)+ $ladder_name, $count_name];
    };
}

policies! {
    rates {
        /// Login attempts from one address (/32, /64).
        "login.ip" login_ip = "30/min", "20";
        /// Login attempts from one network (/24, /48).
        "login.net" login_net = "300/min", "150";
        /// Registrations that pass validation, from one address.
        "register.ip" register_ip = "3/h", "3";
        /// Rotations of one session.
        "refresh.session" refresh_session = "60/h", "10";
        /// Replayed and unknown refresh tokens from one address.
        "refresh.ip" refresh_ip = "20/min", "20";
    }
    /// Failed logins to one account from unknown devices.
    ladder "login.account" login_account = "5", "1s", "15m", "24h";
    /// Consecutive failed password checks inside one session, which is then revoked.
    count "reauth.session" reauth_session = "5";
}
