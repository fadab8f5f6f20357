"""The JSON API of the emulator, which pyarrow (by google-cloud-cpp) and Spark (by the Hadoop connector) speak.

https://cloud.google.com/storage/docs/json_api/v1/objects
"""

from __future__ import annotations

import email.parser
import email.policy
import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

from tests.rigs.gcs.messages import Answer, Request, decoded, ranged
from tests.rigs.gcs.objects import ALWAYS, Conditions, Objects, RefusedError, StoredObject

_BUCKET = re.compile(r"/storage/v1/b/([^/]+)")
_LAYOUT = re.compile(r"/storage/v1/b/([^/]+)/storageLayout")
_LIST = re.compile(r"/storage/v1/b/([^/]+)/o/?")
_OBJECT = re.compile(r"(?:/download)?/storage/v1/b/([^/]+)/o/([^/]+)")
_COPY = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/(?:rewriteTo|copyTo)/b/([^/]+)/o/([^/]+)")
_MOVE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/moveTo/o/([^/]+)")
_COMPOSE = re.compile(r"/storage/v1/b/([^/]+)/o/([^/]+)/compose")
_UPLOAD = re.compile(r"(?:/resumable)?/upload/storage/v1/b/([^/]+)/o")
_BATCH = re.compile(r"/batch(?:/storage/v1)?")
_CONDITIONS = ("ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch")


def refusal(error: RefusedError) -> Answer:
    """Say no in this API's words."""
    reason = {404: "notFound", 412: "conditionNotMet", 403: "forbidden", 401: "required"}.get(error.status, "invalid")
    details = [{"message": error.reason, "domain": "global", "reason": reason}]
    return _json({"error": {"code": error.status, "message": error.reason, "errors": details}}, error.status)


def is_json(path: str) -> bool:
    """Return whether a path belongs to this API."""
    return path.startswith(("/storage/v1/", "/upload/", "/resumable/", "/download/", "/batch"))


@dataclass
class _Upload:
    bucket: str
    name: str
    conditions: Conditions
    metadata: dict[str, Any]
    data: bytes = b""


class JsonApi:
    """Requests to `/storage/v1`, `/upload/storage/v1` and `/batch/storage/v1`.

    Args:
        objects: What it acts on.
        address: How a client reaches the emulator, without a slash at the end.
    """

    def __init__(self, objects: Objects, address: str) -> None:
        self._objects = objects
        self._address = address
        self._uploads: dict[str, _Upload] = {}

    def answer(self, request: Request) -> Answer:
        """Carry a request out."""
        path = request.path
        if match := _UPLOAD.fullmatch(path):
            return self._upload(request, decoded(match[1]))
        if _BATCH.fullmatch(path):
            return self._batch(request)
        if match := _COPY.fullmatch(path):
            return self._copy(request, *(decoded(each) for each in match.groups()))
        if match := _MOVE.fullmatch(path):
            return self._move(request, *(decoded(each) for each in match.groups()))
        if match := _COMPOSE.fullmatch(path):
            return self._compose(request, decoded(match[1]), decoded(match[2]))
        if match := _LIST.fullmatch(path):
            return self._list(request, decoded(match[1]))
        if match := _OBJECT.fullmatch(path):
            return self._object(request, decoded(match[1]), decoded(match[2]))
        if (match := _BUCKET.fullmatch(path)) and request.method == "GET":
            request.parameters()
            self._objects.bucket(decoded(match[1]))
            return _json(_bucket(decoded(match[1])))
        if (match := _LAYOUT.fullmatch(path)) and request.method == "GET":
            bucket = decoded(match[1])
            self._objects.bucket(bucket)
            flat = {"hierarchicalNamespace": {"enabled": False}}
            return _json({"kind": "storage#storageLayout", "bucket": bucket, "location": "EU", **flat})
        raise RefusedError(501, f"The emulator has no {request.method} of {path}.")

    def _object(self, request: Request, bucket: str, name: str) -> Answer:
        query = request.parameters("generation", "returnRawDownload", *_CONDITIONS)
        if request.method == "DELETE":
            self._objects.delete(bucket, name, _conditions(query))
            return Answer(204)
        if request.method != "GET":
            raise RefusedError(501, f"The emulator has no {request.method} of an object.")
        found = self._objects.get(bucket, name, _conditions(query))
        if "generation" in query and int(query["generation"]) != found.generation:
            raise RefusedError(404, f"No such generation of {name}")
        if query.get("alt") == "media":
            headers = {
                "Content-Type": found.content_type,
                "ETag": found.etag,
                "x-goog-generation": str(found.generation),
                "x-goog-metageneration": "1",
                "x-goog-hash": ",".join(f"{name}={value}" for name, value in found.hashes.items()),
                "x-goog-stored-content-length": str(len(found.data)),
            }
            return ranged(request, found.data, headers)
        return _json(_resource(bucket, found))

    def _list(self, request: Request, bucket: str) -> Answer:
        if request.method != "GET":
            raise RefusedError(501, f"The emulator has no {request.method} of a listing.")
        query = request.parameters(
            "prefix",
            "delimiter",
            "pageToken",
            "maxResults",
            "startOffset",
            "endOffset",
            "includeTrailingDelimiter",
            "includeFoldersAsPrefixes",
            "versions",
        )
        if query.get("versions") == "true":
            raise RefusedError(501, "The emulator keeps one generation of an object.")
        page = self._objects.page(
            bucket,
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            token=query.get("pageToken", ""),
            first=query.get("startOffset", ""),
            end=query.get("endOffset", ""),
            limit=int(query["maxResults"]) if "maxResults" in query else None,
            with_trailing=query.get("includeTrailingDelimiter") == "true",
        )
        listed: dict[str, Any] = {"kind": "storage#objects", "items": [_resource(bucket, one) for one in page.objects]}
        if page.prefixes:
            listed["prefixes"] = list(page.prefixes)
        if page.next_token is not None:
            listed["nextPageToken"] = page.next_token
        return _json(listed)

    def _copy(self, request: Request, bucket: str, name: str, to_bucket: str, to_name: str) -> Answer:
        query = request.parameters("ifSourceGenerationMatch", "maxBytesRewrittenPerCall", *_CONDITIONS)
        source = query.get("ifSourceGenerationMatch")
        found = self._objects.get(bucket, name, Conditions(int(source)) if source else ALWAYS)
        made = self._objects.put(to_bucket, to_name, found.data, _conditions(query), found.metadata, found.content_type)
        resource = _resource(to_bucket, made)
        if "/copyTo/" in request.path:
            return _json(resource)
        size = str(len(found.data))
        done = {"kind": "storage#rewriteResponse", "totalBytesRewritten": size, "objectSize": size, "done": True}
        return _json({**done, "resource": resource})

    def _move(self, request: Request, bucket: str, name: str, to_name: str) -> Answer:
        query = request.parameters("ifSourceGenerationMatch", *_CONDITIONS)
        source = query.get("ifSourceGenerationMatch")
        found = self._objects.get(bucket, name, Conditions(int(source)) if source else ALWAYS)
        made = self._objects.put(bucket, to_name, found.data, _conditions(query), found.metadata, found.content_type)
        self._objects.delete(bucket, name)
        return _json(_resource(bucket, made))

    def _compose(self, request: Request, bucket: str, name: str) -> Answer:
        query = request.parameters(*_CONDITIONS)
        asked = json.loads(request.content)
        sources = [self._objects.get(bucket, each["name"]).data for each in asked["sourceObjects"]]
        return _json(_resource(bucket, self._objects.put(bucket, name, b"".join(sources), _conditions(query))))

    def _upload(self, request: Request, bucket: str) -> Answer:
        query = request.parameters("uploadType", "name", "upload_id", *_CONDITIONS)
        if "upload_id" in query:
            return self._continued(request, query["upload_id"])
        conditions = _conditions(query)
        kind = query.get("uploadType")
        if request.method != "POST" or kind not in ("media", "multipart", "resumable"):
            raise RefusedError(400, f"Not an upload: {request.method} with uploadType={kind}.")
        if kind == "media":
            made = self._objects.put(bucket, query["name"], request.content, conditions)
            return _json(_resource(bucket, made))
        if kind == "multipart":
            described, data = _parts(request)
            metadata = json.loads(described.body or b"{}")
            return self._stored(_Upload(bucket, metadata.get("name") or query["name"], conditions, metadata, data.body))
        metadata = json.loads(request.content or b"{}")
        upload = _Upload(bucket, metadata.get("name") or query["name"], conditions, metadata)
        self._objects.judge(bucket, upload.name, conditions)
        identity = uuid.uuid4().hex
        self._uploads[identity] = upload
        location = f"{self._address}{request.path}?uploadType=resumable&upload_id={identity}"
        return Answer(200, b"", {"Location": location, "X-GUploader-UploadID": identity})

    def _continued(self, request: Request, identity: str) -> Answer:
        upload = self._uploads.get(identity)
        if upload is None:
            raise RefusedError(404, "The upload is over, or never began.")
        if request.method == "DELETE":
            del self._uploads[identity]
            return Answer(499)
        match = re.fullmatch(r"bytes (\*|(\d+)-(\d+))/(\*|\d+)", request.headers.get("content-range", "bytes 0-/*"))
        data, whole = request.content, None
        if match is None and "content-range" in request.headers:
            raise RefusedError(400, f"Not a content range: {request.headers['content-range']}")
        if match is None:
            whole = len(data)  # one request without a range has everything
        elif match[4] != "*":
            whole = int(match[4])
        if match is not None and match[2] is not None:
            if int(match[2]) != len(upload.data) or int(match[3]) - int(match[2]) + 1 != len(data):
                raise RefusedError(503, f"The range is not the next after {len(upload.data)} bytes.")
            if whole is None and len(data) % (256 * 1024):
                raise RefusedError(400, "A piece that is not the last must be a multiple of 256 KiB.")
        upload.data += data
        if whole is None or len(upload.data) < whole:
            return Answer(308, b"", {"Range": f"bytes=0-{len(upload.data) - 1}"} if upload.data else {})
        del self._uploads[identity]
        return self._stored(upload)

    def _stored(self, upload: _Upload) -> Answer:
        metadata = upload.metadata
        made = self._objects.put(
            upload.bucket,
            upload.name,
            upload.data,
            upload.conditions,
            metadata.get("metadata"),
            metadata.get("contentType"),
        )
        if (asked := metadata.get("md5Hash")) and asked != made.hashes["md5"]:
            raise RefusedError(400, "The MD5 of what came is another.")
        return _json(_resource(upload.bucket, made))

    def _batch(self, request: Request) -> Answer:
        boundary = f"batch_{uuid.uuid4().hex}"
        text = b""
        for part in _parts(request):
            head, _, body = part.body.partition(b"\r\n\r\n")
            line, *lines = head.decode().split("\r\n")
            method, target, *_ = line.split(" ")
            headers = {
                name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
            }
            try:
                answer = self.answer(Request(method, target, headers, body))
            except RefusedError as error:
                answer = refusal(error)
            head_lines = "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
            identity = part.headers.get("content-id", "<0>").strip("<>")
            text += (
                (
                    f"--{boundary}\r\nContent-Type: application/http\r\nContent-ID: <response-{identity}>\r\n\r\n"
                    f"HTTP/1.1 {answer.status} Answer\r\n{head_lines}Content-Length: {len(answer.body)}\r\n\r\n"
                ).encode()
                + answer.body
                + b"\r\n"
            )
        return Answer(
            200, text + f"--{boundary}--\r\n".encode(), {"Content-Type": f"multipart/mixed; boundary={boundary}"}
        )


@dataclass(frozen=True)
class _Part:
    headers: dict[str, str]
    body: bytes


def _parts(request: Request) -> list[_Part]:
    """Return the parts of a multipart body, byte for byte."""
    message = email.parser.Parser(policy=email.policy.HTTP).parsestr(
        f"Content-Type: {request.headers['content-type']}\n\n"
    )
    boundary = str(message.get_boundary()).encode()
    parts = []
    content = b"\r\n" + request.content
    for text in content.split(b"\r\n--" + boundary)[1:]:
        if text.startswith(b"--"):
            return parts
        head, _, body = text.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = (each.partition(":") for each in head.decode().split("\r\n"))
        parts.append(_Part({name.strip().lower(): value.strip() for name, _, value in lines}, body))
    raise RefusedError(400, "The multipart body has no end.")


def _conditions(query: dict[str, str]) -> Conditions:
    if query.get("ifMetagenerationMatch", "1") != "1":
        raise RefusedError(412, "The emulator changes no metadata: the metageneration is 1.")
    match, other = query.get("ifGenerationMatch"), query.get("ifGenerationNotMatch")
    return Conditions(int(match) if match else None, int(other) if other else None)


def _bucket(name: str) -> dict[str, Any]:
    times = {"timeCreated": "2026-11-01T00:00:00.000Z", "updated": "2026-11-01T00:00:00.000Z"}
    return {
        "kind": "storage#bucket",
        "id": name,
        "name": name,
        "location": "EU",
        "storageClass": "STANDARD",
        "metageneration": "1",
        "etag": "CAE=",
        **times,
    }


def _resource(bucket: str, found: StoredObject) -> dict[str, Any]:
    moment = f"{found.updated:%Y-%m-%dT%H:%M:%S.%f}"[:-3] + "Z"
    return {
        "kind": "storage#object",
        "id": f"{bucket}/{found.name}/{found.generation}",
        "name": found.name,
        "bucket": bucket,
        "generation": str(found.generation),
        "metageneration": "1",
        "size": str(len(found.data)),
        "md5Hash": found.hashes["md5"],
        "etag": found.etag,
        "contentType": found.content_type,
        "storageClass": "STANDARD",
        "timeCreated": moment,
        "updated": moment,
        "metadata": dict(found.metadata),
        **{name: value for name, value in found.hashes.items() if name == "crc32c"},
    }


def _json(value: Any, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode(), {"Content-Type": "application/json; charset=UTF-8"})
