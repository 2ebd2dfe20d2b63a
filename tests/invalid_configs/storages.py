"""Every storage driver as it may stand, and what is refused of each."""

from __future__ import annotations

from typing import Any

from tests.configurations import changed, per_site
from tests.invalid_configs.table import Wrong
from tests.storages import service_account


def gcs(**more: Any) -> dict[str, Any]:
    """Shared storage in a bucket of Google's, with credentials for each site."""
    raw = per_site() | {"storage": {"mode": "shared", "gcs": {"bucket": "acme"} | more}}
    for site in ("london", "tokyo"):
        raw["sites"][site].pop("storage")
        raw["sites"][site]["credentials"] = {"gcs": {"credentials": service_account(site)}}
    return raw


def azure(version: str = "18.5", **place: Any) -> dict[str, Any]:
    """Shared storage in Azure; the primary has the account's key, the secondary a role."""
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {"mode": "shared", "azure": {"container": "registry", "accountname": "acme"} | place}
    role = {"credentials_type": "client_secret", "tenant_id": "t", "client_id": "c", "secret": "s3cr3t-value"}
    raw["sites"]["london"]["credentials"] = {"azure": {"accountkey": "s3cr3t-value"}}
    raw["sites"]["tokyo"]["credentials"] = {"azure": role}
    return raw


def swift(version: str = "16.11", **place: Any) -> dict[str, Any]:
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {
        "mode": "shared",
        "swift": {"container": "c", "authurl": "https://k.example.com/v3"} | place,
    }
    for site in ("london", "tokyo"):
        raw["sites"][site]["credentials"] = {"swift": {"username": site, "password": "s3cr3t-value"}}
    return raw


def oss(version: str = "16.11") -> dict[str, Any]:
    raw = gcs()
    raw["gitlab_version"] = version
    raw["storage"] = {"mode": "shared", "oss": {"bucket": "acme", "region": "oss-eu-central-1"}}
    for site in ("london", "tokyo"):
        raw["sites"][site]["credentials"] = {
            "oss": {"accesskeyid": f"LTAI{site}", "accesskeysecret": "s3cr3t-value"}
        }
    return raw


def own(place: Any, *, version: Any = "18.5", **site: Any) -> dict[str, Any]:
    """A bucket at london, and `place` at tokyo."""
    raw = per_site() | {"gitlab_version": version}
    raw["sites"]["tokyo"] |= {"storage": place} | site
    return raw


def s3(version: str = "18.5", **options: Any) -> dict[str, Any]:
    raw = per_site() | {"gitlab_version": version}
    raw["sites"]["tokyo"]["storage"]["options"] = options
    return raw


def at(raw: dict[str, Any], *path: str, to: Any) -> dict[str, Any]:
    raw = changed(raw, lambda _: None)
    place = raw
    for key in path[:-1]:
        place = place.setdefault(key, {})
    place[path[-1]] = to
    return raw


def own_server(one: str, other: str) -> dict[str, Any]:
    """A bucket of the same name at each site, by these endpoints."""
    raw = per_site()
    for name, endpoint in (("london", one), ("tokyo", other)):
        place = {"bucket": "acme-registry", "region": "garage", "create": False, "endpoint": endpoint}
        raw["sites"][name] |= {
            "storage": place,
            "s3_keys": {"access_key": name, "secret_key": "s3cr3t-value"},
        }
    return raw


def same_application() -> dict[str, Any]:
    raw = azure()
    role = raw["sites"]["tokyo"]["credentials"]["azure"]
    raw["sites"]["london"]["credentials"]["azure"] = role | {"client_id": "ABC-1"}
    role["client_id"] = "abc-1"
    return raw


def roots() -> dict[str, Any]:
    """One container, a directory for each site."""
    raw = per_site()
    for name in ("london", "tokyo"):
        place = {"azure": {"container": "registry", "accountname": "acme", "rootdirectory": f"/{name}"}}
        keys = {"azure": {"accountkey": "s3cr3t-value"}}
        raw["sites"][name] |= {"storage": place, "credentials": keys}
    return raw


def elsewhere(raw: dict[str, Any]) -> None:
    """London's registry is not omnibus'."""
    raw["sites"]["london"]["nodes"]["london-1"]["roles"] = ["rails", "sidekiq"]
    raw["sites"]["london"]["external_registry"] = {}


def others_options(**options: Any) -> dict[str, Any]:
    """London's registry is Distribution, on a bucket of its own."""
    return at(changed(per_site(), elsewhere), "sites", "london", "storage", "options", to=options)


def newest(raw: dict[str, Any], version: str) -> dict[str, Any]:
    """The same with that version of GitLab."""
    return raw | {"gitlab_version": version}


def own_azure(version: str, **place: Any) -> dict[str, Any]:
    """A container of Azure's at tokyo, with its account's key."""
    keys = {"azure": {"accountkey": "s3cr3t-value"}}
    place |= {"container": "registry", "accountname": "acme"}
    return own({"azure": place}, version=version, credentials=keys)


BUCKET = ("sites", "tokyo", "storage")
OTHER = own(
    {"bucket": "abc", "region": "x", "create": False, "endpoint": "https://minio.example.com"},
    s3_keys={"access_key": "AKIAX", "secret_key": "s3cr3t-value"},
)
RETRIES: dict[str, Any] = {
    "max_retries": 1000, "retry_try_timeout": "1m30s", "retry_delay": "500ms", "max_retry_delay": "0.5h",
    "api_pool_initial_interval": "100ms", "api_pool_max_interval": "15s", "api_pool_max_elapsed_time": "5m",
    "debug_log": False,
}  # fmt: skip
LASTING = {"access_key": "AKIAX", "secret_key": "s3cr3t-value"}
TEMPORARY = LASTING | {"session_token": "s3cr3t-value"}
TOKYO = ("sites", "tokyo", "credentials")
KEYS: dict[str, Any] = {"credentials": {"gcs": {"application_default": True}}}

RIGHT = [
    gcs(), azure(), swift(), oss(), s3(), azure("19.0"), azure(serviceurl="https://acme.blob.core.windows.net"),
    own({"filesystem": {"rootdirectory": "/srv/registry"}}), own({"s3": {"bucket": "abc", "region": "eu-west-1"}}),
    own({"gcs": {"bucket": "abc"}}, **KEYS), own("keep"),
]  # fmt: skip

WRONG: list[Wrong] = [
    Wrong("a number that the registry cannot hold", gcs(maxconcurrency=1 << 70), "storage.gcs.maxconcurrency", "value-invalid", value="1180591620717411303424"),
    Wrong("fewer requests at once than the registry goes down to", gcs(maxconcurrency=24), "storage.gcs.maxconcurrency", "value-invalid", gcs(maxconcurrency=25), value="24"),
    Wrong("another name for Google's log before it was read", newest(gcs(debug_log=True), "18.4"), "storage.gcs.debug_log", "setting-not-in-version", newest(gcs(debug_log=True, useragent="acme", parallelwalk=True), "18.5")),
    Wrong("a cloud of Google's before it was known", newest(gcs(universe_domain="apis-berlin-build0.goog"), "18.9"), "storage.gcs.universe_domain", "setting-not-in-version", newest(gcs(universe_domain="apis-berlin-build0.goog"), "18.10")),
    Wrong("a segment that Swift refuses", swift(chunksize=1 << 40), "storage.swift.chunksize", "value-invalid", value="1099511627776"),
    Wrong("a driver that is none", at(gcs(), "storage", to={"mode": "shared", "gsc": {"bucket": "acme"}}), "storage.gsc", "key-unknown"),
    Wrong("a key with a typo", gcs(rotdirectory="x"), "storage.gcs.rotdirectory", "key-unknown"),
    Wrong("a number as text", gcs(chunksize="5242880"), "storage.gcs.chunksize", "value-type", value="'5242880'"),
    Wrong("a chunk that Google refuses", gcs(chunksize=5_000_000), "storage.gcs.chunksize", "value-invalid", value="5000000"),
    Wrong("two drivers for all", at(gcs(), "storage", "s3", to={"bucket": "abc", "region": "eu-west-1"}), "storage.gcs", "storage-drivers-exclusive"),
    Wrong("two drivers at a site", own({"gcs": {"bucket": "abc"}, "filesystem": {"rootdirectory": "/srv"}}, **KEYS), "sites.tokyo.storage.filesystem", "storage-drivers-exclusive"),
    Wrong("a bucket beside a driver", own({"bucket": "abc", "region": "eu-west-1", "gcs": {"bucket": "abc"}}), "sites.tokyo.storage.bucket", "key-unknown"),
    Wrong("a driver with a typo at a site", own({"gsc": {"bucket": "abc"}}), "sites.tokyo.storage.gsc", "key-unknown"),
    Wrong("no driver at a site", own({}), "sites.tokyo.storage.bucket", "key-missing"),
    Wrong("a word that is none", own("kept"), "sites.tokyo.storage", "value-invalid", value="'kept'"),
    Wrong("a driver for all with storage per site", at(per_site(), "storage", "gcs", to={"bucket": "abc"}), "storage.gcs", "storage-at-top-with-per-site"),
    Wrong("a directory for all", at(gcs(), "storage", to={"mode": "shared", "filesystem": {"rootdirectory": "/srv"}}), "storage.filesystem", "filesystem-shared"),
    Wrong("half a path", own({"filesystem": {"rootdirectory": "srv"}}), "sites.tokyo.storage.filesystem.rootdirectory", "value-invalid", value="'srv'"),
    Wrong("no credentials", at(gcs(), *TOKYO, to={}), "sites.tokyo.credentials.gcs", "credentials-missing"),
    Wrong("another driver's credentials", at(gcs(), *TOKYO, "swift", to={"username": "x", "password": "y"}), "sites.tokyo.credentials.swift", "credentials-unused"),
    Wrong("credentials for a directory", own({"filesystem": {"rootdirectory": "/srv"}}, **KEYS), "sites.tokyo.credentials.gcs", "credentials-unused"),
    Wrong("credentials for what is kept", own("keep", **KEYS), "sites.tokyo.credentials.gcs", "credentials-unused"),
    Wrong("S3's keys for another driver", at(gcs(), "sites", "tokyo", "s3_keys", to={"access_key": "a", "secret_key": "b"}), "sites.tokyo.s3_keys", "s3-keys-unused"),
    Wrong("a key file that is none", at(gcs(), *TOKYO, "gcs", to={"credentials": "s3cr3t-value"}), "sites.tokyo.credentials.gcs.credentials", "value-invalid", value="[secret]"),
    Wrong("a key file deeper than Python reads", at(gcs(), *TOKYO, "gcs", to={"credentials": "[" * 100_000}), "sites.tokyo.credentials.gcs.credentials", "value-invalid", value="[secret]"),
    Wrong("a key file's text and path", at(gcs(), *TOKYO, "gcs", "keyfile", to="/etc/key.json"), "sites.tokyo.credentials.gcs", "gcs-credentials-ambiguous"),
    Wrong("a secondary with the primary's account", at(gcs(), *TOKYO, "gcs", "credentials", to=service_account("london")), "sites.tokyo.credentials.gcs.credentials", "credentials-of-primary"),
    Wrong("a secondary with the primary's user", at(swift(), *TOKYO, "swift", "username", to="london"), "sites.tokyo.credentials.swift.username", "credentials-of-primary"),
    Wrong("a secondary that could sign writes", at(swift(), *TOKYO, "swift", "secretkey", to="s3cr3t-value"), "sites.tokyo.credentials.swift.secretkey", "signing-key-on-secondary"),
    Wrong("a secondary with the primary's key", at(oss(), *TOKYO, "oss", "accesskeyid", to="LTAIlondon"), "sites.tokyo.credentials.oss.accesskeyid", "credentials-of-primary"),
    Wrong("a secondary with an account key", at(azure(), *TOKYO, "azure", to={"accountkey": "another"}), "sites.tokyo.credentials.azure.credentials_type", "account-key-on-secondary"),
    Wrong("a secondary that may write", at(gcs(), "sites", "tokyo", "read_only", to=False), "sites.tokyo.read_only", "secondary-writable"),
    Wrong("half of an Azure role", at(azure(), *TOKYO, "azure", to={"credentials_type": "client_secret", "client_id": "c", "secret": "s3cr3t-value"}), "sites.tokyo.credentials.azure.tenant_id", "azure-key-missing"),
    Wrong("an Azure role and a key", at(azure(), *TOKYO, "azure", "accountkey", to="s3cr3t-value"), "sites.tokyo.credentials.azure.accountkey", "azure-key-unused"),
    Wrong("an Azure role before there were any", azure("17.9"), "sites.tokyo.credentials.azure.credentials_type", "azure-credentials-not-in-version"),
    Wrong("a kind of credentials that is none", at(azure(), *TOKYO, "azure", "credentials_type", to="sas"), "sites.tokyo.credentials.azure.credentials_type", "value-invalid", value="'sas'"),
    Wrong("nobody's container", at(azure(), "storage", "azure", to={"container": "registry"}), "storage.azure.accountname", "azure-account-missing"),
    Wrong("an account key without its account", at(azure(), "storage", "azure", to={"container": "registry", "serviceurl": "https://acme.blob.core.windows.net"}), "storage.azure.accountname", "azure-account-name-missing"),
    Wrong("a realm that the URL has", azure(serviceurl="https://acme.blob.core.windows.net", realm="core.windows.net"), "storage.azure.realm", "settings-exclusive"),
    Wrong("two root prefixes", azure(legacyrootprefix=True, trimlegacyrootprefix=True), "storage.azure.legacyrootprefix", "settings-exclusive"),
    Wrong("a bucket of one server, spelled otherwise", own_server("https://minio.example.com", "http://MinIO.example.com.:80"), "sites.tokyo.storage.bucket", "storage-not-unique"),
    Wrong("a bucket of AWS through an endpoint of one's network", own_server("https://s3.eu-west-1.amazonaws.com", "https://vpce-1.s3.eu-west-1.vpce.amazonaws.com"), "sites.tokyo.storage.bucket", "storage-not-unique"),
    Wrong("the primary's application in other letters", same_application(), "sites.tokyo.credentials.azure.client_id", "credentials-of-primary"),
    Wrong("GitLab's registry beside another in one container of Azure", changed(azure(), elsewhere), "storage.azure.legacyrootprefix", "azure-root-prefix-missing"),
    Wrong("two roots where one registry knows no roots", changed(roots(), elsewhere), "sites.tokyo.storage.azure.container", "storage-not-unique"),
    Wrong("a key file that only Python reads", at(gcs(), *TOKYO, "gcs", to={"credentials": service_account("tokyo").replace("}", ', "x": NaN}')}), "sites.tokyo.credentials.gcs.credentials", "value-invalid", value="[secret]"),
    Wrong("swift where it is gone", swift("17.0"), "storage.swift", "setting-not-in-version"),
    Wrong("oss where it is gone", oss("18.5"), "storage.oss", "setting-not-in-version"),
    Wrong("a port of Keystone that is none", swift(authurl="https://k.example.com:70000/v3"), "storage.swift.authurl", "value-invalid"),
    Wrong("a port of an S3 server that is none", own({"bucket": "abc", "region": "eu-west-1", "create": False, "endpoint": "https://minio:0"}), "sites.tokyo.storage.endpoint", "value-invalid", value="'https://minio:0'"),
    Wrong("a method that has no temporary URLs", swift(tempurlmethods=["PATCH"]), "storage.swift.tempurlmethods.0", "value-invalid", swift(tempurlmethods=["GET", "HEAD"], tempurlcontainerkey=True), value="'PATCH'"),
    Wrong("an unknown key of swift", swift(user="x"), "storage.swift.user", "key-unknown"),
    Wrong("an ACL where the bucket's owner owns all", s3(objectacl="private", objectownership=True), "sites.tokyo.storage.options.objectacl", "acl-on-created-bucket"),
    Wrong("an ACL for a bucket of this stack", s3(objectacl="private"), "sites.tokyo.storage.options.objectacl", "acl-on-created-bucket"),
    Wrong("a bucket that would have to be made elsewhere", own({"s3": {"bucket": "abc", "region": "eu-west-1", "endpoint": "https://minio.example.com"}}), "sites.tokyo.storage.s3.create", "bucket-not-on-aws"),
    Wrong("ACLs for a bucket of this stack", s3(objectownership=False), "sites.tokyo.storage.options.objectownership", "ownership-on-created-bucket"),
    Wrong("checksums before s3_v2", s3(checksum_disabled=True), "sites.tokyo.storage.options.checksum_disabled", "setting-not-in-version"),
    Wrong("no checksums, and which", s3("19.0", checksum_disabled=True, checksum_algorithm="SHA256"), "sites.tokyo.storage.options.checksum_algorithm", "settings-exclusive"),
    Wrong("a storage class before it was known", s3("18.0", storageclass="GLACIER_IR"), "sites.tokyo.storage.options.storageclass", "setting-not-in-version"),
    Wrong("a class of directory buckets before it was known", at(s3("18.0", storageclass="EXPRESS_ONEZONE"), *BUCKET, "create", to=False), "sites.tokyo.storage.options.storageclass", "setting-not-in-version", at(s3("18.1", storageclass="EXPRESS_ONEZONE"), *BUCKET, "create", to=False)),
    Wrong("a class of directory buckets in a bucket of this stack", s3(storageclass="EXPRESS_ONEZONE"), "sites.tokyo.storage.options.storageclass", "storage-class-on-created-bucket", s3(storageclass="INTELLIGENT_TIERING")),
    Wrong("parts of which two are too large", s3(chunksize=(5 << 29) + 1), "sites.tokyo.storage.options.chunksize", "value-invalid", s3(chunksize=5 << 29), value="2684354561"),
    Wrong("a threshold below all", s3(multipartcopythresholdsize=-1), "sites.tokyo.storage.options.multipartcopythresholdsize", "value-invalid", s3(multipartcopythresholdsize=0), value="-1"),
    Wrong("no requests at all", s3(maxrequestspersecond=0), "sites.tokyo.storage.options.maxrequestspersecond", "value-invalid", s3(maxrequestspersecond=1), value="0"),
    Wrong("a word for the log that is none", s3(loglevel="logeverything"), "sites.tokyo.storage.options.loglevel", "value-invalid", s3(loglevel="logdebug"), value="'logeverything'"),
    Wrong("a word of the newer driver's", s3(loglevel="logrequest"), "sites.tokyo.storage.options.loglevel", "s3-log-level-not-in-version", s3("19.0", loglevel="logrequest,logretries")),
    Wrong("a word of the older driver's", s3("19.0", loglevel="logrequest,logdebug"), "sites.tokyo.storage.options.loglevel", "s3-log-level-not-in-version", s3("19.0", loglevel="logoff")),
    Wrong("several words where one was read", s3("17.11", loglevel="logdebug,logdebugwithsigning"), "sites.tokyo.storage.options.loglevel", "s3-log-level-not-in-version", s3("18.0", loglevel="logdebug,logdebugwithsigning")),
    Wrong("a region of a closed part of AWS", at(s3(), *BUCKET, "region", to="us-isof-south-1"), "sites.tokyo.storage.region", "s3-region-not-in-version", at(s3(), *BUCKET, "region", to="us-iso-east-1")),
    Wrong("an address that is none", at(OTHER, *BUCKET, "endpoint", to="https://[::g:1]:9000"), "sites.tokyo.storage.endpoint", "value-invalid", at(OTHER, *BUCKET, "endpoint", to="https://[fd00::1]:9000"), value="'https://[::g:1]:9000'"),
    Wrong("an address with too many parts", at(OTHER, *BUCKET, "endpoint", to="https://[fd00::1::2]"), "sites.tokyo.storage.endpoint", "s3-endpoint-invalid", OTHER),
    Wrong("a bucket's name before an address", at(at(OTHER, *BUCKET, "endpoint", to="http://[fd00::1]:9000"), *BUCKET, "options", to={"pathstyle": False}), "sites.tokyo.storage.options.pathstyle", "s3-path-style-required", at(OTHER, *BUCKET, "options", to={"pathstyle": False})),
    Wrong("a bucket of one server, its address spelled otherwise", own_server("https://[fd00::1]", "http://[FD00:0:0::1]:80"), "sites.tokyo.storage.bucket", "storage-not-unique", own_server("https://[fd00::1]", "https://[fd00::2]")),
    Wrong("a number of tries that stands for another", azure(max_retries=0), "storage.azure.max_retries", "value-invalid", azure(**RETRIES), value="0"),
    Wrong("a time without a unit", azure(retry_delay="4"), "storage.azure.retry_delay", "value-invalid", azure(retry_delay="4s"), value="'4'"),
    Wrong("Azure's retries before there were any", own_azure("17.9", max_retries=5), "sites.tokyo.storage.azure.max_retries", "setting-not-in-version", own_azure("17.10", max_retries=5)),
    Wrong("events of a log that is not kept", azure(debug_log_events="Retry"), "storage.azure.debug_log_events", "setting-without-effect", azure(debug_log=True, debug_log_events="Retry,Request")),
    Wrong("an event that is none", azure(debug_log=True, debug_log_events="Errors"), "storage.azure.debug_log_events", "value-invalid", value="'Errors'"),
    Wrong("a part that S3 refuses", s3(chunksize=1024), "sites.tokyo.storage.options.chunksize", "value-invalid", value="1024"),
    Wrong("an option with a typo", s3(chunksiz=26214400), "sites.tokyo.storage.options.chunksiz", "key-unknown"),
    Wrong("encryption off, with a key for it", at(s3(encrypt=False), "sites", "tokyo", "storage", "kms_key_id", to="arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab"), "sites.tokyo.storage.options.encrypt", "kms-key-without-encryption"),
    Wrong("an option that Distribution ignores", others_options(parallelwalk=True), "sites.london.storage.options.parallelwalk", "setting-not-in-version", others_options(chunksize=26214400)),
    Wrong("a temporary key", at(s3(), "sites", "london", "s3_keys", to=TEMPORARY), "sites.london.s3_keys.session_token", "key-not-read", at(s3(), "sites", "london", "s3_keys", to=LASTING)),
    Wrong("a temporary key for Distribution", at(others_options(), "sites", "london", "s3_keys", to=TEMPORARY), "sites.london.s3_keys.session_token", "key-not-read", at(others_options(), "sites", "london", "s3_keys", to=LASTING)),
    Wrong("a token among the options", s3(sessiontoken="s3cr3t-value"), "sites.tokyo.storage.options.sessiontoken", "key-not-read", s3()),
    Wrong("signatures of version 2", s3(v4auth=False), "sites.tokyo.storage.options.v4auth", "key-not-read", s3()),
    Wrong("an access key with a blank", at(s3(), "sites", "london", "s3_keys", to=LASTING | {"access_key": "AKIAX "}), "sites.london.s3_keys.access_key", "value-invalid", value="'AKIAX '"),
    Wrong("a variable that was not set, as S3's key", at(s3(), "sites", "london", "s3_keys", to=LASTING | {"secret_key": ""}), "sites.london.s3_keys.secret_key", "value-empty"),
    Wrong("a variable that was not set, as S3's key, a blank", at(s3(), "sites", "london", "s3_keys", to=LASTING | {"secret_key": " \n"}), "sites.london.s3_keys.secret_key", "value-empty"),
    Wrong("a secret with what YAML has no place for", at(s3(), "sites", "tokyo", "s3_keys", to=LASTING | {"secret_key": "s3cr3t-value\x7f"}), "sites.tokyo.s3_keys.secret_key", "value-not-in-yaml", at(s3(), "sites", "tokyo", "s3_keys", to=LASTING | {"secret_key": "it's é"})),
    Wrong("a line's end of Unicode's in a key file", at(gcs(), *TOKYO, "gcs", "credentials", to=service_account("tokyo\u2028")), "sites.tokyo.credentials.gcs.credentials", "value-invalid", gcs(), value="[secret]"),
    Wrong("a variable that was not set, as a password", at(swift(), *TOKYO, "swift", "password", to=""), "sites.tokyo.credentials.swift.password", "value-empty"),
    Wrong("a variable that was not set, as a key file", at(gcs(), *TOKYO, "gcs", "credentials", to=""), "sites.tokyo.credentials.gcs.credentials", "value-invalid", value="[secret]"),
]  # fmt: skip
