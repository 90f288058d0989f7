//! [`Twiml`]: an answer that Twilio can carry out, checked when the configuration is read rather
//! than in the middle of a call.
//!
//! Twilio's limits (<https://www.twilio.com/docs/voice/twiml>): XML, `<Response>` at its root,
//! names case-sensitive, at most 64 kB.

use bytes::Bytes;
use quick_xml::Reader;
use quick_xml::events::Event as Xml;

/// What kind of request the TwiML answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// A call.
    Voice,
    /// A message.
    Sms,
}

impl Medium {
    /// The verbs that Twilio carries out directly under `<Response>`.
    fn verbs(self) -> &'static [&'static str] {
        match self {
            Self::Voice => &[
                "Connect", "Dial", "Echo", "Enqueue", "Gather", "Hangup", "Leave", "Pause", "Pay",
                "Play", "Prompt", "Queue", "Record", "Redirect", "Refer", "Reject", "Say", "Sms",
                "Start", "Stop",
            ],
            Self::Sms => &["Message", "Redirect"],
        }
    }

    fn noun(self) -> &'static str {
        match self {
            Self::Voice => "voice",
            Self::Sms => "SMS",
        }
    }
}

/// TwiML that was parsed and found good.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Twiml(Bytes);

/// Why a text is no TwiML.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum TwimlError {
    /// Larger than Twilio reads.
    #[error("it has {0} bytes; Twilio reads at most {max}", max = Twiml::MAX_BYTES)]
    TooLarge(usize),
    /// The document is not well-formed.
    #[error("it is not well-formed XML: {0}")]
    Xml(String),
    /// Another root than `<Response>`.
    #[error("its root must be <Response>, not {0}")]
    Root(String),
    /// A verb that Twilio does not know here; names are case-sensitive.
    #[error("<{verb}> is not a verb for {medium}; known are {known}")]
    Verb {
        /// The element's name.
        verb: String,
        /// Voice or SMS.
        medium: &'static str,
        /// The verbs that are.
        known: String,
    },
}

impl Twiml {
    /// Twilio's limit.
    pub const MAX_BYTES: usize = 64 * 1024;

    /// `<Response/>`: nothing to do. What a status callback is answered with, too.
    pub const EMPTY: Self = Self(Bytes::from_static(b"<Response/>"));

    /// Reads and checks TwiML.
    ///
    /// # Errors
    /// See [`TwimlError`].
    pub fn parse(text: &str, medium: Medium) -> Result<Self, TwimlError> {
        if text.len() > Self::MAX_BYTES {
            return Err(TwimlError::TooLarge(text.len()));
        }
        let mut reader = Reader::from_str(text);
        let (mut depth, mut rooted) = (0usize, false);
        loop {
            let event = reader.read_event().map_err(|error| TwimlError::Xml(error.to_string()))?;
            match &event {
                Xml::Start(element) | Xml::Empty(element) => {
                    for attribute in element.attributes() {
                        attribute
                            .map_err(|error| error.to_string())
                            .and_then(|value| {
                                let version = quick_xml::XmlVersion::Implicit1_0;
                                value
                                    .normalized_value(version)
                                    .map(|_| ())
                                    .map_err(|error| error.to_string())
                            })
                            .map_err(TwimlError::Xml)?;
                    }
                    let name = element.name().as_ref().to_owned();
                    check_element(&name, depth, rooted, medium)?;
                    rooted = true;
                    depth += usize::from(matches!(event, Xml::Start(_)));
                }
                Xml::End(_) => depth -= 1,
                Xml::Text(text) if depth == 0 && !text.trim_ascii().is_empty() => {
                    return Err(TwimlError::Root("text".to_owned()));
                }
                Xml::GeneralRef(entity) => check_entity(entity)?,
                Xml::DocType(_) => {
                    return Err(TwimlError::Xml("a document type is not allowed".to_owned()));
                }
                Xml::Eof if depth > 0 => {
                    return Err(TwimlError::Xml("an element is not closed".to_owned()));
                }
                Xml::Eof if !rooted => return Err(TwimlError::Root("nothing".to_owned())),
                Xml::Eof => return Ok(Self(Bytes::copy_from_slice(text.trim().as_bytes()))),
                _ => {}
            }
        }
    }

    /// The document, to be sent as `text/xml`.
    #[must_use]
    pub fn bytes(&self) -> Bytes {
        self.0.clone()
    }
}

fn check_element(name: &str, depth: usize, rooted: bool, medium: Medium) -> Result<(), TwimlError> {
    match depth {
        0 if rooted => Err(TwimlError::Xml("it has more than one root".to_owned())),
        0 if name != "Response" => Err(TwimlError::Root(format!("<{name}>"))),
        1 if !medium.verbs().contains(&name) => Err(TwimlError::Verb {
            verb: name.to_owned(),
            medium: medium.noun(),
            known: medium.verbs().join(", "),
        }),
        _ => Ok(()),
    }
}

/// Only the five entities of XML itself and character references: others need a document type.
fn check_entity(entity: &quick_xml::events::BytesRef<'_>) -> Result<(), TwimlError> {
    let known = ["amp", "lt", "gt", "apos", "quot"].contains(&entity.as_ref());
    if known || entity.is_char_ref() && entity.resolve_char_ref().is_ok() {
        return Ok(());
    }
    Err(TwimlError::Xml(format!(
        "&{entity}; is not defined (write & as &amp;)",
        entity = entity.as_ref() as &str
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, medium: Medium, expected: Result<(), &str>) {
        let parsed = Twiml::parse(text, medium).map(|_| ()).map_err(|error| error.to_string());
        match (&parsed, expected) {
            (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
            _ => assert_eq!(parsed.is_ok(), expected.is_ok(), "{text}: {parsed:?}"),
        }
    }

    #[test]
    fn good_twiml_is_served_as_it_is_written() {
        let text = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><!-- sorry -->\
                    <Say voice=\"alice\">Fish &amp; chips &#233;</Say><Hangup/></Response>\n";
        let twiml = Twiml::parse(text, Medium::Voice).expect("good");
        assert_eq!(twiml.bytes(), text.trim().as_bytes());
        check("<Response><Message><Body>Hi</Body></Message></Response>", Medium::Sms, Ok(()));
        check("<Response/>", Medium::Sms, Ok(()));
        check("<Response><![CDATA[x]]></Response>", Medium::Sms, Ok(()));
    }

    #[test]
    fn bad_twiml_says_why() {
        check("", Medium::Voice, Err("root must be <Response>, not nothing"));
        check("hello", Medium::Voice, Err("not text"));
        check("<response/>", Medium::Voice, Err("not <response>"));
        check(
            "<Response><say>x</say></Response>",
            Medium::Voice,
            Err("<say> is not a verb for voice"),
        );
        check("<Response><Say>x</Say></Response>", Medium::Sms, Err("<Say> is not a verb for SMS"));
        check("<Response><Say>x</Response>", Medium::Voice, Err("not well-formed"));
        check("<Response>", Medium::Voice, Err("not closed"));
        check("<Response/><Response/>", Medium::Voice, Err("more than one root"));
        check("<Response><Say a=1>x</Say></Response>", Medium::Voice, Err("not well-formed"));
        check("<Response><Say>a & b</Say></Response>", Medium::Voice, Err("not well-formed"));
        check("<Response><Say>&foo;</Say></Response>", Medium::Voice, Err("&amp;"));
        check("<!DOCTYPE x><Response/>", Medium::Voice, Err("document type"));
        check(&" ".repeat(Twiml::MAX_BYTES + 1), Medium::Voice, Err("at most 65536"));
    }
}
