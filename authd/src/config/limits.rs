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

/// Different ones that fail in a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpreadLimit {
    /// How many; 0: off.
    pub count: u32,
    /// How long each counts.
    pub window: Span,
    /// How long the key is locked then.
    pub lock: Span,
}

/// A share of all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShareLimit {
    /// More than this many in a hundred; 100: off.
    pub percent: u32,
    /// Of at least so many.
    pub attempts: u32,
}

/// Consecutive failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountLimit {
    /// How many.
    pub count: u32,
}

/// Password evaluations in a row, in two lanes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HardLimits {
    /// From unknown devices.
    pub unknown: u32,
    /// From known devices, and inside sessions.
    pub known: u32,
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
        counts { $($(#[doc = $count_doc:literal])+ $count_name:literal $count_field:ident = $count:literal;)+ }
        $(#[doc = $hard_doc:literal])+
        hard $hard_name:literal $hard_field:ident = $unknown:literal, $known:literal;
        spreads { $($(#[doc = $spread_doc:literal])+ $spread_name:literal $spread_field:ident
            = $many:literal, $window:literal, $lock:literal;)+ }
        $(#[doc = $share_doc:literal])+
        share $share_name:literal $share_field:ident = $percent:literal, $attempts:literal;
    ) => {
        /// The policies of this version.
        #[derive(Debug, Clone, PartialEq)]
        pub struct Limits {
            $($(#[doc = $rate_doc])+ pub $rate_field: RateLimit,)+
            $(#[doc = $ladder_doc])+
            pub $ladder_field: LadderLimit,
            $($(#[doc = $count_doc])+ pub $count_field: CountLimit,)+
            $(#[doc = $hard_doc])+
            pub $hard_field: HardLimits,
            $($(#[doc = $spread_doc])+ pub $spread_field: SpreadLimit,)+
            $(#[doc = $share_doc])+
            pub $share_field: ShareLimit,
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
                    $($count_field: CountLimit { count: from_default($count)? },)+
                    $hard_field: HardLimits { unknown: from_default($unknown)?, known: from_default($known)? },
                    $($spread_field: SpreadLimit {
                        count: from_default($many)?,
                        window: from_default($window)?,
                        lock: from_default($lock)?,
                    },)+
                    $share_field: ShareLimit {
                        percent: from_default($percent)?,
                        attempts: from_default($attempts)?,
                    },
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
            $(key!($count_name, $count_field.count: u32 = $count, Some(("1", "100")), "How many."),)+
            key!($hard_name, $hard_field.unknown: u32 = $unknown, Some(("1", "99")), "How many from unknown devices."),
            key!($hard_name, $hard_field.known: u32 = $known, Some(("1", "99")), "How many from known devices and inside sessions; with the others at most 100."),
            $(
                key!($spread_name, $spread_field.count: u32 = $many, Some(("0", "1000")), "How many accounts; 0 switches it off."),
                key!($spread_name, $spread_field.window: Span = $window, Some(("1s", "24h")), "How long a failure counts."),
                key!($spread_name, $spread_field.lock: Span = $lock, Some(("1s", "24h")), "How long logins are refused then."),
            )+
            key!($share_name, $share_field.percent: u32 = $percent, Some(("1", "100")), "More than this many in a hundred; 100 switches it off."),
            key!($share_name, $share_field.attempts: u32 = $attempts, Some(("1", "1000000")), "Of at least so many attempts in five minutes."),
        ];

        /// What the policies count.
        pub(super) const LIMIT_DOCS: &[(&str, &[&str])] = &[
            $((concat!("limit.\"", $rate_name, "\""), &[$($rate_doc),+]),)+
            (concat!("limit.\"", $ladder_name, "\""), &[$($ladder_doc),+]),
            $((concat!("limit.\"", $count_name, "\""), &[$($count_doc),+]),)+
            (concat!("limit.\"", $hard_name, "\""), &[$($hard_doc),+]),
            $((concat!("limit.\"", $spread_name, "\""), &[$($spread_doc),+]),)+
            (concat!("limit.\"", $share_name, "\""), &[$($share_doc),+]),
        ];

        /// Names of the policies.
        pub const POLICIES: &[&str] =
            &[$($rate_name,)+ $ladder_name, $($count_name,)+ $hard_name, $($spread_name,)+ $share_name];
    };
}

policies! {
    rates {
        /// Login attempts from one address (/32, /64).
        "login.ip" login_ip = "30/min", "20";
        /// Login attempts from one network (/24, /48).
        "login.net" login_net = "300/min", "150";
        /// Logins with one known device.
        "login.device" login_device = "10/min", "10";
        /// Registrations that pass validation, from one address.
        "register.ip" register_ip = "3/h", "3";
        /// Rotations of one session.
        "refresh.session" refresh_session = "60/h", "10";
        /// Replayed and unknown refresh tokens from one address.
        "refresh.ip" refresh_ip = "20/min", "20";
        /// Registrations of all addresses together: beyond it an alarm, and a quarter of `register.ip` until there was
        /// none too many for 15 minutes. It refuses nobody itself.
        "register.global" register_global = "200/h", "200";
        /// Calls of the admin API by one user id, on each instance.
        "admin.uid" admin_uid = "20/s", "200";
    }
    /// Failed logins to one account from unknown devices.
    ladder "login.account" login_account = "5", "1s", "15m", "24h";
    counts {
        /// Consecutive failed logins with one known device, which is then known no more.
        "login.device_failures" login_device_failures = "5";
        /// Consecutive failed password checks inside one session, which is then revoked.
        "reauth.session" reauth_session = "5";
    }
    /// Passwords checked for one account until one is right, counted in the database: at most 100 in a row, whatever
    /// restarts or fails (NIST SP 800-63B-4). Unknown and known devices have a lane each; wrong passwords inside a
    /// session count with the known ones. A lane that is used up refuses the right password too, until the other lane
    /// sees it, a one-time reset is used, or `authctl user unlock` opens it. So the owner of an account under attack
    /// gets in with a device that has logged in before; an unknown device is not promised entry. It cannot be shadowed.
    hard "login.hard" login_hard = "85", "15";
    spreads {
        /// Different accounts, existing or not, to which logins fail from one address (/32, /64): as many, and logins
        /// from there are refused for a while.
        "login.spray" login_spray = "10", "10m", "15m";
        /// The same for one network (/24, /48).
        "login.spray_net" login_spray_net = "100", "10m", "15m";
    }
    /// Failing logins among all of the last five minutes. More than that, or far more than is usual on this day, is
    /// attack mode: an alarm, and a quarter of `login.ip` and `login.net` for unknown devices until it was calm for
    /// five minutes.
    share "login.global" login_global = "60", "200";
}
