"""What is wrong with the variables of a bucket, said in one sentence when a process starts.

One request lists a key; a process that commits to tables also asks whether the store honours If-None-Match, by an
object that stays. Each request is signed and sent once more after a failure, without what a client does of its own: it
would follow a redirect to another region, and wait out a dead store. How clients reach the bucket later belongs to
`s3_bucket`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import BotoCoreError, ConnectTimeoutError, ReadTimeoutError, SSLError
from botocore.httpsession import URLLib3Session
from botocore.session import Session
from botocore.utils import get_environ_proxies

from platform_core.errors import ConfigurationError, ServiceDownError

CONNECT_SECONDS, ANSWER_SECONDS, ATTEMPTS = 5.0, 8.0, 2
"""A store that does not answer is given up after 26 s."""

_PROBE_TEXT = b"The platform asks with this object whether the store honours If-None-Match. Leave it here.\n"
_WRONG_REGION = {"AuthorizationHeaderMalformed", "PermanentRedirect", "IllegalLocationConstraintException"}
_WRONG_TOKEN = {"InvalidToken", "ExpiredToken", "TokenRefreshRequired"}


@dataclass(frozen=True)
class AskedS3Bucket:
    """A bucket, and the login to ask it with.

    Attributes:
        url: The bucket's own address.
        endpoint: What a person calls the store.
        is_root: `LAKE_URI` names it; otherwise each folder of the lake is a bucket, and this is one of them.
        key: Of the object that asks whether a second PUT is refused; the keys beside it are listed.
        keys: Access key, secret key and session token that are set; the ambient ones when None.
    """

    url: str
    endpoint: str
    bucket: str
    is_root: bool
    key: str
    region: str
    keys: tuple[str, str, str | None] | None


@dataclass(frozen=True)
class _Answer:
    status: int
    code: str
    region: str


def check_bucket(asked: AskedS3Bucket, *, writes: bool) -> None:
    """Ask the store for a key, and with `writes` whether two writers can commit to it.

    Raises:
        ConfigurationError: a variable is wrong, or the store cannot hold tables; the sentence says what to do.
        ServiceDownError: the store does not answer.
    """
    credentials = Credentials(*asked.keys) if asked.keys else _ambient()
    folder = asked.key[: asked.key.rfind("/") + 1]
    listing = f"{asked.url}/?list-type=2&max-keys=1&prefix={quote(folder, safe='')}"
    answer = _ask(asked, credentials, AWSRequest("GET", listing))
    if answer.status != 200:
        raise _refusal(asked, answer, "list")
    if writes:
        _refuse_overwriting(asked, credentials)


def _refuse_overwriting(asked: AskedS3Bucket, credentials: Credentials) -> None:
    # The object is there since the first start, so that one request is enough: it must be refused.
    for _ in range(2):
        headers = {"If-None-Match": "*", "Content-Type": "text/plain"}
        request = AWSRequest("PUT", f"{asked.url}/{quote(asked.key)}", headers, _PROBE_TEXT)
        answer = _ask(asked, credentials, request)
        if answer.status in (409, 412):
            return
        if answer.status not in (200, 501):
            raise _refusal(asked, answer, "write to")
    raise ConfigurationError(
        f"The object store {asked.endpoint} ignores If-None-Match: two writers of a table would overwrite each other's"
        " commits there. Take a store with conditional writes for `LAKE_URI`."
    )


def _ask(asked: AskedS3Bucket, credentials: Credentials, request: AWSRequest) -> _Answer:
    S3SigV4Auth(credentials, "s3", asked.region).add_auth(request)
    http = URLLib3Session(timeout=(CONNECT_SECONDS, ANSWER_SECONDS), proxies=get_environ_proxies(asked.url))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = http.send(request.prepare())
        except BotoCoreError as error:
            if attempt == ATTEMPTS:
                raise _down(asked, _why(error)) from None
            continue
        code, region = (
            found.group(1).decode() if (found := re.search(rb"<%b>([\w-]+)</" % name, answer.content)) else ""
            for name in (b"Code", b"Region")
        )
        if answer.status_code != 429 and (answer.status_code < 500 or answer.status_code == 501):
            return _Answer(answer.status_code, code, region or answer.headers.get("x-amz-bucket-region", ""))
    if answer.status_code == 507:
        raise ServiceDownError(f"The object store {asked.endpoint} is full ({code}): give its disks room.")
    raise _down(asked, f"it answers {answer.status_code} {code}".rstrip())


def _ambient() -> Credentials:
    try:
        found = Session().get_credentials()
        if found is not None:
            frozen = found.get_frozen_credentials()
            return Credentials(frozen.access_key, frozen.secret_key, frozen.token)
    except BotoCoreError as error:
        raise ConfigurationError(
            f"The ambient credentials for the bucket of `LAKE_URI` could not be had ({type(error).__name__}): mend the"
            " role of this process, or set `S3_ACCESS_KEY` and `S3_SECRET_KEY`."
        ) from None
    raise ConfigurationError(
        "There are no credentials for the bucket of `LAKE_URI`: set `S3_ACCESS_KEY` and `S3_SECRET_KEY`, or give this"
        " process a role."
    )


def _down(asked: AskedS3Bucket, why: str) -> ServiceDownError:
    return ServiceDownError(
        f"The object store {asked.endpoint} is not reached: {why}. `S3_ENDPOINT_URL` must be the address of a store"
        " that runs and that this machine can reach; without it the store is that of AWS in `S3_REGION`."
    )


def _why(error: BotoCoreError) -> str:
    if isinstance(error, ConnectTimeoutError):
        return f"no connection within {CONNECT_SECONDS:.0f} s"
    if isinstance(error, ReadTimeoutError):
        return f"no answer within {ANSWER_SECONDS:.0f} s"
    if isinstance(error, SSLError):
        return "its TLS is not understood or its certificate not trusted (is it http:// that it speaks?)"
    return f"the connection fails ({type(error).__name__})"


def _refusal(asked: AskedS3Bucket, answer: _Answer, action: str) -> ConfigurationError:
    store, code = f"The object store {asked.endpoint}", answer.code
    if code == "InvalidAccessKeyId":
        return ConfigurationError(f"{store} does not know the access key: correct `S3_ACCESS_KEY`.")
    if code == "SignatureDoesNotMatch":
        return ConfigurationError(
            f"{store} refuses the signature: `S3_SECRET_KEY` is not the secret of `S3_ACCESS_KEY`; correct it."
        )
    if code in _WRONG_TOKEN:
        return ConfigurationError(f"{store} refuses the session token ({code}): renew `S3_SESSION_TOKEN` and its keys.")
    if code == "RequestTimeTooSkewed":
        return ConfigurationError(f"{store} has another time than this machine: set the machine's clock.")
    if code in _WRONG_REGION or answer.status == 301:
        right = f" It is in `{answer.region}`." if answer.region and answer.region != asked.region else ""
        return ConfigurationError(
            f"{store} has the bucket `{asked.bucket}` in another region than `{asked.region}`: correct `S3_REGION`."
            f"{right}"
        )
    if (code == "NoSuchBucket" or answer.status == 404) and not asked.is_root:
        return ConfigurationError(
            f"`LAKE_URI` names no bucket, so each folder of the lake must be one, and {store[0].lower()}{store[1:]} has"
            f" no bucket `{asked.bucket}`: name a bucket, as s3://bucket or s3://bucket/prefix."
        )
    if code == "NoSuchBucket" or answer.status == 404:
        return ConfigurationError(
            f"{store} has no bucket `{asked.bucket}`: create it, or correct the bucket in `LAKE_URI`."
        )
    if answer.status in (401, 403):
        return ConfigurationError(
            f"{store} lets these credentials not {action} the bucket `{asked.bucket}` ({code or answer.status}): give"
            " them the right, or set others in `S3_ACCESS_KEY` and `S3_SECRET_KEY`."
        )
    return ConfigurationError(
        f"{store} answers {answer.status} {code} where a bucket's keys were asked for: `S3_ENDPOINT_URL` must be a"
        " store with the API of S3."
    )
