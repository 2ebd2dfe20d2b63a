"""What credentials may not say together with storage and the part that a site plays."""

from __future__ import annotations

import copy

from tests.corpus.values import SECRET, Raw
from tests.corpus.whole import Reported, Whole, contradiction


@contradiction("credentials-unused")
def credentials_of_another(w: Whole) -> Reported:
    name = w.tape.pick(("gcs", "swift"))
    w.need(all(driver != name for _, driver, *_ in w.places()))
    site = w.site()
    known: Raw = {"gcs": {"application_default": True}, "swift": {"username": "x", "password": f"{SECRET}.x"}}
    w.sites[site].setdefault("credentials", {})[name] = known[name]
    return f"sites.{site}.credentials.{name}"


@contradiction("s3-keys-unused")
def keys_of_none(w: Whole) -> Reported:
    found = [site for _, driver, _, sites in w.places() if driver == "s3" for site in sites]
    site = w.site(among=[name for name in w.sites if name not in found])
    w.sites[site]["s3_keys"] = {"access_key": "AKIAX", "secret_key": f"{SECRET}.x"}
    return f"sites.{site}.s3_keys"


@contradiction("credentials-missing")
def no_credentials(w: Whole) -> Reported:
    site = w.site(lambda its: its.get("credentials"))
    [name] = w.sites[site].pop("credentials")
    return f"sites.{site}.credentials.{name}"


@contradiction("credentials-of-primary", "s3-key-of-primary")
def one_identity(w: Whole) -> Reported:
    primary = w.sites[w.raw["primary"]]
    provided = primary.get("s3_keys") or primary.get("credentials", {}).get("gcs", {}).get("credentials")
    name = next(iter(primary.get("credentials", {})), "s3")
    w.need(w.shared and (provided or name in {"swift", "oss"}))
    site = w.secondary()
    for key in ("s3_keys", "credentials"):
        w.sites[site].pop(key, None)
        if key in primary:
            w.sites[site][key] = copy.deepcopy(primary[key])
    w.sites[site].get("credentials", {}).get("swift", {}).pop("secretkey", None)
    holder = {"gcs": "credentials", "swift": "username", "oss": "accesskeyid"}
    return (
        f"sites.{site}.s3_keys.access_key"
        if name == "s3"
        else f"sites.{site}.credentials.{name}.{holder[name]}"
    )


@contradiction("account-key-on-secondary", "signing-key-on-secondary")
def secondary_signs(w: Whole) -> Reported:
    w.need(w.shared)
    site = w.secondary(lambda its: {"swift", "azure"} & its.get("credentials", {}).keys())
    [name] = keys = w.sites[site]["credentials"]
    if name == "swift":
        keys[name]["secretkey"] = f"{SECRET}.x"
        return f"sites.{site}.credentials.swift.secretkey"
    keys[name] = {"accountkey": f"{SECRET}.x"}
    return f"sites.{site}.credentials.azure.credentials_type"


@contradiction("azure-key-missing", "azure-key-unused")
def half_a_role(w: Whole) -> Reported:
    site = w.site(
        lambda its: its.get("credentials", {}).get("azure", {}).get("credentials_type") == "client_secret"
    )
    key = w.tape.pick(("tenant_id", "client_id", "secret", "accountkey"))
    keys = w.sites[site]["credentials"]["azure"]
    keys |= {"accountkey": f"{SECRET}.x"} if key not in keys else {}
    if key != "accountkey":
        del keys[key]
    return f"sites.{site}.credentials.azure.{key}"


@contradiction("gcs-credentials-ambiguous")
def two_gcs_keys(w: Whole) -> Reported:
    site = w.site(lambda its: "gcs" in its.get("credentials", {}))
    w.sites[site]["credentials"]["gcs"] = w.tape.pick(({}, {"keyfile": "/x", "application_default": True}))
    return f"sites.{site}.credentials.gcs"
