//! What a caller may do.

use std::fmt;
use std::ops::BitOr;

/// A set of permissions.
///
/// ```
/// use hashserv_service::Permissions;
///
/// let permissions = Permissions::from_names(["@report", "@read", "@none"]).unwrap();
/// assert_eq!(permissions, Permissions::READ | Permissions::REPORT);
/// assert_eq!(permissions.names(), ["@read", "@report"]);
/// assert!(Permissions::ALL.contains(permissions));
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Permissions(u8);

/// Names that are no permissions, sorted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unknown permissions {}", .0.join(", "))]
pub struct UnknownPermissions(pub Vec<String>);

/// Each permission and its name, in the order of the names.
const NAMES: [(Permissions, &str); 5] = [
    (Permissions::ALL, "@all"),
    (Permissions::DB_ADMIN, "@db-admin"),
    (Permissions::READ, "@read"),
    (Permissions::REPORT, "@report"),
    (Permissions::USER_ADMIN, "@user-admin"),
];

impl Permissions {
    /// Nothing.
    pub const NONE: Permissions = Permissions(0);
    /// Look up, read statistics.
    pub const READ: Permissions = Permissions(1);
    /// Have reports recorded.
    pub const REPORT: Permissions = Permissions(2);
    /// Administration and database figures.
    pub const DB_ADMIN: Permissions = Permissions(4);
    /// Manage users, act as another user.
    pub const USER_ADMIN: Permissions = Permissions(8);
    /// Everything, now and in future.
    pub const ALL: Permissions = Permissions(16);

    /// The permissions of these names. `@none` is accepted and means nothing.
    ///
    /// # Errors
    ///
    /// [`UnknownPermissions`] names all that are none.
    pub fn from_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, UnknownPermissions> {
        let (permissions, mut unknown) = split_names(names);
        unknown.sort_unstable();
        unknown.dedup();
        if unknown.is_empty() { Ok(permissions) } else { Err(UnknownPermissions(unknown)) }
    }

    /// The permissions that a database has for a user. Names that are unknown here, perhaps written by a
    /// later version, mean nothing.
    #[must_use]
    pub fn from_stored(text: &str) -> Self {
        split_names(text.split_ascii_whitespace()).0
    }

    /// Whether all of `needed` are granted by these.
    #[must_use]
    pub fn contains(self, needed: Permissions) -> bool {
        self.0 & Permissions::ALL.0 != 0 || self.0 & needed.0 == needed.0
    }

    /// Whether any of `others` is among these by name.
    #[must_use]
    pub fn names_any_of(self, others: Permissions) -> bool {
        self.0 & others.0 != 0
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().filter(|(permission, _)| self.names_any_of(*permission)).map(|(_, name)| *name).collect()
    }

    /// The names of all that is granted, sorted: `@all` stands for every permission.
    #[must_use]
    pub fn granted_names(self) -> Vec<&'static str> {
        if self.names_any_of(Permissions::ALL) {
            NAMES.iter().map(|(_, name)| *name).collect()
        } else {
            self.names()
        }
    }

    /// The text that databases hold: the names, sorted, separated by blanks.
    #[must_use]
    pub fn to_stored(self) -> String {
        self.names().join(" ")
    }
}

impl BitOr for Permissions {
    type Output = Permissions;

    fn bitor(self, other: Permissions) -> Permissions {
        Permissions(self.0 | other.0)
    }
}

impl fmt::Debug for Permissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permissions({})", self.to_stored())
    }
}

/// The permissions of the names that are some, and the others.
fn split_names<'a>(names: impl IntoIterator<Item = &'a str>) -> (Permissions, Vec<String>) {
    let mut permissions = Permissions::NONE;
    let mut unknown = Vec::new();
    for name in names {
        match NAMES.iter().find(|(_, known)| *known == name) {
            Some((permission, _)) => permissions = permissions | *permission,
            None if name == "@none" => {}
            None => unknown.push(name.to_owned()),
        }
    }
    (permissions, unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stands_for_everything_but_is_named_alone() {
        let all = Permissions::from_names(["@read", "@all"]).unwrap();
        assert!(all.contains(Permissions::USER_ADMIN | Permissions::DB_ADMIN));
        assert_eq!(all.names(), ["@all", "@read"]);
        assert_eq!(all.granted_names(), ["@all", "@db-admin", "@read", "@report", "@user-admin"]);
        assert_eq!(Permissions::from_stored(&all.to_stored()), all);
    }

    #[test]
    fn every_needed_permission_is_needed() {
        let needed = Permissions::READ | Permissions::REPORT;
        assert!(!Permissions::READ.contains(needed));
        assert!((Permissions::READ | Permissions::REPORT).contains(needed));
        assert!(Permissions::NONE.contains(Permissions::NONE));
    }

    #[test]
    fn unknown_names_are_told_sorted() {
        let error = Permissions::from_names(["@zz", "@read", "@aa", "@zz"]).unwrap_err();
        assert_eq!(error.to_string(), "Unknown permissions @aa, @zz");
        assert_eq!(Permissions::from_stored("@read @future"), Permissions::READ);
    }
}
