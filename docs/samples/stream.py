"""Reads the Redis stream of offhook in a consumer group of its own.

    OFFHOOK_REDIS=127.0.0.1:6379 python3 stream.py shop worker-1

With the path of a socket in place of host and port it reads from there. An entry comes at least once, before offhook
has thrown out duplicates, and may come before it is in the tables.
"""

import json
import os
import socket
import sys
import time
from urllib.parse import parse_qsl

ADDRESS = os.environ.get('OFFHOOK_REDIS', '127.0.0.1:6379')
STREAM = os.environ.get('OFFHOOK_STREAM', 'offhook:events')
GROUP, CONSUMER = sys.argv[1:3]


def work(event):
    """Your work. It must accept an event that it has seen: `account` and `key` name it."""
    print(json.dumps(event), flush=True)


def event_of(fields):
    """The fields of an entry by name, with `params` for what Twilio sent. An empty field has no value."""
    pairs = iter(fields)
    event = {name.decode(): value.decode('utf-8', 'replace') or None for name, value in zip(pairs, pairs)}
    if event['format'] == 'form':
        event['params'] = dict(parse_qsl(event['body'] or '', keep_blank_values=True))
    else:
        event['params'] = json.loads(event['body'])
    return event


class Redis:
    """As much of the protocol as is needed."""

    def __init__(self):
        if '/' in ADDRESS:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(ADDRESS)
        else:
            host, _, port = ADDRESS.rpartition(':')
            self.socket = socket.create_connection((host, int(port)))
        self.socket.settimeout(30)
        self.answers = self.socket.makefile('rb')

    def __call__(self, *words):
        words = [str(word).encode() for word in words]
        parts = [b'$%d\r\n%b\r\n' % (len(word), word) for word in words]
        self.socket.sendall(b'*%d\r\n%b' % (len(words), b''.join(parts)))
        answer = self.answer()
        if isinstance(answer, Exception):
            raise answer
        return answer

    def answer(self):
        line = self.answers.readline()
        if not line:
            raise ConnectionError('Redis hung up')
        kind, rest = line[:1], line[1:-2]
        if kind == b'+':
            return rest
        if kind == b'-':
            return ValueError(rest.decode())
        if kind == b':':
            return int(rest)
        if rest == b'-1':
            return None
        if kind == b'$':
            return self.answers.read(int(rest) + 2)[:-2]
        return [self.answer() for _ in range(int(rest))]


def follow(redis):
    try:
        # 0 begins with the oldest entry that is there, $ with the next one.
        redis('XGROUP', 'CREATE', STREAM, GROUP, '0', 'MKSTREAM')
    except ValueError as error:
        if not str(error).startswith('BUSYGROUP'):
            raise
    # First what this consumer was given before a crash; once there is no more of that, what is new.
    behind, looked = '0', 0.0
    while True:
        if time.monotonic() - looked > 60:
            # What another consumer has held for a minute: it died.
            redis('XAUTOCLAIM', STREAM, GROUP, CONSUMER, 60_000, '0-0', 'COUNT', 100, 'JUSTID')
            behind, looked = '0', time.monotonic()
        found = redis('XREADGROUP', 'GROUP', GROUP, CONSUMER, 'COUNT', 100, 'BLOCK', 5000,
                      'STREAMS', STREAM, behind)
        entries = found[0][1] if found else []
        for id, fields in entries:
            # A deleted entry has no fields, and an entry of another program has no key.
            if fields and b'key' in fields[::2]:
                work(event_of(fields))
            redis('XACK', STREAM, GROUP, id.decode())
        if behind != '>' and not entries:
            behind = '>'


while True:
    try:
        follow(Redis())
    except OSError as error:
        print(f'Redis does not answer: {error}', file=sys.stderr)
        time.sleep(1)
