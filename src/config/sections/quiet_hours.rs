//! `[quiet_hours]`: when recipients are not disturbed.

use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::layers::Loaded;
use crate::dispatch::quiet_hours::{Hours, QuietHours, Zone};
use crate::labels::{Label as _, labels};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RawQuietHours {
    pub(crate) profile: String,
    pub(crate) from: Option<String>,
    pub(crate) until: Option<String>,
    pub(crate) days: Option<Vec<String>>,
    pub(crate) unknown_zone: Option<String>,
}

labels! {
    /// Which hours are allowed.
    enum Profile {
        /// All of them.
        Off = "off",
        /// 8 to 21 o'clock.
        Tcpa = "tcpa",
        /// 8 to 20 o'clock, and not on Sundays.
        UsStrict = "us-strict",
        /// Those that the other keys say.
        Custom = "custom",
    }
}

/// The days of a week, as they are written here.
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// When recipients are not disturbed; `None` if at any hour.
pub(crate) fn resolve(loaded: &Loaded) -> Result<Option<QuietHours>, ConfigError> {
    let raw = &loaded.raw.quiet_hours;
    let unknown = unknown(loaded)?;
    let profile = Profile::parse(&raw.profile).ok_or_else(|| {
        let problem = "it is not one of \"off\", \"tcpa\", \"us-strict\", \"custom\"";
        loaded.error("quiet_hours.profile", problem)
    })?;
    if let (Profile::Off | Profile::Tcpa | Profile::UsStrict, Some(name)) = (profile, unused(raw)) {
        let problem =
            "it applies only where quiet_hours.profile is \"custom\": set that, or leave it out";
        return Err(loaded.error(&format!("quiet_hours.{name}"), problem));
    }
    let hours = match profile {
        Profile::Custom => custom(loaded)?,
        Profile::Off => return Ok(None),
        Profile::Tcpa => Hours::TCPA,
        Profile::UsStrict => Hours::US_STRICT,
    };
    Ok(Some(QuietHours { hours, unknown }))
}

fn unused(raw: &RawQuietHours) -> Option<&'static str> {
    let set = [
        ("from", raw.from.is_some()),
        ("until", raw.until.is_some()),
        ("days", raw.days.is_some()),
    ];
    set.into_iter().find(|(_, is_set)| *is_set).map(|(name, _)| name)
}

fn unknown(loaded: &Loaded) -> Result<Option<Zone>, ConfigError> {
    let name = loaded.raw.quiet_hours.unknown_zone.as_deref().map(str::trim);
    let problem =
        "it is not the name of a place in the IANA database, such as \"America/New_York\"";
    let zone =
        |name| Zone::parse(name).ok_or_else(|| loaded.error("quiet_hours.unknown_zone", problem));
    name.filter(|name| !name.is_empty()).map(zone).transpose()
}

fn custom(loaded: &Loaded) -> Result<Hours, ConfigError> {
    let raw = &loaded.raw.quiet_hours;
    let minute = |name: &str, text: &Option<String>| {
        let problem = "it is not a time of day such as \"08:00\"; the latest is \"24:00\"";
        let minute = text.as_deref().and_then(minute_of_day);
        minute.ok_or_else(|| loaded.error(&format!("quiet_hours.{name}"), problem))
    };
    let (from, until) = (minute("from", &raw.from)?, minute("until", &raw.until)?);
    if from >= until {
        let problem =
            "it is not later than quiet_hours.from: messages are sent between the two, on one day";
        return Err(loaded.error("quiet_hours.until", problem));
    }
    let days = match &raw.days {
        None => [true; 7],
        Some(listed) => {
            if let Some(place) = listed.iter().position(|day| !DAYS.contains(&&**day)) {
                return Err(ConfigError {
                    key: format!("quiet_hours.days[{place}]"),
                    origin: loaded.origin("quiet_hours.days"),
                    problem: "it is not one of \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", \"sat\", \"sun\""
                        .to_owned(),
                });
            }
            DAYS.map(|day| listed.iter().any(|listed| listed == day))
        }
    };
    let problem =
        "no day is listed, so that nothing would ever be sent: list at least one, or leave it out";
    Hours::new(from, until, days).ok_or_else(|| loaded.error("quiet_hours.days", problem))
}

/// `08:00` is 480.
fn minute_of_day(text: &str) -> Option<u16> {
    let (hour, minute) = text.trim().split_once(':')?;
    let number = |text: &str| {
        let is_one = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        is_one.then(|| text.parse::<u16>().ok())?
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= 24 * 60).then_some(minutes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::testing::{MINIMAL, check_error, load};

    fn hours(file: &str) -> Option<QuietHours> {
        let sender = "[[sender]]\nname = 'a'\nfrom = '+12125550100'\n";
        let config = load(&MINIMAL, &format!("{sender}{file}")).expect("complete");
        config.outbound.expect("it sends").rules.quiet_hours
    }

    fn check_wrong(keys: &str, parts: &[&str]) {
        check_error(load(&MINIMAL, &format!("[quiet_hours]\n{keys}")), parts);
    }

    #[test]
    fn a_profile_says_the_hours_or_they_are_listed() {
        assert!(hours("").is_none());
        let of = |file: &str| hours(&format!("[quiet_hours]\n{file}")).expect("hours");
        assert_eq!(of("profile = 'tcpa'").hours, Hours::TCPA);
        let strict = of("profile = 'us-strict'\nunknown_zone = 'Europe/Berlin'");
        assert_eq!(
            (strict.hours, strict.unknown),
            (Hours::US_STRICT, Zone::parse("Europe/Berlin"))
        );
        let custom =
            of("profile = 'custom'\nfrom = '09:30'\nuntil = '24:00'\ndays = ['mon', 'sun']");
        let days = [true, false, false, false, false, false, true];
        assert_eq!(Some(custom.hours), Hours::new(570, 1440, days));
        assert_eq!(of("profile = 'custom'\nfrom = '08:00'\nuntil = '21:00'").hours, Hours::TCPA);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_key_and_the_fix() {
        check_wrong("profile = 'night'", &["quiet_hours.profile (", "my.toml", "\"us-strict\""]);
        check_wrong("from = '08:00'", &["quiet_hours.from (", "my.toml", "\"custom\""]);
        let custom = |rest: &str| format!("profile = 'custom'\n{rest}");
        for from in ["", "from = '8'", "from = '24:01'", "from = '08:60'", "from = '+8:00'"] {
            check_wrong(&custom(from), &["quiet_hours.from", "such as \"08:00\""]);
        }
        let turned = custom("from = '21:00'\nuntil = '08:00'");
        check_wrong(&turned, &["quiet_hours.until (", "my.toml", "not later"]);
        let all = custom("from = '08:00'\nuntil = '21:00'\n");
        check_wrong(&format!("{all}days = []"), &["quiet_hours.days (", "at least one"]);
        check_wrong(
            &format!("{all}days = ['mon', 'Sunday']"),
            &["quiet_hours.days[1] (", "\"sun\""],
        );
        let nowhere = "profile = 'tcpa'\nunknown_zone = 'Mars/Olympus'";
        check_wrong(nowhere, &["quiet_hours.unknown_zone (", "my.toml", "America/New_York"]);
    }
}
