//! What marks are asked for, the same for every backend.

use hashserv_storage::{Column, MarkRequest};

use crate::columns::columns_and_values;

/// Requests that one statement can serve: of one mark, with conditions on the same columns.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Run<'a> {
    pub(crate) mark: &'a str,
    pub(crate) columns: Vec<Column>,
    /// The values that the columns must have, for each request.
    pub(crate) values: Vec<Vec<&'a str>>,
}

/// Joins requests that follow each other, as far as that makes no difference.
pub(crate) fn runs<'a>(requests: impl IntoIterator<Item = &'a MarkRequest>) -> Vec<Run<'a>> {
    let mut runs: Vec<Run<'_>> = Vec::new();
    for request in requests {
        let (columns, values) = columns_and_values(request.conditions.of_unihashes());
        // What carries which mark changes from one request to the next.
        let alone = columns.contains(&Column::GcMark);
        match runs.last_mut() {
            Some(run) if !alone && run.mark == request.mark && run.columns == columns => {
                run.values.push(values);
            }
            _ => runs.push(Run { mark: &request.mark, columns, values: vec![values] }),
        }
    }
    runs
}
