//! The figures, as a table.

use std::fmt::{self, Display};

use crate::drive::Figures;

/// What is to be reached.
#[derive(Clone, Copy)]
pub(crate) enum Goal {
    /// Operations a second.
    RateAtLeast(f64),
    /// What stands in the column of ratios.
    RatioAtLeast(f64),
    RatioAtMost(f64),
    /// What stands in the column of medians, in µs.
    MedianAtMost(f64),
}

/// A row of the table; what it does not tell is left empty.
#[derive(Default)]
pub(crate) struct Row {
    name: String,
    figures: Figures,
    memory: Option<f64>,
    ratio: Option<f64>,
    goal: Option<Goal>,
}

impl Row {
    pub(crate) fn new(name: impl Into<String>) -> Self {
        Row { name: name.into(), ..Row::default() }
    }

    pub(crate) fn figures(self, figures: Figures) -> Self {
        Row { figures, ..self }
    }

    /// In MiB.
    pub(crate) fn memory(self, memory: f64) -> Self {
        Row { memory: Some(memory), ..self }
    }

    pub(crate) fn ratio(self, ratio: Option<f64>) -> Self {
        Row { ratio, ..self }
    }

    pub(crate) fn goal(self, goal: Option<Goal>) -> Self {
        Row { goal, ..self }
    }

    pub(crate) fn print(&self) {
        println!("{self}");
    }

    /// `None` where there is no goal, or nothing to compare with.
    fn is_reached(&self) -> Option<bool> {
        Some(match self.goal? {
            Goal::RateAtLeast(least) => self.figures.rate >= least,
            Goal::RatioAtLeast(least) => self.ratio? >= least,
            Goal::RatioAtMost(most) => self.ratio? <= most,
            Goal::MedianAtMost(most) => self.figures.p50 <= most,
        })
    }
}

impl Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let figure = |value: f64, digits| if value > 0.0 { grouped(value, digits) } else { String::new() };
        let Figures { rate, p50, p99, cpu } = self.figures;
        write!(f, "| {:25} ", self.name)?;
        write!(f, "| {:>9} | {:>6} | {:>7} ", figure(rate, 0), figure(p50, 0), figure(p99, 0))?;
        write!(
            f,
            "| {:>6} | {:>6} ",
            figure(cpu, 2),
            self.memory.map_or_else(String::new, |mib| grouped(mib, 1))
        )?;
        write!(f, "| {:>6} ", self.ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}x")))?;
        write!(f, "| {:>10} ", self.goal.map_or_else(String::new, |goal| goal.to_string()))?;
        let verdict = self.is_reached().map_or("", |reached| if reached { "reached" } else { "MISSED" });
        write!(f, "| {verdict:7} |")
    }
}

impl Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Goal::RateAtLeast(rate) => write!(f, ">= {}", grouped(*rate, 0)),
            Goal::RatioAtLeast(ratio) => write!(f, ">= {ratio:.2}x"),
            Goal::RatioAtMost(ratio) => write!(f, "<= {ratio:.2}x"),
            Goal::MedianAtMost(microseconds) => write!(f, "<= {:.0} ms", microseconds / 1e3),
        }
    }
}

pub(crate) fn print_head() {
    println!(
        "| {:25} | {:>9} | {:>6} | {:>7} | {:>6} | {:>6} | {:>6} | {:>10} | {:7} |",
        "case", "rate/s", "p50 µs", "p99 µs", "CPU µs", "MiB", "ratio", "goal", ""
    );
    println!("| --- | --: | --: | --: | --: | --: | --: | --: | --- |");
}

pub(crate) fn print_legend() {
    println!();
    println!(
        "CxW: C connections, each with W look-ups under way. p50, p99: of a whole window. CPU: of the server,"
    );
    println!(
        "for one operation. ratio: of our rate to that of Redis; with one look-up under way of our median to"
    );
    println!(
        "that of Redis; tcp, ws, wss: of the rate to that of unix; memory: to that of Redis; growth: of the"
    );
    println!("CPU time to that with 10,000 rows.");
}

/// With commas between the thousands.
pub(crate) fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_at(text.find('.').unwrap_or(text.len()));
    let mut out = String::with_capacity(text.len() + whole.len() / 3);
    for (position, digit) in whole.chars().enumerate() {
        if position > 0 && (whole.len() - position) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    out + fraction
}
