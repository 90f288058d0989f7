//! [`Number`] and [`Country`]: where a number is, by the digits that it begins with. A table, and no guess: a number
//! that begins with none of them is nowhere, and nothing is sent there.
//!
//! Sources: ITU-T E.164, "List of assigned country codes"; the area codes of the North American Numbering Plan
//! (<https://www.nanpa.com>); of premium numbers, the numbering plans of their countries.

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

/// An international number as E.164 has it: `+`, and 7 to 15 digits of which the first is not 0.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Number(String);

/// The table by prefix: a campaign asks for a hundred thousand numbers.
static OF_PREFIX: LazyLock<HashMap<&str, &str>> = LazyLock::new(|| {
    let of = |(country, prefixes): &(&'static str, &'static str)| {
        let country = *country;
        prefixes.split(' ').map(move |prefix| (prefix, country))
    };
    TABLE.iter().flat_map(of).collect()
});

impl Number {
    /// Reads a number that is written just so. Blanks, dashes and a missing country code are refused, not mended.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+')?;
        let fits = (7..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0');
        fits.then(|| Self(text.to_owned()))
    }

    /// The number, with its `+`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits.
    fn digits(&self) -> &str {
        &self.0[1..]
    }

    /// Where it is; `None` for satellites, for international networks, and for what is not assigned.
    #[must_use]
    pub fn country(&self) -> Option<Country> {
        /// The longest prefix in the table.
        const LONGEST: usize = 7;
        let digits = self.digits();
        let prefixes = (1..=LONGEST.min(digits.len())).rev().map(|length| &digits[..length]);
        prefixes.into_iter().find_map(|prefix| OF_PREFIX.get(prefix).copied().map(Country))
    }

    /// Whether it costs the caller extra, or calls for help: nothing is ever sent there. National numbers for help have
    /// three digits, which is not a number of E.164; only America has them where an area code is due.
    #[must_use]
    pub fn is_barred(&self) -> bool {
        let digits = self.digits();
        let of_america = digits.strip_prefix('1');
        BARRED.iter().any(|prefix| digits.starts_with(prefix))
            || of_america.is_some_and(|rest| &rest[1..3] == "11" || &rest[3..6] == "976")
    }
}

/// Never the number: it ends up in logs.
impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Number(…)")
    }
}

/// A country or territory that has numbers of its own.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Country(&'static str);

impl Country {
    /// The country of a code of two letters, `US`, as ISO 3166 has it.
    #[must_use]
    pub fn parse(code: &str) -> Option<Self> {
        TABLE.iter().find(|(known, _)| *known == code).map(|(known, _)| Self(known))
    }

    /// Its code of two letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.0
    }
}

/// Premium numbers, by what they begin with.
const BARRED: &[&str] = &[
    // International premium rate, and what is billed to the caller in the United States.
    "979", "1900", // Of Europe, in the order of their countries.
    "3090", "3190", "3290", "3389", "34803", "34806", "34807", "34905", "3531520", "3531530",
    "3531540", "3531550", "3531560", "3531570", "3531580", "3531590", "3690", "39892", "39894",
    "39895", "39899", "41900", "41901", "41906", "43900", "43901", "43930", "43931", "449",
    "44871", "44872", "44873", "4590", "46900", "46939", "46944", "4782", "4870", "49900",
    "420900", "420906", "420909", "421900", // Elsewhere.
    "6119", "64900", "81990", "55900",
];

/// Each country, with what its numbers begin with. Where one begins like another, the longest counts.
const TABLE: [(&str, &str); 243] = [
    ("AC", "247"),
    ("AD", "376"),
    ("AE", "971"),
    ("AF", "93"),
    ("AG", "1268"),
    ("AI", "1264"),
    ("AL", "355"),
    ("AM", "374"),
    ("AO", "244"),
    ("AQ", "6721"),
    ("AR", "54"),
    ("AS", "1684"),
    ("AT", "43"),
    ("AU", "61"),
    ("AW", "297"),
    ("AX", "35818"),
    ("AZ", "994"),
    ("BA", "387"),
    ("BB", "1246"),
    ("BD", "880"),
    ("BE", "32"),
    ("BF", "226"),
    ("BG", "359"),
    ("BH", "973"),
    ("BI", "257"),
    ("BJ", "229"),
    ("BM", "1441"),
    ("BN", "673"),
    ("BO", "591"),
    ("BQ", "5993 5994 5997"),
    ("BR", "55"),
    ("BS", "1242"),
    ("BT", "975"),
    ("BW", "267"),
    ("BY", "375"),
    ("BZ", "501"),
    (
        "CA",
        "1204 1226 1236 1249 1250 1257 1263 1289 1306 1343 1354 1365 1367 1368 1382 1387 1403 1416 1418 1428 1431 1437 1438 1450 1460 1468 1474 1506 1514 1519 1548 1579 1581 1584 1587 1600 1604 1613 1622 1633 1639 1644 1647 1655 1672 1677 1683 1688 1705 1709 1742 1753 1778 1780 1782 1807 1819 1825 1867 1873 1879 1902 1905 1942",
    ),
    ("CC", "6189162"),
    ("CD", "243"),
    ("CF", "236"),
    ("CG", "242"),
    ("CH", "41"),
    ("CI", "225"),
    ("CK", "682"),
    ("CL", "56"),
    ("CM", "237"),
    ("CN", "86"),
    ("CO", "57"),
    ("CR", "506"),
    ("CU", "53"),
    ("CV", "238"),
    ("CW", "599"),
    ("CX", "6189164"),
    ("CY", "357"),
    ("CZ", "420"),
    ("DE", "49"),
    ("DJ", "253"),
    ("DK", "45"),
    ("DM", "1767"),
    ("DO", "1809 1829 1849"),
    ("DZ", "213"),
    ("EC", "593"),
    ("EE", "372"),
    ("EG", "20"),
    ("EH", "2125288 2125289"),
    ("ER", "291"),
    ("ES", "34"),
    ("ET", "251"),
    ("FI", "358"),
    ("FJ", "679"),
    ("FK", "500"),
    ("FM", "691"),
    ("FO", "298"),
    ("FR", "33"),
    ("GA", "241"),
    ("GB", "44"),
    ("GD", "1473"),
    ("GE", "995"),
    ("GF", "594"),
    ("GG", "441481 447781 447839 447911"),
    ("GH", "233"),
    ("GI", "350"),
    ("GL", "299"),
    ("GM", "220"),
    ("GN", "224"),
    ("GP", "590"),
    ("GQ", "240"),
    ("GR", "30"),
    ("GT", "502"),
    ("GU", "1671"),
    ("GW", "245"),
    ("GY", "592"),
    ("HK", "852"),
    ("HN", "504"),
    ("HR", "385"),
    ("HT", "509"),
    ("HU", "36"),
    ("ID", "62"),
    ("IE", "353"),
    ("IL", "972"),
    ("IM", "441624 447624"),
    ("IN", "91"),
    ("IO", "246"),
    ("IQ", "964"),
    ("IR", "98"),
    ("IS", "354"),
    ("IT", "39"),
    ("JE", "441534 447509 447797 447829 447937"),
    ("JM", "1658 1876"),
    ("JO", "962"),
    ("JP", "81"),
    ("KE", "254"),
    ("KG", "996"),
    ("KH", "855"),
    ("KI", "686"),
    ("KM", "269"),
    ("KN", "1869"),
    ("KP", "850"),
    ("KR", "82"),
    ("KW", "965"),
    ("KY", "1345"),
    ("KZ", "76 77"),
    ("LA", "856"),
    ("LB", "961"),
    ("LC", "1758"),
    ("LI", "423"),
    ("LK", "94"),
    ("LR", "231"),
    ("LS", "266"),
    ("LT", "370"),
    ("LU", "352"),
    ("LV", "371"),
    ("LY", "218"),
    ("MA", "212"),
    ("MC", "377"),
    ("MD", "373"),
    ("ME", "382"),
    ("MG", "261"),
    ("MH", "692"),
    ("MK", "389"),
    ("ML", "223"),
    ("MM", "95"),
    ("MN", "976"),
    ("MO", "853"),
    ("MP", "1670"),
    ("MQ", "596"),
    ("MR", "222"),
    ("MS", "1664"),
    ("MT", "356"),
    ("MU", "230"),
    ("MV", "960"),
    ("MW", "265"),
    ("MX", "52"),
    ("MY", "60"),
    ("MZ", "258"),
    ("NA", "264"),
    ("NC", "687"),
    ("NE", "227"),
    ("NF", "672"),
    ("NG", "234"),
    ("NI", "505"),
    ("NL", "31"),
    ("NO", "47"),
    ("NP", "977"),
    ("NR", "674"),
    ("NU", "683"),
    ("NZ", "64"),
    ("OM", "968"),
    ("PA", "507"),
    ("PE", "51"),
    ("PF", "689"),
    ("PG", "675"),
    ("PH", "63"),
    ("PK", "92"),
    ("PL", "48"),
    ("PM", "508"),
    ("PR", "1787 1939"),
    ("PS", "970"),
    ("PT", "351"),
    ("PW", "680"),
    ("PY", "595"),
    ("QA", "974"),
    ("RE", "262"),
    ("RO", "40"),
    ("RS", "381"),
    ("RU", "7"),
    ("RW", "250"),
    ("SA", "966"),
    ("SB", "677"),
    ("SC", "248"),
    ("SD", "249"),
    ("SE", "46"),
    ("SG", "65"),
    ("SH", "290"),
    ("SI", "386"),
    ("SJ", "4779"),
    ("SK", "421"),
    ("SL", "232"),
    ("SM", "378"),
    ("SN", "221"),
    ("SO", "252"),
    ("SR", "597"),
    ("SS", "211"),
    ("ST", "239"),
    ("SV", "503"),
    ("SX", "1721"),
    ("SY", "963"),
    ("SZ", "268"),
    ("TC", "1649"),
    ("TD", "235"),
    ("TG", "228"),
    ("TH", "66"),
    ("TJ", "992"),
    ("TK", "690"),
    ("TL", "670"),
    ("TM", "993"),
    ("TN", "216"),
    ("TO", "676"),
    ("TR", "90"),
    ("TT", "1868"),
    ("TV", "688"),
    ("TW", "886"),
    ("TZ", "255"),
    ("UA", "380"),
    ("UG", "256"),
    ("US", "1"),
    ("UY", "598"),
    ("UZ", "998"),
    ("VA", "379 3906698"),
    ("VC", "1784"),
    ("VE", "58"),
    ("VG", "1284"),
    ("VI", "1340"),
    ("VN", "84"),
    ("VU", "678"),
    ("WF", "681"),
    ("WS", "685"),
    ("XK", "383"),
    ("YE", "967"),
    ("YT", "262269 262639 262709"),
    ("ZA", "27"),
    ("ZM", "260"),
    ("ZW", "263"),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn a_number_is_written_as_e164_has_it_or_refused() {
        for wrong in [
            "",
            "+",
            "15550100",
            "+1555",
            "+0155501000",
            "+1 555 0100",
            "+155501000000000000",
            "+1555010x",
            "whatsapp:+15550100",
            "++15550100",
            "+١٥٥٥٠١٠٠",
        ] {
            assert_eq!(Number::parse(wrong), None, "{wrong}");
        }
        assert_eq!(number("+15555550100").as_str(), "+15555550100");
        assert_eq!(format!("{:?}", number("+15555550100")), "Number(…)");
    }

    #[test]
    fn a_number_is_where_its_longest_prefix_is() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(number(text).country().map(Country::as_str), expected, "{text}");
        };
        check("+12125550100", Some("US"));
        check("+14165550100", Some("CA"));
        check("+18765550100", Some("JM"));
        check("+447797123456", Some("JE"));
        check("+447400123456", Some("GB"));
        check("+79161234567", Some("RU"));
        check("+77011234567", Some("KZ"));
        check("+35812345678", Some("FI"));
        check("+35818123456", Some("AX"));
        check("+390669812345", Some("VA"));
        check("+491701234567", Some("DE"));
        check("+21008123456", None);
        check("+881612345678", None);
        check("+870712345678", None);
        check("+9995550100", None);
    }

    #[test]
    fn premium_and_emergency_numbers_are_barred() {
        for barred in [
            "+19005550100",
            "+12129765010",
            "+19115550100",
            "+979123456789",
            "+449011234567",
            "+49900123456",
        ] {
            assert!(number(barred).is_barred(), "{barred}");
        }
        for plain in
            ["+12125550100", "+447400123456", "+491701234567", "+33612345678", "+6281190000000"]
        {
            assert!(!number(plain).is_barred(), "{plain}");
        }
    }

    #[test]
    fn the_table_has_each_prefix_once_and_each_country_by_two_letters() {
        let mut seen = HashSet::new();
        for (country, prefixes) in TABLE {
            assert!(
                country.len() == 2 && country.bytes().all(|letter| letter.is_ascii_uppercase())
            );
            assert!(seen.insert(country.to_owned()), "{country}");
            for prefix in prefixes.split(' ') {
                assert!(
                    (1..=7).contains(&prefix.len())
                        && prefix.bytes().all(|digit| digit.is_ascii_digit())
                );
                assert!(seen.insert(prefix.to_owned()), "{prefix}");
            }
            assert_eq!(Country::parse(country).map(Country::as_str), Some(country));
        }
        assert!(BARRED.iter().all(|prefix| number(&format!("+{prefix:0<9}")).is_barred()));
        assert_eq!(["us", "UK", ""].map(Country::parse), [None; 3]);
    }

    proptest! {
        #[test]
        fn every_text_is_a_number_or_not_and_every_number_is_somewhere_or_nowhere(text in "\\+[0-9]{6,16}|\\PC*") {
            if let Some(number) = Number::parse(&text) {
                prop_assert_eq!(number.as_str(), &text);
                let country = number.country();
                prop_assert!(country.is_none_or(|country| Country::parse(country.as_str()) == Some(country)));
                let _ = number.is_barred();
            }
        }
    }
}
