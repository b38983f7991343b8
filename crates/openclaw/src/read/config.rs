//! `openclaw.json`, as far as it says where things are and how long they are kept.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use sexton_domain::duration::Duration;

use crate::read::document::document;
use crate::read::duration::{Unit, duration};
use crate::read::field::{count, text};

/// How long something is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// It never goes.
    Never,
    /// So long. Nothing at all is a switch: up to 2026.6 everything goes at once, in 2026.9 it is off.
    After(Duration),
}

/// What `cron.sessionRetention` is where the config does not say.
pub const RUN_RETENTION: Retention = Retention::After(Duration::from_secs(86_400));

/// Where a gateway listens whose config does not say.
pub const PORT: u16 = 18789;

/// An agent of `agents.entries`, or `agents.list` as it was up to 2026.7.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// `id`, in the form that keys and folders have it.
    pub id: String,
    /// `default`.
    pub default: bool,
    /// `agentDir`.
    pub agent_dir: Option<String>,
    /// `workspace`: a path that may have `~`.
    pub workspace: Option<String>,
    /// `model`, or its `primary`.
    pub model: Option<String>,
}

/// `agents.defaults`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Defaults {
    /// `workspace`: that of the default agent; others without one of their own have a folder in it.
    pub workspace: Option<String>,
    /// `model`, or its `primary`.
    pub model: Option<String>,
    /// `timeoutSeconds`; zero is no limit.
    pub timeout: Option<Duration>,
}

/// What the config says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The agents; where it names none there is the agent `main`.
    pub agents: Vec<Agent>,
    /// What holds for those that say nothing else.
    pub defaults: Defaults,
    /// `session.store`: a path that may have `~` and `{agentId}`.
    pub session_store: Option<String>,
    /// `session.maintenance.maxEntries`.
    pub max_entries: Option<u64>,
    /// `cron.enabled`; true where it does not say.
    pub cron_enabled: bool,
    /// `cron.store`.
    pub cron_store: Option<String>,
    /// `cron.sessionRetention`.
    pub session_retention: Retention,
    /// `gateway.port`; where it does not say, [`PORT`].
    pub port: u16,
    /// Fields that were left aside, each with the reason.
    pub remarks: Vec<String>,
}

impl Config {
    /// The agent that everything without one belongs to: the first that says so, else the first, else `main`.
    pub fn default_agent(&self) -> &str {
        let said = self.agents.iter().find(|agent| agent.default);
        said.or_else(|| self.agents.first()).map_or("main", |agent| &agent.id)
    }
}

/// Reads a config. Fields of a wrong type are left aside and remarked upon.
///
/// # Errors
///
/// Why there is none: it is neither JSON nor JSON5, or no object.
pub fn config(bytes: &[u8]) -> Result<Config, String> {
    let read = document(bytes)?;
    if !read.value.is_object() {
        return Err("the config is no object".to_owned());
    }
    let mut fields = Fields { root: &read.value, remarks: Vec::new() };
    if let Some(rest) = &read.rest {
        fields.remarks.push(format!("{}; it was left aside", rest.reason));
    }
    Ok(Config {
        agents: agents(&mut fields),
        defaults: Defaults {
            workspace: fields.text(&["agents", "defaults", "workspace"]),
            model: fields.model(&["agents", "defaults", "model"]),
            timeout: fields.timeout(&["agents", "defaults", "timeoutSeconds"]),
        },
        session_store: fields.text(&["session", "store"]),
        max_entries: fields.count(&["session", "maintenance", "maxEntries"]),
        cron_enabled: fields.flag(&["cron", "enabled"]).unwrap_or(true),
        cron_store: fields.text(&["cron", "store"]),
        session_retention: fields
            .retention(&["cron", "sessionRetention"], Unit::Hours)
            .unwrap_or(RUN_RETENTION),
        port: fields.port().unwrap_or(PORT),
        remarks: fields.remarks,
    })
}

/// A path of the config for one agent: `{agentId}` is its id, `~` at the beginning the home folder.
pub fn path_for(path: &str, agent: &str, home: &Path) -> PathBuf {
    let path = path.trim().replace("{agentId}", agent);
    match path.strip_prefix('~') {
        Some("") => home.to_owned(),
        Some(rest) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => PathBuf::from(path),
    }
}

/// An id of an agent in the form that keys and folders have it: in small letters, what does not belong
/// in one replaced by `-`, at most 64 characters; `main` if nothing is left.
pub fn agent_id(text: &str) -> String {
    let mut id = String::new();
    for c in text.trim().to_lowercase().chars() {
        match c {
            'a'..='z' | '0'..='9' | '_' | '-' => id.push(c),
            _ if id.ends_with('-') => {}
            _ => id.push('-'),
        }
    }
    let id: String = id.trim_matches('-').chars().take(64).collect();
    if id.is_empty() { "main".to_owned() } else { id }
}

fn agents(fields: &mut Fields<'_>) -> Vec<Agent> {
    match (fields.at(&["agents", "entries"]), fields.at(&["agents", "list"])) {
        (Some(Value::Object(entries)), _) => entries
            .iter()
            .filter_map(|(id, raw)| {
                agent(fields, &format!("agents.entries.{}", agent_id(id)), id, raw)
            })
            .collect(),
        (Some(_), _) => {
            fields.remark("agents.entries", "is no object");
            Vec::new()
        }
        (None, Some(Value::Array(list))) => list
            .iter()
            .enumerate()
            .filter_map(|(index, raw)| {
                let at = format!("agents.list[{index}]");
                let id = text(raw.get("id"));
                if id.is_none() {
                    fields.remark(&at, "has no id");
                }
                agent(fields, &at, &id?, raw)
            })
            .collect(),
        (None, Some(_)) => {
            fields.remark("agents.list", "is no list");
            Vec::new()
        }
        (None, None) => Vec::new(),
    }
}

fn agent(fields: &mut Fields<'_>, at: &str, id: &str, raw: &Value) -> Option<Agent> {
    if !raw.is_object() {
        fields.remark(at, "is no object");
        return None;
    }
    let mut own = Fields { root: raw, remarks: Vec::new() };
    let agent = Agent {
        id: agent_id(id),
        default: raw.get("default") == Some(&Value::Bool(true)),
        agent_dir: own.text(&["agentDir"]),
        workspace: own.text(&["workspace"]),
        model: own.model(&["model"]),
    };
    fields.remarks.extend(own.remarks.iter().map(|remark| format!("{at}.{remark}")));
    Some(agent)
}

struct Fields<'v> {
    root: &'v Value,
    remarks: Vec<String>,
}

impl<'v> Fields<'v> {
    /// The value there; `null` is none.
    fn at(&mut self, path: &[&str]) -> Option<&'v Value> {
        let mut value = self.root;
        for (depth, name) in path.iter().enumerate() {
            let Some(fields): Option<&Map<_, _>> = value.as_object() else {
                let within = path[..depth].join(".");
                if !value.is_null() && !self.remarks.iter().any(|seen| seen.starts_with(&within)) {
                    self.remark(&within, "is no object");
                }
                return None;
            };
            value = fields.get(*name)?;
        }
        (!value.is_null()).then_some(value)
    }

    fn remark(&mut self, path: &str, what: &str) {
        self.remarks.push(format!("{path} {what}"));
    }

    fn read<T>(
        &mut self,
        path: &[&str],
        what: &str,
        read: impl FnOnce(&Value) -> Option<T>,
    ) -> Option<T> {
        let read = read(self.at(path)?);
        if read.is_none() {
            self.remark(&path.join("."), what);
        }
        read
    }

    fn text(&mut self, path: &[&str]) -> Option<String> {
        self.read(path, "is no text", |value| text(Some(value)))
    }

    fn model(&mut self, path: &[&str]) -> Option<String> {
        match self.at(path)? {
            Value::Object(_) => self.text(&[path, &["primary"]].concat()),
            _ => self.text(path),
        }
    }

    fn timeout(&mut self, path: &[&str]) -> Option<Duration> {
        self.read(path, "is no duration", |value| {
            count(Some(value)).map(Duration::from_secs).filter(|timeout| *timeout <= Duration::MAX)
        })
    }

    fn count(&mut self, path: &[&str]) -> Option<u64> {
        self.read(path, "is no count", |value| count(Some(value)))
    }

    fn flag(&mut self, path: &[&str]) -> Option<bool> {
        self.read(path, "is neither true nor false", Value::as_bool)
    }

    fn port(&mut self) -> Option<u16> {
        self.read(&["gateway", "port"], "is no port", |value| {
            value.as_u64().and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0)
        })
    }

    fn retention(&mut self, path: &[&str], unit: Unit) -> Option<Retention> {
        self.read(path, "is no duration", |value| match value {
            Value::Bool(false) => Some(Retention::Never),
            other => kept_for(other, unit).map(Retention::After),
        })
    }
}

/// A duration as text; a bare number counts in the unit of its field.
fn kept_for(value: &Value, unit: Unit) -> Option<Duration> {
    match value {
        Value::String(text) => duration(text, unit).ok(),
        Value::Number(number) => duration(&number.to_string(), unit).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &[u8] = include_bytes!("../../tests/fixtures/2026.5.6-plain/openclaw.json");

    #[test]
    fn a_real_config_is_read() {
        let config = config(REAL).unwrap();
        assert_eq!((config.port, config.cron_enabled), (18756, true));
        assert_eq!(config.default_agent(), "main");
        assert_eq!(config.session_retention, Retention::After(Duration::from_secs(86_400)));
        assert_eq!((config.agents, config.remarks), (vec![], vec![]));
        let Defaults { workspace, model, timeout } = config.defaults;
        assert!(workspace.unwrap().ends_with("/user/workspace"));
        assert_eq!((model.as_deref(), timeout), (Some("fake/fake-1"), None));
    }

    #[test]
    fn every_field_is_read_from_json5() {
        let config = config(
            br#"{
            // agents
            agents: { defaults: { model: "e/f", workspace: "~/all", timeoutSeconds: 90 }, list: [
                { id: 'Ops Team', default: true, model: { primary: "a/b" }, workspace: "~/w", agentDir: "/d" },
                { id: "two", model: "c/d" },
            ] },
            session: { store: "~/s/{agentId}.json", maintenance: { pruneAfter: "30", maxEntries: 7, resetArchiveRetention: false } },
            cron: { enabled: false, store: "~/cron.json", sessionRetention: "2" },
        }"#,
        )
        .unwrap();
        assert_eq!(config.remarks, Vec::<String>::new());
        let ops = &config.agents[0];
        assert_eq!((ops.id.as_str(), ops.agent_dir.as_deref()), ("ops-team", Some("/d")));
        assert_eq!((ops.model.as_deref(), ops.workspace.as_deref()), (Some("a/b"), Some("~/w")));
        let two = &config.agents[1];
        assert_eq!((two.model.as_deref(), two.workspace.as_deref()), (Some("c/d"), None));
        let defaults = Defaults {
            workspace: Some("~/all".to_owned()),
            model: Some("e/f".to_owned()),
            timeout: Some(Duration::from_secs(90)),
        };
        assert_eq!(config.defaults, defaults);
        assert_eq!(config.default_agent(), "ops-team");
        assert_eq!(config.session_store.as_deref(), Some("~/s/{agentId}.json"));
        assert_eq!(config.max_entries, Some(7));
        assert_eq!(
            (config.cron_enabled, config.cron_store.as_deref()),
            (false, Some("~/cron.json"))
        );
        assert_eq!(config.session_retention, Retention::After(Duration::from_secs(7200)));
    }

    #[test]
    fn the_retention_of_runs_is_a_day_unless_it_makes_sense() {
        let of = |value: &str| {
            let config =
                config(format!("{{cron:{{sessionRetention:{value}}}}}").as_bytes()).unwrap();
            (config.session_retention, config.remarks.len())
        };
        assert_eq!(of("false"), (Retention::Never, 0));
        assert_eq!(of("null"), (RUN_RETENTION, 0));
        assert_eq!(of("'0h'"), (Retention::After(Duration::ZERO), 0));
        assert_eq!(of("'7d'"), (Retention::After(Duration::from_secs(7 * 86_400)), 0));
        for odd in ["'soon'", "true", "[]", "-1", "'1w'"] {
            assert_eq!(of(odd), (RUN_RETENTION, 1), "{odd}");
        }
    }

    #[test]
    fn a_field_of_a_wrong_type_is_a_remark() {
        let config = config(
            br#"{"agents":{"list":[7,{"id":"a","agentDir":1,"workspace":[],"model":{"primary":2}}],
                "defaults":{"workspace":3,"model":[],"timeoutSeconds":-4}},"session":"x",
                "cron":{"enabled":"yes"},"gateway":{"port":70000}}"#,
        )
        .unwrap();
        assert_eq!(config.agents.len(), 1);
        assert_eq!(
            config.remarks,
            [
                "agents.list[0] has no id",
                "agents.list[1].agentDir is no text",
                "agents.list[1].workspace is no text",
                "agents.list[1].model.primary is no text",
                "agents.defaults.workspace is no text",
                "agents.defaults.model is no text",
                "agents.defaults.timeoutSeconds is no duration",
                "session is no object",
                "cron.enabled is neither true nor false",
                "gateway.port is no port",
            ]
        );
    }

    #[test]
    fn agents_by_their_ids_count_before_a_list_that_was_left() {
        let config = config(
            br#"{"agents":{"list":[{"id":"old"}],
                "entries":{"Scout":{"workspace":"/w","model":{"fallbacks":[]}},"main":{"default":true},"odd":7}}}"#,
        )
        .unwrap();
        let ids: Vec<&str> = config.agents.iter().map(|agent| agent.id.as_str()).collect();
        assert_eq!((ids, config.default_agent()), (vec!["scout", "main"], "main"));
        assert_eq!(config.agents[0].workspace.as_deref(), Some("/w"));
        assert_eq!(config.remarks, ["agents.entries.odd is no object"]);
    }

    #[test]
    fn of_two_configs_in_a_row_the_first_is_read() {
        let config = config(br#"{"gateway":{"port":1}}{"gateway":{"port":2}}"#).unwrap();
        assert_eq!(config.port, 1);
        assert_eq!(config.remarks, ["22 bytes behind the first value; it was left aside"]);
        for none in ["", "{", "[]", "7"] {
            assert!(super::config(none.as_bytes()).is_err(), "{none}");
        }
    }

    #[test]
    fn paths_of_the_config_are_filled_in() {
        let home = Path::new("/srv/user");
        let cases = [
            ("~/s/{agentId}/x.json", "/srv/user/s/a/x.json"),
            ("~", "/srv/user"),
            ("/abs/~/{agentId}", "/abs/~/a"),
            ("~other/x", "~other/x"),
        ];
        for (path, expected) in cases {
            assert_eq!(path_for(path, "a", home), Path::new(expected), "{path}");
        }
        assert_eq!(agent_id("--Ärger & Co--"), "rger-co");
        assert_eq!(agent_id(" "), "main");
    }
}
