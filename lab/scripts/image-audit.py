#!/usr/bin/python3
"""The administrator's own use of the registry's events: one line each, for the auditors."""

import http.server
import json


class Audit(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.headers["Authorization"] == "Bearer for-the-auditors"
        for event in body["events"] if known else []:
            target = event["target"]
            print(event["action"], target.get("repository"), target.get("tag", "-"), flush=True)
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Log nothing but the events."""


http.server.HTTPServer(("127.0.0.1", 7070), Audit).serve_forever()
