"""Follows the change feed of offhook by long polls.

    OFFHOOK_URL=http://127.0.0.1:8081 OFFHOOK_TOKEN=… python3 feed_poll.py cursor.txt

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
from urllib.parse import urlencode
from urllib.request import Request, urlopen

URL = os.environ.get('OFFHOOK_URL', 'http://127.0.0.1:8081')
TOKEN = os.environ.get('OFFHOOK_TOKEN')
CURSOR = Path(sys.argv[1])


def work(change):
    """Your work. It must accept a change that it has seen; `id` identifies it."""
    print(json.dumps(change), flush=True)


def page(after):
    """What was stored behind the cursor. The answer waits until there is something, 30 s at most."""
    request = Request(f'{URL}/api/changes?{urlencode({"after": after, "limit": 500, "wait": 30})}')
    if TOKEN:
        request.add_header('Authorization', f'Bearer {TOKEN}')
    with urlopen(request, timeout=45) as answer:
        return json.load(answer)


def keep(cursor):
    """Replaces the file as a whole: a crash leaves the old one or the new one."""
    new = CURSOR.with_suffix('.new')
    new.write_text(cursor)
    os.replace(new, CURSOR)


def main():
    # An empty cursor begins with the oldest change that is kept, `now` with the next one.
    cursor = CURSOR.read_text() if CURSOR.exists() else ''
    wait = 0.5
    while True:
        try:
            found = page(cursor)
        except HTTPError as error:
            if error.code < 500:
                # 410: what follows the cursor is not there any more. The answer says what to do.
                sys.exit(f'{error.code} for the cursor {cursor!r}: {error.read().decode()}')
        except (OSError, HTTPException, ValueError) as error:
            print(f'offhook does not answer: {error}', file=sys.stderr)
        else:
            wait = 0.5
            for change in found['changes']:
                work(change)
            if found['next'] != cursor:
                cursor = found['next']
                keep(cursor)
            continue
        time.sleep(wait)
        wait = min(2 * wait, 30)


main()
