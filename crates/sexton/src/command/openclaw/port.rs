//! Whether something answers where the gateway of a folder listens.
//!
//! A gateway that is idle, of another user or in a container shows by no open file and by no process.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use sexton_openclaw::folder::Folder;

use crate::failure::{Exit, Failure};

/// On this machine an answer takes no time.
const PATIENCE: Duration = Duration::from_secs(2);

/// Refuses to change a folder whose gateway's port is served.
pub fn refuse_served(path: &Path) -> Result<(), Failure> {
    let Some(served) = served(path) else { return Ok(()) };
    Err(Failure::new(Exit::Refused, served).hint(
        "stop the gateway first: openclaw gateway stop; --stopped says that it is another gateway",
    ))
}

/// What answers where the gateway of a folder listens, in words.
pub fn served(path: &Path) -> Option<String> {
    // What is wrong with the folder itself is said by whoever looks into it.
    let folder = Folder::open(path).ok()?;
    let port = folder.config.port;
    let both = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
    let mut addresses = both.into_iter().map(|ip| SocketAddr::from((ip, port)));
    let serves = |address: &SocketAddr| TcpStream::connect_timeout(address, PATIENCE).is_ok();
    let address = addresses.find(serves)?;
    let root = folder.root.display();
    Some(format!("something answers at {address}, the port of the gateway of {root}"))
}
