"""parse.py FILES: whether Swift files are Swift by their grammar, where there is no compiler. Needs PyPI's
tree-sitter and tree-sitter-swift. Types and names are not looked at; check.sh looks at names."""

import sys
from pathlib import Path

import tree_sitter_swift
from tree_sitter import Language, Parser

parser = Parser(Language(tree_sitter_swift.language()))


def errors(node):
    if node.type == "ERROR" or node.is_missing:
        yield node
    else:
        for child in node.children:
            yield from errors(child)


found = 0
for name in sys.argv[1:]:
    text = Path(name).read_bytes()
    for node in errors(parser.parse(text).root_node):
        found += 1
        print(f"{name}:{node.start_point.row + 1}: {text[node.start_byte:node.start_byte + 60]!r}")
print(f"{len(sys.argv) - 1} files parsed, {found} errors")
sys.exit(found > 0)
