//! `[campaigns]`: what one campaign may do at most, and what sending costs.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::dispatch::Channel;
use crate::dispatch::campaign::price::{ByCountry, Price, Prices};
use crate::dispatch::country::Country;
use crate::outbound::config::{Campaigns, Sender};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawCampaigns {
    pub(crate) max_recipients: u64,
    pub(crate) currency: String,
    pub(crate) max_cost: Option<String>,
    #[serde(default)]
    pub(crate) prices: RawPrices,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct RawPrices {
    pub(crate) message: BTreeMap<String, String>,
    pub(crate) call: BTreeMap<String, String>,
    pub(crate) email: Option<String>,
}

/// The most recipients that may be configured: a row of the store for each.
const MOST_RECIPIENTS: u64 = 10_000_000;
/// Longest name of a currency, in characters.
const LONGEST_CURRENCY: usize = 10;
/// Of a table of prices, the key of those countries that it does not name.
const DEFAULT: &str = "default";
const NOT_A_PRICE: &str = "it is not a price: a decimal in quotes with at most 6 digits after the point, such as \"0.0083\"";

/// What a campaign may do at most.
pub(crate) fn resolve(loaded: &Loaded, senders: &[Sender]) -> Result<Campaigns, ConfigError> {
    let raw = &loaded.raw.campaigns;
    if !(1..=MOST_RECIPIENTS).contains(&raw.max_recipients) {
        let problem = format!("it is not from 1 to {MOST_RECIPIENTS}");
        return Err(loaded.error("campaigns.max_recipients", problem));
    }
    let currency = raw.currency.trim();
    let is_short = (1..=LONGEST_CURRENCY).contains(&currency.chars().count());
    if !is_short || currency.chars().any(char::is_control) {
        let problem = "it is not the name of a currency, such as \"USD\"";
        return Err(loaded.error("campaigns.currency", problem));
    }
    let prices = Prices {
        message: by_country(loaded, "message", &raw.prices.message)?,
        call: by_country(loaded, "call", &raw.prices.call)?,
        email: raw
            .prices
            .email
            .as_deref()
            .map(|text| price(loaded, "prices.email", text))
            .transpose()?,
    };
    let max_cost =
        raw.max_cost.as_deref().map(|text| price(loaded, "max_cost", text)).transpose()?;
    if max_cost.is_some() {
        let unknown = senders.iter().map(Sender::channel).find(|channel| !prices.know(*channel));
        if let Some(channel) = unknown {
            let (what, key) = price_of(channel);
            let problem = format!(
                "it cannot be kept, since the price of {what} is not known: set {key}, or leave it out"
            );
            return Err(loaded.error("campaigns.max_cost", problem));
        }
    }
    let currency = currency.to_owned();
    Ok(Campaigns { max_recipients: raw.max_recipients, currency, max_cost, prices })
}

/// What a price is of, and the key that says it.
pub(crate) const fn price_of(channel: Channel) -> (&'static str, &'static str) {
    match channel {
        Channel::Message => ("a message", "campaigns.prices.message.default"),
        Channel::Call => ("a call", "campaigns.prices.call.default"),
        Channel::Email => ("an email", "campaigns.prices.email"),
    }
}

fn price(loaded: &Loaded, key: &str, text: &str) -> Result<Price, ConfigError> {
    let price = Price::parse(text.trim());
    price.ok_or_else(|| loaded.error(&format!("campaigns.{key}"), NOT_A_PRICE))
}

/// The prices of a channel; `None` if there are none.
fn by_country(
    loaded: &Loaded,
    channel: &str,
    raw: &BTreeMap<String, String>,
) -> Result<Option<ByCountry>, ConfigError> {
    if raw.is_empty() {
        return Ok(None);
    }
    let (mut default, mut countries) = (None, BTreeMap::new());
    for (name, text) in raw {
        let price = price(loaded, &format!("prices.{channel}.{name}"), text)?;
        if name == DEFAULT {
            default = Some(price);
            continue;
        }
        // The name of a variable has no case.
        let country = Country::parse(&name.to_ascii_uppercase()).ok_or_else(|| {
            let problem =
                "it is neither a country, two capital letters as in US or GB, nor default";
            loaded.error(&format!("campaigns.prices.{channel}.{name}"), problem)
        })?;
        countries.insert(country, price);
    }
    let default = default.ok_or_else(|| {
        let problem = "it is missing: give the price in every country that is not named";
        loaded.error(&format!("campaigns.prices.{channel}.{DEFAULT}"), problem)
    })?;
    Ok(Some(ByCountry { default, countries }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{MINIMAL, check_error, load};

    const SENDER: &str = "[[sender]]\nname = 'a'\nfrom = '+12125550100'\n";

    fn campaigns(keys: &str) -> Campaigns {
        let config = load(&MINIMAL, &format!("{SENDER}[campaigns]\n{keys}")).expect("it is right");
        config.outbound.expect("it sends").campaigns
    }

    #[track_caller]
    fn check_wrong(keys: &str, parts: &[&str]) {
        check_error(load(&MINIMAL, &format!("{SENDER}[campaigns]\n{keys}")), parts);
    }

    #[test]
    fn a_campaign_is_small_and_has_no_price_unless_it_is_configured() {
        let found = campaigns("");
        assert_eq!((found.max_recipients, &*found.currency), (1_000, "USD"));
        assert_eq!((found.max_cost, found.prices), (None, Prices::default()));
    }

    #[test]
    fn prices_are_exact_by_channel_and_country() {
        let found = campaigns(
            "max_recipients = 50000\ncurrency = 'EUR'\nmax_cost = '250.50'\n[campaigns.prices]\nemail = '0.0006'\n\
             [campaigns.prices.message]\nUS = '0.0083'\ndefault = '0.05'\n",
        );
        assert_eq!(found.max_cost, Price::parse("250.5"));
        let of = |channel, country: &str| {
            found.prices.of(channel, Country::parse(country), 1).map(Price::micros)
        };
        assert_eq!(of(Channel::Message, "US"), Some(8_300));
        assert_eq!(of(Channel::Message, "GB"), Some(50_000));
        assert_eq!(of(Channel::Email, ""), Some(600));
        assert_eq!(of(Channel::Call, "US"), None);
        let environment = [("OFFHOOK_CAMPAIGNS__PRICES__MESSAGE__DEFAULT", "0.1")];
        let environment = [&MINIMAL[..], &environment].concat();
        let config = load(&environment, SENDER).expect("it is right").outbound.expect("it sends");
        assert_eq!(config.campaigns.prices.of(Channel::Message, None, 2), Price::parse("0.2"));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_the_fix() {
        check_wrong("max_recipients = 0", &["campaigns.max_recipients (", "my.toml", "1 to"]);
        check_wrong("currency = ' '", &["campaigns.currency (", "my.toml", "\"USD\""]);
        check_wrong("max_cost = '1e3'", &["campaigns.max_cost (", "my.toml", "such as \"0.0083\""]);
        check_wrong(
            "max_cost = '100'",
            &["campaigns.max_cost (", "a message", "campaigns.prices.message.default"],
        );
        let message = |rest: &str| format!("[campaigns.prices.message]\n{rest}");
        check_wrong(&message("US = '0.1'"), &["campaigns.prices.message.default", "is missing"]);
        check_wrong(
            &message("default = '0.1'\nUS = '0,1'"),
            &["campaigns.prices.message.US (", "my.toml", "not a price"],
        );
        check_wrong(
            &message("default = '0.1'\nXX = '0.1'"),
            &["campaigns.prices.message.XX (", "my.toml", "neither a country"],
        );
        check_wrong("[campaigns.prices]\nsms = '1'", &["sms", "not a known key", "message"]);
    }
}
