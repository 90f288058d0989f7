//! The paths below the API's URL, which is configured.

/// Most messages of a page of a list. Twilio gives up to 1,000; with the longest bodies these are 200 KB.
pub const PAGE_SIZE: usize = 100;

/// Of an account.
#[must_use]
pub fn account(account: &str) -> String {
    format!("/2010-04-01/Accounts/{}.json", segment(account))
}

/// Of the newest message of an account, as a page of a list.
#[must_use]
pub fn newest_message(account: &str) -> String {
    format!("{}?PageSize=1", messages(account))
}

/// Of all messages of an account: a POST creates one.
#[must_use]
pub fn messages(account: &str) -> String {
    format!("/2010-04-01/Accounts/{}/Messages.json", segment(account))
}

/// Of one message.
#[must_use]
pub fn message(account: &str, sid: &str) -> String {
    format!("/2010-04-01/Accounts/{}/Messages/{}.json", segment(account), segment(sid))
}

/// Of the first page of an account's messages to a number, the newest first.
///
/// By the recipient alone: Twilio has no date of a message that is queued, and no sender of one before its Messaging
/// Service has chosen one.
#[must_use]
pub fn messages_to(account: &str, to: &str) -> String {
    format!("{}?{}", messages(account), to_number(to))
}

/// Of all calls of an account: a POST creates one.
#[must_use]
pub fn calls(account: &str) -> String {
    format!("/2010-04-01/Accounts/{}/Calls.json", segment(account))
}

/// Of one call: a POST changes it.
#[must_use]
pub fn call(account: &str, sid: &str) -> String {
    format!("/2010-04-01/Accounts/{}/Calls/{}.json", segment(account), segment(sid))
}

/// Of the first page of an account's calls to a number, the newest first.
#[must_use]
pub fn calls_to(account: &str, to: &str) -> String {
    format!("{}?{}", calls(account), to_number(to))
}

fn to_number(to: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("To", to).append_pair("PageSize", &PAGE_SIZE.to_string());
    query.finish()
}

/// Of all Messaging Services of the account that asks, at the URL of [`messaging`].
pub const SERVICES: &str = "/v1/Services";

/// Of the numbers of an account.
#[must_use]
pub fn numbers(account: &str) -> String {
    format!("/2010-04-01/Accounts/{}/IncomingPhoneNumbers.json", segment(account))
}

/// Of the first page of the numbers of an account: of all, or of those that contain this one.
#[must_use]
pub fn first_numbers(account: &str, like: Option<&str>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    if let Some(number) = like {
        query.append_pair("PhoneNumber", number);
    }
    query.append_pair("PageSize", &PAGE_SIZE.to_string());
    format!("{}?{}", numbers(account), query.finish())
}

/// Of one number, by its SID: a POST updates it.
#[must_use]
pub fn number(account: &str, sid: &str) -> String {
    format!("/2010-04-01/Accounts/{}/IncomingPhoneNumbers/{}.json", segment(account), segment(sid))
}

/// Of the first page of Messaging Services.
#[must_use]
pub fn first_services() -> String {
    format!("{SERVICES}?PageSize={PAGE_SIZE}")
}

/// Of one Messaging Service: a POST updates it.
#[must_use]
pub fn service(sid: &str) -> String {
    format!("{SERVICES}/{}", segment(sid))
}

/// The URL of the API of Messaging Services, beside that of the API: Twilio's has a host of its own. What stands in for
/// Twilio has one URL for both.
#[must_use]
pub fn messaging(api_url: &str) -> String {
    let host = api_url.strip_prefix("https://api.").filter(|host| host.ends_with("twilio.com"));
    host.map_or_else(|| api_url.to_owned(), |host| format!("https://messaging.{host}"))
}

/// Whether this is a path of the same list, so that it may be requested with the account's credentials.
pub(super) fn continues(list: &str, path: &str) -> bool {
    let query = path.strip_prefix(list).and_then(|rest| rest.strip_prefix('?'));
    query.is_some_and(|query| query.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#'))
}

/// As one segment of a path, whatever it holds.
fn segment(text: &str) -> String {
    let mut segment = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            byte if byte.is_ascii_alphanumeric() => segment.push(char::from(byte)),
            byte => segment.push_str(&format!("%{byte:02X}")),
        }
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_the_account_and_escapes_what_is_not_a_sid() {
        assert_eq!(account("AC1"), "/2010-04-01/Accounts/AC1.json");
        assert_eq!(messages("AC1"), "/2010-04-01/Accounts/AC1/Messages.json");
        assert_eq!(message("AC1", "SM1"), "/2010-04-01/Accounts/AC1/Messages/SM1.json");
        assert_eq!(message("AC1", "../x"), "/2010-04-01/Accounts/AC1/Messages/%2E%2E%2Fx.json");
        assert_eq!(
            messages_to("AC1", "whatsapp:+15550100"),
            "/2010-04-01/Accounts/AC1/Messages.json?To=whatsapp%3A%2B15550100&PageSize=100"
        );
    }

    #[test]
    fn calls_have_paths_as_messages_have() {
        assert_eq!(calls("AC1"), "/2010-04-01/Accounts/AC1/Calls.json");
        assert_eq!(call("AC1", "../x"), "/2010-04-01/Accounts/AC1/Calls/%2E%2E%2Fx.json");
        let list = "/2010-04-01/Accounts/AC1/Calls.json?To=%2B15550100&PageSize=100";
        assert_eq!(calls_to("AC1", "+15550100"), list);
    }

    #[test]
    fn only_a_page_of_the_same_list_continues_it() {
        let list = messages("AC1");
        let check = |path, expected| assert_eq!(continues(&list, path), expected, "{path}");
        check("/2010-04-01/Accounts/AC1/Messages.json?PageSize=100&Page=1&PageToken=PASM1", true);
        check("/2010-04-01/Accounts/AC2/Messages.json?Page=1", false);
        check("/2010-04-01/Accounts/AC1/Messages.json", false);
        check("https://h.example/2010-04-01/Accounts/AC1/Messages.json?Page=1", false);
        check("/2010-04-01/Accounts/AC1/Messages.json?Page=1 HTTP/1.1", false);
    }

    #[test]
    fn numbers_and_services_have_paths_of_their_own() {
        assert_eq!(
            first_numbers("AC1", Some("+15550100")),
            "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers.json?PhoneNumber=%2B15550100&PageSize=100"
        );
        assert_eq!(
            first_numbers("AC1", None),
            "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers.json?PageSize=100"
        );
        assert_eq!(
            number("AC1", "PN1/x"),
            "/2010-04-01/Accounts/AC1/IncomingPhoneNumbers/PN1%2Fx.json"
        );
        assert_eq!(service("MG1"), "/v1/Services/MG1");
    }

    #[test]
    fn services_are_asked_for_at_the_host_that_twilio_has_for_them() {
        let check = |url, expected| assert_eq!(messaging(url), expected);
        check("https://api.twilio.com", "https://messaging.twilio.com");
        check("https://api.dublin.ie1.twilio.com", "https://messaging.dublin.ie1.twilio.com");
        check("https://api.example.com", "https://api.example.com");
        check("http://127.0.0.1:8090", "http://127.0.0.1:8090");
    }
}
