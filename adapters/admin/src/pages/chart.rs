//! The live chart of one variable. The script of the pages asks for the value once a second and draws the last two
//! minutes. The program keeps no history, so the chart begins when the page is opened.

use super::{Page, layout};
use crate::request::Parsed;
use crate::text::Html;
use crate::value::Value;

/// The page of a variable. The name is one that the registry knows, so it needs no escaping in a URL.
pub(super) fn page(parsed: &Parsed, name: &str, value: &Value) -> Page {
    let shown = Html(value);
    if !value.is_number() {
        return layout::html(parsed, name, &format!("<p class=\"now\">{shown}</p>"));
    }
    let content = format!(
        "<p><span class=\"now\">{shown}</span> <button type=\"button\" data-pause hidden aria-pressed=\"false\">pause\
         </button></p>\n\
         <svg viewBox=\"0 0 640 200\" role=\"img\" aria-label=\"the last two minutes of {name}\" \
         data-live=\"{name}?format=json\">\
         <path class=\"axis\" fill=\"none\" d=\"M40 20V180H635\"/><polyline points=\"\"/>\
         <text class=\"top\" x=\"40\" y=\"14\"></text><text x=\"40\" y=\"196\">two minutes ago</text>\
         <text x=\"635\" y=\"196\" text-anchor=\"end\">now</text></svg>\n\
         <p class=\"soft\">Latencies are in microseconds, of the last 10 s.</p>"
    );
    layout::html(parsed, name, &content)
}
