"""The elements and the text of HTML, and a name that must stay text in it and turn none around."""

import re
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}javascript:alert(1)\u202e"

# Attributes that say something.
_SAID = ("href", "src", "alt", "value", "selected", "open", "aria-label", "aria-current")
_IS_VERDICT = re.compile(r"\b(v-\w+|trend)\b")


def as_shown(name: str) -> str:
    """Return a name as HTML shows it."""
    return name.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c")


def outline(body: str) -> str:
    """Return what a page says and links to between its header and its footer, a line for each piece.

    A line `[...]` has what an element says beside its text: a link or a picture that was not there before, a
    choice, a label, the colour of a verdict.
    """
    (main,) = re.findall(r"<main.*?</main>", body, re.DOTALL)
    lines = (" ".join(piece.split()) for piece in Elements(main).pieces)
    return "\n".join(line for line in lines if line)


class Elements(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.pieces: list[str] = []
        self.feed(body)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        said = [
            str(value)
            for name, value in attrs
            if name in _SAID or (name == "class" and _IS_VERDICT.search(str(value)))
        ]
        piece = f"[{tag} {' '.join(said)}]"
        if said and (tag not in ("a", "img") or piece not in self.pieces):
            self.pieces.append(piece)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)
        self.pieces.append(data)

    def every(self, tag: str, attribute: str) -> list[str]:
        """Return this attribute of each such element that has it."""
        return [
            attributes[attribute] or ""
            for found, attributes in self.tags
            if found == tag and attribute in attributes
        ]
