"""The XML API of the emulator, which Rust's object_store speaks, and with it delta-rs and Sail.

https://cloud.google.com/storage/docs/xml-api/overview
"""

from __future__ import annotations

import threading
import uuid
from email.utils import format_datetime
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from tests.rigs.gcs.messages import Answer, Request, decoded, ranged
from tests.rigs.gcs.objects import Conditions, Objects, RefusedError, StoredObject

NOT_OF_A_WRITE = ("if-match", "if-none-match", "x-goog-if-metageneration-match")
_CODES = {304: "NotModified", 403: "AccessDenied", 404: "NoSuchKey", 412: "PreconditionFailed"}


def refusal(error: RefusedError) -> Answer:
    """Say no in this API's words."""
    code = "NoSuchBucket" if "bucket" in error.reason else _CODES.get(error.status, "InvalidArgument")
    text = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{escape(error.reason)}</Message>"
    return Answer(error.status, f"{text}</Error>".encode(), {"Content-Type": "application/xml; charset=UTF-8"})


class XmlApi:
    """Requests to `/<bucket>` and `/<bucket>/<object>`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects
        self._lock = threading.Lock()
        self._uploads: dict[str, tuple[str, str, dict[int, bytes]]] = {}

    def answer(self, request: Request) -> Answer:
        """Carry a request out."""
        bucket, _, name = request.path.lstrip("/").partition("/")
        bucket, name = decoded(bucket), decoded(name)
        if not name:
            if request.method != "GET":
                raise RefusedError(501, f"The emulator has no {request.method} of a bucket.")
            return self._list(request, bucket)
        if request.method in ("GET", "HEAD"):
            return self._get(request, bucket, name)
        if request.method == "DELETE" and "uploadId" not in request.query:
            request.parameters()
            self._objects.delete(bucket, name, _conditions(request))
            return Answer(204)
        if "uploads" in request.query or "uploadId" in request.query:
            return self._multipart(request, bucket, name)
        if request.method == "PUT":
            request.parameters()
            return self._put(request, bucket, name)
        raise RefusedError(501, f"The emulator has no {request.method} of an object.")

    def _get(self, request: Request, bucket: str, name: str) -> Answer:
        generation = request.parameters("generation").get("generation")
        found = self._objects.get(bucket, name, _conditions(request))
        if generation is not None and int(generation) != found.generation:
            raise RefusedError(404, f"No such generation of {name}")
        if (match := request.headers.get("if-match")) is not None and match != found.etag:
            raise RefusedError(412, "The etag is another.")
        return ranged(request, found.data, _headers(found))

    def _put(self, request: Request, bucket: str, name: str) -> Answer:
        if wrong := [each for each in NOT_OF_A_WRITE if each in request.headers]:
            raise RefusedError(501, f"{wrong} is no condition of a write in this API.")
        source = request.headers.get("x-goog-copy-source")
        data = request.content
        if source is not None:
            source_bucket, _, source_name = decoded(source).lstrip("/").partition("/")
            data = self._objects.get(source_bucket, source_name).data
        made = self._objects.put(
            bucket, name, data, _conditions(request), content_type=request.headers.get("content-type")
        )
        body = f"<CopyObjectResult><ETag>{made.etag}</ETag></CopyObjectResult>".encode() if source else b""
        return Answer(200, body, _headers(made))

    def _multipart(self, request: Request, bucket: str, name: str) -> Answer:
        query = request.parameters("uploads", "uploadId", "partNumber")
        if request.method == "POST" and "uploads" in query:
            identity = uuid.uuid4().hex
            self._objects.bucket(bucket)
            self._uploads[identity] = (bucket, name, {})
            return _xml(
                f"<InitiateMultipartUploadResult><UploadId>{identity}</UploadId></InitiateMultipartUploadResult>"
            )
        upload = self._uploads.get(query.get("uploadId", ""))
        if upload is None or upload[:2] != (bucket, name):
            raise RefusedError(404, "The requested upload was not found.")
        parts = upload[2]
        if request.method == "PUT":
            number = int(query["partNumber"])
            parts[number] = request.content
            return Answer(200, b"", {"ETag": f'"part-{number}"'})
        if request.method == "POST":
            asked = [
                element.text
                for element in ElementTree.fromstring(request.content).iter()
                if "PartNumber" in element.tag
            ]
            numbers = [int(text or 0) for text in asked]
            if numbers != sorted(set(numbers)) or set(numbers) != set(parts):
                raise RefusedError(400, f"The upload has parts {sorted(parts)}, the request says {numbers}.")
            if any(len(parts[number]) < 5 * 1024 * 1024 for number in numbers[:-1]):
                raise RefusedError(400, "A part that is not the last has less than 5 MiB.")
            made = self._objects.put(bucket, name, b"".join(parts[n] for n in numbers), _conditions(request))
            del self._uploads[query["uploadId"]]
            result = f"<CompleteMultipartUploadResult><ETag>{made.etag}</ETag></CompleteMultipartUploadResult>"
            return _xml(result, {"x-goog-generation": str(made.generation)})
        if request.method == "DELETE":
            del self._uploads[query["uploadId"]]
            return Answer(204)
        raise RefusedError(501, f"The emulator has no {request.method} of an upload.")

    def _list(self, request: Request, bucket: str) -> Answer:
        query = request.parameters(
            "list-type", "prefix", "delimiter", "continuation-token", "max-keys", "start-after", "encoding-type"
        )
        if query.get("list-type") != "2" or query.get("encoding-type"):
            raise RefusedError(501, "The emulator lists by list-type=2 without an encoding.")
        page = self._objects.page(
            bucket,
            prefix=query.get("prefix", ""),
            delimiter=query.get("delimiter", ""),
            token=query.get("continuation-token", ""),
            first=f"{query['start-after']}\0" if query.get("start-after") else "",
            limit=int(query["max-keys"]) if "max-keys" in query else None,
        )
        text = "".join(
            f"<Contents><Key>{escape(each.name)}</Key><LastModified>{each.updated:%Y-%m-%dT%H:%M:%S.%fZ}</LastModified>"
            f"<ETag>{each.etag}</ETag><Size>{len(each.data)}</Size><Generation>{each.generation}</Generation></Contents>"
            for each in page.objects
        )
        text += "".join(f"<CommonPrefixes><Prefix>{escape(each)}</Prefix></CommonPrefixes>" for each in page.prefixes)
        if page.next_token is not None:
            text += f"<NextContinuationToken>{escape(page.next_token)}</NextContinuationToken>"
        truncated = str(page.next_token is not None).lower()
        return _xml(f"<ListBucketResult><IsTruncated>{truncated}</IsTruncated>{text}</ListBucketResult>")


def _conditions(request: Request) -> Conditions:
    text = request.headers.get("x-goog-if-generation-match")
    return Conditions(int(text) if text is not None else None)


def _headers(found: StoredObject) -> dict[str, str]:
    return {
        "ETag": found.etag,
        "x-goog-generation": str(found.generation),
        "x-goog-metageneration": "1",
        "x-goog-hash": ",".join(f"{name}={value}" for name, value in found.hashes.items()),
        "x-goog-stored-content-length": str(len(found.data)),
        "Last-Modified": format_datetime(found.updated, usegmt=True),
        "Content-Type": found.content_type,
    }


def _xml(text: str, headers: dict[str, str] | None = None) -> Answer:
    body = f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()
    return Answer(200, body, {"Content-Type": "application/xml; charset=UTF-8", **(headers or {})})
