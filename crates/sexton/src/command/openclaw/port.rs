//! Whether something answers where the gateway of a folder listens, and keeping that place from it.
//!
//! A gateway that is idle, of another user or in a container shows by no open file and by no process. Where
//! it listens is also its lock, in every version: one that finds the port taken does not start.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use sexton_openclaw::folder::Folder;
use sexton_openclaw::heal::listener::is_of_another_folder;

use crate::failure::{Exit, Failure};

/// On this machine an answer takes no time.
const PATIENCE: Duration = Duration::from_secs(2);

/// The port of a folder's gateway: none can start while this is there.
#[derive(Debug)]
pub struct Held {
    _listeners: Vec<TcpListener>,
}

/// Holds the port of a folder's gateway while the folder is changed; refuses if it is served, unless by the
/// gateway of another folder. Where it cannot be had for another reason, nothing is held.
pub fn hold(path: &Path) -> Result<Held, Failure> {
    let mut listeners = Vec::new();
    let Some((folder, addresses)) = addresses(path) else {
        return Ok(Held { _listeners: listeners });
    };
    for address in addresses {
        match TcpListener::bind(address) {
            Ok(listener) => listeners.push(listener),
            Err(error)
                if error.kind() == ErrorKind::AddrInUse
                    && !is_of_another_folder(address.port(), &folder.root) =>
            {
                return Err(refused(path));
            }
            Err(_) => {}
        }
    }
    Ok(Held { _listeners: listeners })
}

fn refused(path: &Path) -> Failure {
    let folder = path.display();
    let served =
        served(path).unwrap_or_else(|| format!("somebody has the port of the gateway of {folder}"));
    Failure::new(Exit::Refused, served).hint(
        "stop the gateway first: openclaw gateway stop; --stopped says that it is another gateway",
    )
}

/// What answers where the gateway of a folder listens, in words, unless that is the gateway of another folder.
pub fn served(path: &Path) -> Option<String> {
    let (folder, addresses) = addresses(path)?;
    let serves = |address: &SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    let address = addresses.into_iter().find(serves)?;
    if is_of_another_folder(address.port(), &folder.root) {
        return None;
    }
    let root = folder.root.display();
    Some(format!("something answers at {address}, the port of the gateway of {root}"))
}

/// Where the gateway of a folder listens. What is wrong with the folder itself is said by whoever looks into
/// it.
fn addresses(path: &Path) -> Option<(Folder, [SocketAddr; 2])> {
    let folder = Folder::open(path).ok()?;
    let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let addresses = both.map(|ip| SocketAddr::from((ip, folder.config.port)));
    Some((folder, addresses))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn no_gateway_starts_while_its_port_is_held_and_none_is_held_that_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = gateway.local_addr().unwrap();
        let config = format!("{{gateway:{{port:{}}}}}", address.port());
        fs::write(dir.path().join("openclaw.json"), config).unwrap();
        let refused = hold(dir.path()).unwrap_err();
        assert_eq!(refused.exit, Exit::Refused, "{refused:?}");
        let of_user = tempfile::Builder::new().prefix("openclaw-").tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let lock = serde_json::json!({ "pid": std::process::id(), "stateDir": elsewhere.path() });
        let path = of_user.path().join("state.0c.lock");
        fs::write(&path, lock.to_string()).unwrap();
        assert_eq!(served(dir.path()), None, "it is the gateway of another folder");
        hold(dir.path()).unwrap();
        fs::remove_file(&path).unwrap();
        assert!(served(dir.path()).is_some());
        drop(gateway);
        let held = hold(dir.path()).unwrap();
        let taken = TcpListener::bind(address).unwrap_err();
        assert_eq!(taken.kind(), ErrorKind::AddrInUse);
        drop(held);
        TcpListener::bind(address).unwrap();
    }
}
