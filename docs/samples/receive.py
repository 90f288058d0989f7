"""Receives what offhook forwards in the form `standard`, and checks who signed it.

    OFFHOOK_SECRET=whsec_… python3 receive.py 8000
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = base64.b64decode(os.environ['OFFHOOK_SECRET'].removeprefix('whsec_'))
# An older request may be a recorded one that is sent again.
MAX_AGE_S = 300
MAX_BODY = 1 << 20


def work(id, change):
    """Your work. It must accept an id that it has seen. If it raises, offhook retries later."""
    # One write: requests come on several threads, and `print` writes the end of the line by itself.
    sys.stdout.write(json.dumps({**change, 'id': id}) + '\n')
    sys.stdout.flush()


def is_signed(headers, body):
    id, timestamp = headers.get('webhook-id', ''), headers.get('webhook-timestamp', '')
    if not timestamp.isdecimal() or abs(time.time() - int(timestamp)) > MAX_AGE_S:
        return False
    mac = hmac.new(KEY, f'{id}.{timestamp}.'.encode() + body, hashlib.sha256).digest()
    expected = b'v1,' + base64.b64encode(mac)
    # Several while a secret is being changed.
    signatures = headers.get('webhook-signature', '').encode().split()
    return any(hmac.compare_digest(signature, expected) for signature in signatures)


class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_POST(self):
        length = int(self.headers.get('content-length', 0))
        if length > MAX_BODY:
            self.close_connection = True
            return self.answer(413)
        body = self.rfile.read(length)
        if not is_signed(self.headers, body):
            return self.answer(401)
        try:
            work(self.headers['webhook-id'], json.loads(body)['data'])
        except Exception as error:
            print(f'not done: {error}', file=sys.stderr)
            return self.answer(500)
        # Only now: what has a 2xx does not come again.
        self.answer(204)

    def answer(self, status):
        self.send_response(status)
        self.send_header('content-length', '0')
        self.end_headers()

    def log_message(self, *_):
        pass


ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Handler).serve_forever()
