//! [`Listing`]: a page of a list, as Twilio's API has them.

use serde_json::{Value, json};

use super::reply::Reply;
use crate::twilio::params::Params;

/// Entries of a page where none is asked for, and at most.
const PAGE_SIZES: (usize, usize) = (50, 1_000);

/// What a list is asked for.
pub(super) struct Listing<'q> {
    /// The path of the list.
    pub(super) path: String,
    /// What a page calls its entries.
    pub(super) name: &'static str,
    pub(super) query: Params<'q>,
}

impl Listing<'_> {
    /// Whether something from one number to another is asked for.
    pub(super) fn wants(&self, (to, from): (&str, Option<&str>)) -> bool {
        let of = |name, value: Option<&str>| {
            self.query.get(name).is_none_or(|wanted| value == Some(&*wanted))
        };
        of("To", Some(to)) && of("From", from)
    }

    /// A page, the newest first, of all entries in the order of their creation: the SID of each, and whether it is asked
    /// for.
    pub(super) fn page(&self, all: Vec<(&str, bool)>, resource: impl Fn(usize) -> Value) -> Reply {
        let number = |name| self.query.get(name).and_then(|text| text.parse::<usize>().ok());
        let (usual, most) = PAGE_SIZES;
        let size = number("PageSize").unwrap_or(usual).clamp(1, most);
        let page = number("Page").unwrap_or(0);
        let token = self.query.get("PageToken");
        let before = token.as_deref().and_then(|token| {
            let sid = token.strip_prefix("PA")?;
            all.iter().position(|(known, _)| *known == sid)
        });
        let older = all[..before.unwrap_or(all.len())].iter().enumerate().rev();
        let wanted = older.filter(|(_, (_, wanted))| *wanted);
        let mut places: Vec<usize> = wanted.map(|(place, _)| place).take(size + 1).collect();
        let more = places.len() > size;
        places.truncate(size);
        let last = places.last().map(|place| format!("PA{}", all[*place].0));
        let next = last.filter(|_| more).map(|token| self.uri(size, page + 1, Some(&token)));
        let start = page * size;
        let entries: Vec<Value> = places.iter().map(|place| resource(*place)).collect();
        let mut body = json!({
            "first_page_uri": self.uri(size, 0, None),
            "previous_page_uri": (page > 0).then(|| self.uri(size, page - 1, None)),
            "next_page_uri": next,
            "uri": self.uri(size, page, token.as_deref()),
            "page": page,
            "page_size": size,
            "start": start,
            "end": start + places.len().saturating_sub(1),
        });
        body[self.name] = entries.into();
        Reply::of(200, body)
    }

    fn uri(&self, size: usize, page: usize, token: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for name in ["To", "From"] {
            if let Some(value) = self.query.get(name) {
                query.append_pair(name, &value);
            }
        }
        query.append_pair("PageSize", &size.to_string());
        query.append_pair("Page", &page.to_string());
        if let Some(token) = token {
            query.append_pair("PageToken", token);
        }
        format!("{}?{}", self.path, query.finish())
    }
}
