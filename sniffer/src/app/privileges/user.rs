//! The user that the process becomes, from the user database of the host (passwd(5), or what nsswitch.conf(5) names).

use super::Error;
use nix::unistd::{Gid, Group, Uid, User, geteuid, initgroups, setresgid, setresuid};
use rustix::thread::set_keep_capabilities;
use std::{
    ffi::CString,
    fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown},
    path::Path,
};

/// A user of the host.
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
}

impl Account {
    /// Finds a user by name or number.
    pub fn find(name: &str) -> Result<Self, Error> {
        let by_number = || name.parse().map_or(Ok(None), |id| User::from_uid(Uid::from_raw(id)));
        let found = User::from_name(name).and_then(|user| user.map_or_else(by_number, |user| Ok(Some(user))));
        match found {
            Ok(Some(user)) => Ok(Self { name: user.name, uid: user.uid, gid: user.gid }),
            Ok(None) => Err(format!(
                "--user {name}: there is no such user; make it with `useradd --system --shell /usr/sbin/nologin {name}`, or name another one"
            )
            .into()),
            Err(error) => Err(format!("--user {name}: the user cannot be looked up: {error}").into()),
        }
    }

    /// Whether the process already runs as this user.
    pub fn is_current(&self) -> bool {
        geteuid() == self.uid
    }

    /// Makes a folder for the user, or checks that the user can write to it.
    pub fn prepare(&self, folder: &Path) -> Result<(), Error> {
        let shown = folder.display();
        match fs::metadata(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let made = || {
                    if let Some(parent) = folder.parent() {
                        fs::create_dir_all(parent)?;
                    }
                    fs::DirBuilder::new().mode(0o750).create(folder)?;
                    fs::set_permissions(folder, fs::Permissions::from_mode(0o750))?;
                    chown(folder, Some(self.uid.as_raw()), Some(self.gid.as_raw()))
                };
                made().map_err(|e: io::Error| format!("{shown} cannot be made for the user {}: {e}", self.name).into())
            }
            Err(error) => Err(format!("{shown}: {error}").into()),
            Ok(about) if self.can_write(&about) => Ok(()),
            Ok(about) => Err(format!(
                "{shown} belongs to the user {}, and {} cannot write to it; correct it with `chown -R {} {shown}`, or name another folder with \
                 --path.data and --path.logs",
                about.uid(),
                self.name,
                self.name
            )
            .into()),
        }
    }

    /// Whether the permission bits let the user write to a folder. Other groups of the user are left out.
    fn can_write(&self, about: &fs::Metadata) -> bool {
        let needed = match () {
            () if self.uid.is_root() => return true,
            () if about.uid() == self.uid.as_raw() => 0o300,
            () if about.gid() == self.gid.as_raw() => 0o030,
            () => 0o003,
        };
        about.mode() & needed == needed
    }

    /// Makes the process that of the user, with the user's groups. The capabilities stay permitted, but none is in effect.
    pub fn assume(&self) -> io::Result<()> {
        set_keep_capabilities(true)?;
        initgroups(&CString::new(self.name.as_str())?, self.gid)?;
        setresgid(self.gid, self.gid, self.gid)?;
        setresuid(self.uid, self.uid, self.uid)?;
        Ok(set_keep_capabilities(false)?)
    }
}

/// Whether the process runs as root.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// The name of the user that runs the process, or the number of a user without a name.
pub fn current() -> String {
    let uid = geteuid();
    User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name)
}

/// The name or number of the group of the process.
pub fn current_group() -> String {
    let gid = nix::unistd::getegid();
    Group::from_gid(gid).ok().flatten().map_or_else(|| gid.to_string(), |group| group.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_number() {
        let found = |name: &str| Account::find(name).map(|account| (account.name, account.uid.as_raw())).map_err(|e| e.to_string());
        assert_eq!(found("root"), Ok(("root".to_owned(), 0)));
        assert_eq!(found("0"), Ok(("root".to_owned(), 0)));
        for wrong in ["no-such-user", "4294967290", "", "-1"] {
            let error = found(wrong).unwrap_err();
            assert!(error.starts_with(&format!("--user {wrong}: there is no such user; ")), "{error}");
        }
    }

    #[test]
    fn the_permission_bits_decide_whether_a_folder_is_usable() {
        let folder = tempfile::tempdir().unwrap();
        let about = folder.path().metadata().unwrap();
        let (uid, gid) = (about.uid(), about.gid());
        let can_write = |mode: u32, uid: u32, gid: u32| {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let account = Account { name: "x".into(), uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) };
            account.can_write(&folder.path().metadata().unwrap())
        };
        let (other_uid, other_gid) = (uid + 1, gid + 1);
        assert!(can_write(0o700, other_uid - 1, other_gid));
        assert!(!can_write(0o750, other_uid, other_gid));
        assert!(!can_write(0o750, other_uid, gid));
        assert!(can_write(0o770, other_uid, gid));
        assert!(!can_write(0o775, other_uid, other_gid));
        assert!(can_write(0o777, other_uid, other_gid));
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();
    }
}
