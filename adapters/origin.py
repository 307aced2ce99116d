"""Where an adapter is from, as `studio.json` keeps it: trained, imported, pulled, or computed from others."""

from dataclasses import asdict, dataclass
from typing import Any

from adapters.values import number, text

MAX_STEPS_BACK = 20  # from an adapter to those that it was trained further from


@dataclass(frozen=True)
class PrivateSource:
    """A repository with restricted access that an adapter is from, and the account that pulled it."""

    repo_id: str
    by: str = ""


@dataclass(frozen=True)
class Origin:
    """Where an adapter is from. `kind` is 'trained', 'imported', 'pulled', 'mixed' or 'repaired'.

    `init_origin` is that of the one it was trained on; `made_of` are the private repositories of those that it was computed from.
    """

    kind: str = "trained"
    source: str = "this machine"
    repo_id: str = ""
    revision: str = ""
    is_public: bool = False
    by: str = ""
    time: float | None = None
    init_origin: "Origin | None" = None
    made_of: tuple[PrivateSource, ...] = ()

    @classmethod
    def from_json(cls, value: object, depth: int = 0) -> "Origin":
        """Read the origin in a `studio.json`; values of a wrong type are ignored."""
        if not isinstance(value, dict) or depth > MAX_STEPS_BACK:
            return cls()
        before, made_of = value.get("init_origin"), value.get("made_of")
        return cls(
            kind=text(value.get("kind")),
            source=text(value.get("from")),
            repo_id=text(value.get("repo_id")),
            revision=text(value.get("revision")),
            is_public=value.get("public") is True,
            by=text(value.get("by")),
            time=number(value.get("time")),
            init_origin=cls.from_json(before, depth + 1) if isinstance(before, dict) else None,
            made_of=tuple(
                PrivateSource(text(one.get("repo_id")), text(one.get("by")))
                for one in (made_of if isinstance(made_of, list) else [])
                if isinstance(one, dict)
            ),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the origin of an adapter from elsewhere as its `studio.json` keeps it."""
        values = asdict(self)
        values |= {"from": values.pop("source"), "public": values.pop("is_public")}
        return {name: value for name, value in values.items() if value not in ("", None, ())}
