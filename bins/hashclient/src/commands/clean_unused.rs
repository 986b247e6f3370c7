//! `clean-unused`.

use clap::Args;

use crate::context::Context;
use crate::failure::Failure;

/// Removes old reports whose task has no unihash
#[derive(Args, Debug)]
pub(crate) struct CleanUnused {
    /// How old reports must be to be removed, in seconds
    #[arg(value_name = "SECONDS", value_parser = seconds)]
    max_age: f64,
}

impl CleanUnused {
    pub(crate) async fn run(self, context: &mut Context) -> Result<(), Failure> {
        let client = context.connect().await?;
        let removed = client.clean_unused(self.max_age).await?;
        match context.json {
            true => context.output.json(&removed),
            false => context.output.line(format_args!("Removed {} rows", removed.count)),
        }
    }
}

fn seconds(text: &str) -> Result<f64, &'static str> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0);
    number.ok_or("a number that is not negative is expected")
}
