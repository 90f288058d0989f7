//! [`Class`]: which parameters hold what, by their names.

/// What a parameter holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// How somebody is reached: numbers, and addresses of WhatsApp, SIP, clients.
    Numbers,
    /// Who somebody is, and where.
    Names,
    /// What was said, written or keyed in.
    Bodies,
    /// Twilio's bare hash of a JSON body: who knows the rest finds out by it what was hashed.
    BodyHash,
}

impl Class {
    /// The class of a parameter, by its name as [`plain_name`] writes it.
    pub(super) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "from" | "to" | "caller" | "called" | "callee" | "forwardedfrom" | "calledvia"
            | "callerid" | "phonenumber" | "originalto" | "originalfrom" | "waid" | "bsuid"
            | "channeltoaddress" | "channelfromaddress" | "originalrepliedmessagesender"
            | "messagingbindingaddress" | "messagingbindingproxyaddress" | "author" | "identity"
            | "recipient" | "sender" | "email" | "emailaddress" | "refertransfertarget"
            | "transfertarget" | "diversion"
            // Tokens in which both numbers can be read.
            | "stirpassporttoken" | "calltoken" | "parentcallinfotoken" => Self::Numbers,

            "callername" | "profilename" | "displayname" | "firstname" | "lastname"
            | "fullname" | "contactname" | "username"
            | "fromcity" | "fromstate" | "fromzip" | "fromcountry"
            | "tocity" | "tostate" | "tozip" | "tocountry"
            | "callercity" | "callerstate" | "callerzip" | "callercountry"
            | "calledcity" | "calledstate" | "calledzip" | "calledcountry"
            | "latitude" | "longitude" | "address" | "label"
            // What others know about a number, in whatever form.
            | "addons" => Self::Names,

            "body" | "messagebody" | "mediaurl" | "buttontext" | "buttonpayload"
            | "listid" | "listtitle" | "listdescription" | "interactivedata" | "flowdata"
            | "referralbody" | "referralheadline" | "contentvariables"
            | "speechresult" | "stablespeechresult" | "unstablespeechresult"
            | "transcriptiontext" | "transcriptiondata" | "transcript" | "transcription"
            | "digits" | "dtmf" => Self::Bodies,

            "bodysha" => Self::BodyHash,
            _ => return None,
        })
    }
}

/// A name however it is written: `MediaUrl0`, `media_url`, `mediaUrl` are one.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.trim_end_matches(|last: char| last.is_ascii_digit());
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
