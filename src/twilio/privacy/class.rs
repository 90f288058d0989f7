//! [`Class`]: which parameters hold what, by their names.

/// What a parameter holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Numbers, and addresses of WhatsApp, SIP and clients.
    Numbers,
    /// Names and places of people.
    Names,
    /// What was said, written or keyed in.
    Bodies,
    /// Several of these at once: treated in the strictest way of all.
    Mixed,
    /// Twilio's bare hash of a JSON body: who knows the rest finds out by it what was hashed.
    BodyHash,
}

impl Class {
    /// The class of a parameter, by its name as [`plain_name`] writes it.
    ///
    /// Parameters that Twilio documents are listed. Others are recognised by their ending, so that a new
    /// `…PhoneNumber` is covered without a line here.
    pub(super) fn of(name: &str) -> Option<Self> {
        Self::listed(name).or_else(|| Self::by_affix(name))
    }

    fn listed(name: &str) -> Option<Self> {
        Some(match name {
            "from" | "to" | "caller" | "called" | "callee" | "forwardedfrom" | "calledvia"
            | "callerid" | "phonenumber" | "originalto" | "originalfrom" | "waid" | "bsuid"
            | "channeltoaddress" | "channelfromaddress" | "originalrepliedmessagesender"
            | "messagingbindingaddress" | "messagingbindingproxyaddress" | "author" | "identity"
            | "recipient" | "sender" | "email" | "emailaddress" | "refertransfertarget"
            | "transfertarget" | "diversion"
            // Where a SIP call came from: an address, also within its id.
            | "sipsourceip" | "sipcallid" | "ip" | "ipaddress"
            // Tokens in which both numbers can be read.
            | "stirpassporttoken" | "calltoken" | "parentcallinfotoken" => Self::Numbers,

            "callername" | "profilename" | "displayname" | "firstname" | "lastname"
            | "fullname" | "contactname" | "username"
            | "fromcity" | "fromstate" | "fromzip" | "fromcountry"
            | "tocity" | "tostate" | "tozip" | "tocountry"
            | "callercity" | "callerstate" | "callerzip" | "callercountry"
            | "calledcity" | "calledstate" | "calledzip" | "calledcountry"
            | "latitude" | "longitude" | "address" | "label"
            // Chosen by users of Twilio, and often after a person.
            | "friendlyname" | "uniquename" | "workername" | "roomname" | "participantname"
            | "customername"
            // What add-ons know about a number, in any form.
            | "addons" => Self::Names,

            "body" | "messagebody" | "mediaurl" | "media" | "buttontext" | "buttonpayload"
            | "listid" | "listtitle" | "listdescription" | "interactivedata" | "flowdata"
            | "referralbody" | "referralheadline" | "contentvariables"
            | "speechresult" | "stablespeechresult" | "unstablespeechresult"
            | "transcriptiontext" | "transcriptiondata" | "transcript" | "transcription"
            | "recordingurl" | "transcriptionurl" | "handoffdata"
            | "digits" | "dtmf"
            // What the caller entered in `<Pay>`, besides everything that begins with Payment.
            | "securitycode" | "expirationdate" | "bankaccountnumber" | "bankroutingnumber"
            | "postalcode" => Self::Bodies,

            "bodysha" => Self::BodyHash,
            _ => return None,
        })
    }

    fn by_affix(name: &str) -> Option<Self> {
        const ENDS: [(&str, Class); 11] = [
            ("phonenumber", Class::Numbers),
            ("emailaddress", Class::Numbers),
            ("ipaddress", Class::Numbers),
            ("identity", Class::Numbers),
            ("label", Class::Names),
            ("username", Class::Names),
            ("displayname", Class::Names),
            ("profilename", Class::Names),
            ("mediaurl", Class::Bodies),
            ("recordingurl", Class::Bodies),
            ("transcriptionurl", Class::Bodies),
        ];
        if name.starts_with("sipheader") {
            // `"Alice" <sip:+15550100@…>`, or anything that the caller's system sends.
            return Some(Self::Mixed);
        }
        if name.starts_with("payment") {
            return Some(Self::Bodies);
        }
        ENDS.iter().find(|(end, _)| name.ends_with(end)).map(|(_, class)| *class)
    }
}

/// The parameters of email events that hold something else than a callback's of the same name, or are none of Twilio's, as
/// [`plain_name`] writes them.
pub(super) const OF_EMAIL: [(&str, Class); 10] = [
    ("reason", Class::Bodies),
    ("response", Class::Bodies),
    ("subject", Class::Bodies),
    ("url", Class::Bodies),
    ("useragent", Class::Bodies),
    ("certerrormsg", Class::Bodies),
    ("bouncemessage", Class::Bodies),
    ("replyto", Class::Numbers),
    ("fromemail", Class::Numbers),
    ("fromname", Class::Names),
];

/// A name however it is written: `MediaUrl0`, `media_url`, `mediaUrl` are one.
pub(super) fn plain_name(name: &str) -> String {
    let name = name.trim_end_matches(|last: char| last.is_ascii_digit());
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}
