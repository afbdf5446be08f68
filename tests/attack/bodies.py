"""Bodies that a route takes, drawn from its schema, and which name what the attacked site owns wherever they name anything."""

import random
import re
from collections.abc import Mapping
from typing import Any

from med3d_contract.work import CONTRACT_VERSION

Schema = Mapping[str, Any]
WORDS = ("a", "2.25.101", "20260101", "MR", "0" * 64, "22:00:00", "AAAA", "A" * 88)
"""One of them is right for nearly every pattern; for the rest a body is refused, which is an answer too."""


class Bodies:
    """Draws bodies from schemas of an OpenAPI document; ``own`` are ids of things by the names that properties give them."""

    def __init__(self, document: Schema, own: Mapping[str, str], chance: random.Random) -> None:
        self._schemas = document["components"]["schemas"]
        self._own, self._chance = own, chance

    def draw(self, schema: Schema, name: str = "", defs: Schema | None = None) -> Any:
        """Draw what the schema of the property ``name`` allows: all that it requires, and the rest as it happens."""
        defs = schema.get("$defs", defs or {})
        if "$ref" in schema:
            kind = schema["$ref"].rsplit("/", 1)[1]
            return self.draw(defs.get(kind) or self._schemas[kind], name, defs)
        for choice in ("anyOf", "oneOf", "allOf"):
            if choice in schema:
                return self.draw(self._chance.choice(schema[choice]), name, defs)
        if "enum" in schema or "const" in schema:
            return schema["const"] if "const" in schema else self._chance.choice(schema["enum"])
        match schema.get("type"):
            case "object":
                return self._draw_object(schema, defs)
            case "array":
                count = max(1, schema.get("minItems", 1))
                return [self.draw(schema.get("items", {}), name.removesuffix("s"), defs) for _ in range(count)]
            case "string":
                return self._draw_string(schema, name)
            case "integer" | "number":
                return CONTRACT_VERSION if name == "contract_version" else max(1, schema.get("minimum", 1))
            case "boolean":
                return self._chance.random() < 0.5
        return None

    def _draw_object(self, schema: Schema, defs: Schema) -> dict[str, Any]:
        required = schema.get("required", [])
        drawn = {
            key: self.draw(one, key, defs)
            for key, one in schema.get("properties", {}).items()
            if key in required or self._chance.random() < 0.5
        }
        for one in schema.get("patternProperties", {}).values():
            drawn[self._own["run_id"]] = self.draw(one, "", defs)
        return drawn

    def _draw_string(self, schema: Schema, name: str) -> str:
        words = [*schema.get("examples", ()), *WORDS]
        if name in self._own:
            words.insert(0, self._own[name])
        pattern, low, high = schema.get("pattern", ""), schema.get("minLength", 0), schema.get("maxLength", 10**6)
        fits = (word for word in words if low <= len(word) <= high and re.search(pattern, word))
        return next(fits, "a")
