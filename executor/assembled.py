"""The chunks of a streamed chat or text completion put together as it is sent unstreamed. Pure.

Texts are joined, choices and tool calls go by their index, lists within a choice are joined too
(log probabilities, token ids). Of everything else, of what we don't know too, the last value counts,
but null and "" never replace one.
"""

from typing import Any

__all__ = ["Assembly", "BadChunk"]

_TEXTS = frozenset(
    ("content", "refusal", "reasoning_content", "reasoning", "arguments", "text", "input", "transcript")
)
"""Members of a choice, at any depth, that come in pieces."""
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
    """Tool calls by their index."""

    __slots__ = ("by_index",)

    def __init__(self) -> None:
        self.by_index: dict[int, dict[str, Any]] = {}

    def slot(self, call: dict[str, Any]) -> tuple[int, dict[str, Any] | None]:
        """Where a piece belongs; without an index an id begins a new call, the rest goes to the last one."""
        index = call.get("index")
        if type(index) is not int:
            last = max(self.by_index, default=-1)
            begins = last < 0 or call.get("id") not in (None, "", self.by_index[last].get("id"))
            index = last + begins
        return index, self.by_index.get(index)


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

    def _merge(self, into: dict[str, Any], update: dict[str, Any]) -> None:
        for name, value in update.items():
            if isinstance(value, str) and name in _TEXTS:
                self._join(into, name, value)
            elif isinstance(value, dict):
                if not isinstance(into.get(name), dict):
                    into[name], self._grown = {}, True
                self._merge(into[name], value)
            elif name == "tool_calls" and isinstance(value, list):
                self._call(into, value)
            elif isinstance(value, list) and isinstance(into.get(name), list):
                into[name].extend(value)
                self._grown = True
            else:
                self._keep(into, name, value)

    def _join(self, into: dict[str, Any], name: str, piece: str) -> None:
        text = into.get(name)
        if isinstance(text, _Text):
            text.pieces.append(piece)
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
            index, call = calls.slot(piece)
            if call is None:
                call = calls.by_index[index] = {}
                self._grown = True
            self._merge(call, piece)

    def _keep(self, into: dict[str, Any], name: str, value: Any) -> None:
        if name not in into:
            self._grown = True
        elif value is None or value == "":
            return
        into[name] = value


def _speaks(choice: dict[str, Any]) -> bool:
    delta = choice.get("delta")
    if isinstance(delta, dict) and any(delta.get(name) for name in _TOKENS):
        return True
    return bool(choice.get("text"))


def _whole_choice(choice: dict[str, Any], chat: bool) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "message" if name == "delta" else name: _joined(part) for name, part in choice.items()
    }
    whole.setdefault("finish_reason", None)
    if not chat:
        whole.setdefault("text", "")
        return whole
    message = whole.get("message")
    message = {"role": "assistant", "content": None} | (message if isinstance(message, dict) else {})
    if message["content"] == "" and (message.get("tool_calls") or message.get("function_call")):
        message["content"] = None  # a stream opens with "" where an answer of calls alone has null
    whole["message"] = message
    return whole


def _joined(part: Any) -> Any:
    if isinstance(part, _Text):
        return "".join(part.pieces)
    if isinstance(part, _Calls):
        calls = (part.by_index[index] for index in sorted(part.by_index))
        return [{name: _joined(value) for name, value in call.items() if name != "index"} for call in calls]
    if isinstance(part, dict):
        return {name: _joined(value) for name, value in part.items()}
    return part
