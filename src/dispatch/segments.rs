//! [`Segments`]: how many pieces a text is sent in, which is what carriers count and what Twilio bills.
//! <https://www.twilio.com/docs/glossary/what-sms-character-limit>

/// Characters of GSM 03.38 that take one septet.
const BASIC: &str = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡\
                     ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà";
/// Those of its extension table, which take two that are not split.
const EXTENSION: &str = "\u{c}^{}\\[~]|€";

/// The longest text that Twilio takes, in characters.
pub const MOST_CHARACTERS: usize = 1600;

/// How a text is encoded, which its characters decide.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// GSM 03.38: 160 septets, or 153 in each of several segments.
    Gsm7,
    /// UTF-16, for all of the text, if one character is outside of GSM 03.38: 70 units, or 67 in each of several.
    Ucs2,
}

impl Encoding {
    /// The encoding of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let fits = |character| BASIC.contains(character) || EXTENSION.contains(character);
        if text.chars().all(fits) { Self::Gsm7 } else { Self::Ucs2 }
    }

    /// Units in the only segment, and in each of several, which have a header.
    const fn room(self) -> (u32, u32) {
        match self {
            Self::Gsm7 => (160, 153),
            Self::Ucs2 => (70, 67),
        }
    }
}

/// What a text becomes. An estimate that is made before it is sent: `num_segments` of Twilio's answer is the truth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segments {
    /// How it is encoded.
    pub encoding: Encoding,
    /// The number of segments, at least 1.
    pub count: u32,
}

impl Segments {
    /// The segments of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let encoding = Encoding::of(text);
        let sizes = match encoding {
            Encoding::Gsm7 => text.chars().map(septets).collect(),
            Encoding::Ucs2 => clusters(text),
        };
        let (alone, each) = encoding.room();
        let total = sizes.iter().fold(0_u32, |sum, size| sum.saturating_add(*size));
        let count = if total <= alone { 1 } else { filled(&sizes, each) };
        Self { encoding, count }
    }
}

fn septets(character: char) -> u32 {
    if EXTENSION.contains(character) { 2 } else { 1 }
}

/// How many segments with this much room are filled by pieces that are not split. What is larger than a segment takes
/// as many as it needs.
fn filled(sizes: &[u32], room: u32) -> u32 {
    let (mut segments, mut used) = (1_u32, 0_u32);
    for size in sizes {
        if used + size > room && used > 0 {
            (segments, used) = (segments.saturating_add(1), 0);
        }
        used += size;
        if used > room {
            segments = segments.saturating_add((used - 1) / room);
            used = (used - 1) % room + 1;
        }
    }
    segments
}

/// The UTF-16 units of what a reader sees as one character, which is not split: a letter with its accents, an emoji
/// with its skin tone, people who are joined, a flag. As of Unicode 10, which Twilio's calculator has: what was joined later,
/// such as a burning heart, counts as two.
fn clusters(text: &str) -> Vec<u32> {
    let mut sizes: Vec<u32> = Vec::with_capacity(text.len());
    let (mut before, mut half_a_flag) = (None, false);
    for character in text.chars() {
        let completes_flag = half_a_flag && is_of_a_flag(character);
        let joins = completes_flag || before.is_some_and(|before| belong(before, character));
        let units = if u32::from(character) > 0xFFFF { 2 } else { 1 };
        match sizes.last_mut() {
            Some(last) if joins => *last = last.saturating_add(units),
            _ => sizes.push(units),
        }
        half_a_flag = is_of_a_flag(character) && !completes_flag;
        before = Some(character);
    }
    sizes
}

/// Joins what is before and after it.
const JOINER: char = '\u{200d}';

/// Whether the second of two characters belongs to the first.
fn belong(before: char, character: char) -> bool {
    match character {
        '\n' => before == '\r',
        _ if stands_alone(before) => false,
        '\u{1f3fb}'..='\u{1f3ff}' => takes_a_tone(before),
        _ if before == JOINER && is_joined(character) => true,
        _ => extends(character),
    }
}

/// Whether nothing belongs to it.
fn stands_alone(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}'
    );
    is_format || character.is_control()
}

/// Whether a skin tone belongs to it: an emoji of a person or of a hand.
fn takes_a_tone(character: char) -> bool {
    let is_tone = matches!(character, '\u{1f3fb}'..='\u{1f3ff}');
    let is_hand = matches!(character, '\u{261d}' | '\u{26f9}' | '\u{270a}'..='\u{270d}');
    is_hand || matches!(character, '\u{1f385}'..='\u{1f9dd}') && !is_tone
}

/// Whether a joiner before it joins it.
fn is_joined(character: char) -> bool {
    const JOINED: [u32; 26] = [
        0x2640, 0x2642, 0x2695, 0x2696, 0x2708, 0x2764, 0x1f308, 0x1f33e, 0x1f373, 0x1f393,
        0x1f3a4, 0x1f3a8, 0x1f3eb, 0x1f3ed, 0x1f466, 0x1f467, 0x1f468, 0x1f469, 0x1f48b, 0x1f4bb,
        0x1f4bc, 0x1f527, 0x1f52c, 0x1f5e8, 0x1f680, 0x1f692,
    ];
    JOINED.contains(&u32::from(character))
}

/// Whether it belongs to the character before it.
fn extends(character: char) -> bool {
    matches!(
        character,
        JOINER | '\u{200c}'
            | '\u{300}'..='\u{36f}'
            | '\u{483}'..='\u{489}'
            // Hebrew and Arabic vowels.
            | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}' | '\u{5c2}' | '\u{5c4}' | '\u{5c5}' | '\u{5c7}'
            | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}'
            | '\u{e31}' | '\u{e33}'..='\u{e3a}' | '\u{e47}'..='\u{e4e}'
            // The vowels and finals of Hangul that is not composed.
            | '\u{1160}'..='\u{11ff}'
            | '\u{20d0}'..='\u{20ff}'
            | '\u{3099}' | '\u{309a}'
            | '\u{ff9e}' | '\u{ff9f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}'
            // The letters of the flags of England, Scotland and Wales.
            | '\u{e0020}'..='\u{e007f}'
    ) || extends_in_india(character)
}

/// The scripts from Devanagari to Malayalam have their signs at the same places of blocks of 128.
fn extends_in_india(character: char) -> bool {
    let is_there = matches!(character, '\u{900}'..='\u{d7f}');
    is_there
        && matches!(u32::from(character) % 0x80, 0..=3 | 0x3c | 0x3e..=0x4d | 0x56 | 0x57 | 0x62 | 0x63)
}

fn is_of_a_flag(character: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    /// What Twilio's own calculator says: `tests/fixtures/segments/record.js`.
    #[derive(Deserialize)]
    struct Recorded {
        pieces: Vec<(String, usize)>,
        encoding: String,
        segments: u32,
    }

    #[test]
    fn texts_have_as_many_segments_as_twilios_calculator_says() {
        let recorded = include_str!("../../tests/fixtures/segments/segments.json");
        let recorded: Vec<Recorded> = serde_json::from_str(recorded).unwrap();
        assert!(recorded.len() > 1000);
        for one in recorded {
            let text: String =
                one.pieces.iter().map(|(piece, times)| piece.repeat(*times)).collect();
            let found = Segments::of(&text);
            let encoding = if found.encoding == Encoding::Gsm7 { "GSM-7" } else { "UCS-2" };
            assert_eq!((encoding, found.count), (&*one.encoding, one.segments), "{:?}", one.pieces);
        }
    }

    proptest! {
        #[test]
        fn a_longer_text_has_no_fewer_segments_and_each_segment_is_filled(
            text in "[a-z€{漢😀]{0,400}", more in "[a-z€{漢😀]{0,9}"
        ) {
            let (short, long) = (Segments::of(&text), Segments::of(&(text.clone() + &more)));
            prop_assert!(short.count >= 1 && long.count >= short.count);
            let units = match short.encoding {
                Encoding::Gsm7 => text.chars().map(septets).sum::<u32>(),
                Encoding::Ucs2 => u32::try_from(text.encode_utf16().count()).unwrap(),
            };
            let (_, each) = short.encoding.room();
            prop_assert!(short.count == 1 || short.count >= units.div_ceil(each));
            // A unit is lost at the end of a segment at most.
            prop_assert!(short.count <= units / (each - 1) + 1);
        }
    }
}
