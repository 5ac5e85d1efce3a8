//! Settings of `run` from the file and from flags: flag wins over file, file over default.
//!
//! Each option is a key of the file, with `_` for `-`, and a value of the file is read by the option's own parser: it is
//! put before the flags as if the user had typed it. So the two can never differ in what they understand. Only `[class.…]`
//! and `[[zone]]` exist in the file alone.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::path::Path;

use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, FromArgMatches};
use edge_rcnn::model::nearest::nearest;
use edge_rcnn::watch::{ClassRule, Zone};
use toml::Value;

use super::super::{Cli, Failure, command};
use super::Args;

/// Sections that no flag has.
const SECTIONS: [&str; 2] = ["class", "zone"];

const CLASS_KEYS: [&str; 2] = ["min_score", "min_area"];
const ZONE_KEYS: [&str; 4] = ["name", "polygon", "mode", "test"];

/// Settings in force.
#[derive(Debug, Clone)]
pub struct Layers {
    /// The command line it was made of.
    pub argv: Vec<OsString>,
    /// The options.
    pub args: Args,
    /// `[class.…]`.
    pub classes: BTreeMap<String, ClassRule>,
    /// `[[zone]]`.
    pub zones: Vec<Zone>,
    /// Every option by key.
    settings: BTreeMap<String, Setting>,
    sections: toml::Table,
}

#[derive(Debug, Clone, PartialEq)]
struct Setting {
    /// None if it is not set and has no default of its own.
    value: Option<Value>,
    from: Origin,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Flag,
    File,
    Default,
}

impl Layers {
    /// Reads a command line of `run` or `config`, and the file it names.
    pub fn read(argv: &[OsString]) -> Result<Self, Failure> {
        let typed = parse(argv)?;
        let file = typed.get_one::<std::path::PathBuf>("config");
        let table = file.map_or(Ok(toml::Table::new()), |path| read_file(path))?;
        let named =
            |e: String| Failure::config(format!("{}: {e}", file.map_or_else(String::new, |f| f.display().to_string())));

        let options = switchable(<Args as clap::Args>::augment_args(Command::new("settings").no_binary_name(true)));
        let options = options.disable_help_flag(true);
        let mut flags = Vec::new();
        for (key, value) in table.iter().filter(|(key, _)| !SECTIONS.contains(&key.as_str())) {
            let typing = as_flags(&options, key, value).map_err(named)?;
            if typed.value_source(&id(&options, key)) != Some(ValueSource::CommandLine) {
                flags.extend(typing);
            }
        }
        // The verb is the first word: the options before it take no values.
        let verb =
            argv.iter().skip(1).position(|a| !a.to_string_lossy().starts_with('-')).map_or(argv.len(), |i| i + 2);
        let merged = [&argv[..verb], &flags, &argv[verb..]].concat();
        let matches = parse(&merged)?;
        let args = Args::from_arg_matches(&matches).map_err(|e| named(first_line(&e)))?;
        let settings = options.get_arguments().filter(|a| a.get_id() != "config").filter_map(|arg| {
            let key = arg.get_long()?.replace('-', "_");
            let from = match typed.value_source(arg.get_id().as_str()) {
                Some(ValueSource::CommandLine) => Origin::Flag,
                _ if table.contains_key(&key) => Origin::File,
                _ => Origin::Default,
            };
            let values = matches.get_raw(arg.get_id().as_str());
            let values = values.map(|v| v.map(|v| as_toml(&v.to_string_lossy())).collect::<Vec<_>>());
            let value = values.and_then(|mut values| match arg.get_action() {
                ArgAction::Append => Some(Value::Array(values)),
                _ => values.pop(),
            });
            Some((key, Setting { value, from }))
        });
        Ok(Self {
            argv: argv.to_vec(),
            args,
            classes: classes(&table).map_err(named)?,
            zones: zones(&table).map_err(named)?,
            settings: settings.collect(),
            sections: table.into_iter().filter(|(key, _)| SECTIONS.contains(&key.as_str())).collect(),
        })
    }

    /// The first of these keys whose values differ.
    pub fn first_difference<'k>(&self, other: &Self, keys: &[&'k str]) -> Option<&'k str> {
        let value = |layers: &Self, key: &str| layers.settings.get(key).and_then(|s| s.value.clone());
        keys.iter().copied().find(|key| value(self, key) != value(other, key))
    }
}

/// As a file that would have the same effect, with where each value comes from.
impl fmt::Display for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, Setting { value, from }) in &self.settings {
            let Some(value) = value else {
                writeln!(f, "# {key} is not set")?;
                continue;
            };
            let from = match from {
                Origin::Flag => format!("flag --{}", key.replace('_', "-")),
                Origin::File => self.file(),
                Origin::Default => "default".to_owned(),
            };
            writeln!(f, "{:<32} # {from}", format!("{key} = {value}"))?;
        }
        if !self.sections.is_empty() {
            writeln!(f, "\n# {}\n{}", self.file(), self.sections)?;
        }
        Ok(())
    }
}

impl Layers {
    fn file(&self) -> String {
        self.args.config.as_ref().map_or_else(String::new, |path| path.display().to_string())
    }
}

/// Switches of a verb take `=false` too, so that a flag can turn off what the file turned on.
pub fn switchable(command: Command) -> Command {
    command.mut_args(|arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_value("false")
            .default_missing_value("true")
            .hide_default_value(true)
            .hide_possible_values(true)
            .value_name("BOOL"),
        _ => arg,
    })
}

/// The matches of the verb.
fn parse(argv: &[OsString]) -> Result<ArgMatches, Failure> {
    let failed = |e: &clap::Error| Failure::usage(first_line(e));
    let matches = command().try_get_matches_from(argv).map_err(|e| failed(&e))?;
    // Checks it as a whole.
    Cli::from_arg_matches(&matches).map_err(|e| failed(&e))?;
    matches.subcommand().map(|(_, verb)| verb.clone()).ok_or_else(|| Failure::usage("no verb"))
}

fn read_file(path: &Path) -> Result<toml::Table, Failure> {
    let text = fs::read_to_string(path).map_err(|e| {
        let message = format!("{}: cannot be read: {e}; --config needs a TOML file", path.display());
        if e.kind() == std::io::ErrorKind::NotFound { Failure::missing(message) } else { Failure::config(message) }
    })?;
    text.parse().map_err(|e: toml::de::Error| Failure::config(format!("{}: {e}", path.display()).trim_end().to_owned()))
}

/// A key and value of the file as flags, one for each value of a list, checked by the option's own parser.
fn as_flags(options: &Command, key: &str, value: &Value) -> Result<Vec<OsString>, String> {
    let known =
        || options.get_arguments().filter_map(|a| a.get_long()).filter(|l| *l != "config").map(|l| l.replace('-', "_"));
    if !known().any(|k| k == key) {
        let all: Vec<String> = known().chain(SECTIONS.map(str::to_owned)).collect();
        return Err(unknown("", key, all.iter().map(String::as_str)));
    }
    let plain = |value: &Value| match value {
        Value::String(text) => Ok(text.clone()),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) => Ok(value.to_string()),
        _ => Err(format!("{key}: is a {}; give a string, a number or a truth value", value.type_str())),
    };
    let values = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
    let flag = |value: &Value| plain(value).map(|text| OsString::from(format!("--{}={text}", key.replace('_', "-"))));
    let flags = values.iter().map(flag).collect::<Result<Vec<_>, _>>()?;
    let checked = options.clone().try_get_matches_from(&flags);
    checked.map(|_| flags).map_err(|e| format!("{key} = {value}: {}", first_line(&e)))
}

/// The name clap knows a key by.
fn id(options: &Command, key: &str) -> String {
    let arg = options.get_arguments().find(|a| a.get_long().is_some_and(|l| l.replace('-', "_") == key));
    arg.map_or_else(String::new, |a| a.get_id().to_string())
}

fn classes(table: &toml::Table) -> Result<BTreeMap<String, ClassRule>, String> {
    let Some(section) = table.get("class") else { return Ok(BTreeMap::new()) };
    let section = section.as_table().ok_or("class: must be sections like [class.person]")?;
    let rule = |(name, rule): (&String, &Value)| {
        let place = format!("class.{name}");
        section_of(&place, rule, &CLASS_KEYS).map(|rule| (name.clone(), rule))
    };
    section.iter().map(rule).collect()
}

fn zones(table: &toml::Table) -> Result<Vec<Zone>, String> {
    let Some(section) = table.get("zone") else { return Ok(Vec::new()) };
    let section = section.as_array().ok_or("zone: must be sections like [[zone]]")?;
    section.iter().enumerate().map(|(i, zone)| section_of(&format!("zone {}", i + 1), zone, &ZONE_KEYS)).collect()
}

/// One section, with known keys only.
fn section_of<T: serde::de::DeserializeOwned>(place: &str, value: &Value, keys: &[&str]) -> Result<T, String> {
    let table = value.as_table().ok_or_else(|| format!("{place}: must be a section"))?;
    if let Some(key) = table.keys().find(|key| !keys.contains(&key.as_str())) {
        return Err(unknown(&format!("{place}: "), key, keys.iter().copied()));
    }
    value.clone().try_into().map_err(|e: toml::de::Error| format!("{place}: {}", e.to_string().trim_end()))
}

fn unknown<'a>(place: &str, key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(key, known.clone()) {
        Some(nearest) => format!("{place}unknown key \"{key}\"; did you mean \"{nearest}\"?"),
        None => format!("{place}unknown key \"{key}\"; there are {}", known.collect::<Vec<_>>().join(", ")),
    }
}

/// A value of an option as TOML: what looks like a number or a truth value is one.
fn as_toml(text: &str) -> Value {
    let number = || text.parse().map(Value::Integer).or_else(|_| text.parse().map(Value::Float)).ok();
    let finite = |value: &Value| value.as_float().is_none_or(f64::is_finite);
    match text.parse() {
        Ok(truth) => Value::Boolean(truth),
        Err(_) => number().filter(finite).unwrap_or_else(|| Value::String(text.to_owned())),
    }
}

/// What clap says, without its hints for the terminal.
fn first_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
