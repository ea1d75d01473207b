"""What the daemon says when it cannot do something, as failures: a table, like that of the engines' logs."""

from __future__ import annotations

import re
from dataclasses import dataclass

from docker.errors import APIError, DockerException
from requests.exceptions import RequestException
from urllib3.exceptions import HTTPError

from autotune import daemon
from autotune.errors import TrialError


@dataclass(frozen=True, slots=True, kw_only=True)
class Complaint:
    """A text of the daemon, the failure it means, and what the user can do."""

    kind: str
    pattern: str
    cause: str
    advice: str


# Source: Docker Engine 20.10 (each text was provoked with that version), runc 1.1.
COMPLAINTS: tuple[Complaint, ...] = (
    Complaint(
        kind="port_in_use",
        pattern=r"port is already allocated|address already in use",
        cause="the port is taken",
        advice="leave deploy.port unset to get a free one",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"could not select device driver",
        cause="the Docker daemon cannot give GPUs to containers",
        advice="install the NVIDIA Container Toolkit and restart the daemon",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"nvidia-container-(cli|runtime)|prestart hook|unknown device|failed to inject CDI",
        cause="the NVIDIA Container Toolkit could not give the GPUs to the container",
        advice="look at nvidia-smi on the host; python -m autotune doctor",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"error setting rlimit|setting rlimits|rlimit.*(not permitted|invalid)",
        cause="this host refuses the limits of deploy.ulimits",
        advice="change or empty deploy.ulimits",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"capabilit(y|ies)",
        cause="this host refuses the capabilities of deploy.cap_add",
        advice="change or empty deploy.cap_add",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"memory limit|cannot allocate memory|memory\.limit_in_bytes",
        cause="this host refuses the memory limit",
        advice="change deploy.memory_gib, or null for none",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"cpuset|Requested CPUs are not available",
        cause="the daemon refuses the cores of the lease",
        advice="set launcher.pin_cpus=false",
    ),
    Complaint(
        kind="infrastructure",
        pattern=r"no space left on device|disk quota exceeded",
        cause="the daemon's disk is full",
        advice="docker system df shows what takes the space; docker system prune frees what nobody uses",
    ),
    Complaint(
        kind="image_missing",
        pattern=r"exec format error|does not match the (specified|detected host) platform",
        cause="the image is for another processor architecture",
        advice="set runtime.image to one for this host",
    ),
    Complaint(
        kind="bad_arguments",
        pattern=r"executable file not found|exec:? \S+( failed)?: (no such file|permission denied)",
        cause="the image does not have the engine's program",
        advice="set runtime.image to an image of this engine, or runtime=... to the engine of this image",
    ),
    Complaint(
        kind="image_missing",
        pattern=r"no such image|manifest .*(unknown|not found)|pull access denied|repository does not exist"
        r"|unauthorized|(?<!permission )denied: |not found: manifest",
        cause="there is no such image, or no right to pull it",
        advice="check runtime.image; docker login, if the registry asks for it",
    ),
    Complaint(
        kind="bad_arguments",
        pattern=r"invalid mount|invalid volume|bind source path does not exist|error while creating mount",
        cause="a folder cannot be mounted",
        advice="check model.path, deploy.hub_cache and the cache folder (AUTOTUNE_CACHE)",
    ),
)


def failure_of(error: Exception, doing: str) -> TrialError:
    """Return what an error of docker-py means; `doing` says what was tried."""
    text = " ".join(str(getattr(error, "explanation", None) or error).split())
    for each in COMPLAINTS:
        if re.search(each.pattern, text, re.IGNORECASE):
            return TrialError(
                each.kind, f"{doing}: {each.cause}", evidence=f"docker: {text[:300]}", advice=each.advice
            )
    if isinstance(error, APIError):  # which is an error of requests as well
        cause, advice = (
            f"the Docker daemon at {daemon.where()} refused",
            "read its log (journalctl -u docker)",
        )
    elif isinstance(error, (RequestException, HTTPError)) or type(error) is DockerException:
        cause, advice = daemon.trouble(error)
    elif isinstance(error, OSError):  # this host's, not the daemon's
        cause, advice = f"{error.strerror or error}", "look at the file that the evidence names"
    else:
        cause, advice = "the Docker daemon told an error", "read its log (journalctl -u docker)"
    return TrialError("infrastructure", f"{doing}: {cause}", evidence=f"docker: {text[:300]}", advice=advice)
