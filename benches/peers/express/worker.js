// Its worker: from the queue into Postgres, each event once, and the latest status of each SID.
import { Worker } from "bullmq";
import pg from "pg";

const { DATABASE_URL, REDIS_PORT } = process.env;
const CONCURRENCY = 20;

const database = new pg.Pool({ connectionString: DATABASE_URL, max: CONCURRENCY });

const RANKS = {
  queued: 1, initiated: 2, ringing: 3, sent: 3, "in-progress": 4, undelivered: 5, delivered: 6, read: 7,
};

// What the callback is about, its status, and what makes it unlike every other.
function identify(params) {
  if (params.MessageSid) return [params.MessageSid, params.MessageStatus];
  if (params.RecordingSid) return [params.RecordingSid, params.RecordingStatus];
  if (params.TranscriptionSid)
    return [params.TranscriptionSid, params.TranscriptionEvent, params.SequenceId];
  if (params.ConferenceSid)
    return [params.ConferenceSid, params.StatusCallbackEvent, params.SequenceNumber];
  if (params.AnsweredBy) return [params.CallSid, "amd"];
  return [params.CallSid, params.CallStatus];
}

const STORE = {
  name: "store",
  text: `WITH fresh AS (
      INSERT INTO events (key, sid, status, params) VALUES ($1, $2, $3, $4)
      ON CONFLICT DO NOTHING RETURNING sid, status
    )
    INSERT INTO statuses AS s (sid, status, rank) SELECT sid, status, $5 FROM fresh
    ON CONFLICT (sid) DO UPDATE SET status = excluded.status, rank = excluded.rank
    WHERE excluded.rank > s.rank`,
};

async function store({ data }) {
  const [sid, status, sequence] = identify(data);
  const key = [sid, status, sequence].filter(Boolean).join("-");
  const rank = RANKS[status] ?? 5;
  await database.query({ ...STORE, values: [key, sid, status, JSON.stringify(data), rank] });
}

new Worker("callbacks", store, {
  connection: { host: "127.0.0.1", port: Number(REDIS_PORT), maxRetriesPerRequest: null },
  concurrency: CONCURRENCY,
});
