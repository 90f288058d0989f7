//! [`Price`]: money as whole millionths of a currency, never as a fraction; [`Prices`]: what sending costs, by channel and
//! country.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::dispatch::Channel;
use crate::dispatch::country::Country;

/// An amount of money, in millionths of the configured currency.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct Price(u64);

impl Price {
    /// Millionths in one.
    const UNIT: u64 = 1_000_000;
    /// Most digits before the point: a campaign that costs more is a mistake.
    const MOST_DIGITS: usize = 9;
    /// Most digits after it.
    const MOST_DECIMALS: usize = 6;

    /// This many millionths.
    #[must_use]
    pub const fn of_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// How many millionths it is.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// Reads a decimal such as `0.0083`: at most 9 digits, a point, and at most 6 more. It is exact.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let is_number = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !is_number(whole, Self::MOST_DIGITS) || !is_number(decimals, Self::MOST_DECIMALS) {
            return None;
        }
        let whole: u64 = whole.parse().ok()?;
        let micros: u64 = format!("{decimals:0<6}").parse().ok()?;
        Some(Self(whole * Self::UNIT + micros))
    }

    /// The price of this many.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Self(self.0.saturating_mul(count))
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// A decimal with two digits after the point, or as many as it needs: `12.50`, `0.0083`.
impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let decimals = format!("{:06}", self.0 % Self::UNIT);
        let needed = decimals.trim_end_matches('0').len().max(2);
        write!(f, "{}.{}", self.0 / Self::UNIT, &decimals[..needed])
    }
}

/// What something costs, by the country that it goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ByCountry {
    /// In every other country, and where the country is not known.
    pub default: Price,
    /// In these.
    pub countries: BTreeMap<Country, Price>,
}

impl ByCountry {
    fn of(&self, country: Option<Country>) -> Price {
        let known = country.and_then(|country| self.countries.get(&country));
        known.copied().unwrap_or(self.default)
    }
}

/// What sending costs, as far as it is known.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Prices {
    /// Of a segment of a message; of WhatsApp, of a message.
    pub message: Option<ByCountry>,
    /// Of each minute of a call that has begun.
    pub call: Option<ByCountry>,
    /// Of an email, which is in no country.
    pub email: Option<Price>,
}

impl Prices {
    /// The price of a number of segments, minutes or emails; `None` if no price of the channel is known.
    #[must_use]
    pub fn of(&self, channel: Channel, country: Option<Country>, count: u32) -> Option<Price> {
        let one = match channel {
            Channel::Message => self.message.as_ref()?.of(country),
            Channel::Call => self.call.as_ref()?.of(country),
            Channel::Email => self.email?,
        };
        Some(one.times(count.into()))
    }

    /// Whether it is known what a channel costs.
    #[must_use]
    pub const fn know(&self, channel: Channel) -> bool {
        match channel {
            Channel::Message => self.message.is_some(),
            Channel::Call => self.call.is_some(),
            Channel::Email => self.email.is_some(),
        }
    }
}

/// The minutes that a call of this length is charged for: each that has begun.
#[must_use]
pub fn minutes(length: Duration) -> u32 {
    u32::try_from(length.as_secs().div_ceil(60).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_price_is_an_exact_decimal() {
        let check = |text: &str, micros: Option<u64>| {
            assert_eq!(Price::parse(text).map(Price::micros), micros, "{text}");
        };
        check("0", Some(0));
        check("12", Some(12_000_000));
        check("0.0083", Some(8_300));
        check("0.000001", Some(1));
        check("999999999.999999", Some(999_999_999_999_999));
        for wrong in
            ["", ".", "1.", ".5", "-1", "+1", "1,5", "1e-3", "0.0000001", "1234567890", " 1", "$1"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn a_price_is_written_with_two_decimals_or_as_many_as_it_needs() {
        let check = |micros, text: &str| assert_eq!(Price::of_micros(micros).to_string(), text);
        check(0, "0.00");
        check(8_300, "0.0083");
        check(12_500_000, "12.50");
        check(1, "0.000001");
    }

    #[test]
    fn the_price_is_that_of_the_country_or_the_default() {
        let us = Country::parse("US").expect("a country");
        let message = ByCountry {
            default: Price::of_micros(50_000),
            countries: BTreeMap::from([(us, Price::of_micros(8_300))]),
        };
        let prices =
            Prices { message: Some(message), call: None, email: Some(Price::of_micros(600)) };
        let check = |channel, country, count, micros: Option<u64>| {
            assert_eq!(prices.of(channel, country, count).map(Price::micros), micros);
        };
        check(Channel::Message, Some(us), 3, Some(24_900));
        check(Channel::Message, Country::parse("DE"), 1, Some(50_000));
        check(Channel::Message, None, 2, Some(100_000));
        check(Channel::Email, None, 1, Some(600));
        check(Channel::Call, Some(us), 1, None);
        assert_eq!(Channel::ALL.map(|channel| prices.know(channel)), [true, false, true]);
    }

    #[test]
    fn a_minute_that_has_begun_is_charged() {
        let minutes = |seconds| minutes(Duration::from_secs(seconds));
        assert_eq!([0, 1, 60, 61, 120, 121].map(minutes), [1, 1, 1, 2, 2, 3]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(micros in 0..1_000_000_000_000_000_u64) {
            let price = Price::of_micros(micros);
            prop_assert_eq!(Price::parse(&price.to_string()), Some(price));
        }
    }
}
