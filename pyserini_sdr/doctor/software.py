"""Checks of Python, of the declared packages, and of the encoding of texts."""

from __future__ import annotations

import codecs
import locale
import platform
import sys
from importlib import metadata

from .finding import Check, Teller

DISTRIBUTION = "pyserini_sdr"
_INSTALL = f"install {DISTRIBUTION} (`pip install .` in its folder): nothing tells which versions it needs"


def check_python(teller: Teller) -> Check:
    """Python's version against the declared range."""
    from packaging.specifiers import SpecifierSet

    version = platform.python_version()
    details = {"version": version, "executable": sys.executable, "platform": platform.platform()}
    summary = f"{version} at {sys.executable} on {details['platform']}"
    try:
        declared = metadata.metadata(DISTRIBUTION)["Requires-Python"] or ""
    except metadata.PackageNotFoundError:
        return Check("python", "warning", f"{summary}; {DISTRIBUTION} is not installed", _INSTALL, details)
    details["declared"] = declared
    if not SpecifierSet(declared).contains(version, prereleases=True):
        remedy = f"make an environment with Python {declared}"
        return Check("python", "failure", f"{summary} is not {declared}", remedy, details)
    return Check("python", "ok", summary, None, details)


def check_packages(teller: Teller) -> Check:
    """Every package that the distribution declares, against the versions that it declares; extras only if installed."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    extras: dict[str, dict[str, str | None]] = {}
    faults: list[str] = []
    needed: list[str] = []
    optional: list[str] = []
    try:
        declared = [Requirement(text) for text in metadata.requires(DISTRIBUTION) or []]
        names = metadata.metadata(DISTRIBUTION).get_all("Provides-Extra") or []
    except metadata.PackageNotFoundError:
        return Check("packages", "warning", f"{DISTRIBUTION} is not installed", _INSTALL)
    for requirement in declared:
        wanted = f"'{requirement.name}{requirement.specifier}'"
        version = _version(requirement.name)
        wrong = version is not None and not requirement.specifier.contains(version, prereleases=True)
        extra = None
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            of = [name for name in names if requirement.marker.evaluate({"extra": name})]
            extra = next((name for name in of if name not in ("test", "dev")), None)
            if extra is None:  # for another platform, or for those who work on the package
                continue
            extras.setdefault(extra, {})[requirement.name] = version
        elif version is None:
            faults.append(f"{requirement.name} is not installed")
            needed.append(wanted)
        else:
            found[requirement.name] = version
        if wrong:
            faults.append(
                f"{requirement.name} {version} is not {requirement.specifier}" + (f" (extra {extra})" if extra else "")
            )
            (needed if extra is None else optional).append(wanted)
    details = {"versions": found, "extras": extras}
    if faults:
        status = "failure" if needed else "warning"
        remedy = f"run `pip install {' '.join(needed + optional)}`"
        return Check("packages", status, "; ".join(faults), remedy, details)
    there = [name for name, versions in extras.items() if all(versions.values())]
    summary = ", ".join(f"{name} {version}" for name, version in found.items())
    return Check("packages", "ok", f"{summary}; extras: {', '.join(there) or 'none'}", None, details)


def check_text(teller: Teller) -> Check:
    """The encoding of file names and of what is printed; the content of files is UTF-8 everywhere."""
    used = "utf-8" if sys.flags.utf8_mode else locale.getencoding()
    details = {"locale": locale.getencoding(), "utf8_mode": bool(sys.flags.utf8_mode), "output": used}
    details["file_names"] = sys.getfilesystemencoding()
    if any(codecs.lookup(name).name != "utf-8" for name in (used, details["file_names"])):
        summary = f"output in {used}, file names in {details['file_names']}: other letters cannot be printed"
        return Check("text", "warning", summary, "export PYTHONUTF8=1, or LC_ALL=C.UTF-8", details)
    return Check("text", "ok", "UTF-8", None, details)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
