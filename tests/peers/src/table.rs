//! What came out, as text: [`Table`].

use std::fmt;

use crate::Contender;

/// What one contender did in one scenario.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Cell {
    /// A peer's: recorded.
    Measured(String),
    /// Ours, and whether it is as wanted.
    Checked(String, bool),
    /// It has nothing for this.
    Nothing,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Measured(text) | Self::Checked(text, true) => f.pad(text),
            Self::Checked(text, false) => f.pad(&format!("{text} (WRONG)")),
            Self::Nothing => f.pad("-"),
        }
    }
}

/// Scenarios and contenders.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<(&'static str, Vec<Cell>, String)>,
}

impl Table {
    pub(crate) const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, scenario: &'static str, cells: Vec<Cell>, wanted: String) {
        self.rows.push((scenario, cells, wanted));
    }

    /// The scenarios in which ours is not as wanted.
    #[must_use]
    pub fn wrong(&self) -> Vec<&'static str> {
        let wrong =
            self.rows.iter().filter(|(_, cells, _)| cells.iter().any(|cell| matches!(cell, Cell::Checked(_, false))));
        wrong.map(|(scenario, ..)| *scenario).collect()
    }

    /// How many scenarios ours was held against.
    #[must_use]
    pub fn checked(&self) -> usize {
        self.rows.iter().flat_map(|(_, cells, _)| cells).filter(|cell| matches!(cell, Cell::Checked(..))).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:60}", "scenario (times in ms)")?;
        for contender in Contender::ALL {
            write!(f, "{:24}", contender.package())?;
        }
        writeln!(f, "wanted")?;
        for (scenario, cells, wanted) in &self.rows {
            write!(f, "{scenario:60}")?;
            for cell in cells {
                write!(f, "{cell:24}")?;
            }
            writeln!(f, "{wanted}")?;
        }
        Ok(())
    }
}

/// The versions that were compared, by the lock file of this build.
#[must_use]
pub fn versions() -> String {
    let lock = include_str!("../Cargo.lock");
    let version = |package: &str| {
        let after = lock.split_once(&format!("name = \"{package}\"\nversion = \""))?.1;
        after.split('"').next()
    };
    let known = Contender::ALL.map(|contender| {
        let package = contender.package();
        format!("{package} {}", version(package).unwrap_or("of unknown version"))
    });
    known.join(", ")
}
