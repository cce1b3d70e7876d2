"""Makes `uap-core.json` and `isbot.json` of the packages that `update.sh` fetches.

Both lists end as data for linear-time engines. Their look-arounds, which such engines do not have, are all of one
shape, `(?<!before)pattern(?!after)`, and are taken apart into three patterns. Anything else is refused here.
"""

import ast
import json
import pathlib
import re
import sys
import tarfile
import zipfile


def uap_core(wheel: pathlib.Path) -> dict:
    """The patterns and families of browsers and systems, in their order; versions are not used."""
    with zipfile.ZipFile(wheel) as archive:
        module = ast.parse(archive.read("ua_parser_builtins/regexes.py"))
        revision = archive.read("REVISION").decode().strip()
    lists = {
        statement.targets[0].id: statement.value.elts
        for statement in module.body
        if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.List)
    }

    def parsers(name: str, replacement: str) -> list:
        found = []
        for call in lists[name]:
            values = [ast.literal_eval(value) for value in call.args]
            if call.keywords:
                raise SystemExit(f"{name}: keyword arguments are not expected")
            parser = {"regex": values[0]}
            if len(values) > 1 and values[1] is not None:
                parser[replacement] = values[1]
            found.append(parser)
        return found

    return {
        "source": f"https://pypi.org/project/ua-parser-builtins/{wheel.name.split('-')[1]}/",
        "revision": revision,
        "licence": "Apache-2.0, Copyright 2009 Google Inc.",
        "user_agent_parsers": parsers("USER_AGENT_PARSERS", "family_replacement"),
        "os_parsers": parsers("OS_PARSERS", "os_replacement"),
        "device_parsers": [],
    }


def group_end(text: str, start: int) -> int:
    """Where the group ends that opens at `start`."""
    depth, at, in_class = 0, start, False
    while at < len(text):
        char = text[at]
        if char == "\\":
            at += 1
        elif in_class:
            in_class = char != "]"
        elif char == "[":
            in_class = True
        elif char == "(":
            depth += 1
        elif char == ")":
            depth -= 1
            if depth == 0:
                return at
        at += 1
    raise SystemExit(f"a group of {text} does not end")


def taken_apart(text: str) -> dict:
    """The pattern without its look-arounds, and what they look for."""
    parts = {"pattern": text}
    if text.startswith("(?<!"):
        end = group_end(text, 0)
        parts["not_after"], text = text[4:end], text[end + 1 :]
    at = text.find("(?!")
    if at >= 0:
        end = group_end(text, at)
        if end != len(text) - 1:
            raise SystemExit(f"a look-ahead in the middle of {text} is not understood")
        text, parts["not_before"] = text[:at], text[at + 3 : end]
    if re.search(r"\(\?[<=!]|\\[1-9]", "".join(parts.get(key, "") for key in ("not_after", "not_before")) + text):
        raise SystemExit(f"a look-around or a back reference in {text} is not understood")
    # JavaScript takes the hyphen after a class for itself, others ask.
    parts["pattern"] = re.sub(r"(\\[dws])-(?=[^\]]*\])", r"\1\\-", text)
    return parts


def isbot(package: pathlib.Path) -> dict:
    """The list of the package, read from its source."""
    with tarfile.open(package) as archive:
        source = archive.extractfile("package/index.mjs").read().decode()
        about = json.load(archive.extractfile("package/package.json"))
    listed = re.search(r"var \w+_default = (\[\n.*?\n\]);", source, re.DOTALL)
    if not listed:
        raise SystemExit("isbot's list is not where it was")
    return {
        "source": f"https://www.npmjs.com/package/isbot/v/{about['version']}",
        "licence": about["license"],
        "patterns": [taken_apart(text) for text in json.loads(listed.group(1))],
    }


def write(path: pathlib.Path, data: dict) -> None:
    """One entry a line, so that an update reads well as a difference."""
    lines = []
    for key, value in data.items():
        if isinstance(value, list) and value:
            entries = ",\n".join("    " + json.dumps(entry, ensure_ascii=False) for entry in value)
            lines.append(f"  {json.dumps(key)}: [\n{entries}\n  ]")
        else:
            lines.append(f"  {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main() -> None:
    wheel, package, target = map(pathlib.Path, sys.argv[1:])
    write(target / "uap-core.json", uap_core(wheel))
    write(target / "isbot.json", isbot(package))


main()
