//! [`TraceContext`]: of which trace an event is, wherever it lies. As W3C has it in `traceparent`.

/// A span of a trace that is being taken. What is not sampled has no context.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TraceContext {
    /// The trace; never 0.
    pub trace: u128,
    /// The span; never 0.
    pub span: u64,
}

impl TraceContext {
    /// The value of `traceparent`, sampled.
    #[must_use]
    pub fn traceparent(self) -> String {
        format!("00-{:032x}-{:016x}-01", self.trace, self.span)
    }

    /// Reads a `traceparent`. `None` for one that is malformed, and for one that is not sampled.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(text).ok()?.split('-');
        let mut hex = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            // `from_str_radix` takes a sign, too.
            let plain = part.bytes().all(|byte| byte.is_ascii_hexdigit());
            plain.then(|| u128::from_str_radix(part, 16).ok())?
        };
        let (version, trace, span, flags) = (hex(2)?, hex(32)?, hex(16)?, hex(2)?);
        let sampled = version != 0xff && flags & 1 == 1;
        let span = u64::try_from(span).ok()?;
        (sampled && trace != 0 && span != 0).then_some(Self { trace, span })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<TraceContext>) {
        assert_eq!(TraceContext::parse(text.as_bytes()), expected, "{text}");
    }

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let context = TraceContext { trace: 0xaf7651916cd43dd8448eb211c80319c, span: 7 };
        let text = context.traceparent();
        assert_eq!(text, "00-0af7651916cd43dd8448eb211c80319c-0000000000000007-01");
        check(&text, Some(context));
        // A later version may have more.
        check(&text.replacen("00", "cc", 1), Some(context));
        check(&format!("{}-more", text.replacen("00", "cc", 1)), Some(context));
        for wrong in [
            "",
            "00-",
            &text.replace("-01", "-00"),
            &text.replacen("00", "ff", 1),
            &text.replace("0af7", "+af7"),
            &text.replace("0000000000000007", "0000000000000000"),
            &text[..54],
        ] {
            check(wrong, None);
        }
    }
}
