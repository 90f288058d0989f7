"""A receiver as one would write it in Python: Flask checks the signature, Celery takes the callback."""

import os

from flask import Flask, Response, abort, request
from twilio.request_validator import RequestValidator

from tasks import store

PUBLIC_URL = os.environ["PUBLIC_URL"]

app = Flask(__name__)
validator = RequestValidator(os.environ["TWILIO_AUTH_TOKEN"])


@app.post("/status")
def status():
    signature = request.headers.get("X-Twilio-Signature", "")
    if not validator.validate(PUBLIC_URL + request.full_path.rstrip("?"), request.form, signature):
        abort(403)
    store.delay(request.form.to_dict())
    return Response("<Response/>", content_type="text/xml")
