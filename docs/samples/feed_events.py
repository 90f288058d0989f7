"""Follows the change feed of offhook by server-sent events.

    OFFHOOK_URL=http://127.0.0.1:8081 OFFHOOK_TOKEN=… python3 feed_events.py cursor.txt

The read token is enough. Nothing is lost over a restart of either side. After a crash, what was being worked on comes
again.
"""

import json
import os
import sys
import time
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

URL = os.environ.get('OFFHOOK_URL', 'http://127.0.0.1:8081')
TOKEN = os.environ.get('OFFHOOK_TOKEN')
CURSOR = Path(sys.argv[1])


def work(change):
    """Your work. It must accept a change that it has seen; `id` identifies it."""
    print(json.dumps(change), flush=True)


def events(after):
    """Each event as its id and its data, until the stream ends, as it does now and then."""
    request = Request(f'{URL}/api/changes/events')
    if after:
        request.add_header('Last-Event-ID', after)
    if TOKEN:
        request.add_header('Authorization', f'Bearer {TOKEN}')
    # While nothing happens, a comment comes every 15 s.
    with urlopen(request, timeout=60) as answer:
        event = {}
        for line in answer:
            line = line.decode().rstrip('\r\n')
            name, _, value = line.partition(':')
            if not line:
                # It ends an event. One without data only says where to go on.
                yield event.get('id'), event.get('data')
                event = {}
            elif name:
                # A line that begins with a colon is a comment.
                event[name] = value.removeprefix(' ')


def keep(cursor):
    """Replaces the file as a whole: a crash leaves the old one or the new one."""
    new = CURSOR.with_suffix('.new')
    new.write_text(cursor)
    os.replace(new, CURSOR)


def main():
    # Without an id it begins with the oldest change that is kept.
    cursor = CURSOR.read_text() if CURSOR.exists() else ''
    wait = 0.5
    while True:
        try:
            for id, data in events(cursor):
                wait = 0.5
                if data:
                    work(json.loads(data))
                if id and id != cursor:
                    cursor = id
                    keep(cursor)
        except HTTPError as error:
            if error.code < 500:
                # 410: what follows the cursor is not there any more. The answer says what to do.
                sys.exit(f'{error.code} for the cursor {cursor!r}: {error.read().decode()}')
        except (OSError, HTTPException) as error:
            print(f'offhook does not answer: {error}', file=sys.stderr)
        time.sleep(wait)
        wait = min(2 * wait, 30)


main()
