"""Text on Python 2 and 3.

A str is bytes on Python 2, where text is unicode, and text on Python 3. The names of a net's layers and files may be in
any encoding, so a net's text is held as a str of one character a byte (`from_bytes`), and shown as the UTF-8 that it
most likely is (`to_display`).
"""
from __future__ import division, print_function

try:
    from shlex import quote
except ImportError:  # Python 2
    from pipes import quote  # noqa: F401

unicode_type = type(u"")


def from_bytes(content):
    """Return bytes as a str of one character a byte."""
    return content if isinstance(content, str) else content.decode("latin-1")


def to_bytes(text):
    """Return the bytes of a str of one character a byte."""
    return text if isinstance(text, bytes) else text.encode("latin-1")


def to_display(text):
    """Return a str of one character a byte as one for people, files and JSON: its UTF-8 is decoded."""
    return text if isinstance(text, bytes) else to_bytes(text).decode("utf-8", "surrogateescape")


def from_display(string):
    """Return what `to_display` gave as a str of one character a byte."""
    return string if isinstance(string, bytes) else string.encode("utf-8", "surrogateescape").decode("latin-1")


def to_str(text):
    """Return text, or UTF-8 in bytes, as a str of this Python."""
    if isinstance(text, str):
        return text
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text.encode("utf-8")


def to_unicode(text):
    """Return text, or UTF-8 in bytes, as text on every Python."""
    return text.decode("utf-8", "replace") if isinstance(text, bytes) else text
