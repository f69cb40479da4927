//! Group ids of the configured groups.

use super::peer::OVERFLOW_ID;
use crate::config::Group;

/// A group that must not give anybody any right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the group {name} is {OVERFLOW_ID}, which stands for every group the kernel cannot name: choose another")]
pub struct UnusableGroup {
    /// As configured.
    pub name: String,
}

/// The ids of the groups that exist. One that does not is logged: its socket is then for root (and the others) alone.
///
/// # Errors
/// [`UnusableGroup`] for the overflow group: everybody in another user namespace would be in it.
pub(super) fn resolve(groups: &[Group]) -> Result<Vec<u32>, UnusableGroup> {
    let mut gids = Vec::new();
    for group in groups {
        let (name, gid) = match group {
            Group::Id(gid) => (gid.to_string(), Some(*gid)),
            Group::Name(name) => (name.clone(), look_up(name)),
        };
        match gid {
            Some(OVERFLOW_ID) => return Err(UnusableGroup { name }),
            Some(gid) => gids.push(gid),
            None => tracing::warn!(group = name, "this group does not exist: nobody gets rights by it"),
        }
    }
    Ok(gids)
}

fn look_up(name: &str) -> Option<u32> {
    match nix::unistd::Group::from_name(name) {
        Ok(found) => found.map(|group| group.gid.as_raw()),
        Err(error) => {
            tracing::warn!(group = name, %error, "a group cannot be looked up");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_used_names_looked_up_and_unknown_ones_left_out() {
        let groups = [Group::Id(4_242), Group::Name("root".to_owned()), Group::Name("no-such-group-here".to_owned())];
        assert_eq!(resolve(&groups), Ok(vec![4_242, 0]));
    }

    #[test]
    fn the_overflow_group_stops_the_start() {
        assert!(resolve(&[Group::Id(OVERFLOW_ID)]).is_err());
    }
}
