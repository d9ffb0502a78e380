#!/usr/bin/env bash
# Asks for known vulnerabilities of the packages in requirements-lock.txt (pip-audit).
#   bash scripts/audit.sh      or: make audit
# Exit code 0: all were looked up and none is known; 1: some are known, each is listed; 3: not done,
# since pip-audit could not be installed or its services (the package index, OSV) do not answer for
# every package. pip-audit gets an environment of its own, .venv-audit; nothing else is changed.
set -euo pipefail
. "$(dirname "$0")/environment.sh"
cd "$REPO"

undone() {
    echo "audit: not done: $*" >&2
    exit 3
}

venv=$REPO/.venv-audit
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
if ! "$venv/bin/python" -c 'import pip_audit' 2>/dev/null; then
    rm -rf "$venv"
    "$PY" -m venv "$venv"
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-input --quiet \
        'pip-audit==2.10.1' >"$place/log" 2>&1 ||
        undone "pip-audit could not be installed (no network, or no package index in reach)"
fi

why=""
for service in pypi osv; do
    code=0
    "$venv/bin/python" -m pip_audit --requirement requirements-lock.txt --require-hashes \
        --disable-pip --vulnerability-service "$service" --timeout 15 --progress-spinner off \
        --format json --output "$place/$service" >"$place/log" 2>&1 || code=$?
    if [[ ! -s $place/$service ]]; then
        why+="${why:+; }$service does not answer"
        continue
    fi
    code=0
    "$PY" - "$place/$service" <<'PYTHON' || code=$?
import json
import sys

packages = json.load(open(sys.argv[1], encoding="utf-8"))["dependencies"]
unknown = [package["name"] for package in packages if "skip_reason" in package]
bad = [package for package in packages if package.get("vulns")]
for package in bad:
    for found in package["vulns"]:
        mended = ", ".join(found["fix_versions"]) or "no version yet"
        print(f"{package['name']} {package['version']}: {found['id']}, mended in {mended}")
print(f"audit: {len(packages) - len(unknown)} of {len(packages)} packages were looked up, "
      f"{len(bad)} have known vulnerabilities")
sys.exit(1 if bad else 3 if unknown else 0)
PYTHON
    if ((code != 3)); then exit "$code"; fi
    why+="${why:+; }$service does not know all packages"
done
undone "$why"
