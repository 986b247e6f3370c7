//! Printing.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{CellAlignment, ContentLineStyle, LineStyle, Table, TableStyle};
use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

use crate::failure::Failure;

/// Plain ASCII, easy to take apart with other tools.
const STYLE: TableStyle = TableStyle::new()
    .header_lines(ContentLineStyle::none().junction('|'))
    .header_separator(LineStyle::none().fill('-').junction('+'))
    .content_lines(ContentLineStyle::none().junction('|'));

/// Where results are printed: standard output, or memory in tests.
pub(crate) struct Output {
    writer: Box<dyn Write + Send>,
    is_terminal: bool,
}

impl Output {
    /// Buffered standard output: flush before waiting for anything.
    pub(crate) fn stdout() -> Self {
        let writer = Box::new(BufWriter::new(io::stdout()));
        Output { writer, is_terminal: io::stdout().is_terminal() }
    }

    /// Prints to something else.
    #[cfg(test)]
    pub(crate) fn to(writer: impl Write + Send + 'static) -> Self {
        Output { writer: Box::new(writer), is_terminal: false }
    }

    /// Prints lines. On a terminal control characters in them are escaped.
    pub(crate) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        let printed = match self.is_terminal {
            true => {
                text.to_string().split('\n').try_for_each(|line| writeln!(self.writer, "{}", escaped(line)))
            }
            false => writeln!(self.writer, "{text}"),
        };
        printed.map_err(Failure::Output)
    }

    /// Prints a JSON document, keys sorted, indented by 4.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        self.line(sorted_json(value)?)
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush().map_err(Failure::Output)
    }
}

/// JSON with sorted keys, indented by 4.
fn sorted_json(value: &impl Serialize) -> Result<String, Failure> {
    // The map of a `Value` is sorted by its keys.
    let value = serde_json::to_value(value)?;
    let mut text = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut text, PrettyFormatter::with_indent(b"    ")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns a text with escapes in place of control characters, so that a name on the server can neither change the
/// terminal nor pass for another line.
pub(crate) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character.is_control() {
            true => shown.extend(character.escape_default()),
            false => shown.push(character),
        }
    }
    shown
}

/// The lines of a table in plain ASCII, control characters escaped; columns beyond the first hold figures if `figures` is set.
pub(crate) fn table<const N: usize>(header: [&str; N], rows: Vec<[String; N]>, figures: bool) -> String {
    let mut table = Table::new();
    table
        .load_style(STYLE)
        .set_header(header)
        .add_rows(rows.iter().map(|row| row.each_ref().map(|cell| escaped(cell))));
    if figures {
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Printed;

    #[test]
    fn json_is_sorted_and_indented_by_four() {
        let value = serde_json::json!({"b": [1], "a": {"d": null, "c": "é"}});
        let text = "{\n    \"a\": {\n        \"c\": \"é\",\n        \"d\": null\n    },\n    \"b\": [\n        1\n    ]\n}";
        assert_eq!(sorted_json(&value).unwrap(), text);
    }

    #[test]
    fn control_characters_of_names_are_escaped() {
        let text = table(["Username"], vec![["a\u{1b}[2J\nb\u{9b}é".to_owned()]], false);
        assert!(text.contains("a\\u{1b}[2J\\nb\\u{9b}é"), "{text}");
        let printed = Printed::default();
        let mut output = Output { writer: Box::new(printed.clone()), is_terminal: true };
        output.line("a\u{1b}[2J\nb").unwrap();
        assert_eq!(printed.text(), "a\\u{1b}[2J\nb\n");
    }

    #[test]
    fn tables_are_plain() {
        let rows =
            vec![["unihashes_v3".to_owned(), "12".to_owned()], ["users".to_owned(), "1234".to_owned()]];
        let text = table(["Table", "Rows"], rows, true);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [" Table        | Rows", "--------------+------", " unihashes_v3 |   12", " users        | 1234",]
        );
    }
}
