//! Progress bars on a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar for `total` steps; invisible where standard error is no terminal.
pub(crate) fn bar(total: u64, what: &'static str) -> ProgressBar {
    styled(ProgressBar::new(total), "{msg} {wide_bar} {human_pos}/{human_len} {eta} left", what)
}

/// A counter for a number of steps that is not known; invisible where standard error is no terminal, or where
/// what is printed goes to the terminal too.
pub(crate) fn counter(what: &'static str) -> ProgressBar {
    if io::stdout().is_terminal() {
        return ProgressBar::hidden();
    }
    styled(ProgressBar::no_length(), "{msg} {human_pos} in {elapsed}", what)
}

fn styled(bar: ProgressBar, template: &str, what: &'static str) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
