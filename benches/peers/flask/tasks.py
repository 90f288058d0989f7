"""Its worker: from the queue into Postgres, each event once, and the latest status of each SID."""

import os
from functools import cache

import psycopg
from celery import Celery
from psycopg.types.json import Jsonb

app = Celery("tasks", broker=f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0")
app.conf.update(task_ignore_result=True, task_acks_late=True)

RANKS = {
    "queued": 1, "initiated": 2, "ringing": 3, "sent": 3, "in-progress": 4, "undelivered": 5,
    "delivered": 6, "read": 7,
}  # fmt: skip

STORE = """
    WITH fresh AS (
        INSERT INTO events (key, sid, status, params) VALUES (%s, %s, %s, %s)
        ON CONFLICT DO NOTHING RETURNING sid, status
    )
    INSERT INTO statuses AS s (sid, status, rank) SELECT sid, status, %s FROM fresh
    ON CONFLICT (sid) DO UPDATE SET status = excluded.status, rank = excluded.rank
    WHERE excluded.rank > s.rank
"""


@cache
def database():
    """One connection for each process of the worker."""
    return psycopg.connect(os.environ["DATABASE_URL"], autocommit=True)


def identify(params):
    """What the callback is about, its status, and what makes it unlike every other."""
    if "MessageSid" in params:
        return params["MessageSid"], params["MessageStatus"], None
    if "RecordingSid" in params:
        return params["RecordingSid"], params["RecordingStatus"], None
    if "TranscriptionSid" in params:
        return params["TranscriptionSid"], params["TranscriptionEvent"], params["SequenceId"]
    if "ConferenceSid" in params:
        return params["ConferenceSid"], params["StatusCallbackEvent"], params["SequenceNumber"]
    if "AnsweredBy" in params:
        return params["CallSid"], "amd", None
    return params["CallSid"], params["CallStatus"], None


@app.task(autoretry_for=(psycopg.OperationalError,), retry_backoff=True, max_retries=10)
def store(params):
    sid, status, sequence = identify(params)
    key = "-".join(part for part in (sid, status, sequence) if part)
    rank = RANKS.get(status, 5)
    database().execute(STORE, (key, sid, status, Jsonb(params), rank))
