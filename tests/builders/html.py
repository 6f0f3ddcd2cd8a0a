"""The elements and the text of HTML, and a name that must stay text in it and turn none around."""

import re
from html.parser import HTMLParser

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{ 7*7 }}javascript:alert(1)\u202e"


def as_shown(name: str) -> str:
    """Return a name as HTML shows it."""
    return name.replace("\u202e", "\\u202e").replace("\u202c", "\\u202c")


def main_text(body: str) -> str:
    """Return the text of a page between its header and its footer, a line for each piece."""
    (main,) = re.findall(r"<main.*?</main>", body, re.DOTALL)
    lines = (" ".join(text.split()) for text in Elements(main).texts)
    return "\n".join(line for line in lines if line)


class Elements(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, body: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(body)
        self.text = " ".join(" ".join(self.texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def every(self, tag: str, attribute: str) -> list[str]:
        """Return this attribute of each such element that has it."""
        return [
            attributes[attribute] or ""
            for found, attributes in self.tags
            if found == tag and attribute in attributes
        ]
