//! What a failed check of a certificate means, and what to do. The TLS library names its own types.

/// The library's word, what it means, and the way out.
const WORDS: &[(&str, &str)] = &[
    (
        "CaUsedAsEndEntity",
        "the certificate is self-signed, and says that it is one of an authority, which no server's may be: make one \
         without CA:TRUE, or sign it with an authority",
    ),
    ("UnknownIssuer", "the certificate is self-signed, or of an authority that is not known here"),
    (
        "BadSignature",
        "the certificate was signed by another authority of the same name than the one that is known here",
    ),
    ("NotValidForName", "the certificate is for another name than the one in the URL"),
    ("Expired", "the certificate has expired"),
    ("NotValidYet", "the certificate is not valid yet: is the clock right?"),
    ("Revoked", "the certificate was revoked"),
    (
        "UnsupportedCertVersion",
        "the certificate is of version 1: make one of version 3, with subjectAltName",
    ),
    (
        "NoCertificatesPresented",
        "the server wants a certificate of its client, which offhook does not have",
    ),
    (
        "CertificateRequired",
        "the server wants a certificate of its client, which offhook does not have",
    ),
    ("InvalidContentType", "what answers there speaks no TLS"),
];

/// What an error's text says of a certificate; `None` if that is not what is wrong.
#[must_use]
pub fn explain(error: &str) -> Option<&'static str> {
    WORDS.iter().find(|(word, _)| error.contains(word)).map(|(_, meaning)| *meaning)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_the_library_are_explained() {
        let text = "invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))";
        assert!(explain(text).is_some_and(|meaning| meaning.contains("self-signed")));
        assert!(explain("invalid peer certificate: UnknownIssuer").is_some());
        assert_eq!(explain("Connection refused"), None);
    }
}
