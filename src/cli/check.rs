//! `zchroot check`: lint the configuration.

use super::args::Check;
use super::context::Context;
use super::error::Error;
use super::exit::Status;
use super::output;
use crate::template::{self, HostAccounts, Severity};

pub(super) fn run(args: &Check, context: &Context) -> Result<Status, Error> {
    let findings = template::check(&context.layout, &HostAccounts);
    if args.json.json {
        output::json("findings", &findings)?;
    } else {
        for finding in &findings {
            output::line(&finding.to_string())?;
        }
        if findings.is_empty() {
            context.note("the configuration is in order");
        }
    }
    let bad = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if bad { Status::Failed } else { Status::Ok })
}
