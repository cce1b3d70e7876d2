#!/bin/sh
# Brings the lists by which agents are recognised up to date, by the registries' ordinary clients.
#
#   just agents                                   the newest of both
#   UAP=202610 ISBOT=5.2.3 just agents            these versions
#
# uap-core is taken from `ua-parser-builtins` (PyPI), which its own project makes from its main branch every month:
# the releases of the npm package are years apart. isbot comes from its npm package. What is fetched is read as data,
# nothing of it is run.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT

pip download --quiet --disable-pip-version-check --no-deps --dest "$fetched" "ua-parser-builtins${UAP:+==$UAP}"
(cd "$fetched" && npm pack --silent "isbot@${ISBOT:-latest}" >/dev/null)
python3 "$here/convert.py" "$fetched"/ua_parser_builtins-*.whl "$fetched"/isbot-*.tgz "$here"
