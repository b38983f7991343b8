//! Boots an image with the real program, asks it what happened, and stops it.

use std::path::Path;
use std::time::Duration;

use xtask::archive;
use xtask::books::Books;
use xtask::clock;
use xtask::gateway::Gateway;
use xtask::power::Durability;
use xtask::power::claims::Claims;
use xtask::power::config::{self, Jobs};
use xtask::power::image::Image;

/// How long what is read one after the other may take to agree.
const PATIENCE: Duration = Duration::from_secs(10);
/// A webhook where nobody listens: what is still to be told stays so.
const NOBODY: &str = "url = \"http://127.0.0.1:9/hook\"\n\
                      secret = \"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\"\n";

/// How an image is booted.
#[derive(Debug, Clone, Copy)]
pub struct Boot<'a> {
    /// The program.
    pub program: &'a Path,
    /// What it is asked to survive.
    pub durability: Durability,
    /// Whose boots they are.
    pub number: usize,
}

impl Boot<'_> {
    /// Every difference.
    pub fn boot(&self, image: &Image, claims: &Claims) -> anyhow::Result<Vec<String>> {
        let name = format!("booted-{}", self.number);
        let mut gateway = Gateway::new(self.program, &name, "")?.with_data_in("disk/data");
        gateway.configure(&config::config(&gateway, self.durability, Jobs::Disabled, NOBODY))?;
        image.write(&gateway.folder().join("disk"))?;
        if let Err(error) = gateway.start() {
            return Ok(vec![format!("it does not boot: {error:#}")]);
        }
        let mut found = Vec::new();
        clock::until(PATIENCE, || {
            let client = gateway.client()?;
            found = Books::read(client)?.differences();
            for finding in archive::findings(client)? {
                // What was to be erased, and is not acknowledged, may be erased and still listed.
                let archive::Finding { session_id, what } = finding;
                if !session_id.as_deref().is_some_and(|session| claims.is_erasing(session)) {
                    let session = session_id.as_deref().unwrap_or("no session");
                    found.push(format!("the archive of {session} is not clean: {what}"));
                }
            }
            Ok(found.is_empty())
        })?;
        let (_, status) = gateway.stop()?;
        if !status.success() {
            found.push(format!("it was asked to stop and ended with {status}"));
        }
        found.iter_mut().for_each(|what| what.insert_str(0, "booted: "));
        Ok(found)
    }
}
