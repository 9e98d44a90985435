"""The chunks of a streamed chat or text completion put together as it is sent unstreamed. Pure.

Texts are joined, choices and tool calls go by their index, lists within a choice are joined too
(log probabilities, token ids), and so are the parts of a content that is a list of them. Of everything
else, of what we don't know too, the last value counts, but null and "" never replace one.
"""

from typing import Any

import msgspec

__all__ = ["Assembly", "BadChunk"]

_TEXTS = frozenset(
    ("content", "refusal", "reasoning_content", "reasoning", "arguments", "text", "input", "transcript")
)
"""Members of a choice, at any depth, that come in pieces."""
_AUDIO_TEXTS = _TEXTS | {"data"}
"""The same within an audio: its data are base64 in pieces. Elsewhere `data` is anybody's."""
_IN_PARTS = frozenset(("content", "thinking"))
"""Members that may be a list of typed parts instead of a text."""
_GROWING_PARTS = frozenset(("text", "thinking"))
"""Types of which two in a row are pieces of one part; of others each is whole."""
_TOKENS = ("content", "reasoning_content", "reasoning", "refusal", "tool_calls", "function_call", "audio")
"""Members of a delta that show that the model has begun to answer."""
_PADDING = "obfuscation"
"""Random characters that hide the length of tokens on the wire; no part of an answer."""


class BadChunk(Exception):
    """A chunk has not the shape of any completion."""


class _Text:
    """A text in pieces: joined once, since adding to a long one again and again would copy it each time."""

    __slots__ = ("pieces",)

    def __init__(self, piece: str) -> None:
        self.pieces = [piece]


class _Calls:
    """Tool calls in the order of their index."""

    __slots__ = ("_index", "_latest", "calls")

    def __init__(self) -> None:
        self.calls: list[tuple[int, dict[str, Any]]] = []
        """With their index, as they came."""
        self._latest: dict[int, dict[str, Any]] = {}
        self._index = 0

    def of(self, piece: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The call that a piece belongs to, and whether it begins one.

        Without an index, and among calls that all have the same, it goes to the last one that began.
        """
        index = piece.get("index")
        numbered = type(index) is int
        if type(index) is int:
            self._index = index
        call = self._latest.get(self._index)
        begins = call is None or _begins(piece, call, numbered)
        if call is None or begins:
            call = self._latest[self._index] = {}
            self.calls.append((self._index, call))
        return call, begins


def _begins(piece: dict[str, Any], last: dict[str, Any], numbered: bool) -> bool:
    """Whether a piece is the first of a call that comes after `last`.

    An index alone doesn't tell: servers number each of parallel calls 0. Nor does an id: others make up a
    new one for each piece, and may repeat the name. Who brings both begins a call, if the name is another
    or the last call lacks nothing.
    """
    other_id, name = piece.get("id") not in (None, "", last.get("id")), _name_of(piece)
    if numbered:
        begins = other_id and bool(last.get("id")) and name is not None
        return begins and (name != _name_of(last) or _is_whole(last))
    return other_id or (not piece.get("id") and None not in (name, _name_of(last)))


def _name_of(call: dict[str, Any]) -> Any:
    names = (part.get("name") for part in call.values() if isinstance(part, dict))
    return next(filter(None, names), None)


def _is_whole(call: dict[str, Any]) -> bool:
    """Whether its arguments are; those of anything but a function may be any text, and are taken for it."""
    function = call.get("function")
    arguments = function.get("arguments") if isinstance(function, dict) else None
    if not isinstance(arguments, _Text):
        return arguments is not None or function is None
    last = next((piece.rstrip() for piece in reversed(arguments.pieces) if piece.strip()), "")
    if not last.endswith(("}", "]")):
        return False  # told without joining them, since this may be asked for every piece
    try:
        msgspec.json.decode("".join(arguments.pieces))
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


class _Parts:
    """A content that is a list of typed parts, which come in pieces too."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        self.parts: list[Any] = []


class Assembly:
    """One answer while it is put together."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes that it holds, about: of texts their characters, of chunks that bring more than text all."""
        self.has_token = False
        """Whether a chunk carried content, reasoning or a tool call."""
        self._members: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._grown = False

    @property
    def empty(self) -> bool:
        """Whether there was no choice at all."""
        return not self._choices

    @property
    def finished(self) -> bool:
        """Whether each choice says why it ended and the usage is there: nothing more can come."""
        ends = [choice.get("finish_reason") for choice in self._choices.values()]
        return bool(ends) and all(ends) and bool(self._members.get("usage"))

    def add(self, chunk: dict[str, Any], size: int) -> None:
        """Takes a chunk of so many bytes; raises BadChunk if it makes no sense."""
        choices = chunk.pop("choices", None) or []
        chunk.pop(_PADDING, None)
        known = len(self._members)
        for name, value in chunk.items():  # as _keep does, but this is done for each token
            if (value is not None and value != "") or name not in self._members:
                self._members[name] = value
        self._grown = len(self._members) > known
        if not isinstance(choices, list):
            raise BadChunk("its choices are no list")
        for position, choice in enumerate(choices):
            self._choice(position, choice)
        self.held += size if self._grown else 0

    def whole(self, chat: bool) -> dict[str, Any]:
        """The answer as it would have come unstreamed."""
        kind = self._members.get("object")
        body = dict(self._members)
        if body.get("usage") is None:
            body.pop("usage", None)  # a placeholder of every chunk but the last
        if isinstance(kind, str):
            body["object"] = kind.removesuffix(".chunk")
        body["choices"] = [_whole_choice(self._choices[index], chat) for index in sorted(self._choices)]
        return body

    def _choice(self, position: int, choice: Any) -> None:
        if not isinstance(choice, dict):
            raise BadChunk("a choice is no object")
        index = choice.get("index")
        if type(index) is not int:
            index = position
        self.has_token = self.has_token or _speaks(choice)
        if index not in self._choices:
            self._choices[index], self._grown = {"index": index}, True
        self._merge(self._choices[index], choice)

    def _merge(self, into: dict[str, Any], update: dict[str, Any], texts: frozenset[str] = _TEXTS) -> None:
        for name, value in update.items():
            if isinstance(value, str) and name in texts:
                self._join(into, name, value)
            elif isinstance(value, dict):
                if not isinstance(into.get(name), dict):
                    into[name], self._grown = {}, True
                self._merge(into[name], value, _AUDIO_TEXTS if name == "audio" else _TEXTS)
            elif name == "tool_calls" and isinstance(value, list):
                self._call(into, value)
            elif name in _IN_PARTS and _are_parts(value):
                self._add_parts(into, name, value)
            elif isinstance(value, list) and isinstance(into.get(name), list):
                into[name].extend(value)
                self._grown = True
            else:
                self._keep(into, name, value)

    def _join(self, into: dict[str, Any], name: str, piece: str) -> None:
        text = into.get(name)
        if isinstance(text, _Text):
            text.pieces.append(piece)
        elif isinstance(text, _Parts):
            if piece:
                self._add_parts(into, name, [{"type": "text", "text": piece}])
            return
        else:
            into[name] = _Text(piece)
        self.held += len(piece)

    def _call(self, into: dict[str, Any], pieces: list[Any]) -> None:
        calls = into.get("tool_calls")
        if not isinstance(calls, _Calls):
            calls = into["tool_calls"] = _Calls()
        for piece in pieces:
            if not isinstance(piece, dict):
                raise BadChunk("a tool call is no object")
            call, begins = calls.of(piece)
            self._grown = self._grown or begins
            self._merge(call, piece)

    def _add_parts(self, into: dict[str, Any], name: str, pieces: list[dict[str, Any]]) -> None:
        content = into.get(name)
        if not isinstance(content, _Parts):
            before, content = _joined(content), _Parts()
            if isinstance(before, str) and before:  # it began as a text
                content.parts.append({"type": "text", "text": _Text(before)})
            into[name] = content
        for piece in pieces:
            kind = piece["type"]
            if kind not in _GROWING_PARTS or not content.parts or content.parts[-1].get("type") != kind:
                content.parts.append({})
                self._grown = True
            self._merge(content.parts[-1], piece)

    def _keep(self, into: dict[str, Any], name: str, value: Any) -> None:
        if name not in into:
            self._grown = True
        elif value is None or value == "":
            return
        into[name] = value


def _are_parts(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in value)


def _speaks(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(delta.get(name) for name in _TOKENS):
        return True
    return bool(choice.get("text"))


def _whole_choice(choice: dict[str, Any], chat: bool) -> dict[str, Any]:
    if choice.get("delta"):  # the message beside it is all that there was so far, in every chunk again
        choice.pop("message", None)
    whole: dict[str, Any] = {
        "message" if name == "delta" else name: _joined(part) for name, part in choice.items()
    }
    whole.setdefault("finish_reason", None)
    if not chat:
        whole.setdefault("text", "")
        return whole
    message = whole.get("message")
    message = {"role": "assistant", "content": None} | (message if isinstance(message, dict) else {})
    message["role"] = message["role"] or "assistant"  # some name it in no chunk, but send null or "" in each
    if message["content"] == "" and (message.get("tool_calls") or message.get("function_call")):
        message["content"] = None  # a stream opens with "" where an answer of calls alone has null
    elif message["content"] is None and not any(message.get(name) for name in _TOKENS):
        message["content"] = ""  # and llama.cpp with null where an answer of nothing at all has ""
    whole["message"] = message
    return whole


def _joined(part: Any) -> Any:
    if isinstance(part, _Text):
        return "".join(part.pieces)
    if isinstance(part, _Calls):
        calls = (call for _, call in sorted(part.calls, key=lambda numbered: numbered[0]))
        return [{name: _joined(value) for name, value in call.items() if name != "index"} for call in calls]
    if isinstance(part, _Parts):
        return [_joined(piece) for piece in part.parts]
    if isinstance(part, dict):
        return {name: _joined(value) for name, value in part.items()}
    return part
