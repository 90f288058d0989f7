//! [`Form`]: the fields of a form that was sent, in order, repeated ones included.

use axum::body::Bytes;
use axum::http::StatusCode;

use crate::admin::Admin;
use crate::admin::api::Problem;
use crate::admin::auth::Visitor;

/// The field that proves that a page of ours sent the form.
pub(super) const PROOF: &str = "proof";

pub(super) struct Form(Vec<(String, String)>);

impl Form {
    pub(super) fn parse(body: &Bytes) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    /// A form that a page of ours sent to this visitor.
    pub(super) fn of_ours(body: &Bytes, admin: &Admin, visitor: &Visitor) -> Result<Self, Problem> {
        let form = Self::parse(body);
        if admin.auth.is_form_proof(visitor, form.get(PROOF)) {
            return Ok(form);
        }
        let why = "The form has expired, or another site sent it. Go back, reload the page, and try again.";
        Err(Problem::new(StatusCode::FORBIDDEN, why))
    }

    /// The first value of this name, or nothing.
    pub(super) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// All values of this name.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let same = self.0.iter().filter(|(known, _)| known == name);
        same.map(|(_, value)| value.clone()).collect()
    }
}
