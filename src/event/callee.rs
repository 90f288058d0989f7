//! [`Callee`]: what the callee of a call has done.

use crate::labels::labels;

labels! {
    /// What the callee of a call has done, as far as an event says so. Read from what was signed, before `[privacy]`.
    pub enum Callee {
        /// Pressed 1, which confirms that a person has heard the text.
        PressedOne = "pressed_1",
        /// Pressed another key.
        PressedOther = "pressed_other",
        /// Is a person, by Twilio's detection.
        Human = "human",
        /// Is a voicemail, a fax or the like, by Twilio's detection.
        Machine = "machine",
    }
}

impl Callee {
    /// By what was keyed in.
    #[must_use]
    pub fn of_digits(digits: &str) -> Option<Self> {
        match digits {
            "" => None,
            "1" => Some(Self::PressedOne),
            _ => Some(Self::PressedOther),
        }
    }

    /// By `AnsweredBy`. `unknown` says nothing.
    ///
    /// <https://www.twilio.com/docs/voice/answering-machine-detection>
    #[must_use]
    pub fn of_answered_by(answered_by: &str) -> Option<Self> {
        match answered_by {
            "human" => Some(Self::Human),
            "fax" => Some(Self::Machine),
            other => other.starts_with("machine_").then_some(Self::Machine),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_digit_1_and_only_a_person_are_taken_for_one() {
        let digits = ["1", "11", "2", "#", ""].map(Callee::of_digits);
        let other = Some(Callee::PressedOther);
        assert_eq!(digits, [Some(Callee::PressedOne), other, other, other, None]);
        let answered = ["human", "machine_start", "machine_end_beep", "fax", "unknown", "HUMAN"];
        let machine = Some(Callee::Machine);
        assert_eq!(
            answered.map(Callee::of_answered_by),
            [Some(Callee::Human), machine, machine, machine, None, None]
        );
    }
}
