//! Reports of the outputs of tasks.

use hashserv_protocol::reply::TaskUnihash;
use hashserv_protocol::{Request, RequestError, Text, arguments, is_valid_unihash};
use hashserv_service::{Caller, Permissions, Service};
use hashserv_storage::{Details, Report, TaskKey, Timestamp, Unihash, UnihashEntry};

use super::convert::task_unihash;
use super::exchange::Exchange;
use crate::refusal::{Fault, Refused};

/// Reads a report. It is recorded later, together with those that follow it on the connection.
pub(crate) fn read_report(request: &Request<'_>, caller: &Caller) -> Result<Report, Refused> {
    let arguments: arguments::Report<'_> = match request.arguments() {
        Ok(arguments) => arguments,
        Err(error) => return Err(explain_report(request, error)),
    };
    let unihash = parse_unihash(&arguments.unihash)?;
    let own = |text: Option<Text<'_>>| text.map(Text::into_owned);
    Ok(Report {
        method: arguments.method.into_owned(),
        taskhash: arguments.taskhash.into_owned(),
        outhash: arguments.outhash.into_owned(),
        unihash,
        created: Timestamp::now(),
        details: Details {
            owner: caller.reporter().map(str::to_owned).or(own(arguments.owner)),
            pn: own(arguments.pn),
            pv: own(arguments.pv),
            pr: own(arguments.pr),
            task: own(arguments.task),
            outhash_siginfo: own(arguments.outhash_siginfo),
        },
    })
}

/// Records reports if the caller may, and answers them in any case.
pub(crate) async fn record_reports(
    service: &Service,
    caller: &mut Caller,
    reports: Vec<Report>,
) -> Result<Vec<TaskUnihash>, Fault> {
    let keys: Vec<(String, String)> =
        reports.iter().map(|report| (report.method.clone(), report.taskhash.clone())).collect();
    let equivalence = service.equivalence();
    let unihashes = if service.accounts().has(caller, Permissions::REPORT).await? {
        equivalence.report(reports).await?
    } else {
        equivalence.answer_reports(&reports).await?
    };
    Ok(keys
        .into_iter()
        .zip(unihashes)
        .map(|((method, taskhash), unihash)| TaskUnihash { taskhash, method, unihash: unihash.to_string() })
        .collect())
}

pub(crate) async fn report_equiv(exchange: &mut Exchange<'_>) -> Result<TaskUnihash, Fault> {
    let arguments: arguments::Equivalence<'_> = match exchange.request.arguments() {
        Ok(arguments) => arguments,
        Err(error) => return Err(explain_report(&exchange.request, error).into()),
    };
    let entry = UnihashEntry {
        method: arguments.method.to_string(),
        taskhash: arguments.taskhash.to_string(),
        unihash: parse_unihash(&arguments.unihash)?,
    };
    let unihash = exchange.shared.service.equivalence().record_unihash(entry).await?;
    Ok(task_unihash(TaskKey { method: &arguments.method, taskhash: &arguments.taskhash }, &unihash))
}

fn parse_unihash(text: &str) -> Result<Unihash, Refused> {
    Unihash::parse(text).map_err(|_| invalid_unihash())
}

/// An invalid unihash is told before anything else that is wrong with a report.
fn explain_report(request: &Request<'_>, error: RequestError) -> Refused {
    match request.string("unihash") {
        Ok(unihash) if !unihash.as_deref().is_some_and(is_valid_unihash) => invalid_unihash(),
        _ => error.into(),
    }
}

fn invalid_unihash() -> Refused {
    Refused::new("Invalid unihash")
}
