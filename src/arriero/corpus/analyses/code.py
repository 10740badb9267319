"""Tells program text from prose, by its lines; language identifiers take code for rare languages.

A line looks like code if one of these holds:

- it ends with `{` or `}`, or is brackets alone, or opens a bracket at its end;
- it ends with `;` and is no sentence: at most three words, or it assigns, calls or quotes;
- it begins with a word of a programming language in its place: `def f(`, `import x`, `#include`,
  `for (`, `return x`, `fi`, `</div>`, `>>>`, `$ `;
- it assigns (`x = 1`, `a[i] += 2`, `self.x: int = 3`), or is a call and nothing else (`f(x, y)`);
- it has more than 300 characters, and one in 16 of them is one of `{}()[];=<>`: minified.

Comments after `//` or `/*` look like code too. Lines that begin with `#`, `*` or `--`, and what
stands between triple quotes, may be comments or prose and say nothing either way. A document is
code if at least half of its other lines with letters or brackets look like code, at least a fifth
of all, and at least three. Tables and configuration are not code.
"""

from __future__ import annotations

import re

MIN_LINES = 3
MIN_SHARE = 0.5
MIN_SHARE_OF_ALL = 0.2

_NAME = r"[A-Za-z_$][\w$]*"
_LINE_OF_CODE = re.compile(
    rf"""(?:
      .*[{{}}]\s*(?://.*|\#.*|/\*.*)?                           # ends as C's family does
    | (?:\S+\s+){{0,2}}\S*;\s*(?://.*|/\*.*)?
    | .*(?:=|->|::|\w\(|["`]|'[;,)]|\w\[|\w<).*;\s*(?://.*|/\*.*)?
    | (?:return|goto|import|using|typedef|extern|use|package|module)\s.*;
    | [\w-]+\s*:\s*(?:\S+\s+){{0,5}}\S+;                        # a style
    | [\])}}]+[,;:]?                                            # brackets alone
    | .*(?:\[|\(|\{{)\s*                                        # opens a bracket
    | (?:async\s+)?def\s+{_NAME}\s*\(.*
    | class\s+{_NAME}\s*(?:\(.*\))?\s*:.*
    | (?:public|private|protected|static|final|export|extern)\s+{_NAME}\b.*[({{=].*
    | (?:func|fn|function|sub|fun)\s+{_NAME}\s*[(<].*
    | import\s+{_NAME}(?:\.{_NAME})*(?:\s+as\s+{_NAME})?(?:\s*,.*)?
    | import\s+.*\bfrom\s+['"].*
    | from\s+[\w.]+\s+import\s.*
    | (?:using|namespace|package|use)\s+[\w.:]+;?
    | \#\s*(?:include|define|ifdef|ifndef|endif|pragma)\b.*
    | \#!.*
    | (?:if|elif|for|while|with|except|try|else|finally|switch|case)\b.*:
    | (?:\}}\s*)?(?:if|for|while|switch|catch|else\s+if)\s*\(.*
    | return(?:\s+[^\s,]+|\s.*[()\[\]{{}}=<>*/+].*)?
    | (?:raise|yield|assert|del|print|echo)[\s(]+[\w'"({{\[].*[)\]'"\w]
    | (?:fi|done|esac|then|do|else|end|begin)\s*;?
    | if\s+\[.*
    | .*(?:\$\{{\w|\$\(|"\$\w|\$[A-Z_]{{2,}}\b).*                  # a shell's variables
    | (?:let|const|var|val|mut)\s+.*=.*
    | (?:self|this)\.\w+.*
    | @{_NAME}(?:\.{_NAME})*(?:\(.*\))?
    | (?:>>>|\.\.\.|\$)\s+\S.*
    | (?://|/\*|\*/|<!--|<\?|<!).*
    | </?[a-zA-Z][\w-]*(?:\s+[\w:-]+\s*=\s*["'].*)?/?>(?:.*>)?
    | (?:SELECT|INSERT|UPDATE|DELETE|CREATE)\s.*\b(?:FROM|INTO|SET|TABLE|WHERE)\b.*
    | {_NAME}(?:\.{_NAME}|\[[^\]]*\])*(?:\s*:\s*[\w.\[\], |]+)?\s*
      (?:[-+*/%|&^]|//|\*\*|<<|>>)?=(?!=)\s*\S.*                # assigns
    | (?:await\s+)?{_NAME}(?:(?:\.|::|->){_NAME})*\(.*\)\s*[,.]?
    | ["']?[\w-]+["']?\s*:\s*.*,                                # an entry of a mapping
    )""",
    re.VERBOSE,
)
_COUNTS = re.compile(r"[^\W\d_]|[{}()\[\]]")
_QUOTED = re.compile(r"(\"{3}|'{3}).*?\1", re.DOTALL)
_COMMENT = re.compile(r"\s*(?:#(?!\s*(?:include|define|ifdef|ifndef|endif|pragma)\b)|\*|--)")
_SIGNS = re.compile(r"[{}()\[\];=<>]")
_LONGEST = 300
_SIGNS_OF_MINIFIED = 1 / 16


def is_code(text: str) -> bool:
    r"""Whether a text, or an excerpt of one, is code by the rule above.

    >>> is_code("def f(x):\n    y = x + 1\n    return y\n")
    True
    >>> is_code("He said so.\nShe left; it was late.\nThey (all) slept.\n")
    False
    """
    lines = [line for line in text.splitlines() if _COUNTS.search(line)]
    told = [line for line in _without_quoted(text) if not _COMMENT.match(line)]
    like_code = sum(map(looks_like_code, told))
    return like_code >= max(MIN_LINES, MIN_SHARE * len(told), MIN_SHARE_OF_ALL * len(lines))


def looks_like_code(line: str) -> bool:
    """Whether a line looks like code."""
    line = line.strip()
    if len(line) > _LONGEST:
        return len(_SIGNS.findall(line)) >= _SIGNS_OF_MINIFIED * len(line)
    return _LINE_OF_CODE.fullmatch(line) is not None


def _without_quoted(text: str) -> list[str]:
    plain = _QUOTED.sub("", text) if '"""' in text or "'''" in text else text
    return [line for line in plain.splitlines() if _COUNTS.search(line)]
