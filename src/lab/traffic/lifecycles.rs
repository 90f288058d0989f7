//! What happens to calls, messages and the rest, from first to last.

use std::time::Duration;

use serde_json::json;

use super::Writer;
use crate::clock::Timestamp;
use crate::event::Resource;
use crate::lab::sample::{self, Callback, Parties};

const STATUS: &str = "/status";

impl Writer {
    pub(super) fn call(&mut self) {
        let lifecycle: &[&'static str] = match self.percentile() {
            0..80 => &["initiated", "ringing", "in-progress", "completed"],
            80..88 => &["initiated", "ringing", "no-answer"],
            88..94 => &["initiated", "ringing", "busy"],
            94..98 => &["initiated", "failed"],
            _ => &["initiated", "ringing", "canceled"],
        };
        let (sid, mut at, mut parties) = (self.sid("CA"), self.moment(), self.parties());
        for (sequence, status) in (0..).zip(lifecycle) {
            parties.at = self.time(at);
            let callback = sample::call(&parties, &sid, status, sequence);
            self.send(at, &sid, &[format!("{sid}-{status}")], callback, STATUS);
            at += self.seconds(1..20);
        }
        self.ends(&sid, Resource::Call, lifecycle[lifecycle.len() - 1]);
        if lifecycle.ends_with(&["completed"]) {
            self.around_a_call(&sid, at, &parties);
        }
    }

    /// What comes besides a call's own callbacks, and must not be taken for one.
    fn around_a_call(&mut self, call: &str, at: Duration, parties: &Parties) {
        if self.percent(30) {
            let answered_by = if self.percent(70) { "human" } else { "machine_end_beep" };
            let callback = sample::amd(parties, call, answered_by);
            self.send(at, &format!("{call}-amd"), &[format!("{call}-amd")], callback, STATUS);
        }
        if self.percent(25) {
            let (sid, mut at) = (self.sid("RE"), at);
            for status in ["in-progress", "completed"] {
                let callback = sample::recording(parties, call, &sid, status);
                self.send(at, &sid, &[format!("{sid}-{status}")], callback, STATUS);
                at += self.seconds(1..10);
            }
            self.ends(&sid, Resource::Recording, "completed");
        }
        if self.percent(10) {
            let (sid, mut at) = (self.sid("GT"), at);
            let lifecycle = [
                "transcription-started",
                "transcription-content",
                "transcription-content",
                "transcription-stopped",
            ];
            for (sequence, event) in (1..).zip(lifecycle) {
                let callback = sample::transcription(parties, call, &sid, event, sequence);
                self.send(at, &sid, &[format!("{sid}-{sequence}")], callback, STATUS);
                at += self.seconds(1..10);
            }
            self.ends(&sid, Resource::Transcription, "transcription-stopped");
        }
    }

    pub(super) fn message(&mut self) {
        let percentile = self.percentile();
        let lifecycle: &[&'static str] = match percentile {
            0..60 => &["queued", "sent", "delivered"],
            60..80 => &["queued", "sent", "delivered", "read"],
            80..88 => &["queued", "sent", "undelivered"],
            88..92 => &["queued", "failed"],
            // Many carriers never say more.
            92..98 => &["queued", "sent"],
            // And some contradict themselves: delivered wins.
            _ => &["queued", "sent", "undelivered", "delivered"],
        };
        let (sid, mut at, mut parties) = (self.sid("SM"), self.moment(), self.parties());
        if lifecycle.contains(&"read") {
            parties.from = format!("whatsapp:{}", parties.from);
            parties.to = format!("whatsapp:{}", parties.to);
        }
        for status in lifecycle {
            parties.at = self.time(at);
            let callback = sample::message(&parties, &sid, status);
            let key = match sample::message_error(status) {
                Some(code) => format!("{sid}-{status}-{code}"),
                None => format!("{sid}-{status}"),
            };
            self.send(at, &sid, &[key], callback, STATUS);
            at += self.seconds(0..10);
        }
        self.ends(&sid, Resource::Message, lifecycle[lifecycle.len() - 1]);
        if percentile >= 98 {
            self.traffic.expected.contradicted.insert(sid);
        }
    }

    pub(super) fn conference(&mut self) {
        let lifecycle = [
            "participant-join",
            "conference-start",
            "participant-join",
            "participant-leave",
            "conference-end",
        ];
        let (sid, mut at, mut parties) = (self.sid("CF"), self.moment(), self.parties());
        for (sequence, event) in (1..).zip(lifecycle) {
            parties.at = self.time(at);
            let callback = sample::conference(&parties, &sid, event, sequence);
            self.send(at, &sid, &[format!("{sid}-{sequence}-{event}")], callback, STATUS);
            at += self.seconds(1..60);
        }
        self.ends(&sid, Resource::Conference, "conference-end");
    }

    /// Three messages in one request, and a debugger event after it.
    pub(super) fn event_stream(&mut self) {
        let (at, mut parties) = (self.moment(), self.parties());
        parties.at = self.time(at);
        let (mut elements, mut ids) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let (id, sid) = (self.sid("EZ"), self.sid("SM"));
            elements.push(sample::message_event(&parties, &id, &sid, "delivered"));
            self.ends(&sid, Resource::Message, "delivered");
            ids.push(id);
        }
        let sink = self.sid("DG");
        self.send(at, &sink, &ids, Callback::Json(json!(elements)), "/event-streams");

        let sid = self.sid("NO");
        let callback = sample::debugger(&parties, &sid, "ERROR");
        self.send(at, &sid, std::slice::from_ref(&sid), callback, "/debugger");
    }

    pub(super) fn fallback(&mut self) {
        let (sid, at, parties) = (self.sid("CA"), self.moment(), self.parties());
        let callback = sample::fallback(&parties, &sid, "ringing");
        self.push(at, "/voice-fallback", callback, &[], None);
        self.traffic.expected.fallbacks += 1;
    }

    pub(super) fn sid(&mut self, prefix: &str) -> String {
        sample::sid(prefix, &mut self.rng)
    }

    pub(super) fn parties(&mut self) -> Parties {
        Parties {
            account: self.account.clone(),
            from: sample::number(&mut self.rng),
            to: sample::number(&mut self.rng),
            at: self.start,
        }
    }

    fn time(&self, at: Duration) -> Timestamp {
        let micros = i64::try_from(at.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(self.start.micros().saturating_add(micros))
    }

    fn percentile(&mut self) -> u32 {
        use rand::RngExt as _;
        self.rng.random_range(0..100)
    }

    fn seconds(&mut self, range: std::ops::Range<u64>) -> Duration {
        use rand::RngExt as _;
        Duration::from_secs(self.rng.random_range(range))
    }
}
