//! The style and the script of the pages.

pub(super) const STYLE: &str = include_str!("admin.css");
pub(super) const SCRIPT: &str = include_str!("admin.js");
