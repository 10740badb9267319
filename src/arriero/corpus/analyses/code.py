"""Tells program text from prose, by its lines; language identifiers take code for rare languages.

A line looks like code if one of these holds:

- it ends with `{` or `}`, is brackets alone, or ends with `;` and has a bracket, an operator or a
  quotation mark in it, or three words at most;
- it begins with a word of a programming language in its place: `def f(`, `import x`, `#include`,
  `for (`, `return x`, `</div>`, `>>>`, `$ `;
- it assigns (`x = 1`, `a[i] += 2`, `self.x: int = 3`), or is a call and nothing else (`f(x, y)`).

Comments and the lines between are not, so a document is code if at least half of its lines with
letters or brackets look like code, and at least three of them.
"""

from __future__ import annotations

import re

MIN_LINES = 3
MIN_SHARE = 0.5

_NAME = r"[A-Za-z_$][\w$]*"
_LINE_OF_CODE = re.compile(
    rf"""\s*(?:
      .*[{{}}]\s*(?://.*|\#.*|/\*.*)?                           # a block begins or ends
    | (?:.*[()\[\]{{}}=<>*&$+"'].*|\S+(?:\s\S+){{0,2}});\s*(?://.*|/\*.*)?
                                                              # a statement of C's family
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
    )\s*""",
    re.VERBOSE,
)
_COUNTS = re.compile(r"[^\W\d_]|[{}()\[\]]")
_LONGEST = 300


def is_code(text: str) -> bool:
    r"""Whether a text, or an excerpt of one, is code by the rule above.

    >>> is_code("def f(x):\n    y = x + 1\n    return y\n")
    True
    >>> is_code("He said so.\nShe left; it was late.\nThey (all) slept.\n")
    False
    """
    lines = [line for line in text.splitlines() if _COUNTS.search(line)]
    like_code = sum(looks_like_code(line) for line in lines)
    return like_code >= MIN_LINES and like_code >= MIN_SHARE * len(lines)


def looks_like_code(line: str) -> bool:
    """Whether a line looks like code; one of more than 300 characters never does."""
    return len(line) <= _LONGEST and _LINE_OF_CODE.fullmatch(line) is not None
