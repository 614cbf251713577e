//! The folders in which docker and podman keep certificates of one registry.
//! <https://docs.docker.com/engine/security/certificates/>,
//! <https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md>

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::tls::{Authorities, TlsError, TlsFiles};
use crate::files::FileError;

/// Files of one folder that are looked at.
const FILES_MAX: usize = 1000;

/// Returns the folders that may hold the certificates of registries, the user's first.
#[must_use]
pub fn of_environment(environment: &dyn Fn(&str) -> Option<String>) -> Vec<PathBuf> {
    let variable = |name| environment(name).filter(|value| value.starts_with('/'));
    let home = variable("HOME").map(PathBuf::from);
    let config = variable("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| home.as_ref().map(|home| home.join(".config")));
    let of_podman = home.map(|home| home.join(".config/containers/certs.d"));
    let of_docker = config.map(|config| config.join("docker/certs.d"));
    of_podman
        .into_iter()
        .chain(of_docker)
        .chain([
            PathBuf::from("/etc/containers/certs.d"),
            PathBuf::from("/etc/docker/certs.d"),
        ])
        .collect()
}

/// Returns the files for a host (`HOST` or `HOST:PORT`) of the first folder that knows it.
///
/// `*.crt` are authorities, trusted beside the system's; `*.cert` with the `*.key` of the same name is shown to the server.
///
/// # Errors
/// Names a folder that cannot be read, and the half of a pair that is alone.
pub fn files_for(host: &str, folders: &[PathBuf]) -> Result<TlsFiles, TlsError> {
    for folder in folders {
        let folder = folder.join(host);
        match names(&folder) {
            Ok(names) => return read(&folder, &names),
            // A folder of another user is nobody's business, and podman passes it by too.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound
                        | io::ErrorKind::NotADirectory
                        | io::ErrorKind::PermissionDenied
                ) => {}
            Err(error) => {
                return Err(TlsError::Read {
                    source: FileError::io("listing", &folder)(error),
                    path: folder,
                });
            }
        }
    }
    Ok(TlsFiles::default())
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)?.take(FILES_MAX) {
        if let Ok(name) = entry?.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn read(folder: &Path, names: &[String]) -> Result<TlsFiles, TlsError> {
    let ending = |ending: &'static str| {
        names
            .iter()
            .filter_map(move |name| name.strip_suffix(ending).map(|stem| (stem, name)))
    };
    let authorities: Vec<PathBuf> = ending(".crt").map(|(_, name)| folder.join(name)).collect();
    let mut client = None;
    for (stem, name) in ending(".cert") {
        let key = folder.join(format!("{stem}.key"));
        if !names.contains(&format!("{stem}.key")) {
            return Err(TlsError::Content {
                path: folder.join(name),
                problem: "the key of this certificate is not beside it (the same name, ending in .key)",
            });
        }
        client.get_or_insert((folder.join(name), key));
    }
    if let Some((stem, name)) = ending(".key").next()
        && client.is_none()
        && !names.contains(&format!("{stem}.cert"))
    {
        return Err(TlsError::Content {
            path: folder.join(name),
            problem: "the certificate of this key is not beside it (the same name, ending in .cert; .crt is for authorities)",
        });
    }
    Ok(TlsFiles {
        authorities: match authorities.is_empty() {
            true => Authorities::System,
            false => Authorities::Beside(authorities),
        },
        client,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(names: &[&str]) -> (tempfile::TempDir, Vec<PathBuf>) {
        let temporary = tempfile::tempdir().unwrap();
        let absent = temporary.path().join("absent");
        let there = temporary.path().join("there");
        for name in names {
            fs::create_dir_all(there.join("host:5000")).unwrap();
            fs::write(there.join("host:5000").join(name), "").unwrap();
        }
        (temporary, vec![absent, there])
    }

    #[test]
    fn takes_authorities_and_pairs_of_the_first_folder() {
        let (_kept, folders) = folder(&["b.crt", "a.crt", "client.cert", "client.key", "other"]);
        let place = folders[1].join("host:5000");
        let files = files_for("host:5000", &folders).unwrap();
        let expected = vec![place.join("a.crt"), place.join("b.crt")];
        assert_eq!(files.authorities, Authorities::Beside(expected));
        let pair = (place.join("client.cert"), place.join("client.key"));
        assert_eq!(files.client, Some(pair));
        assert_eq!(
            files_for("host", &folders).unwrap(),
            TlsFiles::default(),
            "another port is another registry"
        );
    }

    #[test]
    fn refuses_half_a_pair() {
        for name in ["client.cert", "client.key"] {
            let (_kept, folders) = folder(&[name]);
            let error = files_for("host:5000", &folders).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn looks_in_the_folders_of_podman_and_docker() {
        let none = of_environment(&|_| None);
        let system = [
            PathBuf::from("/etc/containers/certs.d"),
            PathBuf::from("/etc/docker/certs.d"),
        ];
        assert_eq!(none, system);
        let of_user = of_environment(&|name| (name == "HOME").then(|| "/home/me".to_owned()));
        assert_eq!(
            of_user[..2],
            [
                PathBuf::from("/home/me/.config/containers/certs.d"),
                PathBuf::from("/home/me/.config/docker/certs.d"),
            ]
        );
        assert_eq!(of_user[2..], system);
        let relative = of_environment(&|name| (name == "HOME").then(|| "me".to_owned()));
        assert_eq!(relative, system);
    }
}
