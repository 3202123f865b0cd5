"""A W&B server on this machine: takes what a run uploads and remembers it.

Answers the operations that wandb 0.31 needs for a run, its files and its artifacts; it can be told
to die, as servers do.
"""

import gzip
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class StandIn:
    """`url`, and what has arrived: `runs` by id, `history` rows, `files`, `artifacts` by name."""

    def __init__(self) -> None:
        self.runs: dict[str, dict] = {}
        self.operations: list[str] = []
        self.history: list[dict] = []
        self.files: dict[str, bytes] = {}
        self.artifacts: dict[str, dict] = {}
        self.used: list[str] = []
        self.resumed: list[str] = []
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # clients that hang up
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def die(self) -> None:
        """Answer nothing any more; who asks is refused."""
        self.server.shutdown()
        self.server.server_close()

    def answer(self, operation: str, variables: dict) -> dict | None:
        """The data of a GraphQL operation."""
        self.operations.append(operation)
        known = {
            "Viewer": {
                "viewer": {
                    "id": "u",
                    "entity": "me",
                    "username": "me",
                    "flags": "{}",
                    "teams": {"edges": []},
                }
            },
            "ServerInfo": {
                "serverInfo": {
                    "cliVersionInfo": {"max_cli_version": "9.9.9"},
                    "latestLocalVersionInfo": None,
                }
            },
            "ServerFeaturesQuery": {"serverInfo": {"features": []}},
        }
        answer = getattr(self, f"_{operation}", None)
        return answer(variables) if answer else known.get(operation)

    def _RunResumeStatus(self, variables: dict) -> dict:
        self.resumed.append(variables["name"])
        return {"model": None}

    def _UpsertBucket(self, variables: dict) -> dict:
        name = variables.get("name") or "unnamed"
        known = {key: value for key, value in variables.items() if value is not None}
        self.runs.setdefault(name, {}).update(known)
        project = {
            "id": "p1",
            "name": variables.get("project") or "p",
            "entity": {"id": "e1", "name": "me"},
        }
        bucket = {
            "id": name,
            "name": name,
            "displayName": variables.get("displayName") or name,
            "description": None,
            "config": "{}",
            "sweepName": None,
            "historyLineCount": 0,
            "project": project,
        }
        return {"upsertBucket": {"bucket": bucket, "inserted": True}}

    def _CreateRunFiles(self, variables: dict) -> dict:
        files = [{"name": f, "uploadUrl": f"{self.url}/put/{f}"} for f in variables["files"]]
        return {"createRunFiles": {"runID": "b1", "uploadHeaders": [], "files": files}}

    def _CreateArtifact(self, variables: dict) -> dict:
        source = variables.get("input", variables)
        name = source["artifactCollectionName"]
        self.artifacts[name] = source
        artifact = {
            "id": name,
            "state": "PENDING",
            "artifactSequence": {"id": "s", "latestArtifact": None},
        }
        return {"createArtifact": {"artifact": artifact}}

    def _CreateArtifactManifest(self, variables: dict) -> dict:
        name = variables.get("artifactID") or variables["input"]["artifactID"]
        file = {
            "id": "f",
            "name": "m",
            "displayName": "m",
            "uploadUrl": f"{self.url}/put/{name}/manifest",
            "uploadHeaders": [],
        }
        manifest = {"id": f"m-{name}", "file": file}
        return {"createArtifactManifest": {"artifactManifest": manifest}}

    def _CreateArtifactFiles(self, variables: dict) -> dict:
        specs = variables.get("artifactFiles") or variables["input"]["artifactFiles"]
        edges = [
            {
                "node": {
                    "id": str(i),
                    "name": spec["name"],
                    "displayName": spec["name"],
                    "uploadUrl": f"{self.url}/put/{spec['artifactID']}/{spec['name']}",
                    "uploadHeaders": [],
                    "uploadMultipartUrls": None,
                    "storagePath": spec["name"],
                    "artifact": {"id": spec["artifactID"]},
                }
            }
            for i, spec in enumerate(specs)
        ]
        return {"createArtifactFiles": {"files": {"edges": edges}}}

    def _CommitArtifact(self, variables: dict) -> dict:
        return {"commitArtifact": {"artifact": {"id": variables["artifactID"], "digest": "d"}}}

    def _UseArtifact(self, variables: dict) -> dict:
        self.used.append(variables.get("artifactID") or variables["input"]["artifactID"])
        return {
            "useArtifact": {
                "artifact": {
                    "id": self.used[-1],
                    "digest": "d",
                    "description": "",
                    "state": "COMMITTED",
                    "createdAt": "",
                    "metadata": "{}",
                }
            }
        }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_state: StandIn

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def reply(self, content: object) -> None:
        body = json.dumps(content).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self) -> bytes:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw

    def do_GET(self) -> None:
        self.reply({})

    def do_PUT(self) -> None:
        self.server_state.files[self.path.removeprefix("/put/")] = self.body()
        self.reply({})

    def do_POST(self) -> None:
        raw = self.body()
        body = {} if "/otel/" in self.path else json.loads(raw)  # W&B's own telemetry is protobuf
        if self.path.endswith("/graphql"):
            named = re.search(r"(?:query|mutation)\s+(\w+)", body["query"])
            operation = body.get("operationName") or (named[1] if named else "")
            data = self.server_state.answer(operation, body.get("variables") or {})
            error = {"errors": [{"message": f"{operation} is unknown here"}], "data": None}
            self.reply({"data": data} if data else error)
            return
        lines = (body.get("files") or {}).get("wandb-history.jsonl", {}).get("content", [])
        self.server_state.history += map(json.loads, lines)
        self.reply({"exitcode": None, "limits": {}})
