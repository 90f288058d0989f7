//! The accounts' numbers and Messaging Services: whether each has fallback URLs and a status callback.

use std::path::Path;

use super::Finding;
use crate::cli::numbers::{Asker, Ours};
use crate::config::{Api, Config, Sources};

const SUBJECT: &str = "numbers";
/// How many of those that lack one are named.
const NAMED: usize = 5;

/// Lists them, which costs nothing.
pub(super) async fn look(file: Option<&Path>, config: &Config) -> Finding {
    let not_known = |why: String| Finding::ok(SUBJECT, format!("not checked: {why}"));
    let api = match Api::load(&Sources::of_process(file.map(Path::to_owned))) {
        Ok(api) => api,
        Err(error) => return not_known(error.to_string()),
    };
    let asker = match Asker::new(&api, config.clock) {
        Ok(asker) => asker,
        Err(error) => return not_known(error.to_string()),
    };
    let (found, failed) = asker.all().await;
    if let Some(failure) = failed.first() {
        return not_known(failure.to_string());
    }
    let ours = Ours::of(config);
    let lacks = found.iter().filter(|it| !ours.missing(&it.incoming).is_empty());
    finding(found.len(), &lacks.map(|it| it.incoming.id()).collect::<Vec<_>>())
}

fn finding(all: usize, lack: &[&str]) -> Finding {
    if lack.is_empty() {
        let text = "numbers and Messaging Services, each with fallback URLs and a status callback";
        return Finding::ok(SUBJECT, format!("{all} {text}"));
    }
    let more = if lack.len() > NAMED { ", …" } else { "" };
    let named = lack.iter().take(NAMED).copied().collect::<Vec<_>>().join(", ");
    Finding::warning(
        SUBJECT,
        format!(
            "{} of {all} numbers and Messaging Services lack a fallback URL or a status callback ({named}{more}): if your \
             application fails, their callers hear an error",
            lack.len()
        ),
        "look at `offhook numbers`; `offhook numbers --apply` sets what is empty",
    )
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn what_lacks_a_url_is_named_up_to_a_bound() {
        assert_eq!(finding(3, &[]).verdict, Verdict::Ok);
        let found = finding(9, &["+1", "+2", "+3", "+4", "+5", "+6"]);
        assert_eq!(found.verdict, Verdict::Warning);
        assert!(
            found.to_string().contains("6 of 9") && found.to_string().contains("+5, …"),
            "{found}"
        );
    }
}
