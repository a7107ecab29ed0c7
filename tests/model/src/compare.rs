//! Whether both implementations tell the same of random scripts: [`run`].

use std::collections::BTreeMap;
use std::fmt;

use hedge_core::policy::ConfigError;

use crate::play::Account;
use crate::script::Script;
use crate::{generate, model, real, shrink, words};

/// Two accounts that differ.
#[derive(Debug)]
pub struct Disagreement {
    /// The seed of the script, before it was made smaller.
    pub seed: u64,
    /// What happened.
    pub script: Script,
    /// What the model did.
    pub model: Account,
    /// What the core did, or why it refused the options.
    pub core: Result<Account, ConfigError>,
}

/// How many scripts reached each branch of the rules.
#[derive(Debug, Default)]
pub struct Coverage {
    reached: BTreeMap<&'static str, u64>,
}

impl Coverage {
    /// The branches that no script reached.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        words::BRANCHES.iter().copied().filter(|branch| !self.reached.contains_key(branch)).collect()
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reached.iter().try_for_each(|(branch, scripts)| writeln!(f, "{scripts:>9} {branch}"))
    }
}

/// Plays the scripts of so many seeds before both.
///
/// # Errors
/// The first script on which they differ, made as small as it can be.
pub fn run(scripts: u64, seed: u64) -> Result<Coverage, Box<Disagreement>> {
    let mut coverage = Coverage::default();
    for seed in seed..seed.saturating_add(scripts) {
        let model = compare(seed, generate::script(seed)).map_err(smallest)?;
        for branch in model.seen {
            *coverage.reached.entry(branch).or_default() += 1;
        }
    }
    Ok(coverage)
}

/// Plays a script before both.
fn compare(seed: u64, script: Script) -> Result<Account, Box<Disagreement>> {
    let (model, core) = (model::run(&script), real::run(&script));
    let same = core.as_ref().is_ok_and(|core| {
        let Account { actions, host, policy, report, seen: _ } = core;
        *actions == model.actions && *host == model.host && *policy == model.policy && *report == model.report
    });
    if same { Ok(model) } else { Err(Box::new(Disagreement { seed, script, model, core })) }
}

/// A smaller script on which they differ too.
fn smallest(found: Box<Disagreement>) -> Box<Disagreement> {
    let mut smallest = found;
    loop {
        let mut smaller = shrink::smaller(&smallest.script).into_iter();
        match smaller.find_map(|script| compare(smallest.seed, script).err()) {
            Some(found) => smallest = found,
            None => return smallest,
        }
    }
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}\n{}", self.seed, self.script)?;
        let nothing = Account::default();
        let core = self.core.as_ref().unwrap_or(&nothing);
        if let Err(error) = &self.core {
            writeln!(f, "the core refuses the options: {error}")?;
        }
        for (what, model, core) in [
            ("actions", &self.model.actions, &core.actions),
            ("host", &self.model.host, &core.host),
            ("policies", &self.model.policy, &core.policy),
            ("report", &self.model.report, &core.report),
        ] {
            writeln!(f, "{what}:")?;
            for number in 0..model.len().max(core.len()) {
                match (model.get(number), core.get(number)) {
                    (Some(model), Some(core)) if model == core => writeln!(f, "    {model}")?,
                    (model, core) => {
                        writeln!(f, "  model {}", model.map_or("-", String::as_str))?;
                        writeln!(f, "  core  {}", core.map_or("-", String::as_str))?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disagreement_says_its_seed_its_script_and_where_the_accounts_differ() {
        let script = generate::script(11);
        let model = compare(11, script.clone()).unwrap();
        let mut core = model.clone();
        core.report[0] = "something else".into();
        let text = Disagreement { seed: 11, model, core: Ok(core), script }.to_string();
        assert!(text.starts_with("seed 11\nchannel: "), "{text}");
        let differs: Vec<&str> = text.lines().filter(|line| line.starts_with("  core")).collect();
        assert_eq!(differs, ["  core  something else"]);
    }
}
